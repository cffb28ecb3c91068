"""The six losses and their heads, under their authors' names, and ``RECIPES``, which says what belongs together.

A criterion is called with logits z (B, C) and integer labels (B,) and returns a scalar, the mean over the batch in
nats. A head takes the place of ``nn.Linear`` as ``model.classifier``: features x (B, D) to logits (B, C). Both compute
in float32 or float64. Where the authors compute log(softmax(z)), we call ``F.cross_entropy``: equal, and numerically
stable. Shapes and, on a CPU, labels that do not fit raise ValueError; NaN logits give a NaN loss. The recipes of
other losses, from ``beyond/``, are in ``BEYOND``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .beyond import norm_losses, target_losses
from .beyond.styles import BEYOND_STYLES
from .data.synthetic import mosaic
from .drawing.styles import LOSS_STYLES
from .engine.inputs import check_batch, check_positive, promote_to_float32
from .engine.kernels import normalize_rows, pairwise_distances
from .scores import entropy, min_distance, mmleps, mmles, mmls, msp


class SoftmaxLoss(nn.Module):
    """Softmax cross-entropy, the baseline: CE(z) = logsumexp(z) - z_y.

    >>> SoftmaxLoss()(torch.zeros(1, 2), torch.tensor([0])).exp()
    tensor(2.)
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(check_batch(logits, labels), labels)


def _inverse_norm(logits: Tensor) -> Tensor:
    return 1 / (torch.linalg.vector_norm(logits, dim=1, keepdim=True) + 1e-7)


class LogitNormLoss(nn.Module):
    """LogitNorm: CE(z / ((norm2(z) + 1e-7) tau)) (Wei et al., ICML 2022, arXiv:2205.09310).

    Logits are normalised during training only; scores use the raw logits. The loss is at least `lower_bound(C, tau)`.

    Parameters
    ----------
    temperature : float
        tau > 0, to be tuned for each data set.
    t : float, optional
        The authors' name for tau; in their ``LogitNormLoss(device, t=0.04)`` the device is ignored.

    >>> z, y, criterion = torch.tensor([[1.0, -1.0]]), torch.tensor([0]), LogitNormLoss(temperature=0.5)
    >>> torch.isclose(criterion(z, y), criterion(100 * z, y))
    tensor(True)
    """

    def __init__(self, temperature: Any = 1.0, t: float | None = None):
        super().__init__()
        self.temperature = check_positive("temperature", temperature if t is None else t)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        z = check_batch(logits, labels)
        return F.cross_entropy(z * (_inverse_norm(z) / self.temperature), labels)


def lower_bound(num_classes: int, temperature: float) -> float:
    """Smallest LogitNorm loss of k classes: log(1 + (k-1) exp(-sqrt(k/(k-1)) / tau)).

    Logits on the unit sphere reach it if one is sqrt(k/(k-1)) above the k-1 equal others, the largest possible gap;
    the paper's looser bound has 2 in its place.

    >>> round(lower_bound(10, 1.0), 2), round(lower_bound(100, 1.0), 2)
    (1.42, 3.62)
    """
    k, tau = num_classes, check_positive("temperature", temperature)
    if k < 2:
        raise ValueError(f"the bound needs at least 2 classes, got {k}")
    return math.log1p((k - 1) * math.exp(-math.sqrt(k / (k - 1)) / tau))


class ExpParametrization(nn.Module):
    """Parametrisation exp(theta), which keeps a parameter positive."""

    def forward(self, log: Tensor) -> Tensor:
        return log.exp()

    def right_inverse(self, value: Tensor) -> Tensor:
        return value.log()


