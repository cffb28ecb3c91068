"""Safetensors files hold what was written; a damaged one is one sentence."""

import numpy as np
import pytest
import torch

from ood_helpers.engine.tensors import read_tensors, write_tensors


def test_tensors_and_arrays_are_read_as_they_were_written(tmp_path):
    written = {"image": torch.rand(2, 3, 4).permute(2, 0, 1), "labels": np.arange(5), "half": torch.ones(2).bfloat16()}
    write_tensors(tmp_path / "a.safetensors", written, {"note": "größer"})
    read, metadata = read_tensors(tmp_path / "a.safetensors")
    assert metadata == {"format": "pt", "note": "größer"} and read.keys() == written.keys()
    for name, tensor in written.items():
        assert torch.equal(read[name], torch.as_tensor(tensor)) and read[name].dtype == torch.as_tensor(tensor).dtype


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b"\xff" * 8 + b[8:], lambda b: b"", lambda b: b"PK" + b]
)
def test_a_damaged_file_is_one_sentence(tmp_path, change):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.zeros(3)})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.safetensors is not a safetensors file, or it is damaged"):
        read_tensors(path)
