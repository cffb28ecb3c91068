"""Scores: from logits (N, C) to one number per image, always higher = more in-distribution.

Every function takes torch or numpy and gives the same kind back, in float32 at least. z are the logits, p =
softmax(z). `odin` and `gradnorm` need the model, because they need gradients; `mahalanobis` and `knn` are
fitted to the features of the training set.
"""

import functools

import numpy as np
import torch
from torch.func import functional_call, grad, vmap

LARGEST_HALF = float(np.finfo(np.float16).max)  # 65504
_BATCH = 256  # images at a time in odin and gradnorm, which keep gradients
_ROWS = 1024  # features at a time, each compared with the whole training set


def at_least_float32(x):
    """The tensor, in float32 where it was less precise.

    >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def smallest_float(values):
    """float16 where it can hold the array's values, else float32: LogitNorm leaves its logits' length free.

    >>> smallest_float(np.array([6e4])).__name__, smallest_float(np.array([7e4])).__name__
    ('float16', 'float32')
    """
    return np.float16 if np.abs(values).max() <= LARGEST_HALF else np.float32


def _of_logits(formula):
    """Let `formula`, written for float torch logits (N, C), also take numpy and half precision."""

    @functools.wraps(formula)
    def score(logits, **options):
        z = torch.as_tensor(logits)
        if z.dim() != 2 or z.shape[1] == 0:
            raise ValueError(f"logits must have the shape (N, C), got {tuple(z.shape)}")
        result = formula(at_least_float32(z), **options)
        return result.numpy() if isinstance(logits, np.ndarray) else result

    return score


@_of_logits
def msp(logits):
    """MSP, or MPS: max p, in 1/C..1 (Hendrycks & Gimpel, ICLR 2017).

    >>> msp(torch.tensor([[2.0, 2.0], [50.0, 0.0]]))
    tensor([0.5000, 1.0000])
    """
    return logits.softmax(1).amax(1)


@_of_logits
def max_logit(logits):
    """max z (Hendrycks et al., ICML 2022).

    >>> max_logit(np.array([[1.0, 3.0], [-2.0, -5.0]]))
    array([ 3., -2.])
    """
    return logits.amax(1)


@_of_logits
def energy(logits, temperature=1.0):
    """T logsumexp(z / T): *minus* the free energy (Liu et al., NeurIPS 2020). T must be positive.

    >>> energy(torch.zeros(1, 4)).exp()
    tensor([4.])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return temperature * (logits / temperature).logsumexp(1)


@_of_logits
def entropy(logits):
    """ES, the entropic score: sum p log p, *minus* the entropy, in -log C..0 (Macedo et al., IJCNN 2021).

    >>> entropy(torch.zeros(1, 4)), entropy(torch.tensor([[1e4, 0.0]]))
    (tensor([-1.3863]), tensor([0.]))
    """
    log_p = logits.log_softmax(1)  # finite where p underflows to 0
    return (log_p.exp() * log_p).sum(1)


@_of_logits
def min_distance(logits):
    """MDS, for heads where z = -distance: max z, minus the distance to the nearest prototype
    (arXiv:2105.14399).

    >>> min_distance(torch.tensor([[-0.5, -1.5]]))
    tensor([-0.5000])
    """
    return logits.amax(1)


@_of_logits
def mmls(logits):
    """MMLS, the max-mean logit score: max z + mean z (arXiv:2205.05874).

    >>> mmls(torch.tensor([[1.0, 3.0]]))
    tensor([5.])
    """
    return logits.amax(1) + logits.mean(1)


@_of_logits
def mmles(logits):
    """MMLES, the max-mean logit entropy score: max z + mean z + sum p log p (arXiv:2205.05874).

    >>> bool(mmles(torch.tensor([[1.0, 3.0]])) < mmls(torch.tensor([[1.0, 3.0]])))
    True
    """
    return mmls(logits) + entropy(logits)


@_of_logits
def mmleps(logits):
    """MMLEPS, the max-mean logit entropy probability score: MMLES + max p (arXiv:2205.05874).

    >>> mmleps(torch.zeros(1, 1))
    tensor([1.])
    """
    return mmles(logits) + msp(logits)


SCORES = {f.__name__: f for f in (msp, max_logit, energy, entropy, min_distance, mmls, mmles, mmleps)}


def score(name):
    """The score function of that name.

    >>> score("msp") is msp
    True
    """
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}; known: {', '.join(SCORES)}")
    return SCORES[name]


