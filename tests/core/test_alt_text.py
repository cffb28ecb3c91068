"""Figures described in words."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ood_helpers import plots
from ood_helpers.drawing import alt_text


@pytest.mark.parametrize(
    "draw, expected",
    [
        (lambda ax: None, "an empty panel."),
        (lambda ax: ax.plot([0, 1], [0, 1], label="calibrated"), "calibrated from 0 at 0 to 1 at 1."),
        (lambda ax: ax.plot([0, 0.5, 1], [0, 0.1, 1], label="share"), "share from 0 at 0 to 1 at 1."),
        (lambda ax: ax.plot([0, 1, 2], [5, 7, 6]), "a curve from 5 at 0 to 6 at 2, highest 7."),
        (lambda ax: ax.scatter([1, 2], [3, 4]), "a panel without labels."),
        (lambda ax: ax.bar([0, 1], [2.0, 5.0], label="images"), "images: 2 from 2 to 5."),
        (lambda ax: ax.axvline(0.5, label="chosen"), "chosen at 0.5."),
        (lambda ax: ax.axhline(0.25, label="guessing"), "guessing at 0.25."),
        (lambda ax: ax.plot([1, 9], [3, 3], label="T"), "T from 3 at 1 to 3 at 9."),
        (lambda ax: ax.stairs([0.25, 0.75], [0, 1, 2], label="ID"), "ID: half of the images between 0 and 2."),
        (lambda ax: (ax.set_title("t"), ax.plot(range(3), [3, 1, np.nan], label="T")), "t: T from 3 at 0 to 1 at 1."),
        (lambda ax: ax.pcolormesh(np.array([[1.0, 2], [3, 4]])), "table of 2 by 2, from 1 ("),
    ],
)
def test_a_figure_is_described_from_its_numbers(draw, expected):
    ax = Figure().subplots()
    draw(ax)
    assert alt_text.describe(ax.figure).startswith(expected)


def test_a_roc_curve_is_described_by_its_fpr95():
    ax = plots.roc(Figure().subplots(), {"softmax": ([3.0, 4.0], [1.0, 2.0])})
    assert alt_text.describe(ax.figure).endswith(": FPR95, ID positive Softmax (CE): 0.0 %.")


def test_many_panels_are_counted_and_not_all_described():
    figure = Figure()
    figure.subplots(3, 3)
    text = alt_text.describe(figure)
    assert text.startswith("9 panels. ") and text.endswith("And 3 more panels.")
