"""Detection metrics from counts of accepted scores, and their bootstrap intervals."""

from collections.abc import Iterable
from typing import Any

import numpy as np

RESAMPLES = 1000


def measure(points: Iterable[tuple[np.ndarray, np.ndarray]], n: int, m: int, trapezoid: bool = False) -> dict[str, Any]:
    """Metrics of n ID and m OOD scores from the operating points of :func:`kernels.operating_points`.

    ``fpr95`` maps each positive class to its false positive rate; the other keys are those of ``metrics.detection``.
    """
    area = best = 0
    aupr_in = aupr_out = 0.0
    fpr_id = fpr_ood = None
    for tp, fp in points:
        new_id, new_ood = np.diff(tp), np.diff(fp)  # the scores at each threshold
        area += int((new_ood * (tp[1:] + tp[:-1])).sum())  # trapezoids
        best = max(best, int((tp * m - fp * n).max()))
        # With OOD as the positive class, thresholds rise from the lowest score: all that is not above is rejected.
        rejected_id, rejected_ood = n - tp, m - fp
        precision_in, precision_out = _precision(tp, fp), _precision(rejected_ood, rejected_id)
        if trapezoid:
            precision_in[1:] = (precision_in[1:] + precision_in[:-1]) / 2
            precision_out[:-1] = (precision_out[1:] + precision_out[:-1]) / 2
        aupr_in += float((new_id * precision_in[1:]).sum())
        aupr_out += float((new_ood * precision_out[:-1]).sum())
        if fpr_id is None and 20 * tp[-1] >= 19 * n:  # in integers, 95 % is exact
            fpr_id = int(fp[np.argmax(20 * tp >= 19 * n)]) / m
        if 20 * rejected_ood[0] >= 19 * m:
            fpr_ood = int(rejected_id[20 * rejected_ood >= 19 * m][-1]) / n
    return {
        "auroc": area / (2 * n * m),
        "aupr_in": aupr_in / n,
        "aupr_out": aupr_out / m,
        "fpr95": {"id": fpr_id, "ood": fpr_ood},
        "detection_accuracy": 0.5 + best / (2 * n * m),
    }


def _precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """true / (true + false), and 1 where nothing is accepted."""
    accepted = true + false
    return np.where(accepted > 0, true / np.maximum(accepted, 1), 1.0)


def interval_ends(level: float) -> tuple[float, float]:
    """The quantiles between which the middle ``level`` of resamples lies; ValueError if it is not in 0..1."""
    if not 0 < level < 1:
        raise ValueError(f"interval must be between 0 and 1, such as 0.95, got {level}")
    return 0.5 - level / 2, 0.5 + level / 2


def bootstrap(id_scores: np.ndarray, ood_scores: np.ndarray, trapezoid: bool = False) -> list[dict[str, Any]]:
    """:func:`measure` of ``RESAMPLES`` resamples of ID and OOD scores, each drawn with replacement; always the same.

    Scores are sorted once: a resample is a count of every distinct score.
    """
    n, m = len(id_scores), len(ood_scores)
    _, rank = np.unique(-np.concatenate([id_scores, ood_scores]), return_inverse=True)  # from the highest score
    size, rng = int(rank.max()) + 1, np.random.default_rng(0)

    def accepted(ranks: np.ndarray) -> np.ndarray:
        drawn = ranks[rng.integers(0, len(ranks), len(ranks))]
        return np.append(0, np.bincount(drawn, minlength=size).cumsum())

    return [measure([(accepted(rank[:n]), accepted(rank[n:]))], n, m, trapezoid) for _ in range(RESAMPLES)]
