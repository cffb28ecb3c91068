"""Exercises of notebook 9: what a loss sees."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator
from torch.nn import functional as F

from ...beyond import atlas
from ..grading import Hint, call, check_predictions, compare, random_logits


def what_it_sees(random: Generator, answer: Any) -> str:
    """Predict which changes three losses see."""
    measured = atlas.measured(int(random.integers(2**31)))
    lines = {
        f"{loss}, {change}": "sees" if measured.loc[loss, change] == "yes" else "blind"
        for loss in ("LogitNorm", "ELogitNorm", "T2FNorm")
        for change in ("features times a", "classifier times a")
    }
    advice = "What is divided by what: does the factor stand in the numerator and in the divisor?"
    check_predictions(answer, lines, advice)
    return "only LogitNorm is blind to both; the others move their temperature into the norm of the classifier."


def boundary_loss(random: Generator, function: Callable) -> str:
    """Implement ELogitNorm."""
    z, y = map(torch.tensor, random_logits(random, 20, 5))
    w = torch.tensor(random.normal(size=(5, 7)))
    top, best = z.max(1, keepdim=True)
    distance = torch.cdist(w, w)[best[:, 0]]
    each = (top - z) / distance.where(distance > 0, 1)

    def with_divisor(s: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(z / s, y)

    result = call(function, z, w, y)
    if torch.as_tensor(result).isnan().any():
        raise Hint("NaN: the predicted class is at no distance from itself, 0 / 0. Divide by 1 there.")
    compare(
        result,
        with_divisor(each.mean(1, keepdim=True)),
        {
            "almost: the mean is over all C classes, the predicted one too, with a distance of 0.": with_divisor(
                each.sum(1, keepdim=True) / 4
            ),
            "the sum of the distances; ELogitNorm takes their mean.": with_divisor(each.sum(1, keepdim=True)),
            "that is LogitNorm: divide by distances to the boundaries.": with_divisor(z.norm(dim=1, keepdim=True)),
        },
        "compute the distances (C,) of one image first: its gaps to the largest logit over the gaps of the weights.",
    )
    return "the distance of the features to the boundaries: it grows with the features, and not with the classifier."


EXERCISES = (what_it_sees, boundary_loss)