def _in_batches(model, images, of_batch):
    """Scores (N,) of `images`, on their device; the model is in evaluation mode meanwhile."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        parts = [of_batch(batch.to(device).float()) for batch in images.split(_BATCH)]
    finally:
        model.train(training)
    return torch.cat(parts).to(images.device)


def odin(model, images, temperature=1000.0, step=0.0014):
    """ODIN (Liang et al., ICLR 2018): MSP at a high temperature, after a small step that raises it.

    x' = x + step sign(grad_x log max softmax(z(x) / T)), score = max softmax(z(x') / T).
    `images` (N, C, H, W) have pixels in 0..255, and `step` is a fraction of that range.

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    >>> odin(model, torch.zeros(2, 1, 2, 2)).shape
    torch.Size([2])
    """

    def of_batch(x):
        with torch.enable_grad():
            x.requires_grad_()
            confidence = (model(x) / temperature).log_softmax(1).amax(1)
            (slope,) = torch.autograd.grad(confidence.sum(), x)
        with torch.no_grad():
            return msp(model(x + 255 * step * slope.sign()) / temperature)

    return _in_batches(model, images, of_batch)


def gradnorm(model, images):
    """GradNorm (Huang et al., NeurIPS 2021): L1 norm of the last layer's gradient of KL(uniform || p), per
    image.

    The last layer is `model.classifier`, its weight the (C, D) matrix; `model.features(images)` feeds it.
    For a linear layer the norm is norm1(features) * norm1(p - 1/C).
    """
    head = model.classifier
    name, weight = next((n, p.detach()) for n, p in head.named_parameters() if p.dim() == 2)

    def divergence(weight, feature):
        # KL(uniform || p) up to a constant, which has no gradient
        return -functional_call(head, {name: weight}, (feature[None],)).log_softmax(1).mean()

    def of_batch(x):
        with torch.no_grad():
            features = model.features(x)
        at_once = max(1, 2**26 // weight.numel())  # images, so that their gradients take 256 MB at most
        gradients = vmap(grad(divergence), in_dims=(None, 0), chunk_size=at_once)(weight, features)
        return gradients.abs().sum((1, 2))

    return _in_batches(model, images, of_batch)


def _features(*arrays):
    """Arrays (N, D) of features that belong together, as tensors."""
    tensors = [torch.as_tensor(array) for array in arrays]
    shapes = [tuple(x.shape) for x in tensors]
    if any(len(shape) != 2 for shape in shapes) or len({shape[1] for shape in shapes}) > 1:
        raise ValueError(f"features must have the shape (N, D), with the same D, got {shapes[0]} and {shapes[1]}")
    if not all(x.isfinite().all() for x in tensors):
        raise ValueError("features must be finite, but some are NaN or infinite")
    return tensors


def mahalanobis(train_features, train_labels, features):
    """Minus the squared Mahalanobis distance to the nearest class (Lee et al., NeurIPS 2018,
    arXiv:1807.03888).

    max_c -(f - m_c)^T S^+ (f - m_c), with the means m_c of the classes and the covariance that they share,
    S = 1/N sum (f - m_y)(f - m_y)^T, of train_features (N, D) with train_labels (N,). In float64. S^+ is the
    pseudo-inverse, as in the authors' code: directions in which the training features do not vary
    (eigenvalues below D eps of the largest) do not count, and nothing is shrunk.

    >>> train = torch.tensor([[0.0, 0.0], [2.0, 2.0], [9.0, 8.0], [7.0, 10.0]])
    >>> mahalanobis(train, torch.tensor([0, 0, 1, 1]), torch.tensor([[2.0, 1.0], [8.0, 7.0]]))
    tensor([-1., -4.], dtype=torch.float64)
    """
    train, x = (f.double() for f in _features(train_features, features))
    labels = torch.as_tensor(train_labels, device=train.device)
    if labels.shape != train.shape[:1] or labels.is_floating_point() or not len(labels):
        raise ValueError(
            f"train_labels must be integers, one for each of the {len(train)} training"
            f" features, got {labels.dtype} {tuple(labels.shape)}"
        )
    classes, labels = labels.unique(return_inverse=True)
    centre = train.mean(0)  # taken away first, lest features far from 0 lose their digits
    train, x = train - centre, x - centre
    sums = train.new_zeros(len(classes), train.shape[1]).index_add_(0, labels, train)
    means = sums / labels.bincount()[:, None]
    rest = train - means[labels]
    values, directions = torch.linalg.eigh(rest.T @ rest / len(rest))
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    whiten = directions[:, kept] / values[kept].sqrt()
    means = means @ whiten
    squares = torch.cat([torch.cdist(some @ whiten, means).amin(1) ** 2 for some in x.split(_ROWS)])
    return -squares.numpy() if isinstance(features, np.ndarray) else -squares


def knn(train_features, features, k=50):
    """Minus the distance to the k-th nearest training feature (Sun et al., ICML 2022, arXiv:2204.06507).

    -norm2(u - u_k), where all features are divided by their norm and u_k is the k-th nearest to u of the N
    training features; train_features (N, D), features (M, D). In float32 at least.

    >>> knn(torch.eye(3), torch.tensor([[5.0, 0.0, 0.0], [3.0, 4.0, 0.0]]), k=1)
    tensor([-0.0000, -0.6325])
    """
    train, x = _features(train_features, features)
    if not 1 <= k <= len(train):
        raise ValueError(f"k must be between 1 and the {len(train)} training features, got {k}")
    dtype = torch.promote_types(torch.promote_types(train.dtype, x.dtype), torch.float32)
    train, x = (torch.nn.functional.normalize(f.to(dtype)) for f in (train, x))
    parts = []
    for some in x.split(_ROWS):
        # The nearest has the largest product; its distance is then taken from the difference, which stays
        # exact where 2 - 2 cos would cancel.
        nearest = (some @ train.T).topk(k).indices[:, -1]
        parts.append(-(some - train[nearest]).norm(dim=1))
    distances = torch.cat(parts)
    return distances.numpy() if isinstance(features, np.ndarray) else distances
