"""Trained networks as files that other programs read: safetensors with a config.json, and ONNX."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import losses, models
from ..engine import files
from ..engine.extras import needs
from ..engine.tensors import read_tensors, write_tensors
from ..runs import Run

TOLERANCE = 1e-4  # of the logits that onnxruntime computes, absolute and relative
# What config.json holds: how the network is built, and the names of its classes.
FIELDS: dict[str, Any] = {"model": str, "loss": str, "dropout": (int, float), "shape": list, "classes": list}


def save_network(run: Run, folder: str | Path) -> Path:
    """Save a run's network as ``model.safetensors`` and ``config.json``, as libraries of the Hugging Face Hub do.

    Parameters
    ----------
    run : Run
    folder : str or Path
        Created where it does not exist.

    Returns
    -------
    Path
        The folder.
    """
    folder, config = Path(folder), run.config
    record = dict(model=config.model, loss=config.loss, dropout=config.dropout, shape=run.shape, classes=run.classes)
    write_tensors(folder / "model.safetensors", run.load_model().state_dict())
    files.atomic_write(folder / "config.json", json.dumps(record, indent=1) + "\n")
    return folder


def load_network(folder: str | Path) -> models.Network:
    """Read a network that :func:`save_network` has saved, in evaluation mode.

    Raises
    ------
    ValueError
        If one of the files is damaged, or they do not fit together.
    OSError
        If one of them cannot be read.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / "config.json").read_bytes())
        values = [record[name] for name in FIELDS]
        if not all(isinstance(value, kind) for value, kind in zip(values, FIELDS.values())):
            raise TypeError("a field has the wrong type")
        model, loss, dropout, shape, classes = values
        head = losses.recipe(loss).head
        network = models.build(model, len(classes), tuple(shape), head, dropout, pretrained=False)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'} does not describe a network: {error!r}") from None
    tensors, _ = read_tensors(folder / "model.safetensors")
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise ValueError(f"{folder / 'model.safetensors'} does not hold the weights of a {model}") from None
    return network.eval()


def save_onnx(model: Any, path: str | Path, images: Any) -> Path:
    """Export a model to ONNX, images to ``logits``, and check it with onnxruntime.

    Parameters
    ----------
    model : Run or nn.Module
        Of a run, its network, which takes raw images.
    path : str or Path
    images : array or tensor of shape (N, ...)
        At least two inputs, to trace the model and to compare with. The batch dimension of the export is free.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If a logit of onnxruntime differs from the model's by more than 1e-4, absolute and relative.
    """
    with needs("bridges"):
        import onnxruntime
        import onnxscript  # noqa: F401, the exporter's

    path, network = Path(path), model.load_model() if hasattr(model, "load_model") else model
    batch = torch.as_tensor(images)
    if len(batch) < 2:
        raise ValueError(f"save_onnx needs at least two inputs, got {len(batch)}")
    with torch.inference_mode():
        expected = network.eval()(batch).numpy()
    exported = _export(network, batch)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": batch.numpy()})
    if not np.allclose(logits, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise ValueError(f"the exported logits differ from the model's by up to {np.abs(logits - expected).max():.3g}")
    files.atomic_write(path, exported)
    return path


def _export(network: nn.Module, images: torch.Tensor) -> bytes:
    """The model in ONNX's format, weights included."""
    program = torch.onnx.export(
        network,
        (images,),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # dynamo=True gives a program
    return program.model_proto.SerializeToString()
