"""Split an image classifier of any library into features and a linear classifier."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.inference import SplitModel


class Wrapped(SplitModel):
    """An image classifier as ``features(images)`` and ``classifier``; made by :func:`wrap`.

    Attributes
    ----------
    model : nn.Module
    layer : str
        Name of the model's last layer.
    """

    model: Any  # a module, with the methods of its library

    def __init__(self, model: nn.Module, layer: str, transform: Callable[..., Any] | None):
        super().__init__()
        self.model, self.layer, self.given_transform = model, layer, transform

    @property
    def classifier(self) -> nn.Module:  # type: ignore[override]
        """The last layer, features (B, D) to logits (B, C)."""
        return self.model.get_submodule(self.layer)

    @property
    def transform(self) -> Callable[..., Any]:
        """The preprocessing from a PIL image to the tensor (channels, H, W) that the model takes."""
        if self.given_transform is not None:
            return self.given_transform
        if _is_timm(self.model):
            from timm.data import create_transform, resolve_model_data_config

            return create_transform(**resolve_model_data_config(self.model))
        raise ValueError(
            f"reading image files for {type(self.model).__name__} needs its preprocessing: "
            "wrap(model, transform=weights.transforms()) with torchvision, "
            "wrap(model, transform=AutoImageProcessor.from_pretrained(...)) with Hugging Face"
        )

    def features(self, inputs: Tensor) -> Tensor:
        """Features (B, D), what the last layer is applied to."""
        if _is_timm(self.model):
            return self.model.forward_head(self.model.forward_features(inputs), pre_logits=True)
        seen: list[tuple[Tensor, Tensor]] = []
        hook = self.classifier.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
        try:
            output = self.model(inputs)
        finally:
            hook.remove()
        logits = getattr(output, "logits", output)  # Hugging Face
        if len(seen) != 1 or seen[0][0].dim() != 2 or not torch.equal(seen[0][1], logits):
            raise ValueError(
                f"the logits of {type(self.model).__name__} are not what its layer {self.layer!r} gives for features "
                "(B, D); name its last layer, as wrap(model, layer='head')"
            )
        return seen[0][0]


def wrap(model: nn.Module, layer: str | None = None, transform: Callable[..., Any] | None = None) -> Any:
    """Split an image classifier into features and a linear classifier.

    A timm model is split by its own methods (``forward_features`` and ``forward_head``). Of any other model, such as
    those of torchvision and Hugging Face, a forward hook takes what enters its last linear layer.

    Parameters
    ----------
    model : nn.Module
        Images to logits (B, C), or to an output with ``logits``.
    layer : str, optional
        Name of the last layer, as in ``model.named_modules()``; by default the last linear one.
    transform : callable, optional
        Preprocessing from a PIL image to a tensor, for :func:`collect` of folders. A timm model knows its own.

    Returns
    -------
    Wrapped
        A module, images to logits. A network of this package is returned as it is.

    Raises
    ------
    ValueError
        If there is no such layer, or the last layer is not linear.

    Examples
    --------
    >>> model = wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)))
    >>> features = model.features(torch.rand(2, 3, 2, 2))
    >>> features.shape, model.classifier(features).shape
    (torch.Size([2, 8]), torch.Size([2, 3]))
    """
    if isinstance(model, SplitModel):
        return model
    if not isinstance(model, nn.Module):
        raise ValueError(f"wrap takes a torch.nn.Module, not {type(model).__name__}")
    name, modules = type(model).__name__, dict(model.named_modules())
    if layer is None:
        layer = _last_layer(model, modules)
    elif layer not in modules:
        known = [key for key, module in modules.items() if isinstance(module, nn.Linear)]
        raise ValueError(f"{name} has no layer {layer!r}; its linear layers are {', '.join(known) or 'none'}")
    if not isinstance(modules[layer], nn.Linear):
        raise ValueError(
            f"the last layer of {name}, {layer!r}, is {type(modules[layer]).__name__} and not linear: scores of "
            "features do not apply; scores of logits do, as Detector(model)"
        )
    return Wrapped(model, layer, transform)


def _is_timm(model: nn.Module) -> bool:
    return all(hasattr(model, name) for name in ("forward_features", "forward_head", "get_classifier"))


def _last_layer(model: Any, modules: dict[str, nn.Module]) -> str:
    """Name of the layer that gives the logits: timm's classifier, otherwise the last layer with weights."""
    if _is_timm(model):
        classifier = model.get_classifier()
        return next((name for name, module in modules.items() if module is classifier), "")
    weighted = [name for name, module in modules.items() if list(module.parameters(recurse=False))]
    if not weighted:
        raise ValueError(f"{type(model).__name__} has no layer with weights")
    return weighted[-1]
