"""Exercises of notebook 5: logits that are distances, and the targets of mosaics."""

from collections.abc import Callable

import torch
from numpy.random import Generator
from torch.nn import functional as F

from ..grading import call, compare


def isomaxplus_logits(random: Generator, function: Callable) -> str:
    """Implement the logits of IsoMax+."""
    x, w = torch.tensor(random.normal(size=(30, 8))), torch.tensor(random.normal(size=(5, 8)))
    unit = torch.cdist(F.normalize(x), F.normalize(w))
    for s in (1.7, -1.7):
        compare(
            call(function, x, w, s),
            -abs(s) * unit,
            {
                "right while s is positive. It can be learned below zero: it enters as |s|.": -s * unit,
                "distances. A near prototype should have the largest logit.": abs(s) * unit,
                "raw vectors: that is IsoMax, with a scale. IsoMax+ compares directions.": -abs(s) * torch.cdist(x, w),
                "raw vectors and no scale: that is IsoMax. IsoMax+ compares directions.": -torch.cdist(x, w),
                "only one of the two sides has length 1.": -abs(s) * torch.cdist(F.normalize(x), w),
                "only one of the two sides has length 1 now.": -abs(s) * torch.cdist(x, F.normalize(w)),
                "the squared distance.": -abs(s) * unit**2,
                "the cosine. How are cosine and distance on the unit sphere related?": abs(s)
                * F.normalize(x)
                @ F.normalize(w).T,
                "one row per class; wanted is one per image.": -abs(s) * unit.T,
            },
            "compute one entry by hand: normalise one x and one w, subtract, take the norm.",
        )
    return "30 images to 5 prototypes. The largest a logit can be is 0, on the prototype itself."


def mosaic_targets(random: Generator, function: Callable) -> str:
    """Find the bug: targets of mosaics in which a class is drawn twice."""
    drawn = torch.tensor(random.integers(6, size=(40, 4)))
    drawn[0] = torch.tensor([2, 2, 2, 5])
    buggy = torch.zeros(40, 6).double()
    buggy[torch.arange(40)[:, None], drawn] = 0.25
    compare(
        call(function, drawn, 6),
        F.one_hot(drawn, 6).double().mean(1),
        {
            "still the colleague's: look at a row with a class that was drawn twice, and at its sum.": buggy,
            "now the rows sum to 1, but a class drawn twice should count twice, not once.": buggy
            / buggy.sum(1, keepdim=True),
            "counts; a target is a distribution.": F.one_hot(drawn, 6).double().sum(1),
        },
        "classes (2, 2, 2, 5) should give 3/4 to class 2 and 1/4 to class 5.",
    )
    return "an indexed assignment keeps the last write; adding up needs one_hot or scatter_add."


EXERCISES = (isomaxplus_logits, mosaic_targets)
