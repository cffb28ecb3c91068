"""Metrics: detection (AUROC, AUPR, FPR95), calibration (ECE, NLL, temperature), accuracy and thresholds.

Scores are always higher = more in-distribution. Arguments may be NumPy arrays, lists or torch tensors. Detection
metrics are exact under ties. FPR95 depends on which class counts as positive (42.6 % and 89.4 % on one set of
scores), so every result states its convention.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .engine import kernels
from .engine.detection import bootstrap, interval_ends, measure

Array = ArrayLike | torch.Tensor
POSITIVES = ("id", "ood")


def to_numpy(values: Any) -> np.ndarray:
    """Convert to NumPy, also from tensors on a GPU, with gradients or in bfloat16."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    return np.asarray(values)


def check_scores(scores: Array, name: str) -> np.ndarray:
    """Return scores (N,) as a float array; raise ValueError, with ``name``, if empty, not a vector or NaN."""
    array = to_numpy(scores)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} scores must be a non-empty vector, got the shape {array.shape}")
    if array.dtype not in (np.float16, np.float32):
        array = array.astype(np.float64, copy=False)
    if np.isnan(array).any():
        raise ValueError(f"{name} scores contain NaN")
    return array


def check_rows_and_labels(rows: Array, labels: Array, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (N, C) in float64 and labels (N,); raise ValueError, with the rows' ``name``, if they do not fit."""
    rows, labels = to_numpy(rows).astype(np.float64), to_numpy(labels)
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or rows.size == 0:
        raise ValueError(f"{name} must be (N, C) and labels (N,), got {rows.shape} and {labels.shape}")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= rows.shape[1]:
        raise ValueError(f"labels must be integers in 0..{rows.shape[1] - 1}")
    if np.isnan(rows).any():
        raise ValueError(f"{name} contain NaN")
    return rows, labels


def _check_positive_class(positive: str) -> None:
    if positive not in POSITIVES:
        raise ValueError(f"unknown positive class {positive!r}; known: {', '.join(POSITIVES)}")


def detection(
    id_scores: Array,
    ood_scores: Array,
    positive: str = "id",
    aupr: str = "average_precision",
    interval: float | None = None,
) -> dict[str, Any]:
    """Measure how well scores separate ID from OOD.

    Parameters
    ----------
    id_scores, ood_scores : arrays of shape (N,) and (M,)
        Higher = more in-distribution; infinite values are allowed.
    positive : {"id", "ood"}
        The positive class of FPR95, see below.
    aupr : {"average_precision", "trapezoid"}
        The area under the precision-recall curve: average precision, as scikit-learn recommends, or the trapezoidal
        rule of OpenOOD and pytorch-ood, which interpolates linearly and is usually larger where there are ties.
    interval : float, optional
        Level of bootstrap intervals, such as 0.95: the middle share of each metric over 1,000 resamples, with
        replacement, of the ID and of the OOD images. They do not cover the variation between trainings.

    Returns
    -------
    dict
        Fractions in 0..1, and the convention:

        - ``auroc``: P(ID score > OOD score) + P(equal) / 2, the same for either positive class
        - ``aupr_in``, ``aupr_out``: area under the precision-recall curve with ID, or OOD, as the positive class
        - ``fpr95``: false positive rate at the first threshold with a true positive rate of at least 95 %.
          ``"id"``: share of OOD accepted when 95 % of ID is (LogitNorm, IsoMax, DisMax). ``"ood"``: share of ID
          rejected when 95 % of OOD is (OpenOOD, pytorch-ood). A third definition, in the code of LogitNorm, IsoMax
          and DisMax, takes the true positive rate *nearest* to 95 %, which may be below.
        - ``tnr95``: 1 - fpr95
        - ``detection_accuracy``: the largest (TPR + TNR) / 2 over all thresholds
        - ``positive``: the argument
        - ``interval``: with that argument, the ends (low, high) for each of the metrics

    Raises
    ------
    ValueError
        If scores are empty or NaN, or an argument is unknown.

    Examples
    --------
    >>> result = detection([3.0, 2.0, 2.0], [2.0, 1.0])
    >>> round(result["auroc"], 4), result["fpr95"], result["positive"]
    (0.8333, 0.5, 'id')
    >>> detection([3.0, 2.0, 2.0], [1.0, 0.0], interval=0.95)["interval"]["auroc"]
    (1.0, 1.0)
    """
    _check_positive_class(positive)
    if aupr not in ("average_precision", "trapezoid"):
        raise ValueError(f"unknown aupr {aupr!r}; known: average_precision, trapezoid")
    ends = None if interval is None else interval_ends(interval)
    id_scores, ood_scores = check_scores(id_scores, "ID"), check_scores(ood_scores, "OOD")
    points, trapezoid = kernels.operating_points(id_scores, ood_scores), aupr == "trapezoid"
    result = _of_positive_class(measure(points, len(id_scores), len(ood_scores), trapezoid), positive)
    if ends is not None:
        resamples = [_of_positive_class(one, positive) for one in bootstrap(id_scores, ood_scores, trapezoid)]
        result["interval"] = {
            name: tuple(np.quantile([one[name] for one in resamples], ends).tolist())
            for name in result
            if name != "positive"
        }
    return result


def _of_positive_class(measured: dict[str, Any], positive: str) -> dict[str, Any]:
    """The result of :func:`detection` with the FPR95 of one positive class."""
    fpr95 = measured["fpr95"][positive]
    assert fpr95 is not None  # the last threshold accepts, and the first rejects, everything
    accuracy = measured.pop("detection_accuracy")
    return measured | {"fpr95": fpr95, "tnr95": 1 - fpr95, "detection_accuracy": accuracy, "positive": positive}


def curves(id_scores: Array, ood_scores: Array, positive: str = "id") -> dict[str, Any]:
    """Compute the ROC and precision-recall curves behind :func:`detection`, one point per distinct score.

    Parameters and errors are those of :func:`detection`.

    Returns
    -------
    dict
        Arrays ``fpr`` and ``tpr``, from (0, 0) to (1, 1); ``recall`` and ``precision``, from recall 0, where the
        precision is 1 by convention; and ``positive``.

    Examples
    --------
    >>> curves([2.0, 1.0], [1.0, 0.0])["tpr"].tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    _check_positive_class(positive)
    id_scores, ood_scores = check_scores(id_scores, "ID"), check_scores(ood_scores, "OOD")
    if positive == "ood":
        id_scores, ood_scores = -ood_scores, -id_scores
    chunks = list(kernels.operating_points(id_scores, ood_scores))
    tp, fp = (np.concatenate([[0]] + [chunk[k][1:] for chunk in chunks]) for k in (0, 1))
    tpr = tp / len(id_scores)
    precision = np.append(1.0, tp[1:] / (tp[1:] + fp[1:]))
    return {"fpr": fp / len(ood_scores), "tpr": tpr, "recall": tpr, "precision": precision, "positive": positive}


def threshold(id_scores: Array, tpr: float = 0.95, finite_sample: bool = False) -> float:
    """Find the highest threshold t at which at least the fraction ``tpr`` of ID scores has ``score >= t``.

    With n scores of the *validation* split, ``scores >= threshold(...)`` is the detector to deploy. It accepts an
    expected ceil(tpr n) / (n + 1) of new ID images, which can be slightly less than ``tpr``; with ``finite_sample``,
    the rank is ceil(tpr (n + 1)), and the expected share of new ID images is at least ``tpr``.

    Parameters
    ----------
    id_scores : array of shape (N,)
        Higher = more in-distribution; infinite values are allowed.
    tpr : float
        In (0, 1].
    finite_sample : bool
        Whether ``tpr`` is the expected share of new ID images, not the share of the given ones.

    Returns
    -------
    float
        One of the scores.

    Raises
    ------
    ValueError
        If scores are empty or NaN, ``tpr`` is not in (0, 1], or ``finite_sample`` needs more scores than there are.

    Examples
    --------
    >>> threshold(np.arange(100.0)), threshold(np.arange(100.0), finite_sample=True)
    (5.0, 4.0)
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must be in (0, 1], got {tpr}")
    scores = check_scores(id_scores, "ID")
    n = len(scores)
    rank = max(1, math.ceil(round(tpr * (n + finite_sample), 9)))  # rounded, since 0.95 * 20 may exceed 19
    if rank > n:
        needed = f"needs at least {math.ceil(round(tpr / (1 - tpr), 9))}" if tpr < 1 else "has no finite threshold"
        raise ValueError(f"accepting {tpr:.4g} of new ID images {needed}, got {n} scores")
    return float(np.partition(scores, n - rank)[n - rank])


def expected_cost(id_scores: Array, ood_scores: Array, price: float = 1.0, ood_share: float = 0.5) -> dict[str, Any]:
    """Compute what a detector's mistakes cost per image, at every threshold, and find the cheapest one.

    An image is accepted if its score s is at least the threshold t. A rejected ID image costs 1, an accepted OOD image
    ``price``, and the fraction ``ood_share`` of the images to come is OOD:

    cost(t) = price * ood_share * P(s >= t | OOD) + (1 - ood_share) * P(s < t | ID)

    Parameters
    ----------
    id_scores, ood_scores : arrays of shape (N,) and (M,)
        Higher = more in-distribution.
    price : float
        The cost of accepting an OOD image, in units of that of rejecting an ID image.
    ood_share : float
        In 0..1.

    Returns
    -------
    dict
        Arrays ``thresholds``, ascending: every distinct score, and infinity, which rejects everything; and ``costs``.
        ``threshold`` is the one of least cost, the lowest of several, and ``cost`` is its cost.

    Raises
    ------
    ValueError
        If scores are empty or NaN, ``price`` is negative, or ``ood_share`` is not in 0..1.

    Examples
    --------
    >>> result = expected_cost([3.0, 2.0, 2.0, 1.0], [2.0, 0.0], price=1.0, ood_share=0.5)
    >>> result["costs"].tolist(), result["threshold"], result["cost"]
    ([0.5, 0.25, 0.375, 0.375, 0.5], 1.0, 0.25)
    """
    if not (np.isfinite(price) and price >= 0 and 0 <= ood_share <= 1):
        raise ValueError(f"price must be at least 0 and ood_share in [0, 1], got {price} and {ood_share}")
    id_scores, ood_scores = np.sort(check_scores(id_scores, "ID")), np.sort(check_scores(ood_scores, "OOD"))
    thresholds = np.append(np.unique(np.concatenate([id_scores, ood_scores])), np.inf)
    rejected = np.searchsorted(id_scores, thresholds) / len(id_scores)
    accepted = (len(ood_scores) - np.searchsorted(ood_scores, thresholds)) / len(ood_scores)
    costs = price * ood_share * accepted + (1 - ood_share) * rejected
    best = int(costs.argmin())
    return {"thresholds": thresholds, "costs": costs, "threshold": float(thresholds[best]), "cost": float(costs[best])}


def reliability(probabilities: Array, labels: Array, bins: int = 15) -> dict[str, np.ndarray]:
    """Bin images by confidence, for reliability diagrams and :func:`ece`.

    Parameters
    ----------
    probabilities : array of shape (N, C)
        The confidence is their maximum.
    labels : integer array of shape (N,)
    bins : int
        Number of bins of equal width, open below and closed above, as in Guo et al., ICML 2017.

    Returns
    -------
    dict
        Arrays of shape (bins,): mean ``confidence`` and ``accuracy``, NaN where a bin is empty, and ``count``.

    Examples
    --------
    >>> reliability([[0.9, 0.1], [0.8, 0.2]], [0, 1], bins=2)["accuracy"].tolist()
    [nan, 0.5]
    """
    p, y = check_rows_and_labels(probabilities, labels, "probabilities")
    if p.min() < 0 or p.max() > 1 + 1e-6:
        raise ValueError("probabilities must be in 0..1; pass softmax(logits)")
    confidence, correct = p.max(1), p.argmax(1) == y
    index = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count, confidence_sum, correct_sum = (np.bincount(index, w, bins) for w in (None, confidence, correct))
    size = np.where(count, count, np.nan)
    return {"confidence": confidence_sum / size, "accuracy": correct_sum / size, "count": count}


def ece(probabilities: Array, labels: Array, bins: int = 15) -> float:
    """Expected calibration error: sum over bins of count / N * |accuracy - confidence| (Naeini et al., AAAI 2015).

    Parameters
    ----------
    probabilities : array of shape (N, C)
    labels : integer array of shape (N,)
    bins : int
        As in :func:`reliability`.

    Returns
    -------
    float
        In 0..1.

    Raises
    ------
    ValueError
        If shapes or labels do not fit, or probabilities are NaN or not in 0..1.

    Examples
    --------
    >>> round(ece([[0.9, 0.1], [0.8, 0.2]], [0, 1]), 4)
    0.45
    """
    r = reliability(probabilities, labels, bins)
    return float(np.nansum(r["count"] * np.abs(r["accuracy"] - r["confidence"])) / r["count"].sum())


def nll(logits: Array, labels: Array) -> float:
    """Mean negative log-likelihood, mean(logsumexp(z) - z_y), in nats.

    Parameters
    ----------
    logits : array of shape (N, C)
    labels : integer array of shape (N,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If shapes or labels do not fit, or logits are NaN.

    Examples
    --------
    >>> round(nll([[0.0, 0.0]], [1]), 4)
    0.6931
    """
    z, y = check_rows_and_labels(logits, labels, "logits")
    z -= z.max(1, keepdims=True)
    return float((np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]).mean())


