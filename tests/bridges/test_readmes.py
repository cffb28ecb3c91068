"""The READMEs' Python snippets run as they stand there; only weights are not downloaded and trainings are short."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
# Instead of downloads and of 60 epochs.
INSTEAD = {
    "pretrained=True": "pretrained=False",
    "(weights=weights)": "()",
    'Config(data="digits", ': 'Config(data="digits", epochs=1, ',
    "Config(loss=loss)": "Config(loss=loss, epochs=1)",
}


def snippets(path, first):
    """The Python of a README from the block on that contains ``first``."""
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    start = next(i for i, block in enumerate(blocks) if first in block)
    code = blocks[start:]
    for written, run in INSTEAD.items():
        code = [block.replace(written, run) for block in code]
    return code


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working directory with two folders of pictures."""
    rng = np.random.default_rng(0)
    for i in range(30):
        file = tmp_path / "photos" / ("mine" if i < 24 else "other") / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_snippet_trains_and_takes_scores_and_logits_of_any_model(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {f"{part}_logits": run.logits[name] for part, name in (("id", "test"), ("ood", "letters"))}
    names |= {f"{part}_scores": run.scores()[name] for part, name in (("id", "test"), ("ood", "letters"))}
    exec(snippets(ROOT / "README.md", "run = fit(")[0], names)
    assert names["run"].config.loss == "logitnorm" and (tmp_path / "explorer.html").is_file()


@pytest.mark.parametrize("path", ["figures/cifar10/README.md", "ood_helpers/papers/README.md"])
def test_snippets_about_the_networks_that_come_with_the_repository_run(path):
    names = {}
    exec(snippets(ROOT / path, 'run = trained("cifar10"')[0], names)
    assert names["run"].config.data == "cifar10"


def test_snippets_of_the_widgets_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"runs": [run]}
    exec("from ood_helpers import Config, fit_all, trained\nfrom ood_helpers.widgets import *", names)
    codes = snippets(ROOT / "ood_helpers/widgets/README.md", "ScoreExplorer(")
    assert len(codes) == 3
    for code in codes:
        exec(code, names)
    assert (tmp_path / "pad.html").is_file()


def test_from_two_folders_to_an_explorer_and_a_detector_in_under_ten_lines(photos, capsys):
    (code,) = snippets(ROOT / "README.md", "timm.create_model")
    assert len([line for line in code.splitlines() if line]) < 10 + 1  # with the first import
    exec(code, {})
    assert "fitted on 24 inputs (photos/mine)" in capsys.readouterr().out
    assert (photos / "explorer.html").is_file() and (photos / "detector.safetensors").is_file()


def test_snippets_of_the_bridges_run_in_their_order(photos, run, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(photos))
    codes = snippets(ROOT / "ood_helpers/bridges/README.md", "import torchvision")
    assert len(codes) == 6
    names = {"run": run, "images": torch.rand(4, 3, 64, 64)}
    for code in codes:
        exec(code, names)
        if "detector" in code:  # the following ones are about a run's images
            names |= {"run": run, "images": run.images("test")[:60].float() / 255, "labels": torch.arange(60) % 3}
        if "from_torch" in code:
            names["images"] = run.images("test")[:4]
    assert names["run"].config.data.startswith("torch:mine-")
    assert {path.name for path in (photos / "network").iterdir()} == {"config.json", "model.safetensors"}
    assert (photos / "network.onnx").is_file()