class MarginEnhancedLogitNormLoss(nn.Module):
    """MELN as its README gives it (November 2024): CE((z - m) / ((norm2(z) + 1e-7) T)), with T and m learned.

    The margin has no effect: softmax ignores an equal shift of all logits. So this is LogitNorm with a learned T.

    Parameters
    ----------
    initial_temperature, initial_margin : float
        T > 0 and m at the start. T needs a small learning rate of its own, the authors' is 0.01.
    margin_on : {"all", "target"}
        ``"target"`` subtracts m from z_y alone, as in CosFace (Wang et al., CVPR 2018), where it has an effect. Its
        gradient is >= 0, so SGD would only decrease it; ``RECIPES`` keeps it fixed, as CosFace does.
    positive_temperature : bool
        Learn log T. Otherwise T is unconstrained; if it becomes negative the loss is minimised by *wrong* predictions.

    >>> z, y = torch.tensor([[1.0, 2.0]]), torch.tensor([0])
    >>> torch.isclose(MarginEnhancedLogitNormLoss(initial_margin=5.0)(z, y), LogitNormLoss()(z, y)).item()
    True
    """

    def __init__(
        self,
        initial_temperature: float = 1.0,
        initial_margin: float = 0.1,
        margin_on: str = "all",
        positive_temperature: bool = False,
    ):
        super().__init__()
        if margin_on not in ("all", "target"):
            raise ValueError(f"unknown margin_on {margin_on!r}; known: all, target")
        self.margin_on = margin_on
        check_positive("initial_temperature", initial_temperature)
        self.temperature = nn.Parameter(torch.tensor(float(initial_temperature)))
        self.margin = nn.Parameter(torch.tensor(float(initial_margin)))
        if positive_temperature:
            parametrize.register_parametrization(self, "temperature", ExpParametrization())

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        z = check_batch(logits, labels)
        on_target = self.margin_on == "target"
        margin = self.margin * F.one_hot(labels, z.shape[1]) if on_target else self.margin
        return F.cross_entropy((z - margin) * (_inverse_norm(z) / self.temperature), labels)


class IsoMaxLossFirstPart(nn.Module):
    """IsoMax's head: z = -norm2(x - W) / T, W starts at 0 (Macedo et al., IJCNN 2021, arXiv:1908.05569).

    All distance heads compute in float32 or float64, under autocast too.

    Parameters
    ----------
    num_features, num_classes : int
        D and C; the prototypes W are (C, D).
    temperature : float
        T > 0, saved with the head; 1 until calibrated.
    """

    def __init__(self, num_features: int, num_classes: int, temperature: float = 1.0):
        super().__init__()
        self.num_features, self.num_classes = num_features, num_classes
        self.prototypes = nn.Parameter(torch.zeros(num_classes, num_features))
        self.temperature: Tensor
        self.register_buffer("temperature", torch.tensor([float(check_positive("temperature", temperature))]))

    def extra_repr(self) -> str:
        return f"num_features={self.num_features}, num_classes={self.num_classes}"

    def forward(self, features: Tensor) -> Tensor:
        if features.dim() != 2 or features.shape[1] != self.num_features:
            raise ValueError(f"features must be (B, {self.num_features}), got {tuple(features.shape)}")
        with torch.autocast(features.device.type, enabled=False):
            return self._logits(promote_to_float32(features), promote_to_float32(self.prototypes))

    def _logits(self, x: Tensor, w: Tensor) -> Tensor:
        return pairwise_distances(x, w) / -self.temperature


class IsoMaxPlusLossFirstPart(IsoMaxLossFirstPart):
    """IsoMax+'s head: z = -d / T, d = |s| norm2(x/norm2(x) - W/norm2(W)) (arXiv:2105.14399).

    The scale s is learned from 1, W starts as N(0, 1). Parameters as for ``IsoMaxLossFirstPart``.
    """

    divisor = 1.0

    def __init__(self, num_features: int, num_classes: int, temperature: float = 1.0):
        super().__init__(num_features, num_classes, temperature)
        nn.init.normal_(self.prototypes)
        self.distance_scale = nn.Parameter(torch.ones(1))

    def _logits(self, x: Tensor, w: Tensor) -> Tensor:
        scale = self.distance_scale.abs() / (self.divisor * self.temperature)
        return pairwise_distances(normalize_rows(x), normalize_rows(w)) * -scale


class DisMaxLossFirstPart(IsoMaxPlusLossFirstPart):
    """DisMax's head: z = -(d + mean_c d) / T, d as in IsoMax+ but divided by sqrt 2 (arXiv:2205.05874).

    The mean is the same for all classes: it matters to the scores, not to softmax and the loss. ``scores(logits)``
    is the score that ``score_type`` names: MPS, ES, MDS, MMLS, MMLES (the default) or MMLEPS.
    """

    divisor = math.sqrt(2)
    score_type = "MMLES"

    def _logits(self, x: Tensor, w: Tensor) -> Tensor:
        z = super()._logits(x, w)
        return z + z.mean(1, keepdim=True)

    def scores(self, logits: Tensor) -> Tensor:
        if self.score_type not in DISMAX_SCORES:
            raise ValueError(f"unknown score_type {self.score_type!r}; known: {', '.join(DISMAX_SCORES)}")
        return DISMAX_SCORES[self.score_type](logits)


DISMAX_SCORES = {"MPS": msp, "ES": entropy, "MDS": min_distance, "MMLS": mmls, "MMLES": mmles, "MMLEPS": mmleps}