def accuracy(logits: Array, labels: Array) -> float:
    """Fraction of images whose largest logit is that of the label.

    Parameters
    ----------
    logits : array of shape (N, C)
    labels : integer array of shape (N,)

    Returns
    -------
    float
        In 0..1.

    Raises
    ------
    ValueError
        If shapes or labels do not fit, or logits are NaN.

    Examples
    --------
    >>> accuracy([[2.0, 1.0], [2.0, 1.0]], [0, 1])
    0.5
    """
    z, y = check_rows_and_labels(logits, labels, "logits")
    return float((z.argmax(1) == y).mean())


def fit_temperature(logits: Array, labels: Array, low: float = 0.01, high: float = 100.0) -> float:
    """Fit the T that minimises the NLL of softmax(z / T), in ``low``..``high``, to 1e-9 relative (Guo et al., 2017).

    Pass logits (N, C) and labels (N,) of the *validation* split. The NLL is convex in 1/T, so bisection on its slope
    finds the only minimum. If every image is classified correctly the NLL falls as T falls, and ``low`` is returned;
    if the logits are uninformative or worse, ``high`` is.

    Examples
    --------
    >>> logits = torch.tensor([[3.0, 0.0]] * 4)
    >>> t = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))  # three of four are correct
    >>> (logits / t).softmax(1)[0, 0]
    tensor(0.7500)
    """
    if not 0 < low < high:
        raise ValueError(f"need 0 < low < high, got {low} and {high}")
    rows, targets = check_rows_and_labels(logits, labels, "logits")
    # Softmax is the same without the largest logit, and rows of equal logits are then exactly 0.
    z, y = torch.from_numpy(rows - rows.max(1, keepdims=True)), torch.from_numpy(targets).long()
    mean_label_logit = z.gather(1, y[:, None]).mean()
    if mean_label_logit <= z.mean():  # the slope below is never negative
        return high

    def slope(log_t):
        """d NLL / d(1/T) = mean(E_p[z] - z_y), which falls as T grows."""
        return (z / math.exp(log_t)).softmax(1).mul(z).sum(1).mean() - mean_label_logit

    log_low, log_high = math.log(low), math.log(high)
    while log_high - log_low > 1e-9:
        middle = (log_low + log_high) / 2
        if slope(middle) > 0:
            log_low = middle
        else:
            log_high = middle
    return math.exp(log_high) if log_low > math.log(low) else low
