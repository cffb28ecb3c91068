"""Scores of logits z (N, C) since 2023, called as those of the core; higher = more in-distribution."""

import torch
from torch import Tensor

from ..engine.inputs import check_positive, score_of_logits

GAMMA, TOP = 0.1, 100  # GEN's exponent and number of classes, the authors' for ImageNet
P = 2.0  # of the p-norm that logits are divided by


@score_of_logits
def gen(logits: Tensor, gamma: float = GAMMA, top: int = TOP) -> Tensor:
    r"""GEN, a generalised entropy of the largest probabilities (Liu et al., CVPR 2023).

    .. math:: -\sum_{c \in \text{top } M} p_c^\gamma (1 - p_c)^\gamma, \qquad p = \mathrm{softmax}(z)

    Parameters
    ----------
    logits : array of shape (N, C)
    gamma : float
        Positive. The smaller, the more a small probability counts.
    top : int
        M, how many of the largest probabilities count; all, if there are fewer.

    Returns
    -------
    array of shape (N,)
        In -M / 4**gamma..0.

    References
    ----------
    Liu, Lochman and Zach: GEN: Pushing the limits of softmax-based out-of-distribution detection. CVPR 2023.

    Examples
    --------
    >>> gen(torch.zeros(1, 2), gamma=1.0), gen(torch.tensor([[9e9, 0.0]]))
    (tensor([-0.5000]), tensor([-0.]))
    """
    check_positive("gamma", gamma), check_positive("top", top)
    z = logits.sort(1, descending=True).values
    log_p = z.log_softmax(1)
    # log(1 - p): from the rest for the largest, which may round to 1, and directly for the others
    log_rest = torch.log1p(-log_p.exp()[:, 1:])
    log_top = z[:, 1:].logsumexp(1, keepdim=True) - z.logsumexp(1, keepdim=True)
    terms = (gamma * (log_p + torch.cat([log_top, log_rest], 1))).exp()
    return -terms[:, : int(top)].sum(1)


@score_of_logits
def p_norm(logits: Tensor, p: float = P) -> Tensor:
    r"""Maximum logit over the p-norm of the logits: LogitNorm's idea as a score (Xia et al., ICLR 2025).

    .. math:: \max_c z_c / \lVert z \rVert_p

    Parameters
    ----------
    logits : array of shape (N, C)
    p : float
        Positive.

    Returns
    -------
    array of shape (N,)
        In -C**(-1/p)..1; 0 where all logits are 0.

    References
    ----------
    https://arxiv.org/abs/2403.14715

    Examples
    --------
    >>> p_norm(torch.tensor([[3.0, 4.0], [30.0, 40.0]]))
    tensor([0.8000, 0.8000])
    """
    check_positive("p", p)
    size = logits.abs().amax(1, keepdim=True)  # so that a power cannot overflow
    unit = logits / size.where(size > 0, 1)
    total = unit.abs().pow(p).sum(1)
    return unit.amax(1) / total.where(total > 0, 1).pow(1 / p)


BEYOND = {f.__name__: f for f in (gen, p_norm)}
