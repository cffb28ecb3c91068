"""Losses that change what a prediction is worth: MbLS, label smoothing, focal loss and outlier exposure.

Called as the losses in ``norm_losses``; none of them uses the head, their first argument.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.synthetic import outliers
from ..engine.inputs import check_batch, check_positive, promote_to_float32


class MarginLabelSmoothingLoss(nn.Module):
    r"""MbLS, margin-based label smoothing (Liu et al., CVPR 2022).

    .. math:: \mathrm{CE}(z, y) + \alpha \, \frac{1}{C} \sum_c \max(0, \max_j z_j - z_c - m)

    Parameters
    ----------
    head : module
        Not used.
    margin : float
        m, the distance from the largest logit up to which logits cost nothing.
    weight : float
        alpha.

    References
    ----------
    https://arxiv.org/abs/2111.15430

    Examples
    --------
    >>> z, y = torch.tensor([[14.0, 0.0]]), torch.tensor([0])
    >>> MarginLabelSmoothingLoss()(z, y) - F.cross_entropy(z, y)
    tensor(0.2000)
    """

    def __init__(self, head: nn.Module | None = None, margin: float = 10.0, weight: float = 0.1):
        super().__init__()
        self.margin, self.weight = margin, weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        z = check_batch(logits, labels)
        excess = F.relu(z.amax(1, keepdim=True) - z - self.margin).mean()
        return F.cross_entropy(z, labels) + self.weight * excess


class LabelSmoothingLoss(nn.Module):
    r"""Label smoothing: cross-entropy with a share of the target spread over all classes (Szegedy et al., CVPR 2016).

    .. math:: (1 - \varepsilon) \, \mathrm{CE}(z, y) + \varepsilon \, \frac{1}{C} \sum_c \mathrm{CE}(z, c)

    Parameters
    ----------
    head : module
        Not used.
    smoothing : float
        epsilon, in 0..1.

    References
    ----------
    https://arxiv.org/abs/1512.00567

    Examples
    --------
    >>> LabelSmoothingLoss(smoothing=0.5)(torch.zeros(1, 4), torch.tensor([0])).exp()
    tensor(4.)
    """

    def __init__(self, head: nn.Module | None = None, smoothing: float = 0.1):
        super().__init__()
        if not 0 <= smoothing <= 1:
            raise ValueError(f"smoothing must be in 0..1, got {smoothing!r}")
        self.smoothing = smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(check_batch(logits, labels), labels, label_smoothing=self.smoothing)


class FocalLoss(nn.Module):
    r"""Focal loss, which gives images that are classified rightly less weight (Lin et al., ICCV 2017).

    .. math:: -(1 - p_y)^\gamma \log p_y

    Parameters
    ----------
    head : module
        Not used.
    gamma : float
        Positive; 3 as in Mukhoti et al., NeurIPS 2020 (arXiv:2002.09437), who use the loss for calibration.

    References
    ----------
    https://arxiv.org/abs/1708.02002

    Examples
    --------
    >>> round(FocalLoss(gamma=2.0)(torch.zeros(1, 2), torch.tensor([0])).exp().item(), 4)  # 2 ** 0.25
    1.1892
    """

    def __init__(self, head: nn.Module | None = None, gamma: float = 3.0):
        super().__init__()
        self.gamma = check_positive("gamma", gamma)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_p = -F.cross_entropy(check_batch(logits, labels), labels, reduction="none")
        rest = -torch.expm1(log_p)
        return -(rest.clamp_min(torch.finfo(rest.dtype).tiny) ** self.gamma * log_p).mean()


class OutlierExposureLoss(nn.Module):
    r"""Outlier exposure with outliers that are made of the batch's own images (Hendrycks et al., ICLR 2019).

    .. math:: \mathrm{CE}(z, y) + \lambda \, \mathrm{mean}\Big(\log\sum_c e^{o_c} - \frac{1}{C} \sum_c o_c\Big)

    where o are the logits of the outliers: their cross-entropy to the uniform distribution. The authors take the
    outliers from another data set; here ``preprocess`` makes them with ``data.outliers`` and appends them to the batch.
    In evaluation mode the loss is CE.

    Parameters
    ----------
    head : module
        Not used.
    weight : float
        lambda; 0.5 in the authors' code.

    Raises
    ------
    ValueError
        If a batch in training was not made by ``preprocess``.

    References
    ----------
    https://arxiv.org/abs/1812.04606

    Examples
    --------
    >>> criterion = OutlierExposureLoss()
    >>> images, labels = criterion.preprocess(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1, 0]))
    >>> images.shape, labels.shape
    (torch.Size([8, 1, 8, 8]), torch.Size([4]))
    """

    def __init__(self, head: nn.Module | None = None, weight: float = 0.5):
        super().__init__()
        self.weight = weight

    def preprocess(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Append an outlier per image to images (B, channels, H, W) with pixels in 0..255; labels stay (B,)."""
        seed = torch.randint(2**31, (), generator=generator, device=images.device).item()
        return torch.cat([images, outliers(images.byte(), int(seed)).to(images.dtype)]), labels

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        count = len(labels)
        loss = F.cross_entropy(check_batch(logits[:count], labels), labels)
        if not self.training and len(logits) == count:
            return loss
        if len(logits) != 2 * count:
            raise ValueError("call `inputs, targets = criterion.preprocess(inputs, targets)` before each batch's loss")
        o = promote_to_float32(logits[count:])
        return loss + self.weight * (o.logsumexp(1) - o.mean(1)).mean()
