"""Exercises of notebook 8: what a printed number owes to luck, and to a choice made where it is measured."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from ..grading import auroc, call, check_predictions, compare, softmax


def _likelihood(z: np.ndarray, y: np.ndarray, temperature: float) -> float:
    """Mean log-likelihood of the labels at a temperature."""
    return np.log(softmax(z / temperature)[np.arange(len(y)), y]).mean()


def which_choices(random: Generator, answer: Any) -> str:
    """Predict which choices on the test part flatter the printed number."""
    gains = {}
    grid = np.geomspace(0.2, 5, 60)
    for _ in range(40):
        accuracy = random.uniform(0.7, 0.8, (2, 30))  # validation and test, by epoch: noise alone
        z, y = random.normal(0, 1, (2, 60, 4)), random.integers(4, size=(2, 60))
        z[np.arange(2)[:, None], np.arange(60), y] += 1.5
        honest, leaked = (grid[np.argmax([_likelihood(z[part], y[part], t) for t in grid])] for part in (0, 1))
        hits = [np.mean((z[1] / t).argmax(1) == y[1]) for t in (honest, leaked)]
        order = [auroc((z[1] / t).max(1)[:30], (z[0] / t).max(1)[:30]) for t in (honest, leaked)]
        likely = [_likelihood(z[1], y[1], t) for t in (honest, leaked)]
        for line, (before, after) in {
            "the epoch, by test accuracy; printed: test accuracy": (
                accuracy[1, accuracy[0].argmax()],
                accuracy[1].max(),
            ),
            "the epoch, by validation accuracy; printed: test accuracy": (accuracy[1, accuracy[0].argmax()],) * 2,
            "T, by the test labels' likelihood; printed: that likelihood": likely,
            "T, by the test labels' likelihood; printed: test accuracy": hits,
            "T, by the test labels' likelihood; printed: AUROC of the largest logit": order,
            "the best of five seeds, by test accuracy; printed: its test accuracy": (
                accuracy[1, 0],
                accuracy[1, :5].max(),
            ),
        }.items():
            gains.setdefault(line, []).append(after - before)
    check_predictions(
        answer,
        {line: "flatters" if np.mean(gain) > 1e-6 else "honest" for line, gain in gains.items()},
        "Two questions decide: did the test part take part in the choice, and can the choice move that number "
        "at all? What does dividing all logits by T change?",
    )
    return "measured, on noise: " + "; ".join(f"{line}: {np.mean(gain):+.3f}" for line, gain in gains.items()) + "."


def gap_in_errors(random: Generator, function: Callable) -> str:
    """Implement the gap between two means in standard errors."""
    for count in (3, 5, 8):
        ours, mean, deviation, n = random.normal(90, 2, count), *random.uniform((88, 0.5), (96, 3)), count + 2
        gap, variances = ours.mean() - mean, (ours.var(ddof=1), deviation**2)
        error = np.sqrt(variances[0] / count + variances[1] / n)
        compare(
            call(function, ours, mean, deviation, n),
            gap / error,
            {
                "the other way round: ours minus the published.": -gap / error,
                "that is the gap itself; in standard errors it is divided by one.": gap,
                "the deviation of ours with n - 1 below: np.std divides by n unless ddof=1 is given.": gap
                / np.sqrt(ours.var() / count + variances[1] / n),
                "a standard deviation describes single trainings; the error of a mean is smaller, by sqrt(n).": gap
                / np.sqrt(sum(variances)),
                "errors of independent means do not add; their squares do.": gap
                / (np.sqrt(variances[0] / count) + np.sqrt(variances[1] / n)),
                "the published mean has an error too.": gap / np.sqrt(variances[0] / count),
            },
            "what is the variance of a mean over n trainings? And of the difference of two such means?",
        )
    return (
        "beyond Student's t quantile, 4.3 for three trainings and 2.8 for five, the gap is more than the luck of the "
        "seeds. It does not say whose fault it is."
    )


EXERCISES = (which_choices, gap_in_errors)
