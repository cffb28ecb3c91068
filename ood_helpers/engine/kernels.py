"""Fast kernels behind plain names; each docstring gives the plain formula that it computes.

``losses``, ``metrics`` and ``models`` use them. ``tests/core/test_kernels.py`` compares each kernel with its formula.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

CHUNK_SIZE = 1 << 18  # scores processed at a time, so that temporaries stay in the cache


class NormalizeRowsFunction(torch.autograd.Function):
    """Forward and backward of :func:`normalize_rows`; the inverse norm is saved for the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        inverse_norm = 1 / norm.where(norm > 1e-12, torch.inf)
        return x * inverse_norm, inverse_norm

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx, grad, grad_inverse_norm):
        direction, inverse_norm = ctx.saved_tensors
        radial = torch.linalg.vecdot(grad, direction)[:, None] + inverse_norm * grad_inverse_norm
        return torch.addcmul(grad, direction, radial, value=-1).mul_(inverse_norm)


def normalize_rows(x: torch.Tensor) -> torch.Tensor:
    """Divide each row by its Euclidean norm: ``x / norm2(x)``, as ``F.normalize(x)`` but with fewer passes.

    A row of zeros stays 0 and gets the gradient 0; ``F.normalize`` would multiply its gradient by 1e12.

    Parameters
    ----------
    x : tensor of shape (N, D)

    Returns
    -------
    tensor of shape (N, D)

    Examples
    --------
    >>> normalize_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return NormalizeRowsFunction.apply(x)[0]


class PairwiseDistancesFunction(torch.autograd.Function):
    """Forward and backward of :func:`pairwise_distances`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, w):
        squares = torch.addmm((w * w).sum(1), x, w.t(), alpha=-2)
        squares += (x * x).sum(1, keepdim=True)
        nearest = squares.argmin(1)
        exact = torch.linalg.vector_norm(x - w[nearest], dim=1, keepdim=True)
        return squares.clamp_min(1e-12).sqrt_().scatter(1, nearest[:, None], exact), nearest

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx, grad, _):
        # d|x - w| / dx = (x - w) / |x - w|
        x, w, distances, nearest = ctx.saved_tensors
        weight = grad / distances
        nearest_weight = weight.gather(1, nearest[:, None])
        is_apart = distances.gather(1, nearest[:, None]) > 0
        nearest_grad = nearest_weight.where(is_apart, 0) * (x - w[nearest])
        weight = weight.scatter(1, nearest[:, None], 0)  # one index per row, so the result is deterministic
        grad_x = torch.addmm(nearest_grad + x * weight.sum(1, keepdim=True), weight, w, alpha=-1)
        grad_w = torch.addmm(w * weight.sum(0)[:, None], weight.t(), x, alpha=-1)
        return grad_x, grad_w.index_add_(0, nearest, nearest_grad, alpha=-1)


def pairwise_distances(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Euclidean distances ``norm2(x_i - w_j)``, as ``torch.cdist(x, w)``.

    ``|x - w|^2 = |x|^2 + |w|^2 - 2 x.w`` needs a single matrix product, but cancels where x is close to w: at a
    distance of 0.003 a float32 gradient is 1 % off, at 0.0003 it is noise, and with TF32 much earlier. Therefore the
    nearest row of w is computed from the difference, forward and backward. The gradient at distance 0 is 0.

    Parameters
    ----------
    x : tensor of shape (B, D)
    w : tensor of shape (C, D)

    Returns
    -------
    tensor of shape (B, C)

    Examples
    --------
    >>> pairwise_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[5., 0.]])
    """
    return PairwiseDistancesFunction.apply(x, w)[0]


class DropoutFunction(torch.autograd.Function):
    """Forward and backward of :class:`Dropout` on the CPU; ``cut / 2^16`` is the probability of a zero."""

    @staticmethod
    def forward(ctx, x, cut):
        # One 64-bit draw of NumPy's fastest generator, seeded by torch's, decides four elements: the element-wise
        # draws of torch's CPU dropout take half of a wide network's time. The probability is a multiple of 2^-16,
        # and the scale is computed from that multiple, so the mean is exact.
        source = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, ()))))
        draws = source.integers(-(2**63), 2**63, -(-x.numel() // 4))
        bits = torch.from_numpy(draws).view(torch.int16)[: x.numel()]
        scale = torch.tensor(2**16 / (2**16 - cut), dtype=x.dtype)
        mask = bits.ge_(cut - 2**15)  # 0 or 1
        # For 16-bit floats, multiply the scale's bits in place: allocating a tensor costs more than the product.
        mask = mask.mul_(scale.view(torch.int16)).view(x.dtype) if x.element_size() == 2 else mask * scale
        mask = mask.as_strided(x.shape, x.stride())
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


class Dropout(nn.Dropout):
    """``x * Bernoulli(1 - p) / (1 - p)`` in training, ``x`` in evaluation, as ``nn.Dropout``.

    On the CPU it takes an eighth of the time of ``nn.Dropout``: the same distribution, other random draws.

    Parameters
    ----------
    p : float, default 0.5
        Probability of a zero; on the CPU rounded to a multiple of 2^-16.

    Examples
    --------
    >>> Dropout(0.5)(torch.ones(1000)).unique()
    tensor([0., 2.])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p or x.device.type != "cpu":
            return super().forward(x)
        return DropoutFunction.apply(x, round(self.p * 2**16))


