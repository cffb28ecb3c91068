"""Scores of features f (N, D) since 2021, in float64; higher = more in-distribution.

Training features are those of the network in evaluation mode on the training split. ``head`` is the network's last
layer, z = W f + b; scores that take it need a linear one and refuse a distance head. Arrays may be tensors or NumPy
arrays; the result is a tensor or array like ``features``. Shapes and values that do not fit raise ValueError.

>>> train, labels, head = torch.rand(9, 4), torch.arange(9) % 3, nn.Linear(4, 3)
>>> {name: score(train, labels, head, train[:2]).shape for name, score in FEATURE_SCORES.items()}["vim"]
torch.Size([2])
"""

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import scores
from ..engine.inputs import check_features
from .norm_losses import T2FNormHead, boundary_distances

REACT_PERCENTILE = 90  # of all training activations; the authors' and OpenOOD's
SHAPING_PERCENTILE = 65  # of an image's activations, in SCALE and ASH-S; OpenOOD's, which tunes it from 65 to 95
NCI_ALPHA = 0.001  # of the feature norm; the smallest but 0 of OpenOOD's grid
NECO_VARIANCE = 0.9  # share of the variance that the principal directions explain; the authors'


def linear_layer(head: nn.Module) -> tuple[Tensor, Tensor]:
    """W (C, D) and b (C,) of a linear classifier in float64; raise ValueError for another head.

    >>> [tuple(x.shape) for x in linear_layer(nn.Linear(4, 3, bias=False))]
    [(3, 4), (3,)]
    """
    if not isinstance(head, nn.Linear):
        raise ValueError(f"this score needs a linear classifier, and {type(head).__name__} computes distances")
    w = head.weight.detach().double() / (head.temperature if isinstance(head, T2FNormHead) else 1)
    return w, w.new_zeros(len(w)) if head.bias is None else head.bias.detach().double()


def _score_of_features(formula: Callable[..., Tensor]) -> Callable[..., Any]:
    """Let a formula for float64 tensors (train, labels, head, features) take any arrays and any device."""

    @wraps(formula)
    def score(train_features, train_labels, head, features, **options):
        train, x = (f.double() for f in check_features(train_features, features))
        if isinstance(head, nn.Module) and any(p.device != x.device for p in head.parameters()):
            head = copy.deepcopy(head).to(x.device)  # a copy: the user's network stays where it is
        result = formula(train, torch.as_tensor(train_labels), head, x, **options)
        return result.numpy() if isinstance(features, np.ndarray) else result

    return score


@_score_of_features
def react(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor, percentile: float = REACT_PERCENTILE) -> Tensor:
    r"""ReAct: energy of clipped features (Sun et al., NeurIPS 2021, arXiv:2111.12797).

    .. math:: \log\sum_c e^{z_c}, \qquad z = W \min(f, q) + b

    where q is the ``percentile`` of all training activations.
    """
    w, b = linear_layer(head)
    limit = np.percentile(train.cpu().numpy(), percentile)
    return (x.clamp_max(limit) @ w.T + b).logsumexp(1)


def _kept(x: Tensor, percentile: float) -> Tensor:
    """The largest activations of each row (N, k); the others, ``percentile`` of a hundred, are left out."""
    count = x.shape[1]
    return x.topk(count - round(count * percentile / 100)).values


@_score_of_features
def scale(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor, percentile: float = SHAPING_PERCENTILE) -> Tensor:
    r"""SCALE: energy of stretched features (Xu et al., ICLR 2024, arXiv:2310.00227).

    .. math:: \log\sum_c e^{z_c}, \qquad z = W f e^{s_1 / s_2} + b

    where s_1 is the sum of an image's activations and s_2 that of those above its ``percentile``. The formula is for
    networks with ReLU: a negative activation, as GELU gives, is 0 in the sums, which could be near 0 otherwise.
    """
    w, b = linear_layer(head)
    return ((x * _stretch(x, _kept(x, percentile))) @ w.T + b).logsumexp(1)


def _stretch(x: Tensor, kept: Tensor) -> Tensor:
    """exp(s_1 / s_2) of each row (N, 1)."""
    s1, s2 = (values.clamp_min(0).sum(1, keepdim=True) for values in (x, kept))
    return (s1 / s2.where(s2 > 0, 1)).exp()


@_score_of_features
def ash_s(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor, percentile: float = SHAPING_PERCENTILE) -> Tensor:
    """ASH-S: as SCALE, but activations below the percentile become 0 (Djurisic et al., ICLR 2023, arXiv:2209.09858)."""
    w, b = linear_layer(head)
    kept = _kept(x, percentile)
    pruned = torch.zeros_like(x).scatter_(1, x.topk(kept.shape[1]).indices, kept)
    return ((pruned * _stretch(x, kept)) @ w.T + b).logsumexp(1)


