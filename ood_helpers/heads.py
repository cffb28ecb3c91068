"""Heads whose logits are distances to prototypes: as fast as a matrix product, as exact as differences.

Features x (B, D), prototypes W (C, D), logits z (B, C); the temperature T is 1 until calibrated. Each head
takes the place of nn.Linear, as `model.classifier`, and computes in float32 at least, under autocast too.
"""

import math

import torch
from torch import nn

from . import scores
from .scores import at_least_float32


def positive(name, value):
    """The value; ValueError where it is not above 0.

    >>> positive("temperature", 0.5)
    0.5
    """
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


class _Unit(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        inverse = 1 / norm.where(norm > 1e-12, torch.inf)
        return x * inverse, inverse

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx, g, g_inverse):
        unit, inverse = ctx.saved_tensors
        along = torch.linalg.vecdot(g, unit)[:, None] + inverse * g_inverse
        return torch.addcmul(g, unit, along, value=-1).mul_(inverse)


def unit(x):
    """x (N, D) / norm2(x), in fewer passes than F.normalize.

    A zero row has no direction: it stays 0, and its gradient is 0 where F.normalize has 1e12.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return _Unit.apply(x)[0]


class _Pairwise(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, w):
        d = torch.addmm((w * w).sum(1), x, w.t(), alpha=-2)
        d += (x * x).sum(1, keepdim=True)
        nearest = d.argmin(1)
        exact = torch.linalg.vector_norm(x - w[nearest], dim=1, keepdim=True)
        return d.clamp_min(1e-12).sqrt_().scatter(1, nearest[:, None], exact), nearest

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx, g, _):
        x, w, d, nearest = ctx.saved_tensors
        pull = g / d
        to_nearest = pull.gather(1, nearest[:, None])
        near = to_nearest.where(d.gather(1, nearest[:, None]) > 0, 0) * (x - w[nearest])
        pull = pull.scatter(1, nearest[:, None], 0)  # one index per row: no two writes meet
        grad_x = torch.addmm(near + x * pull.sum(1, keepdim=True), pull, w, alpha=-1)
        grad_w = torch.addmm(w * pull.sum(0)[:, None], pull.t(), x, alpha=-1)
        return grad_x, grad_w.index_add_(0, nearest, near, alpha=-1)


def pairwise(x, w):
    """Euclidean distances (B, C) between the rows of x (B, D) and w (C, D).

    |x - w|^2 = |x|^2 + |w|^2 - 2 x.w needs one matrix product, but cancels where x is near w: at a distance
    of 0.003 a float32 gradient is 1 % wrong, at 0.0003 it is noise, and with TF32 it is far earlier. So the
    nearest row of w gets the exact difference, forward and backward; the others are further away. The
    gradient at distance 0 is 0.

    >>> pairwise(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[5., 0.]])
    """
    return _Pairwise.apply(x, w)[0]


class _DistanceHead(nn.Module):
    """What the three distance heads share: prototypes, temperature, and a forward in full precision."""

    def __init__(self, num_features, num_classes, temperature=1.0):
        super().__init__()
        self.num_features, self.num_classes = num_features, num_classes
        self.prototypes = nn.Parameter(torch.zeros(num_classes, num_features))
        self.register_buffer("temperature", torch.tensor([float(positive("temperature", temperature))]))

    def extra_repr(self):
        return f"num_features={self.num_features}, num_classes={self.num_classes}"

    def forward(self, features):
        if features.dim() != 2 or features.shape[1] != self.num_features:
            raise ValueError(f"features must be (B, {self.num_features}), got {tuple(features.shape)}")
        with torch.autocast(features.device.type, enabled=False):
            return self._logits(at_least_float32(features), at_least_float32(self.prototypes))


class IsoMaxLossFirstPart(_DistanceHead):
    """IsoMax's head: z = -norm2(x - W) / T, W starts at 0 (Macedo et al., IJCNN 2021).

    >>> head = IsoMaxLossFirstPart(num_features=2, num_classes=3)
    >>> head(torch.tensor([[3.0, 4.0]])).tolist()
    [[-5.0, -5.0, -5.0]]
    """

    def _logits(self, x, w):
        return pairwise(x, w) / -self.temperature


class IsoMaxPlusLossFirstPart(_DistanceHead):
    """IsoMax+'s head: z = -d / T, d = |s| norm2(x/norm2(x) - W/norm2(W)) (arXiv:2105.14399).

    s is learned from 1, W starts as N(0, 1).

    >>> head = IsoMaxPlusLossFirstPart(num_features=4, num_classes=3)
    >>> bool((head(torch.randn(2, 4)) >= -2).all())  # points of the unit sphere are at most 2 apart
    True
    """

    unit = 1.0  # the distance that counts as 1

    def __init__(self, num_features, num_classes, temperature=1.0):
        super().__init__(num_features, num_classes, temperature)
        nn.init.normal_(self.prototypes)
        self.distance_scale = nn.Parameter(torch.ones(1))

    def _logits(self, x, w):
        scale = self.distance_scale.abs() / (self.unit * self.temperature)
        return pairwise(unit(x), unit(w)) * -scale


class DisMaxLossFirstPart(IsoMaxPlusLossFirstPart):
    """DisMax's head: z = -(d + mean_c d) / T, d as in IsoMax+ but over sqrt 2 (arXiv:2205.05874).

    The mean is the same for every class, so softmax and the loss ignore it; the scores do not. (It takes 1 %
    of the head's time.) `scores(logits)` is the score that `score_type` names, MMLES at first.

    >>> head = DisMaxLossFirstPart(num_features=4, num_classes=3)
    >>> head.scores(head(torch.randn(2, 4))).shape
    torch.Size([2])
    """

    SCORE_TYPES = {
        "MPS": scores.msp,
        "ES": scores.entropy,
        "MDS": scores.min_distance,
        "MMLS": scores.mmls,
        "MMLES": scores.mmles,
        "MMLEPS": scores.mmleps,
    }
    score_type = "MMLES"
    unit = math.sqrt(2)  # directions at a right angle are 1 apart

    def _logits(self, x, w):
        z = super()._logits(x, w)
        return z + z.mean(1, keepdim=True)

    def scores(self, logits):
        if self.score_type not in self.SCORE_TYPES:
            raise ValueError(f"unknown score_type {self.score_type!r}; known: {', '.join(self.SCORE_TYPES)}")
        return self.SCORE_TYPES[self.score_type](logits)
