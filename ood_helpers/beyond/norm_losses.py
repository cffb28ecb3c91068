"""Losses whose divisor decides where a norm can grow: ELogitNorm, T2FNorm and LogitClip.

Like those of the core, a criterion is called with logits z (B, C) and integer labels (B,) and returns the mean over the
batch in nats. Criteria take the head as their first argument; only ELogitNorm needs its weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.inputs import check_batch, check_positive, promote_to_float32
from ..engine.kernels import normalize_rows

SMALLEST = 1e-7  # divisors are at least this, so that the loss of equal logits or class weights is finite


class ELogitNormLoss(nn.Module):
    r"""ELogitNorm: logits over the mean distance of the features to the decision boundaries (Ding et al., CVPR 2026).

    .. math:: \mathrm{CE}(z / s, y), \qquad
        s = \frac{1}{C} \sum_c \frac{|z_c - z_{\hat y}|}{\lVert w_c - w_{\hat y} \rVert_2}, \qquad
        \hat y = \arg\max_c z_c

    The term of the predicted class is 0 and counts in the mean. Without a bias, the loss does not depend on the norm of
    the features. It depends on the norm of W, which is a learned inverse temperature.

    Parameters
    ----------
    head : nn.Linear
        The classifier, with the weight W (C, D).

    Raises
    ------
    ValueError
        If the head is not linear.

    Examples
    --------
    >>> head, x, y = nn.Linear(3, 2, bias=False), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> criterion = ELogitNormLoss(head)
    >>> bool(torch.isclose(criterion(head(x), y), criterion(head(100 * x), y)))
    True
    """

    head: nn.Linear

    def __init__(self, head: nn.Module):
        super().__init__()
        if not isinstance(head, nn.Linear):
            raise ValueError(f"ELogitNorm needs the weights of a linear classifier, not {type(head).__name__}")
        object.__setattr__(self, "head", head)  # not as a submodule: the model owns the head

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        z = check_batch(logits, labels)
        mean = boundary_distances(z, self.head.weight).mean(1, keepdim=True)
        return F.cross_entropy(z / mean.clamp_min(SMALLEST), labels)


def boundary_distances(logits: Tensor, weight: Tensor) -> Tensor:
    r"""Distances of the features to the boundaries between the predicted class and each class.

    .. math:: d_c = |z_c - z_{\hat y}| / \lVert w_c - w_{\hat y} \rVert_2, \qquad d_{\hat y} = 0

    Parameters
    ----------
    logits : tensor of shape (B, C)
    weight : tensor of shape (C, D)
        Of the linear classifier.

    Returns
    -------
    tensor of shape (B, C)

    Examples
    --------
    >>> boundary_distances(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0], [0.0, -4.0]]))
    tensor([[0.0000, 0.5000]])
    """
    top, predicted = logits.max(1, keepdim=True)
    w = promote_to_float32(weight).to(logits.dtype)
    between = torch.cdist(w, w, compute_mode="donot_use_mm_for_euclid_dist")
    between = (between + torch.eye(len(w), dtype=w.dtype, device=w.device)).clamp_min(SMALLEST)  # no 0 / 0
    return (top - logits) / between[predicted[:, 0]]


class T2FNormHead(nn.Linear):
    r"""T2FNorm's classifier: normalised features in training, raw features in evaluation (Regmi et al., 2023).

    .. math:: z = W f / (\lVert f \rVert_2 \, \tau) + b \text{ in training,} \qquad z = W f / \tau + b
        \text{ in evaluation.}

    Parameters
    ----------
    num_features, num_classes : int
    temperature : float
        tau > 0; 0.1 in the authors' code.

    References
    ----------
    https://arxiv.org/abs/2305.17797

    Examples
    --------
    >>> head, x = T2FNormHead(3, 2), torch.rand(1, 3)
    >>> bool(torch.isclose(head(x), head(9 * x)).all()), bool(torch.isclose(head.eval()(x), head(9 * x)).all())
    (True, False)
    """

    def __init__(self, num_features: int, num_classes: int, temperature: float = 0.1):
        super().__init__(num_features, num_classes)
        self.temperature = check_positive("temperature", temperature)

    def forward(self, features: Tensor) -> Tensor:
        x = normalize_rows(features) if self.training else features
        return super().forward(x / self.temperature)


class LogitClipLoss(nn.Module):
    r"""LogitClip as its authors' code has it (Wei et al., ICML 2023).

    .. math:: \mathrm{CE}(\tilde z, y), \qquad \tilde z = \begin{cases}
        z / (t \, (\lVert z \rVert_2 + 10^{-7})) & \lVert z \rVert_2 + 10^{-7} > t \\ z & \text{otherwise} \end{cases}

    The threshold is t, but a norm above it becomes 1/t. For t < 1 norms between t and 1/t are raised, and the loss of
    logits above the threshold is LogitNorm with tau = t.

    Parameters
    ----------
    head : module
        Not used.
    threshold : float
        t > 0; 1.5 in the command of the authors' README.

    References
    ----------
    https://arxiv.org/abs/2212.04055

    Examples
    --------
    >>> z, y = torch.tensor([[30.0, 40.0]]), torch.tensor([0])
    >>> bool(torch.isclose(LogitClipLoss(threshold=0.5)(z, y), F.cross_entropy(z / 50 / 0.5, y)))
    True
    """

    def __init__(self, head: nn.Module | None = None, threshold: float = 1.5):
        super().__init__()
        self.threshold = check_positive("threshold", threshold)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(clipped(check_batch(logits, labels), self.threshold), labels)


def clipped(logits: Tensor, threshold: float) -> Tensor:
    """Logits (B, C) as LogitClip's code changes them: a norm above ``threshold`` becomes 1 / ``threshold``.

    >>> clipped(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), threshold=2.0).norm(dim=1)
    tensor([0.5000, 0.5000])
    """
    norm = torch.linalg.vector_norm(logits, dim=1, keepdim=True) + 1e-7
    return torch.where(norm > threshold, logits / (norm * threshold), logits)
