"""The six losses and, from `heads`, their heads, under the names their authors gave them.

Each is called with logits z (B, C) and labels (B,) and gives a scalar, computed in float32 at least. Where
the authors take a softmax and then a logarithm, a cross-entropy stands here: equal in range, finite out of it.
Shapes and, on a CPU, labels that do not fit raise ValueError; NaN logits give a NaN loss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from .heads import DisMaxLossFirstPart, IsoMaxLossFirstPart, IsoMaxPlusLossFirstPart, positive
from .scores import at_least_float32


def _check(logits, labels):
    """Logits in float32 at least; ValueError where shapes or labels do not fit."""
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or logits.numel() == 0:
        shapes = f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"logits must be (B, C) and labels (B,), got {shapes}")
    # Looking at labels on a GPU would wait for it; there the kernel's own assertion has to do.
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = labels.min().item(), labels.max().item()
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(f"labels must be in 0..{logits.shape[1] - 1}, found {low}..{high}")
    return at_least_float32(logits)


class SoftmaxLoss(nn.Module):
    """CE(z): softmax cross-entropy, the loss that the others mend.

    >>> SoftmaxLoss()(torch.zeros(1, 2), torch.tensor([0])).exp()
    tensor(2.)
    """

    def forward(self, logits, labels):
        return F.cross_entropy(_check(logits, labels), labels)


def _inverse_norm(logits):
    return 1 / (torch.linalg.vector_norm(logits, dim=1, keepdim=True) + 1e-7)


class LogitNormLoss(nn.Module):
    """LogitNorm: CE(z / ((norm2(z) + 1e-7) tau)) (Wei et al., ICML 2022).

    The norm is taken away in training only; at test time scores use the raw logits. tau, `temperature`, must
    be tuned per data set. The loss cannot fall below `lower_bound(C, tau)`.

    >>> aligned = torch.tensor([[1.0, -1.0]])
    >>> loss = LogitNormLoss(temperature=0.5)(100 * aligned, torch.tensor([0]))
    >>> torch.isclose(loss, LogitNormLoss(0.5)(aligned, torch.tensor([0])))
    tensor(True)
    """

    def __init__(self, temperature=1.0):
        super().__init__()
        self.temperature = positive("temperature", temperature)

    def forward(self, logits, labels):
        z = _check(logits, labels)
        return F.cross_entropy(z * (_inverse_norm(z) / self.temperature), labels)


def lower_bound(num_classes, temperature):
    """The least LogitNorm loss: log(1 + (k-1) exp(-sqrt(k/(k-1)) / tau)), reached by logits that align.

    The largest gap between one logit and the k-1 others on the unit sphere is sqrt(k/(k-1)); the paper's
    looser bound takes 2.

    >>> round(lower_bound(10, 1.0), 2), round(lower_bound(100, 1.0), 2)
    (1.42, 3.62)
    """
    if num_classes < 2:
        raise ValueError(f"the bound needs at least 2 classes, got {num_classes}")
    k = num_classes
    return math.log1p((k - 1) * math.exp(-math.sqrt(k / (k - 1)) / positive("temperature", temperature)))


class _Exp(nn.Module):
    """A parameter that is kept as its logarithm."""

    def forward(self, log):
        return log.exp()

    def right_inverse(self, value):
        return value.log()


class MarginEnhancedLogitNormLoss(nn.Module):
    """MELN: CE((z - m) / ((norm2(z) + 1e-7) T)), with T and m learned.

    Two things follow from the formula, and the default keeps both:

    - The margin does nothing. It shifts every logit alike, and softmax ignores a shift: the loss is the same
      for any m, and its gradient in m is 0. MELN is LogitNorm with a learned temperature.
      `margin_on="target"` takes m from the true class alone, z_y - m, as in CosFace (Wang et al., CVPR 2018);
      that margin acts. Its gradient is never negative, so learned it only shrinks, and `RECIPES` holds it
      fixed, as CosFace does.
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
        positive("initial_temperature", initial_temperature)
        self.temperature = nn.Parameter(torch.tensor(float(initial_temperature)))
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


class IsoMaxLossSecondPart(nn.Module):
    """IsoMax's criterion: CE(Es z) with the entropic scale Es = 10 in training, CE(z) in evaluation.

    The mode is the head's, where `model_classifier` is given, otherwise this module's own. The authors'
    softmax first, logarithm after gives the same number until exp(-Es z) underflows, and inf from there on.

    >>> criterion = IsoMaxLossSecondPart()
    >>> criterion(torch.tensor([[0.0, -200.0]]), torch.tensor([1]))
    tensor(2000.)
    """

    def __init__(self, model_classifier=None, entropic_scale=10.0):
        super().__init__()
        self.entropic_scale = entropic_scale
        # Not a submodule: the head's parameters are the model's, not the criterion's.
        object.__setattr__(self, "model_classifier", model_classifier)

    def _in_training(self):
        return (self if self.model_classifier is None else self.model_classifier).training

    def forward(self, logits, labels):
        scale = self.entropic_scale if self._in_training() else 1.0
        return F.cross_entropy(scale * _check(logits, labels), labels)


