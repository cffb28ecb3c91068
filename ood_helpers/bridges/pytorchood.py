"""Networks and scores of this package in pytorch-ood, version 0.4 and later."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from .. import scores
from ..beyond.feature_scores import linear_layer
from ..engine.extras import needs
from ..engine.inference import SplitModel
from .wrap import wrap


class PytorchOOD(NamedTuple):
    """What pytorch-ood's detectors take; made by :func:`pytorch_ood`.

    Attributes
    ----------
    model : nn.Module
        Images to logits, for ``MaxSoftmax(model)`` and other detectors of logits.
    encoder : callable
        Images to features (B, D), for ``KNN(encoder)``.
    head : nn.Module
        Features to logits, for ``fDBD(encoder, head)``.
    maps : callable
        Images to features (B, D, 1, 1), the ``backbone`` of ``ReAct(maps, maps_head)``.
    maps_head : callable
        Those features to logits.
    """

    model: nn.Module
    encoder: Callable[[Tensor], Tensor]
    head: nn.Module
    maps: Callable[[Tensor], Tensor]
    maps_head: Callable[[Tensor], Tensor]

    @property
    def weight_and_bias(self) -> tuple[Tensor, Tensor]:
        """W (C, D) and b (C,) for ``ViM`` and ``DICE``; raises ValueError if the head is not linear."""
        weight, bias = linear_layer(self.head)
        return weight.float(), bias.float()

    def detector(self, score: str | Callable[..., Any] = "msp") -> Any:
        """A pytorch-ood detector of one of our scores of logits, with that library's sign: higher = more OOD."""
        with needs("bridges"):
            from pytorch_ood.api import LogitsDetector

        function = score if callable(score) else scores.score(score)

        class Score(LogitsDetector):
            """Minus a score of this package, since outlier scores are higher for OOD."""

            def __init__(self, model: nn.Module):
                self.model = model

            def predict_logits(self, logits: Tensor) -> Tensor:
                return -function(logits)

        Score.__name__ = Score.__qualname__ = getattr(function, "__name__", "Score")
        return Score(self.model)


def pytorch_ood(model: Any, pixels: float = 1.0) -> PytorchOOD:
    """The parts of a network as pytorch-ood's detectors expect them, in evaluation mode.

    Parameters
    ----------
    model : Run or nn.Module
        A trained run, a network of this package, or a model for :func:`wrap`.
    pixels : float
        Inputs are multiplied by it: 255 for a run or network of this package that gets images in 0..1, as
        pytorch-ood's loaders give them.

    Examples
    --------
    >>> import torch
    >>> parts = pytorch_ood(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    >>> maps = parts.maps(torch.rand(2, 3, 2, 2))
    >>> maps.shape, parts.maps_head(maps).shape
    (torch.Size([2, 12, 1, 1]), torch.Size([2, 3]))
    """
    network = wrap(model.load_model() if hasattr(model, "load_model") else model).eval()
    scaled = _Scaled(network, pixels).eval()
    return PytorchOOD(
        scaled,
        scaled.features,
        network.classifier,
        lambda images: scaled.features(images)[:, :, None, None],
        lambda maps: network.classifier(maps.flatten(1)),
    )


class _Scaled(nn.Module):
    """A network whose inputs are multiplied by a number."""

    network: SplitModel

    def __init__(self, network: SplitModel, pixels: float):
        super().__init__()
        self.network, self.pixels = network, pixels

    def _inputs(self, images: Tensor) -> Tensor:
        return images if self.pixels == 1 else images.float() * self.pixels

    def features(self, images: Tensor) -> Tensor:
        return self.network.features(self._inputs(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self._inputs(images))