class IsoMaxLossSecondPart(nn.Module):
    """IsoMax's criterion: CE(Es z) with the entropic scale Es = 10 (arXiv:1908.05569).

    Equals the authors' log(softmax(Es z)) except where it underflows to infinity. ``model_classifier`` is not used.

    >>> IsoMaxLossSecondPart()(torch.tensor([[0.0, -200.0]]), torch.tensor([1]))
    tensor(2000.)
    """

    def __init__(self, model_classifier: nn.Module | None = None, entropic_scale: float = 10.0):
        super().__init__()
        self.entropic_scale = entropic_scale

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.entropic_scale * check_batch(logits, labels), labels)


class IsoMaxPlusLossSecondPart(IsoMaxLossSecondPart):
    """IsoMax+'s criterion, the same as IsoMax's: CE(Es z), Es = 10 (arXiv:2105.14399)."""


class DisMaxLossSecondPart(IsoMaxLossSecondPart):
    """DisMax's criterion (arXiv:2205.05874).

    CE(Es z), or with fractional-probability regularisation (FPR)

        (CE(Es z) on the first half of the batch + alpha KL(Q || P) on the second half) / 2,

    where P = softmax(Es z) and Q gives 1/4 to the class of each of the four images that ``preprocess`` combined. The
    paper's figure shows KL(P || Q); the authors' code has KL(Q || P). While the head is in evaluation mode: CE(z).

    Parameters
    ----------
    model_classifier : module
        The head, whose mode decides.
    regularization : {None, "fpr"}
        With ``"fpr"``, alias ``"fractional_probability"``, training on labels that are not those of the last
        ``preprocess`` raises ValueError.

    >>> head = DisMaxLossFirstPart(num_features=12, num_classes=3)
    >>> criterion = DisMaxLossSecondPart(head, regularization="fpr")
    >>> images, labels = criterion.preprocess(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]))
    >>> criterion(head(images.flatten(1)), labels).shape
    torch.Size([])
    """

    model_classifier: nn.Module

    def __init__(
        self,
        model_classifier: nn.Module,
        regularization: str | None = None,
        alpha: float = 1.0,
        entropic_scale: float = 10.0,
    ):
        super().__init__(entropic_scale=entropic_scale)
        if regularization not in (None, "fpr", "fractional_probability"):
            raise ValueError(f"unknown regularization {regularization!r}; known: None, fpr, fractional_probability")
        self.regularization, self.alpha = "fpr" if regularization else None, alpha
        object.__setattr__(self, "model_classifier", model_classifier)  # not as a submodule: the model owns the head
        self._mixed_labels: Tensor | None = None

    def preprocess(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Permute a batch, and make the images of its second half mosaics of four; the arguments are not modified.

        In images (B, channels, H, W) of the second half, the lower left quadrant comes from the image before, the
        upper right from two before, the lower right from three before. ``generator``, on the images' device, makes
        the permutation reproducible. Without regularisation the arguments are returned.
        """
        if self.regularization is None:
            return inputs, targets
        if inputs.dim() != 4 or min(inputs.shape[2:]) < 2 or len(inputs) < 2:
            needed = "images (B, channels, H, W) with B, H and W of at least 2"
            raise ValueError(f"fractional-probability regularisation needs {needed}, got {tuple(inputs.shape)}")
        order = torch.randperm(len(inputs), generator=generator, device=inputs.device)
        inputs, targets = inputs[order], targets[order]
        mixed = inputs[len(inputs) // 2 :]
        mixed.copy_(mosaic(*(mixed.roll(shift, 0) for shift in range(4))))
        self._mixed_labels = targets.detach()  # another object, for torch.compile
        return inputs, targets

    def _is_mixed(self, labels: Tensor) -> bool | Tensor:
        """Whether ``preprocess`` returned these labels; by value if they are a copy, say on another device."""
        mixed = self._mixed_labels
        if mixed is None or labels.shape != mixed.shape:
            return False
        if torch.compiler.is_compiling():  # a bool would be a constant of the compiled code
            return (labels == mixed.to(labels.device)).all()
        return labels.data_ptr() == mixed.data_ptr() or labels.equal(mixed.to(labels.device))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        training = self.model_classifier.training
        z, half = check_batch(logits, labels) * (self.entropic_scale if training else 1.0), len(logits) // 2
        if self.regularization is None or not training:
            return F.cross_entropy(z, labels)
        if half == 0:
            raise ValueError("fractional-probability regularisation needs a batch of at least 2; use drop_last")
        is_mixed = self._is_mixed(labels)
        if is_mixed is False:
            raise ValueError("call `inputs, targets = criterion.preprocess(inputs, targets)` before each batch's loss")
        log_p, mixed = z[half:].log_softmax(1), labels[half:]
        classes = torch.stack([mixed.roll(shift) for shift in range(4)], 1)  # of the four quadrants
        q = torch.zeros_like(log_p).scatter_add_(1, classes, torch.full_like(classes, 0.25, dtype=z.dtype))
        divergence = F.kl_div(log_p, q, reduction="batchmean")
        loss = (F.cross_entropy(z[:half], labels[:half]) + self.alpha * divergence) / 2
        return loss if is_mixed is True else loss.where(is_mixed, torch.nan)  # compiled code cannot raise


@dataclass(frozen=True)
class Recipe:
    """A head, a criterion and a score that belong together.

    ``head(num_features, num_classes)`` makes the last layer and ``criterion(head, **options)`` the loss. ``score``
    is a name in ``scores.SCORES``; ``loss_lr`` is the learning rate of the criterion's own parameters, if any;
    ``remedy`` is an option to try when the loss becomes NaN.
    """

    name: str
    score: str
    head: Callable[..., nn.Module]
    criterion: Callable[..., nn.Module]
    loss_lr: float | None = None
    remedy: str | None = None

    @property
    def label(self) -> str:
        """The name in plots and tables."""
        return (LOSS_STYLES | BEYOND_STYLES)[self.name]["label"]


def softmax(head: nn.Module) -> SoftmaxLoss:
    """Make the criterion of ``RECIPES["softmax"]``."""
    return SoftmaxLoss()


def logitnorm(head: nn.Module, **options: Any) -> LogitNormLoss:
    """Make the criterion of ``RECIPES["logitnorm"]``."""
    return LogitNormLoss(**options)


def meln(head: nn.Module, **options: Any) -> MarginEnhancedLogitNormLoss:
    """Make the criterion of ``RECIPES["meln"]``."""
    criterion = MarginEnhancedLogitNormLoss(**options)
    criterion.margin.requires_grad_(criterion.margin_on == "all")  # a margin with an effect would only decrease
    return criterion


def dismax_fpr(head: nn.Module, regularization: str = "fpr", **options: Any) -> DisMaxLossSecondPart:
    """Make the criterion of ``RECIPES["dismax_fpr"]``."""
    return DisMaxLossSecondPart(head, regularization, **options)


_PAPERS = (
    Recipe("softmax", "msp", nn.Linear, softmax),
    Recipe("logitnorm", "msp", nn.Linear, logitnorm),
    Recipe("meln", "msp", nn.Linear, meln, loss_lr=0.01, remedy="positive_temperature=True"),
    Recipe("isomax", "entropy", IsoMaxLossFirstPart, IsoMaxLossSecondPart),
    Recipe("isomaxplus", "min_distance", IsoMaxPlusLossFirstPart, IsoMaxPlusLossSecondPart),
    Recipe("dismax", "mmles", DisMaxLossFirstPart, DisMaxLossSecondPart),
    Recipe("dismax_fpr", "mmles", DisMaxLossFirstPart, dismax_fpr),
)
_BEYOND = (
    Recipe("elogitnorm", "msp", nn.Linear, norm_losses.ELogitNormLoss),
    Recipe("t2fnorm", "msp", norm_losses.T2FNormHead, softmax),
    Recipe("logitclip", "msp", nn.Linear, norm_losses.LogitClipLoss),
    Recipe("mbls", "msp", nn.Linear, target_losses.MarginLabelSmoothingLoss),
    Recipe("label_smoothing", "msp", nn.Linear, target_losses.LabelSmoothingLoss),
    Recipe("focal", "msp", nn.Linear, target_losses.FocalLoss),
    Recipe("outlier_exposure", "msp", nn.Linear, target_losses.OutlierExposureLoss),
)
RECIPES = {r.name: r for r in _PAPERS}  # of the six papers: what tables and notebooks compare
BEYOND = {r.name: r for r in _BEYOND}
NEED_IMAGES = ("dismax_fpr", "outlier_exposure")  # their criteria change the images of a batch


def recipe(name: str) -> Recipe:
    """Return the recipe of that name, from ``RECIPES`` or ``BEYOND``; raise ValueError, with the known names, if none.

    >>> recipe("focal").label
    'Focal loss'
    """
    known = RECIPES | BEYOND
    if name not in known:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(known)}")
    return known[name]
