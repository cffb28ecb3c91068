"""Scores: from logits z (N, C) to one number per image (N,), always higher = more in-distribution.

All functions take torch tensors or NumPy arrays and return the same kind, in float32 or float64; p = softmax(z).
``odin`` and ``gradnorm`` need the model, for its gradients; ``mahalanobis`` and ``knn`` need the features of the
training set. Wrong shapes and values raise ValueError.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from .beyond.logit_scores import BEYOND
from .engine.inference import evaluating
from .engine.inputs import check_features, score_of_logits

LARGEST_HALF = float(np.finfo(np.float16).max)  # 65504
_BATCH_SIZE = 256  # images at a time in odin and gradnorm, which hold gradients
_ROWS = 1024  # features at a time, each compared with the complete training set


def compact_float_dtype(values: np.ndarray) -> type:
    """Return float16 if it can hold the values, otherwise float32 (LogitNorm's logits may be very long).

    >>> compact_float_dtype(np.array([6e4])).__name__, compact_float_dtype(np.array([7e4])).__name__
    ('float16', 'float32')
    """
    return np.float16 if np.abs(values).max() <= LARGEST_HALF else np.float32


@score_of_logits
def msp(logits: Tensor) -> Tensor:
    """MSP, the maximum softmax probability (DisMax: MPS): max p, in 1/C..1 (Hendrycks & Gimpel, ICLR 2017).

    >>> msp(torch.tensor([[2.0, 2.0], [50.0, 0.0]]))
    tensor([0.5000, 1.0000])
    """
    return logits.softmax(1).amax(1)


@score_of_logits
def log_odds(logits: Tensor) -> Tensor:
    """Log-odds of MSP, log(p / (1 - p)) = max z - logsumexp of the others: ranks as MSP, where MSP itself rounds to 1.

    >>> log_odds(torch.tensor([[50.0, 0.0], [60.0, 0.0]]))
    tensor([50., 60.])
    """
    top, index = logits.max(1)
    return top - logits.scatter(1, index[:, None], -torch.inf).logsumexp(1)


@score_of_logits
def max_logit(logits: Tensor) -> Tensor:
    """Maximum logit: max z (Hendrycks et al., ICML 2022).

    >>> max_logit(np.array([[1.0, 3.0], [-2.0, -5.0]]))
    array([ 3., -2.])
    """
    return logits.amax(1)


@score_of_logits
def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Energy score: T logsumexp(z / T), *minus* the free energy, for T > 0 (Liu et al., NeurIPS 2020).

    >>> energy(torch.zeros(1, 4)).exp()
    tensor([4.])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return temperature * (logits / temperature).logsumexp(1)


@score_of_logits
def entropy(logits: Tensor) -> Tensor:
    """ES, the entropic score: sum p log p, *minus* the entropy, in -log C..0 nats (Macedo et al., IJCNN 2021).

    >>> entropy(torch.zeros(1, 4)), entropy(torch.tensor([[1e4, 0.0]]))
    (tensor([-1.3863]), tensor([0.]))
    """
    log_p = logits.log_softmax(1)  # finite where p underflows to 0
    return (log_p.exp() * log_p).sum(1)


@score_of_logits
def min_distance(logits: Tensor) -> Tensor:
    """MDS, the minimum distance score: max z, which is -min d for heads with z = -d (arXiv:2105.14399).

    >>> min_distance(torch.tensor([[-0.5, -1.5]]))
    tensor([-0.5000])
    """
    return logits.amax(1)


@score_of_logits
def mmls(logits: Tensor) -> Tensor:
    """MMLS, the max-mean logit score: max z + mean z (arXiv:2205.05874).

    >>> mmls(torch.tensor([[1.0, 3.0]]))
    tensor([5.])
    """
    return logits.amax(1) + logits.mean(1)


@score_of_logits
def mmles(logits: Tensor) -> Tensor:
    """MMLES, the max-mean logit entropy score: max z + mean z + sum p log p (arXiv:2205.05874).

    >>> bool(mmles(torch.tensor([[1.0, 3.0]])) < mmls(torch.tensor([[1.0, 3.0]])))
    True
    """
    return mmls(logits) + entropy(logits)


@score_of_logits
def mmleps(logits: Tensor) -> Tensor:
    """MMLEPS, the max-mean logit entropy probability score: MMLES + max p (arXiv:2205.05874).

    >>> mmleps(torch.zeros(1, 1))
    tensor([1.])
    """
    return mmles(logits) + msp(logits)


SCORES = {f.__name__: f for f in (msp, max_logit, energy, entropy, min_distance, mmls, mmles, mmleps)}


def score(name: str) -> Callable[..., Any]:
    """Return the function of that name in ``SCORES`` or ``BEYOND``; raise ValueError, with the known names, if none.

    >>> score("msp") is msp
    True
    """
    known = SCORES | BEYOND
    if name not in known:
        raise ValueError(f"unknown score {name!r}; known: {', '.join(known)}")
    return known[name]


def _check_model(function: str, model: nn.Module, images: Tensor, needs_features: bool = False) -> None:
    """Raise ValueError unless the arguments are a model and a batch of images."""
    needed = "a torch.nn.Module" + " with `features(images)` and a `classifier`" * needs_features
    if not isinstance(model, nn.Module) or (
        needs_features and not (hasattr(model, "features") and hasattr(model, "classifier"))
    ):
        raise ValueError(
            f"{function}(model, images) needs {needed}, such as models.Network, got {type(model).__name__}"
        )
    if not isinstance(images, Tensor) or images.dim() != 4:
        kind = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"{function}(model, images) needs a tensor of images (N, C, H, W), got {kind}")


def _in_batches(model: nn.Module, images: Tensor, score_batch: Callable[[Tensor], Tensor]) -> Tensor:
    """Score images batch by batch with the model in evaluation mode; return scores (N,) on the images' device."""
    device = next(model.parameters(), images).device
    with evaluating(model):
        batches = [score_batch(batch.to(device).float()) for batch in images.split(_BATCH_SIZE)]
    return torch.cat(batches).to(images.device)


def odin(model: nn.Module, images: Tensor, temperature: float = 1000.0, step: float = 0.0014) -> Tensor:
    """ODIN: MSP at a high temperature, after a small step that raises it (Liang et al., ICLR 2018).

    x' = x + step sign(grad_x log max softmax(z(x) / T)), score = max softmax(z(x') / T).

    Parameters
    ----------
    model : module
        Images to logits z (N, C); evaluated in evaluation mode.
    images : tensor of shape (N, C, H, W)
        Pixels in 0..255.
    temperature : float
        T.
    step : float
        A fraction of the pixel range; the default is the authors' example, they tune it for each network.

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    >>> odin(model, torch.zeros(2, 1, 2, 2)).shape
    torch.Size([2])
    """
    _check_model("odin", model, images)

    def score_batch(x):
        with torch.enable_grad():
            x.requires_grad_()
            confidence = (model(x) / temperature).log_softmax(1).amax(1)
            (slope,) = torch.autograd.grad(confidence.sum(), x)
        with torch.no_grad():
            return msp(model(x + 255 * step * slope.sign()) / temperature)

    return _in_batches(model, images, score_batch)


def gradnorm(model: Any, images: Tensor) -> Tensor:
    """GradNorm: L1 norm of each image's gradient of KL(uniform || p) in the last layer (Huang et al., NeurIPS 2021).

    For a linear layer the norm is norm1(features) * norm1(p - 1/C). Its use with distance heads is our extension.

    Parameters
    ----------
    model : module
        ``model.features(images)`` (N, D) feeds ``model.classifier``, whose weight is its only matrix (C, D).
    images : tensor of shape (N, C, H, W)
        Pixels in 0..255.

    Returns
    -------
    tensor of shape (N,)
        On the images' device.

    Raises
    ------
    ValueError
        If the model does not have these parts, or ``images`` is not a tensor of images.

    Examples
    --------
    >>> model = torch.nn.Module()
    >>> model.features, model.classifier = torch.nn.Flatten(), torch.nn.Linear(4, 3)
    >>> gradnorm(model, torch.zeros(2, 1, 2, 2))  # the gradient is a multiple of the features
    tensor([0., 0.])
    """
    _check_model("gradnorm", model, images, needs_features=True)
    head = model.classifier
    name, weight = next((n, p.detach()) for n, p in head.named_parameters() if p.dim() == 2)

    def divergence(weight, feature):
        # KL(uniform || p) up to a constant, which has no gradient
        return -functional_call(head, {name: weight}, (feature[None],)).log_softmax(1).mean()

    def score_batch(x):
        chunk_size = max(1, 2**26 // weight.numel())  # images whose gradients take 256 MB at most
        with torch.no_grad():  # grad computes its own all the same
            gradients = vmap(grad(divergence), in_dims=(None, 0), chunk_size=chunk_size)(weight, model.features(x))
            return gradients.abs().sum((1, 2))

    return _in_batches(model, images, score_batch)


def mahalanobis(train_features: Any, train_labels: Any, features: Any) -> Any:
    """Minus the squared Mahalanobis distance to the nearest class: max_c -(f - m_c)^T S^+ (f - m_c), in float64.

    m_c are the class means of the training features and S = 1/N sum (f - m_y)(f - m_y)^T their common covariance.
    S^+ is the pseudo-inverse, as in the authors' code: directions with an eigenvalue below D eps of the largest are
    ignored; there is no shrinkage. This is the last-layer part of Lee et al., NeurIPS 2018 (arXiv:1807.03888).

    Parameters
    ----------
    train_features : array of shape (N, D)
    train_labels : integer array of shape (N,)
    features : array of shape (M, D)

    >>> train = torch.tensor([[0.0, 0.0], [2.0, 2.0], [9.0, 8.0], [7.0, 10.0]])
    >>> mahalanobis(train, torch.tensor([0, 0, 1, 1]), torch.tensor([[2.0, 1.0], [8.0, 7.0]]))
    tensor([-1., -4.], dtype=torch.float64)
    """
    train, x = (f.double() for f in check_features(train_features, features))
    labels = torch.as_tensor(train_labels, device=train.device)
    if labels.shape != train.shape[:1] or labels.is_floating_point() or not len(labels):
        raise ValueError(
            f"train_labels must be integers, one for each of the {len(train)} training features, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    classes, labels = labels.unique(return_inverse=True)
    centre = train.mean(0)  # centre first, to avoid cancellation
    train, x = train - centre, x - centre
    sums = train.new_zeros(len(classes), train.shape[1]).index_add_(0, labels, train)
    means = sums / labels.bincount()[:, None]
    residuals = train - means[labels]
    values, directions = torch.linalg.eigh(residuals.T @ residuals / len(residuals))
    is_used = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    whiten = directions[:, is_used] / values[is_used].sqrt()
    means = means @ whiten
    squares = torch.cat([torch.cdist(chunk @ whiten, means).amin(1) ** 2 for chunk in x.split(_ROWS)])
    return -squares.numpy() if isinstance(features, np.ndarray) else -squares


def knn(train_features: Any, features: Any, k: int = 50) -> Any:
    """Minus the distance to the k-th nearest training feature: -norm2(u - u_k) (Sun et al., ICML 2022).

    u are features divided by their norm, and u_k is the k-th nearest to u of the training features.

    Parameters
    ----------
    train_features : array of shape (N, D)
    features : array of shape (M, D)
    k : int
        In 1..N.

    >>> knn(torch.eye(3), torch.tensor([[5.0, 0.0, 0.0], [3.0, 4.0, 0.0]]), k=1)
    tensor([-0.0000, -0.6325])
    """
    train, x = check_features(train_features, features)
    if not 1 <= k <= len(train):
        raise ValueError(f"k must be between 1 and the {len(train)} training features, got {k}")
    dtype = torch.promote_types(torch.promote_types(train.dtype, x.dtype), torch.float32)
    train, x = (torch.nn.functional.normalize(f.to(dtype)) for f in (train, x))
    chunks = []
    for chunk in x.split(_ROWS):
        # The nearest has the largest product. Its distance is computed from the difference, which is exact where
        # 2 - 2 cos would cancel.
        nearest = (chunk @ train.T).topk(k).indices[:, -1]
        chunks.append(-(chunk - train[nearest]).norm(dim=1))
    distances = torch.cat(chunks)
    return distances.numpy() if isinstance(features, np.ndarray) else distances
