"""Notebooks are read: few lines of code, short cells, and no sentence that is glued from numbers."""

import pytest
from notebook_counts import NOTEBOOKS, Counts, count

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_cells_are_few_lines(path):
    faults = count(path).faults
    assert not faults, "; ".join(faults)


@pytest.mark.parametrize(
    "counts, fault",
    [
        (Counts("01", [6] * 15, [], [], []), None),
        (Counts("06", [6] * 20, [], [], []), None),
        (Counts("01", [6] * 16, [], [], []), "96 lines of code, at most 90"),
        (Counts("01", [7], [], [], []), "median cell of 7 lines"),
        (Counts("01", [1, 1, 16], [], [], []), "a cell of 16 lines"),
        (Counts("01", [1], [16], [], []), "a cell of 16 lines"),
        (Counts("01", [1], [], ["x"], []), "1 lines of more than 100 columns"),
        (Counts("01", [1], [], [], ["print"]), "1 printed sentences glued"),
    ],
)
def test_every_limit_counts(counts, fault):
    assert [text for text in counts.faults if fault and text.startswith(fault)] == counts.faults
    assert bool(counts.faults) == bool(fault)
