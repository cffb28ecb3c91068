"""Networks as safetensors and ONNX, and what other languages need to read the outputs of a run."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from ood_helpers import losses, models
from ood_helpers.bridges import load_network, save_network, save_onnx


@pytest.mark.parametrize("dropout", [0, 0.0])
def test_a_network_without_dropout_is_read_back(run, tmp_path, dropout):
    folder = save_network(replace(run, config=replace(run.config, dropout=dropout)), tmp_path)
    assert json.loads((folder / "config.json").read_text())["dropout"] == 0
    record = json.loads((folder / "config.json").read_text()) | {"dropout": dropout}
    (folder / "config.json").write_text(json.dumps(record))
    assert load_network(folder).classifier.out_features == len(run.classes)


def test_a_saved_network_is_the_same_and_others_can_read_it(run, tmp_path):
    folder = save_network(run, tmp_path / "network")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    loaded, images = load_network(folder), run.images("test")
    with torch.inference_mode():
        assert torch.equal(loaded(images), run.load_model()(images))
    assert load_file(folder / "model.safetensors").keys() == loaded.state_dict().keys()
    assert json.loads((folder / "config.json").read_text())["classes"] == list(run.classes)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"model": "resnet18"}, "does not hold the weights of a resnet18"),
        ({"model": "nonsense"}, "does not describe a network: .*unknown model"),
        ({"loss": "nonsense"}, "does not describe a network: .*unknown loss"),
        ({"classes": 6}, "does not describe a network: .*wrong type"),
        ({"shape": ["a", 8, 8]}, "does not describe a network"),
    ],
)
def test_files_that_do_not_fit_are_one_sentence(run, tmp_path, change, sentence):
    folder = save_network(run, tmp_path / "network")
    record = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=sentence):
        load_network(folder)


@pytest.mark.parametrize("loss", ["softmax", "isomaxplus", "dismax"])
def test_an_onnx_export_gives_the_same_logits_for_any_batch(loss, tmp_path):
    torch.manual_seed(0)
    network = models.build("cnn", 4, (1, 8, 8), losses.recipe(loss).head)
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    path = save_onnx(network, tmp_path / "network.onnx", images)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (images[:1], images):
        (logits,) = session.run(["logits"], {"images": batch.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(logits, network(batch), rtol=1e-4, atol=1e-4)


def test_a_runs_outputs_are_plain_arrays(run):
    """Little-endian and in C order, in an ordinary ZIP archive: what readers of .npy in R and Julia support."""
    with zipfile.ZipFile(run.path / "outputs.npz") as archive:
        assert {"logits/test.npy", "logits/letters.npy", "labels/test.npy", "features/test.npy"} <= set(
            archive.namelist()
        )
        for name in archive.namelist():
            with archive.open(name) as file:
                assert np.lib.format.read_magic(file) == (1, 0)
                _, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            assert not fortran and dtype.str in ("<f4", "<f2", "<i8")
