"""What the benchmark counts and draws; what it times is for the machine to say."""

import json

import numpy as np
import pytest
import torch

from ood_helpers.bench import scaling


def tensors():
    a = torch.ones(1_000_000, requires_grad=True)  # 4 MB, and its gradient 4, when the product is gone
    (a * 2).sum().backward()


def arrays():
    a = np.ones(500_000)  # 4 MB, and 4
    return a + 1


@pytest.mark.parametrize("work, most", [(tensors, 8e6), (arrays, 8e6), (lambda: None, 0)])
def test_peak_memory_counts_tensors_and_arrays(work, most):
    work()
    assert most <= scaling.peak_memory_bytes(work, "cpu") < most + 50_000


def test_scaling_is_drawn_with_its_numbers_in_the_metadata(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_FIGURES", str(tmp_path))
    rows = [
        {"task": task, "line": line, "size": size, "ms": 2.0 * size, "mib": 1.0 * size}
        for task in ("classes", "scores")
        for line in ("dismax", "other")
        for size in (10, 100, 1000)
    ]
    scaling.draw(rows, {"cores": 2})
    metadata = json.loads((tmp_path / "bench/scaling.json").read_text())
    assert metadata["rows"] == rows and metadata["machine"] == {"cores": 2}
    assert metadata["command"] == "python -m ood_helpers bench scaling" and "DisMax" in metadata["alt"]
    assert (tmp_path / "bench/scaling.pdf").exists() and (tmp_path / "bench/scaling.png").exists()
