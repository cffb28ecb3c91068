"""Run any model over arrays, loaders and batches of any common form."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

BATCH_SIZE = 250  # inputs that are on the model's device at a time
# Names of a batch's parts where it is a dict: those of OpenOOD, Hugging Face and torchvision's conventions.
INPUT_KEYS, LABEL_KEYS = ("data", "pixel_values", "image", "images"), ("label", "labels", "target")


class Outputs(NamedTuple):
    """What a model answers to a set of inputs.

    Attributes
    ----------
    logits : array of shape (N, C)
    features : array of shape (N, D), or None
        What the last layer is applied to, of a :class:`SplitModel`.
    labels : integer array of shape (N,), or None
        As the loader gave them; None if a batch has none.
    """

    logits: np.ndarray
    features: np.ndarray | None = None
    labels: np.ndarray | None = None


class SplitModel(nn.Module):
    """A model of two parts: ``features(inputs)`` gives (B, D), ``classifier(features)`` gives logits (B, C).

    Other modules may have parts of these names that do not fit together, such as torchvision's DenseNet.
    """

    classifier: nn.Module

    def features(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.features(inputs))


def run_model(model: Callable[..., Any], data: Any, wrap: Callable[[Iterable], Iterable] = iter) -> Outputs:
    """Logits, features and labels of a set of inputs, computed in evaluation mode and without gradients.

    Parameters
    ----------
    model : callable
        Inputs to logits (B, C). A module is called in evaluation mode and on its own device.
    data : array or tensor (N, ...), or iterable of batches
        A batch is a tensor, a pair (inputs, labels) or a dict, as Hugging Face and OpenOOD have them.
    wrap : callable
        Applied to the iterable of batches; a progress bar.

    Raises
    ------
    ValueError
        If there are no inputs, or the logits are not of shape (B, C).
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    device = next(parameters, torch.zeros(0)).device
    parts: list[list[np.ndarray]] = [[], [], []]
    with evaluating(model), torch.inference_mode():
        for batch in wrap(_batches(data)):
            inputs, labels = _unpack(batch)
            inputs = inputs.to(device)
            features = None
            if isinstance(model, SplitModel):
                features = model.features(inputs)
                logits = model.classifier(features)
            else:
                logits = model(inputs)
                logits = getattr(logits, "logits", logits)  # Hugging Face
            if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(inputs):
                shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ValueError(
                    f"the model must give logits (B, C) for a batch, got {shape} for inputs {tuple(inputs.shape)}; "
                    "a single image needs a batch dimension, image[None]"
                )
            parts[0].append(logits.float().cpu().numpy())
            if features is not None:
                parts[1].append(features.float().cpu().numpy())
            if labels is not None:
                parts[2].append(labels)
    if not parts[0]:
        raise ValueError("there are no inputs to run the model on")
    if len(parts[2]) < len(parts[0]):
        parts[2] = []  # labels of some batches would be those of other rows
    joined = [np.concatenate(part) if part else None for part in parts]
    return Outputs(*joined)  # type: ignore[arg-type]


def _batches(data: Any) -> Iterable:
    if isinstance(data, (Tensor, np.ndarray)):
        return torch.as_tensor(data).split(BATCH_SIZE)
    if hasattr(data, "split") and hasattr(data, "shape"):  # data.LazySubset
        return data.split(BATCH_SIZE)
    return data


def _unpack(batch: Any) -> tuple[Tensor, np.ndarray | None]:
    """The inputs and, where there are any, the labels of a batch."""
    if isinstance(batch, Mapping):
        inputs = next((batch[key] for key in INPUT_KEYS if key in batch), None)
        labels = next((batch[key] for key in LABEL_KEYS if key in batch), None)
    elif isinstance(batch, (tuple, list)):
        inputs, labels = batch[0], batch[1] if len(batch) > 1 else None
    else:
        inputs, labels = batch, None
    if inputs is None:
        raise ValueError(f"a batch needs one of the keys {', '.join(INPUT_KEYS)}; got {', '.join(map(str, batch))}")
    return torch.as_tensor(inputs), None if labels is None else torch.as_tensor(labels).cpu().numpy()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Hold a module in evaluation mode, and leave it as it was."""
    training = [module for module in model.modules() if module.training] if isinstance(model, nn.Module) else []
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
