"""Networks and scores of this package in OpenOOD, version 1.5."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import scores
from ..beyond.feature_scores import linear_layer
from .wrap import wrap


class OpenOODNet(nn.Module):
    """A network with the interface that OpenOOD's evaluator, postprocessors and networks expect of theirs.

    Parameters
    ----------
    model : Run or nn.Module
        A trained run, a network of this package, or a model for :func:`ood_helpers.bridges.wrap`.
    mean, std : sequences of float, optional
        Those of OpenOOD's preprocessor, per channel. With them, its standardisation is undone and images are given to
        the model in 0..255, as a network of this package takes them; without, images are given as they are.

    Examples
    --------
    >>> net = OpenOODNet(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    >>> logits, feature = net(torch.rand(2, 3, 2, 2), return_feature=True)
    >>> feature.shape, net.feature_size, net.get_fc()[0].shape
    (torch.Size([2, 12]), 12, (3, 12))
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, model: Any, mean: Sequence[float] | None = None, std: Sequence[float] | None = None):
        super().__init__()
        self.network = wrap(model.load_model() if hasattr(model, "load_model") else model).eval()
        self.fc, self.avgpool = self.network.classifier, nn.Identity()
        scale = 1.0 if mean is None else 255.0
        self.register_buffer("shift", scale * torch.tensor([0.0] if mean is None else list(mean))[:, None, None])
        self.register_buffer("scale", scale * torch.tensor([1.0] if std is None else list(std))[:, None, None])

    def intermediate_forward(self, x: Tensor, layer_index: int = 4) -> Tensor:
        """Features as maps (B, D, 1, 1): the last layer is the only one that there is."""
        return self.network.features(x * self.scale + self.shift)[:, :, None, None]

    def forward(self, x: Tensor, return_feature: bool = False, return_feature_list: bool = False) -> Any:
        maps = self.intermediate_forward(x)
        logits = self.fc(maps.flatten(1))
        return (logits, maps.flatten(1)) if return_feature else (logits, [maps]) if return_feature_list else logits

    def forward_threshold(self, x: Tensor, threshold: float) -> Tensor:
        """Logits of features clipped at a threshold, for ReAct."""
        return self.fc(self.intermediate_forward(x).flatten(1).clip(max=threshold))

    @property
    def feature_size(self) -> int:
        return self.get_fc_layer().in_features

    def get_fc_layer(self) -> nn.Linear:
        """The last layer; raises ValueError if it is not linear."""
        if not isinstance(self.fc, nn.Linear):
            raise ValueError(f"{type(self.fc).__name__} is not a linear classifier: this postprocessor does not apply")
        return self.fc

    def get_fc(self) -> tuple[np.ndarray, np.ndarray]:
        """W (C, D) and b (C,) of the last layer, z = W f + b."""
        weight, bias = linear_layer(self.get_fc_layer())
        return weight.float().cpu().numpy(), bias.float().cpu().numpy()


def openood_postprocessor(score: str | Callable[..., Any] = "msp") -> Any:
    """A score of logits as an OpenOOD postprocessor, whose scores are higher = more in-distribution as well.

    Give it to OpenOOD's evaluator, as ``Evaluator(net, ..., postprocessor=openood_postprocessor("mmles"))``. OpenOOD
    must be installed from its repository.

    Parameters
    ----------
    score : str or callable
        See :func:`ood_helpers.scores.score`; or a function of logits (N, C).
    """
    from openood.postprocessors.base_postprocessor import BasePostprocessor

    function = score if callable(score) else scores.score(score)

    class Score(BasePostprocessor):
        """Predicted classes and scores of logits; nothing is fitted or searched."""

        APS_mode = False

        @torch.no_grad()
        def postprocess(self, net: nn.Module, data: Tensor) -> tuple[Tensor, Tensor]:
            logits = net(data)
            return logits.argmax(1), function(logits)

    return Score(None)
