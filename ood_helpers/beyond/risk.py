"""Risk and coverage: how many errors are left if the least certain images are not decided."""

from typing import Any

import numpy as np

from ..engine.detection import RESAMPLES, interval_ends
from ..metrics import Array, check_scores


def risk_coverage(scores: Array, correct: Array, interval: float | None = None) -> dict[str, Any]:
    r"""Compute the risk-coverage curve of a score, and the areas under it.

    The k images with the largest scores are decided, the others are not. With :math:`e_k` errors among them,

    .. math:: \mathrm{AURC} = \frac{1}{n} \sum_{k=1}^n \frac{e_k}{k}, \qquad
        \mathrm{AUGRC} = \frac{1}{n} \sum_{k=1}^n \frac{e_k}{n}

    AURC (Geifman and El-Yaniv, ICLR 2018) weights an error among the first images more; AUGRC (Traub et al., NeurIPS
    2024, arXiv:2407.01032) is the mean share of undetected errors. Of equal scores the order is random, and e_k is its
    expectation.

    Parameters
    ----------
    scores : array of shape (N,)
        Higher = more certain.
    correct : bool array of shape (N,)
        Whether the prediction is right.
    interval : float, optional
        Level of bootstrap intervals, such as 0.95: the middle share of each area over 1,000 resamples of the images,
        with replacement.

    Returns
    -------
    dict
        Arrays (N,): ``coverage`` k / n, ``risk`` e_k / k and ``generalized_risk`` e_k / n; fractions ``aurc`` and
        ``augrc``; with that argument, ``interval`` with the ends (low, high) for each area.

    Raises
    ------
    ValueError
        If scores are empty or NaN, ``correct`` does not fit, or ``interval`` is not between 0 and 1.

    Examples
    --------
    >>> result = risk_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    >>> result["risk"].round(2).tolist(), round(result["augrc"], 3)
    ([0.0, 0.0, 0.33, 0.25], 0.125)
    """
    values, right = check_scores(scores, "confidence").astype(np.float64), np.asarray(correct)
    if right.dtype != bool or right.shape != values.shape:
        raise ValueError(f"correct must be {values.shape} of bool, got {right.shape} of {right.dtype}")
    quantiles = None if interval is None else interval_ends(interval)
    n = len(values)
    decided = np.arange(1, n + 1)
    group = np.unique(-values, return_inverse=True)[1]  # of equal scores, from the largest
    count = _errors(group, ~right)
    result: dict[str, Any] = {"coverage": decided / n, "risk": count / decided, "generalized_risk": count / n}
    result |= {"aurc": float((count / decided).mean()), "augrc": float(count.mean() / n)}
    if quantiles is not None:
        rng = np.random.default_rng(0)
        draws = (rng.integers(0, n, n) for _ in range(RESAMPLES))
        counts = (_errors(group[drawn], ~right[drawn]) for drawn in draws)
        areas = [((count / decided).mean(), count.mean() / n) for count in counts]
        low, high = np.quantile(areas, quantiles, axis=0).tolist()
        result["interval"] = dict(zip(("aurc", "augrc"), zip(low, high)))
    return result


def _errors(group: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Expected errors e_1..e_n among the images decided first: those of the lowest group, in random order."""
    ends, errors = np.bincount(group).cumsum(), np.bincount(group, wrong).cumsum()
    return np.interp(np.arange(1, len(group) + 1), np.r_[0, ends], np.r_[0, errors])