class IsoMaxPlusLossSecondPart(IsoMaxLossSecondPart):
    """IsoMax+'s criterion, the same as IsoMax's: CE(Es z), Es = 10 in training (arXiv:2105.14399)."""


class DisMaxLossSecondPart(IsoMaxLossSecondPart):
    """DisMax's criterion (arXiv:2205.05874): CE(Es z), or with fractional-probability regularisation

        (CE(Es z) on the first half of the batch + alpha KL(Q || P) on the second half) / 2,

    where P = softmax(Es z) and Q gives 1/4 to each of the four images that `preprocess` made the image of.
    The paper's figure shows KL(P || Q); the authors' code, and this, take KL(Q || P). Evaluation uses CE(z).

    >>> head = DisMaxLossFirstPart(num_features=12, num_classes=3)
    >>> criterion = DisMaxLossSecondPart(head)
    >>> images, labels = criterion.preprocess(torch.rand(8, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]))
    >>> criterion(head(images.flatten(1)), labels).shape
    torch.Size([])
    """

    def __init__(self, model_classifier, regularization="fractional_probability", alpha=1.0, entropic_scale=10.0):
        super().__init__(model_classifier, entropic_scale)
        if regularization not in ("fractional_probability", None):
            raise ValueError(f"unknown regularization {regularization!r}; known: fractional_probability, None")
        self.regularization, self.alpha = regularization, alpha

    def preprocess(self, inputs, targets, generator=None):
        """Permute the batch and make its second half of quadrants of four images, all in copies.

        Images (B, ch, H, W) and labels (B,). In the second half the lower left quadrant comes from the image
        before, the upper right from two before, the lower right from three before. Without regularisation
        nothing changes. `generator`, on the images' device, makes the permutation reproducible.
        """
        if self.regularization is None:
            return inputs, targets
        if inputs.dim() != 4 or min(inputs.shape[2:]) < 2 or len(inputs) < 2:
            raise ValueError(
                "fractional-probability regularisation needs images (B, ch, H, W) with B, H and "
                f"W of at least 2, got {tuple(inputs.shape)}"
            )
        order = torch.randperm(len(inputs), generator=generator, device=inputs.device)
        inputs, targets = inputs[order], targets[order]
        mixed = inputs[len(inputs) // 2 :]
        h, w = inputs.shape[2] // 2, inputs.shape[3] // 2
        quadrants = mixed[..., h:, :w], mixed[..., :h, w:], mixed[..., h:, w:]
        for shift, quadrant in enumerate(quadrants, start=1):
            quadrant.copy_(quadrant.roll(shift, 0))
        return inputs, targets

    def forward(self, logits, labels):
        if self.regularization is None or not self._in_training():
            return super().forward(logits, labels)
        z, half = _check(logits, labels) * self.entropic_scale, len(logits) // 2
        if half == 0:
            raise ValueError(
                "fractional-probability regularisation needs a batch of at least 2: use "
                "drop_last, or regularization=None"
            )
        log_p, rest = z[half:].log_softmax(1), labels[half:]
        # A class drawn twice gets its quarter twice.
        parts = torch.stack([rest.roll(shift) for shift in range(4)], 1)
        q = torch.zeros_like(log_p).scatter_add_(1, parts, torch.full_like(parts, 0.25, dtype=z.dtype))
        divergence = F.kl_div(log_p, q, reduction="batchmean")
        return (F.cross_entropy(z[:half], labels[:half]) + self.alpha * divergence) / 2


@dataclass(frozen=True)
class Recipe:
    """A head, a criterion and a score that belong together.

    `head(num_features, num_classes)` makes the last layer, `criterion(head, **options)` the loss that is
    called with (logits, labels). `score` names the default in `scores.SCORES`; `loss_lr` is the learning rate
    of the criterion's own parameters, None where it has none; `label` is for plots.
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


RECIPES = {
    r.name: r
    for r in (
        Recipe("softmax", "Softmax (CE)", "msp", nn.Linear, lambda _: SoftmaxLoss()),
        Recipe("logitnorm", "LogitNorm", "msp", nn.Linear, lambda _, **options: LogitNormLoss(**options)),
        Recipe("meln", "MELN", "msp", nn.Linear, _meln, loss_lr=0.01),
        Recipe("isomax", "IsoMax", "entropy", IsoMaxLossFirstPart, IsoMaxLossSecondPart),
        Recipe("isomaxplus", "IsoMax+", "min_distance", IsoMaxPlusLossFirstPart, IsoMaxPlusLossSecondPart),
        Recipe(
            "dismax",
            "DisMax",
            "mmles",
            DisMaxLossFirstPart,
            lambda head, **options: DisMaxLossSecondPart(head, regularization=None, **options),
        ),
        Recipe("dismax_fpr", "DisMax†", "mmles", DisMaxLossFirstPart, DisMaxLossSecondPart),
    )
}


def recipe(name):
    """The recipe of that name.

    >>> recipe("isomax").score
    'entropy'
    """
    if name not in RECIPES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]