@_score_of_features
def fdbd(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor) -> Tensor:
    r"""fDBD: mean distance to the decision boundaries over that to the training mean (Liu and Qin, ICML 2024).

    .. math:: \frac{1}{C - 1} \sum_{c \ne \hat y} \frac{|z_c - z_{\hat y}|}{\lVert w_c - w_{\hat y} \rVert_2}
        \Big/ \lVert f - \mu \rVert_2

    The authors sum over the classes, which orders alike (arXiv:2312.11536). The numerator is ELogitNorm's divisor.
    """
    w, b = linear_layer(head)
    distance = boundary_distances(x @ w.T + b, w).sum(1) / (len(w) - 1)
    return distance / (x - train.mean(0)).norm(dim=1)


@_score_of_features
def nci(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor, alpha: float = NCI_ALPHA) -> Tensor:
    r"""NCI: projection of the class weight on the centred feature, plus a feature norm (Liu and Qin, CVPR 2025).

    .. math:: w_{\hat y}^\top \frac{f - \mu}{\lVert f - \mu \rVert_2} + \alpha \lVert f \rVert_1

    The authors tune alpha for each network (arXiv:2311.01479).
    """
    w, b = linear_layer(head)
    predicted = w[(x @ w.T + b).argmax(1)]
    return (predicted * F.normalize(x - train.mean(0))).sum(1) + alpha * x.abs().sum(1)


@_score_of_features
def vim(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor, dimension: int | None = None) -> Tensor:
    r"""ViM: energy minus a virtual logit, the part of the feature outside the principal space (Wang et al., CVPR 2022).

    .. math:: \log\sum_c e^{z_c} - \alpha \lVert N^\top (f - u) \rVert_2, \qquad u = -W^+ b

    N are the minor directions of the training features around u, all but ``dimension`` (half of D by default), and
    alpha makes the mean virtual logit of the training features that of their largest logits (arXiv:2203.10807).
    """
    w, b = linear_layer(head)
    origin = -torch.linalg.pinv(w) @ b
    centred = train - origin
    _, directions = torch.linalg.eigh(centred.T @ centred / len(train))  # eigenvalues ascend
    minor = directions[:, : train.shape[1] - (dimension or train.shape[1] // 2)]
    alpha = (train @ w.T + b).amax(1).mean() / (centred @ minor).norm(dim=1).mean()
    return (x @ w.T + b).logsumexp(1) - alpha * ((x - origin) @ minor).norm(dim=1)


@_score_of_features
def neco(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor, variance: float = NECO_VARIANCE) -> Tensor:
    r"""NECO: share of the standardised feature's norm in the principal space, times the largest logit.

    .. math:: \frac{\lVert P^\top g \rVert_2}{\lVert g \rVert_2} \max_c z_c, \qquad g = (f - \mu) / \sigma

    P are the first principal directions that together explain ``variance`` of the training features (Ben Ammar et al.,
    ICLR 2024, arXiv:2310.06823).
    """
    w, b = linear_layer(head)
    mean, deviation = train.mean(0), train.std(0, correction=0)
    train, g = ((f - mean) / deviation.where(deviation > 0, 1) for f in (train, x))
    values, directions = torch.linalg.eigh(train.T @ train / len(train))
    share = values.flip(0).cumsum(0) / values.sum()
    principal = directions.flip(1)[:, : int((share < variance).sum()) + 1]
    return (g @ principal).norm(dim=1) / g.norm(dim=1) * (x @ w.T + b).amax(1)


@_score_of_features
def max_cosine(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor) -> Tensor:
    """MaxCosine: the largest cosine between the feature and a class weight (Zhang and Xiang, CVPR 2023)."""
    w, _ = linear_layer(head)
    return (F.normalize(x) @ F.normalize(w).T).amax(1)


@_score_of_features
def feature_norm(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor) -> Tensor:
    """MaxNorm: the 2-norm of the feature (Zhang and Xiang, CVPR 2023); needs neither head nor training features."""
    return x.norm(dim=1)


@_score_of_features
def mahalanobis_pp(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor) -> Tensor:
    """Mahalanobis++: ``scores.mahalanobis`` of features divided by their norm (Mueller and Hein, ICML 2025)."""
    return scores.mahalanobis(F.normalize(train), labels, F.normalize(x))


@_score_of_features
def relative_mahalanobis(train: Tensor, labels: Tensor, head: nn.Module, x: Tensor) -> Tensor:
    """Mahalanobis distance to the nearest class, less that to one Gaussian of all classes (Ren et al., 2021).

    Both are squared and negated, as ``scores.mahalanobis`` (arXiv:2106.09022).
    """
    background = scores.mahalanobis(train, torch.zeros_like(labels), x)
    return scores.mahalanobis(train, labels, x) - background


def _mahalanobis(train: Any, labels: Any, head: Any, features: Any) -> Any:
    return scores.mahalanobis(train, labels, features)


def _knn(train: Any, labels: Any, head: Any, features: Any) -> Any:
    return scores.knn(train, features, k=min(50, len(train)))


_FORMULAS = (react, scale, ash_s, fdbd, nci, vim, neco, max_cosine, feature_norm, mahalanobis_pp, relative_mahalanobis)
FEATURE_SCORES = {"mahalanobis": _mahalanobis, "knn": _knn} | {f.__name__: f for f in _FORMULAS}
OF_FEATURES_ALONE = ("mahalanobis", "knn", "feature_norm", "mahalanobis_pp", "relative_mahalanobis")  # of any head