def _descending_float32_keys(scores):
    """Sorted uint32 keys with the order of float32 scores reversed: the smallest key is the highest score."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    # The bits of negative floats already grow as the value falls; for the others, flip the magnitude.
    np.bitwise_xor(bits, np.uint32(0x7FFFFFFF), out=bits, where=bits < 0x80000000)
    bits.sort()
    return bits


def _labelled_keys(id_scores, ood_scores):
    """One uint64 key per score, sorted from the highest score to the lowest.

    Bits 1 and up are equal for equal scores; bit 0 is 1 for ID. ID and OOD are sorted separately, in half the bytes,
    then merged by a stable sort, which detects the two sorted runs. A float64 score does not fit beside its label,
    so its rank takes its place.
    """
    n = len(id_scores)
    if np.float64 in (id_scores.dtype, ood_scores.dtype):
        scores = np.concatenate([id_scores, ood_scores], dtype=np.float64)
        np.negative(scores, out=scores)
        scores[:n].sort()
        scores[n:].sort()
        order = np.argsort(scores, kind="stable")
        scores, is_id = scores[order], order < n
        keys = order.view(np.uint64)  # reuse the memory
        keys[0] = 0
        np.cumsum(scores[1:] != scores[:-1], out=keys[1:])
        np.left_shift(keys, 1, out=keys)
        keys |= is_id
        return keys
    keys = np.concatenate([_descending_float32_keys(id_scores), _descending_float32_keys(ood_scores)], dtype=np.uint64)
    np.left_shift(keys, 1, out=keys)
    keys[:n] |= np.uint64(1)
    keys.sort(kind="stable")
    return keys


def operating_points(id_scores: np.ndarray, ood_scores: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Count accepted ID and OOD scores at every distinct threshold, from the highest to the lowest.

    ``tp_i = sum(id_scores >= t_i)`` and ``fp_i = sum(ood_scores >= t_i)``, where t_1 > t_2 > ... are the distinct
    scores, preceded by ``tp_0 = fp_0 = 0``.

    Parameters
    ----------
    id_scores, ood_scores : arrays of shape (N,) and (M,)
        Non-empty, without NaN, of dtype float16, float32 or float64.

    Yields
    ------
    tp, fp : int64 arrays
        Consecutive points. Each chunk begins with the last point of the chunk before it, the first with (0, 0),
        so that ``np.diff`` within the chunks misses nothing.

    Examples
    --------
    >>> [(tp, fp)] = operating_points(np.array([3.0, 2.0]), np.array([2.0, 1.0]))
    >>> tp.tolist(), fp.tolist()
    ([0, 1, 2, 2], [0, 0, 1, 2])
    """
    keys = _labelled_keys(id_scores, ood_scores)
    seen, tp, fp = 0, np.zeros(1, np.int64), np.zeros(1, np.int64)
    for start in range(0, len(keys), CHUNK_SIZE):
        chunk = keys[start : start + CHUNK_SIZE]
        id_count = seen + np.cumsum(chunk & np.uint64(1), dtype=np.int64)
        seen = id_count[-1]
        values = keys[start : start + CHUNK_SIZE + 1] >> np.uint64(1)
        last = np.flatnonzero(values[1:] != values[:-1])  # no threshold lies between equal scores
        if start + CHUNK_SIZE >= len(keys):
            last = np.append(last, len(chunk) - 1)
        tp = np.append(tp[-1:], id_count[last])
        fp = np.append(fp[-1:], start + 1 + last - id_count[last])
        yield tp, fp
