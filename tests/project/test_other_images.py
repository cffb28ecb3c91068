"""Nothing in a notebook is about digits: every one of them runs on a folder of colour images. Minutes, so in make
test-long alone."""

import shutil
from pathlib import Path

import torch

from ood_helpers import data
from ood_helpers.course import notebooks

ROOT = Path(__file__).parents[2]
CLASSES = ("airplane", "automobile", "bird", "$cat$", "<deer>", "dog", "frog", "horse", "ship", "truck")


def test_every_notebook_runs_on_a_folder_of_colour_images(tmp_path, monkeypatch):
    digits = data.load("digits", known=10)
    tint = torch.rand(len(digits.images), 3, 1, 1, generator=torch.Generator().manual_seed(0)) / 2 + 0.5
    images = (digits.images.repeat_interleave(2, 2).repeat_interleave(2, 3) * tint).byte()
    folder = data.write_folder(
        data.ImageSet("tinted", images, digits.labels, CLASSES, digits.splits), tmp_path / "images", [40] * 10
    )
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("RUNS", "OOD_FIGURES", "OOD_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebooks.regenerate(f"folder:{folder}", "cpu")
    committed, drawn = (
        {path.stem for path in (place / folder).glob("*.png")}
        for place, folder in ((ROOT, "figures/digits"), (tmp_path, "figures/folder_images"))
    )
    assert committed == drawn
