"""Choices made after training, on held-out in-distribution data only: the temperature and the threshold."""

import math

import numpy as np
import torch

from . import metrics


def fit_temperature(logits, labels, low=0.01, high=100.0):
    """The T in low..high that minimises the NLL of softmax(z / T) (Guo et al., ICML 2017), to 1e-9 relative.

    Logits (N, C) and labels (N,) come from the *validation* part. The NLL is convex in 1/T, so bisection on
    its slope finds the one minimum. Where every image is classified right the NLL only falls with T, and
    `low` comes back; where the logits say nothing, or worse, `high` does.

    >>> logits = torch.tensor([[3.0, 0.0]] * 4)
    >>> t = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))  # right three times in four
    >>> (logits / t).softmax(1)[0, 0]
    tensor(0.7500)
    """
    if not 0 < low < high:
        raise ValueError(f"need 0 < low < high, got {low} and {high}")
    z, y = metrics.labelled(logits, labels, "logits")
    z, y = torch.from_numpy(z), torch.from_numpy(y).long()
    at_label = z.gather(1, y[:, None]).mean()

    def slope(log_t):
        """Of the NLL against 1/T: mean over images of E_p[z] - z_y. It falls as T grows."""
        return (z / math.exp(log_t)).softmax(1).mul(z).sum(1).mean() - at_label

    log_low, log_high = math.log(low), math.log(high)
    while log_high - log_low > 1e-9:
        middle = (log_low + log_high) / 2
        if slope(middle) > 0:
            log_low = middle
        else:
            log_high = middle
    return math.exp(log_high) if log_low > math.log(low) else low


def threshold(id_scores, tpr=0.95):
    """The highest threshold t at which at least `tpr` of the ID scores are accepted, score >= t.

    With scores of the *validation* part, `scores >= threshold(...)` is the detector to deploy.

    >>> threshold(np.arange(100.0))
    5.0
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must be in (0, 1], got {tpr}")
    scores = metrics.vector(id_scores, "ID")
    rank = math.ceil(round(tpr * len(scores), 9))  # 0.95 * 20 may not stay just above 19
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])
