"""Risk and coverage: how many errors are left if the least certain images are not decided."""

from typing import Any

import numpy as np

from ..metrics import Array, check_scores


def risk_coverage(scores: Array, correct: Array) -> dict[str, Any]:
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

    Returns
    -------
    dict
        Arrays (N,): ``coverage`` k / n, ``risk`` e_k / k and ``generalized_risk`` e_k / n; fractions ``aurc`` and
        ``augrc``.

    Raises
    ------
    ValueError
        If scores are empty or NaN, or ``correct`` does not fit.

    Examples
    --------
    >>> result = risk_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    >>> result["risk"].round(2).tolist(), round(result["augrc"], 3)
    ([0.0, 0.0, 0.33, 0.25], 0.125)
    """
    values, right = check_scores(scores, "confidence").astype(np.float64), np.asarray(correct)
    if right.dtype != bool or right.shape != values.shape:
        raise ValueError(f"correct must be {values.shape} of bool, got {right.shape} of {right.dtype}")
    n = len(values)
    _, group, sizes = np.unique(-values, return_inverse=True, return_counts=True)  # of equal scores, from the largest
    errors = np.bincount(group, ~right)
    ends = np.r_[0, sizes.cumsum()]
    count = np.interp(np.arange(1, n + 1), ends, np.r_[0, errors.cumsum()])
    coverage = np.arange(1, n + 1) / n
    risk, generalized = count / np.arange(1, n + 1), count / n
    return {
        "coverage": coverage,
        "risk": risk,
        "generalized_risk": generalized,
        "aurc": float(risk.mean()),
        "augrc": float(generalized.mean()),
    }
