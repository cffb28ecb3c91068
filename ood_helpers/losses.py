"""The six losses and their heads, under the names their authors gave them.

Logits z (B, C), features x (B, D), prototypes W (C, D), labels y (B,). Everything is computed in float32 at least,
under autocast too. Wherever the authors take a softmax and then a logarithm, this file uses cross-entropy, which is
equal in range and stays finite out of it.
"""
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from ood_helpers import scores


def _at_least_float32(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check(logits, labels):
    """Logits in float32 at least; ValueError for shapes, and on the CPU labels, that do not fit.

    On a GPU the labels' values are left to the kernel's own assertion: to look at them here would wait for the GPU.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or logits.numel() == 0:
        raise ValueError(f"logits must be (B, C) and labels (B,), got {tuple(logits.shape)} and {tuple(labels.shape)}")
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = labels.min().item(), labels.max().item()
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(f"labels must be in 0..{logits.shape[1] - 1}, found {low}..{high}")
    return _at_least_float32(logits)


class SoftmaxLoss(nn.Module):
    """CE(z): softmax cross-entropy, the loss that the others mend.

    >>> SoftmaxLoss()(torch.zeros(1, 2), torch.tensor([0])).exp()
    tensor(2.)
    """

    def forward(self, logits, labels):
        return F.cross_entropy(_check(logits, labels), labels)


def _inverse_norm(logits):
    return 1 / (torch.linalg.vector_norm(logits, dim=1, keepdim=True) + 1e-7)


def _positive(name, value):
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


class LogitNormLoss(nn.Module):
    """LogitNorm: CE(z / ((norm2(z) + 1e-7) tau)) (Wei et al., ICML 2022).

    The norm is taken away in training only; at test time scores use the raw logits. tau, `temperature`, must be tuned
    per data set. The loss cannot fall below `lower_bound(C, tau)`.

    >>> aligned = torch.tensor([[1.0, -1.0]])
    >>> loss = LogitNormLoss(temperature=0.5)(100 * aligned, torch.tensor([0]))
    >>> torch.isclose(loss, LogitNormLoss(0.5)(aligned, torch.tensor([0])))
    tensor(True)
    """

    def __init__(self, temperature=1.0):
        super().__init__()
        self.temperature = _positive("temperature", temperature)

    def forward(self, logits, labels):
        z = _check(logits, labels)
        return F.cross_entropy(z * (_inverse_norm(z) / self.temperature), labels)


def lower_bound(num_classes, temperature):
    """The least LogitNorm loss: log(1 + (k-1) exp(-sqrt(k/(k-1)) / tau)), reached by logits that align.

    The largest gap between one logit and the k-1 others on the unit sphere is sqrt(k/(k-1)); the paper's looser bound
    takes 2.

    >>> round(lower_bound(10, 1.0), 2), round(lower_bound(100, 1.0), 2)
    (1.42, 3.62)
    """
    if num_classes < 2:
        raise ValueError(f"the bound needs at least 2 classes, got {num_classes}")
    k = num_classes
    return math.log1p((k - 1) * math.exp(-math.sqrt(k / (k - 1)) / _positive("temperature", temperature)))


class _Exp(nn.Module):
    """A parameter that is kept as its logarithm."""

    def forward(self, log):
        return log.exp()

    def right_inverse(self, value):
        return value.log()


class MarginEnhancedLogitNormLoss(nn.Module):
    """MELN: CE((z - m) / ((norm2(z) + 1e-7) T)), with T and m learned.

    Two things follow from the formula, and the default keeps both:

    - The margin does nothing. It shifts every logit alike, and softmax ignores a shift: the loss is the same for any m,
      and its gradient in m is 0. MELN is LogitNorm with a learned temperature. `margin_on="target"` takes m from the
      true class alone, z_y - m, as in CosFace (Wang et al., CVPR 2018); that margin acts. Its gradient is never
      negative, so learned it only shrinks, and `RECIPES` holds it fixed, as CosFace does.
    - T can cross zero, where the loss turns around. `positive_temperature=True` learns log T instead.
      In either case give T its own small learning rate, as its authors do (0.01).

    >>> z, y = torch.tensor([[1.0, 2.0]]), torch.tensor([0])
    >>> faithful = MarginEnhancedLogitNormLoss(initial_margin=5.0)
    >>> torch.isclose(faithful(z, y), LogitNormLoss()(z, y)).item()
    True
    >>> MarginEnhancedLogitNormLoss(0.5, positive_temperature=True).temperature.item()
    0.5
    """

    def __init__(self, initial_temperature=1.0, initial_margin=0.1, margin_on="all", positive_temperature=False):
        super().__init__()
        if margin_on not in ("all", "target"):
            raise ValueError(f"unknown margin_on {margin_on!r}; known: all, target")
        self.margin_on = margin_on
        self.temperature = nn.Parameter(torch.tensor(float(_positive("initial_temperature", initial_temperature))))
        self.margin = nn.Parameter(torch.tensor(float(initial_margin)))
        if positive_temperature:
            parametrize.register_parametrization(self, "temperature", _Exp())

    def forward(self, logits, labels):
        z = _check(logits, labels)
        inverse_norm = _inverse_norm(z)
        if self.margin_on == "target":
            z = z - self.margin * F.one_hot(labels, z.shape[1])
        else:
            z = z - self.margin
        return F.cross_entropy(z * (inverse_norm / self.temperature), labels)


class _Unit(torch.autograd.Function):
    """x (N, D) / norm2(x), in fewer passes than F.normalize. A zero row has no direction: it stays 0, its gradient 0."""
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


class _Distances(torch.autograd.Function):
    """Euclidean distances (B, C) between the rows of x (B, D) and w (C, D), by matrix products.

    |x - w|^2 = |x|^2 + |w|^2 - 2 x.w cancels where x is near w: at a distance of 0.003 a float32 gradient is 1 % wrong,
    at 0.0003 it is noise, with TF32 far earlier. So the nearest prototype gets the exact difference, forward and
    backward; the others are further away. The gradient at distance 0 is 0, as in torch.cdist.
    """
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
        grad_w = torch.addmm(w * pull.sum(0)[:, None], pull.t(), x, alpha=-1).index_add_(0, nearest, near, alpha=-1)
        return grad_x, grad_w


class _DistanceHead(nn.Module):
    """What the three distance heads share: prototypes, temperature, and a forward in full precision."""

    def __init__(self, num_features, num_classes, temperature=1.0):
        super().__init__()
        self.num_features, self.num_classes = num_features, num_classes
        self.prototypes = nn.Parameter(torch.zeros(num_classes, num_features))
        self.register_buffer("temperature", torch.tensor([float(_positive("temperature", temperature))]))

    def extra_repr(self):
        return f"num_features={self.num_features}, num_classes={self.num_classes}"

    def forward(self, features):
        if features.dim() != 2 or features.shape[1] != self.num_features:
            raise ValueError(f"features must be (B, {self.num_features}), got {tuple(features.shape)}")
        with torch.autocast(features.device.type, enabled=False):
            return self._logits(_at_least_float32(features), _at_least_float32(self.prototypes))


class IsoMaxLossFirstPart(_DistanceHead):
    """IsoMax's head, in the place of nn.Linear: z = -norm2(x - W) / T, W starts at 0 (Macedo et al., IJCNN 2021).

    >>> head = IsoMaxLossFirstPart(num_features=2, num_classes=3)
    >>> head(torch.tensor([[3.0, 4.0]])).tolist()
    [[-5.0, -5.0, -5.0]]
    """

    def _logits(self, x, w):
        return _Distances.apply(x, w)[0] / -self.temperature


class IsoMaxPlusLossFirstPart(_DistanceHead):
    """IsoMax+'s head: z = -|s| norm2(x/norm2(x) - W/norm2(W)) / T, s learned from 1, W ~ N(0, 1) (arXiv:2105.14399).

    >>> head = IsoMaxPlusLossFirstPart(num_features=4, num_classes=3)
    >>> bool((head(torch.randn(2, 4)) >= -2).all())  # points of the unit sphere are at most 2 apart
    True
    """
    unit = 1.0

    def __init__(self, num_features, num_classes, temperature=1.0):
        super().__init__(num_features, num_classes, temperature)
        nn.init.normal_(self.prototypes)
        self.distance_scale = nn.Parameter(torch.ones(1))

    def _logits(self, x, w):
        scale = self.distance_scale.abs() / (self.unit * self.temperature)
        return _Distances.apply(_Unit.apply(x)[0], _Unit.apply(w)[0])[0] * -scale


class DisMaxLossFirstPart(IsoMaxPlusLossFirstPart):
    """DisMax's head: z = -(d + mean_c d) / T, d = |s| norm2(x/norm2(x) - W/norm2(W)) / sqrt 2 (arXiv:2205.05874).

    The mean is the same for every class, so softmax and the loss ignore it; the scores do not. `scores(logits)` is the
    score that `score_type` names, MMLES at first.

    >>> head = DisMaxLossFirstPart(num_features=4, num_classes=3)
    >>> head.scores(head(torch.randn(2, 4))).shape
    torch.Size([2])
    """
    SCORE_TYPES = {"MPS": scores.msp, "ES": scores.entropy, "MDS": scores.min_distance, "MMLS": scores.mmls,
                   "MMLES": scores.mmles, "MMLEPS": scores.mmleps}
    score_type = "MMLES"
    unit = math.sqrt(2)  # two directions at a right angle are 1 apart

    def _logits(self, x, w):
        z = super()._logits(x, w)
        return z + z.mean(1, keepdim=True)

    def scores(self, logits):
        if self.score_type not in self.SCORE_TYPES:
            raise ValueError(f"unknown score_type {self.score_type!r}; known: {', '.join(self.SCORE_TYPES)}")
        return self.SCORE_TYPES[self.score_type](logits)


class IsoMaxLossSecondPart(nn.Module):
    """IsoMax's criterion: CE(Es z) with the entropic scale Es = 10 in training, CE(z) in evaluation.

    The mode is the head's, where `model_classifier` is given, otherwise this module's own. The authors' softmax first,
    logarithm after gives the same number until exp(-Es z) underflows, and inf from there on.

    >>> criterion = IsoMaxLossSecondPart()
    >>> criterion(torch.tensor([[0.0, -200.0]]), torch.tensor([1]))
    tensor(2000.)
    """

    def __init__(self, model_classifier=None, entropic_scale=10.0):
        super().__init__()
        self.entropic_scale = entropic_scale
        # Not a submodule: the head's parameters are the model's, not the criterion's.
        object.__setattr__(self, "model_classifier", model_classifier)

    def _scaled(self, logits, labels):
        z = _check(logits, labels)
        return self.entropic_scale * z if self._in_training() else z

    def _in_training(self):
        return (self if self.model_classifier is None else self.model_classifier).training

    def forward(self, logits, labels):
        return F.cross_entropy(self._scaled(logits, labels), labels)


class IsoMaxPlusLossSecondPart(IsoMaxLossSecondPart):
    """IsoMax+'s criterion, the same as IsoMax's: CE(Es z), Es = 10 in training (arXiv:2105.14399)."""


class DisMaxLossSecondPart(IsoMaxLossSecondPart):
    """DisMax's criterion (arXiv:2205.05874): CE(Es z), or with fractional-probability regularisation (DisMax-dagger)

        (CE(Es z) on the first half of the batch + alpha KL(Q || P) on the second half) / 2,

    where P = softmax(Es z) and Q gives 1/4 to each of the four images that `preprocess` made the image of. The paper's
    figure shows KL(P || Q); the authors' code, and this, take KL(Q || P). Evaluation uses CE(z).

    >>> head = DisMaxLossFirstPart(num_features=12, num_classes=3)
    >>> criterion = DisMaxLossSecondPart(head)
    >>> images, labels = criterion.preprocess(torch.rand(8, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]))
    >>> criterion(head(images.flatten(1)), labels).shape
    torch.Size([])
    """

    REGULARIZATIONS = ("fractional_probability", None)

    def __init__(self, model_classifier, regularization="fractional_probability", alpha=1.0, entropic_scale=10.0):
        super().__init__(model_classifier, entropic_scale)
        if regularization not in self.REGULARIZATIONS:
            raise ValueError(f"unknown regularization {regularization!r}; known: fractional_probability, None")
        self.regularization, self.alpha = regularization, alpha

    def preprocess(self, inputs, targets, generator=None):
        """Permute the batch and make its second half of quadrants of four images; the originals are left alone.

        Images (B, ch, H, W) and labels (B,). In the second half the lower left quadrant comes from the image before,
        the upper right from two before, the lower right from three before. Without regularisation nothing changes.
        `generator`, on the images' device, makes the permutation reproducible.
        """
        if self.regularization is None:
            return inputs, targets
        if inputs.dim() != 4 or min(inputs.shape[2:]) < 2 or len(inputs) < 2:
            raise ValueError("fractional-probability regularisation needs images (B, ch, H, W) with B, H and W of at "
                             f"least 2, got {tuple(inputs.shape)}")
        order = torch.randperm(len(inputs), generator=generator, device=inputs.device)
        inputs, targets = inputs[order], targets[order]
        mixed = inputs[len(inputs) // 2:]
        h, w = inputs.shape[2] // 2, inputs.shape[3] // 2
        for shift, quadrant in enumerate((mixed[..., h:, :w], mixed[..., :h, w:], mixed[..., h:, w:]), start=1):
            quadrant.copy_(quadrant.roll(shift, 0))
        return inputs, targets

    def forward(self, logits, labels):
        z = self._scaled(logits, labels)
        if self.regularization is None or not self._in_training():
            return F.cross_entropy(z, labels)
        half = len(z) // 2
        if half == 0:
            raise ValueError("fractional-probability regularisation needs a batch of at least 2: use drop_last, or "
                             "regularization=None")
        log_p, rest = z[half:].log_softmax(1), labels[half:]
        # A class drawn twice gets its quarter twice.
        parts = torch.stack([rest.roll(shift) for shift in range(4)], 1)
        q = torch.zeros_like(log_p).scatter_add_(1, parts, torch.full_like(parts, 0.25, dtype=z.dtype))
        return (F.cross_entropy(z[:half], labels[:half]) + self.alpha * F.kl_div(log_p, q, reduction="batchmean")) / 2


@dataclass(frozen=True)
class Recipe:
    """A head, a criterion and a score that belong together.

    `head(num_features, num_classes)` makes the last layer, `criterion(head, **options)` the loss that is called with
    (logits, labels). `score` names the default in `scores.SCORES`; `loss_lr` is the learning rate of the criterion's
    own parameters, None where it has none; `label` is for plots.
    """
    name: str
    label: str
    score: str
    head: Callable
    criterion: Callable
    loss_lr: float | None = None


def _meln(_, **options):
    criterion = MarginEnhancedLogitNormLoss(**options)
    criterion.margin.requires_grad_(criterion.margin_on == "all")  # learned, an acting margin only shrinks
    return criterion


RECIPES = {r.name: r for r in (
    Recipe("softmax", "Softmax (CE)", "msp", nn.Linear, lambda _: SoftmaxLoss()),
    Recipe("logitnorm", "LogitNorm", "msp", nn.Linear, lambda _, **options: LogitNormLoss(**options)),
    Recipe("meln", "MELN", "msp", nn.Linear, _meln, loss_lr=0.01),
    Recipe("isomax", "IsoMax", "entropy", IsoMaxLossFirstPart, IsoMaxLossSecondPart),
    Recipe("isomaxplus", "IsoMax+", "min_distance", IsoMaxPlusLossFirstPart, IsoMaxPlusLossSecondPart),
    Recipe("dismax", "DisMax", "mmles", DisMaxLossFirstPart,
           lambda head, **options: DisMaxLossSecondPart(head, regularization=None, **options)),
    Recipe("dismax_fpr", "DisMax†", "mmles", DisMaxLossFirstPart, DisMaxLossSecondPart),
)}


def recipe(name):
    """The recipe of that name.

    >>> recipe("isomax").score
    'entropy'
    """
    if name not in RECIPES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]
