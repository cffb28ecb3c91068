"""Every snippet about models of one's own, as it stands in a README, runs; only weights are not downloaded."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
OFFLINE = {"pretrained=True": "pretrained=False", "(weights=weights)": "()"}


def snippets(path, first):
    """The Python of a README from the block on that contains ``first``."""
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    start = next(i for i, block in enumerate(blocks) if first in block)
    code = blocks[start:]
    for online, offline in OFFLINE.items():
        code = [block.replace(online, offline) for block in code]
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
