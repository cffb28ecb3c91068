"""Exercises of notebook 10: bugs of public repositories, written anew; a check shows what a bug does to a number."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from torch.nn import functional as F

from ..grading import Hint, auroc, call, compare, random_logits


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _two_sets(random: Generator, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of ID images, with one large one, and of OOD images, which are shorter."""
    (known, y), (strange, _) = (random_logits(random, 300, classes, scale) for scale in (1.5, 1.2))
    known[np.arange(300), y] += 4
    return torch.tensor(known), torch.tensor(strange)


def _auroc_of(score: Callable, known: torch.Tensor, strange: torch.Tensor) -> float:
    values = [np.asarray(call(score, z), dtype=float) for z in (known, strange)]
    if any(v.shape != (len(known),) for v in values):
        raise Hint(f"a score is one number per image, of the shape ({len(known)},), not {values[0].shape}.")
    return auroc(*values)


def negated_twice(random: Generator, score: Callable) -> str:
    """Mend the sign of the energy score."""
    known, strange = _two_sets(random)
    measured, right = _auroc_of(score, known, strange), auroc(*(z.logsumexp(1) for z in (known, strange)))
    if measured < 0.5:
        raise Hint(
            f"AUROC is {_percent(measured)}. Far below 50 % the order is right and its sign is not: count the minuses."
        )
    if abs(measured - right) > 1e-6:
        raise Hint(f"AUROC is {_percent(measured)}, that of the energy is {_percent(right)}.")
    return f"AUROC is {_percent(measured)}; with one minus too many it was {_percent(1 - measured)}."


def divided_twice(random: Generator, precision: Callable) -> str:
    """Mend the covariance behind a Mahalanobis distance."""
    count, width = 2000, 8
    spread = np.r_[np.ones(width - 2), 0.02, 0.02]
    train, known, strange = (spread * random.normal(size=(n, width)) for n in (count, 300, 300))
    strange[:, -2:] += 0.05
    residuals = torch.tensor(train - train.mean(0))

    def measure(inverse):
        return auroc(*(-np.einsum("nd,de,ne->n", x, inverse, x) for x in (known, strange)))

    result = np.asarray(call(precision, residuals), dtype=float)
    if result.shape != (width, width):
        raise Hint(f"the inverse covariance of {width} features is ({width}, {width}), not {result.shape}.")
    measured, right = measure(result), measure(np.linalg.inv(train.T @ train / count))
    if measured < right - 0.01:
        raise Hint(
            f"AUROC is {_percent(measured)}, and {_percent(right)} is possible. A constant factor cannot matter, "
            "unless something is added to it: how large are the variances, compared with 1e-6?"
        )
    return f"AUROC is {_percent(measured)}: divided by the number of images once, variances are far above 1e-6."


def swapped_names(random: Generator, auprs: Callable) -> str:
    """Mend the names of two average precisions."""
    from ...metrics import detection

    known, strange = random.normal(1.5, 1, 900), random.normal(0, 1, 100)
    right, result = detection(known, strange), call(auprs, known, strange)
    if not isinstance(result, dict) or set(result) != {"aupr_in", "aupr_out"}:
        raise Hint("return a dict with aupr_in and aupr_out.")
    names = ("aupr_in", "aupr_out")
    compare(
        [result[name] for name in names],
        [right[name] for name in names],
        {
            f"aupr_out is {_percent(right['aupr_in'])} with 100 OOD images among 900 ID images. Guessing has 10 % "
            "if OOD is positive, and 90 % if ID is. Which is it?": [right[name] for name in names[::-1]]
        },
        "which class is positive, and in which direction does its score rise?",
    )
    return f"aupr_in is {_percent(result['aupr_in'])} and aupr_out {_percent(result['aupr_out'])}."


def sigmoid_inside(random: Generator, function: Callable) -> str:
    """Mend an AUROC that first makes probabilities of its scores."""
    known, strange = (torch.tensor(random.normal(mean, 6, 400)).float() for mean in (32, 24))
    right = auroc(known.double(), strange.double())
    result = call(function, known, strange)
    compare(
        result,
        right,
        {},
        f"AUROC is {_percent(float(result)) if np.ndim(result) == 0 else result}, and {_percent(right)} is right. What "
        "are the sigmoids of 20 and of 30 in float32, and which of them is larger?",
    )
    return f"AUROC is {_percent(right)}: ranks need no probabilities, and every sigmoid above 17 is 1.0 in float32."


def _labelled(random: Generator) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Logits (30, 10), mostly right labels (30,), and a temperature."""
    z, y = random_logits(random, 30, 10)
    z[np.arange(30), y] += 6
    return torch.tensor(z), torch.tensor(y), random.uniform(0.1, 0.9)


def _loss(function: Callable, *arguments: object) -> float:
    result = call(function, *arguments)
    if np.ndim(result) != 0:
        raise Hint(f"a loss is one number, not {np.shape(result)}.")
    return float(result)


def by_the_direction(random: Generator, function: Callable) -> str:
    """Mend a LogitNorm that divides by the normalised logits."""
    z, y, tau = _labelled(random)
    result = _loss(function, z, y, tau)
    right = F.cross_entropy(z / z.norm(dim=1, keepdim=True) / tau, y).item()
    guessing = f"the loss is {result:.4f}, and log 10 is {np.log(10):.4f}: it only guesses. Print the ten logits."
    compare(result, right, {guessing: np.log(10)}, f"the loss is {result:.4f}, and {right:.4f} is right.")
    return f"the loss is {right:.4f}. z divided by its direction is the norm, ten times the same number."


def one_norm(random: Generator, function: Callable) -> str:
    """Mend a LogitNorm that divides by the 1-norm."""
    z, y, tau = _labelled(random)
    result = _loss(function, z, y, tau)
    right = F.cross_entropy(z / z.norm(dim=1, keepdim=True) / tau, y).item()
    wrong = F.cross_entropy(z / z.norm(p=1, dim=1, keepdim=True) / tau, y).item()
    hint = f"the loss is {wrong:.4f}, and {right:.4f} is right. How long, in the 2-norm, are the logits that are seen?"
    compare(result, right, {hint: wrong}, f"the loss is {result:.4f}, and {right:.4f} is right.")
    return f"the loss is {right:.4f}. The 1-norm is up to sqrt(10) times longer: another temperature for each image."


def no_log_softmax(random: Generator, function: Callable) -> str:
    """Mend a cross-entropy that forgets log_softmax."""
    z, y, _ = _labelled(random)
    result = _loss(function, z, y)
    right = F.cross_entropy(z, y).item()
    if result < 0:
        raise Hint(f"the loss is {result:.4f}. Is there a probability whose -log is negative?")
    compare(result, right, {}, f"the loss is {result:.4f}, and {right:.4f} is right.")
    return f"the loss is {right:.4f}. nll_loss only picks a column; it expects log-probabilities."


def not_the_energy(random: Generator, score: Callable) -> str:
    """Mend an energy that is the largest log-probability."""
    known, strange = _two_sets(random)
    measured, right, msp = (
        _auroc_of(score, known, strange),
        auroc(*(z.logsumexp(1) for z in (known, strange))),
        auroc(*(z.softmax(1).amax(1) for z in (known, strange))),
    )
    if abs(measured - msp) < 1e-6:
        raise Hint(f"AUROC is {_percent(measured)}, that of MSP to the last digit. Add 5 to all logits: what happens?")
    if abs(measured - right) > 1e-6:
        raise Hint(f"AUROC is {_percent(measured)}, that of the energy is {_percent(right)}.")
    return (
        f"AUROC is {_percent(right)} and that of MSP {_percent(msp)}: the energy sees a shift, a probability does not."
    )


NEAR = ("ssb_hard", "ninco")  # of ImageNet in OpenOOD v1.5
OTHERS = ("species", "inaturalist", "openimage_o", "imagenet_o", "textures")


def wrong_test_set(random: Generator, function: Callable) -> str:
    """Mend a near-OOD average over the sets of an older benchmark."""
    results = {name: random.uniform(0.7, 0.8) for name in NEAR} | {name: random.uniform(0.9, 0.97) for name in OTHERS}
    result, right = call(function, results), np.mean([results[name] for name in NEAR])
    hint = f"{_percent(float(result)) if np.ndim(result) == 0 else result} would lead the board. "
    compare(result, right, {}, f"{hint}Which sets are near OOD in the version that the other rows used?")
    return f"{_percent(right)}: the same method, on the sets that every other row of the board was measured on."


def threshold_and_target(random: Generator, clip: Callable) -> str:
    """Mend a clipping of logits whose target is not its threshold."""
    z, t = torch.tensor(random.normal(size=(40, 6))) * torch.linspace(0.05, 2, 40)[:, None], 0.5
    norm = z.norm(dim=1, keepdim=True)
    result, right = call(clip, z, t), torch.where(norm > t, z / norm * t, z)
    longest = float(torch.as_tensor(result).norm(dim=1).max()) if np.shape(result) == (40, 6) else np.nan
    if longest > t * 1.001:
        raise Hint(f"with t = {t} the longest logits have the norm {longest:.3f}: some were made longer, not shorter.")
    compare(result, right, {}, "logits below the threshold stay as they are, those above get its norm.")
    return f"no norm is above {t}. With a target of 1 / t every norm between {t} and {1 / t:g} was raised to {1 / t:g}."


EXERCISES = (
    *(negated_twice, divided_twice, swapped_names, sigmoid_inside, by_the_direction),
    *(one_norm, no_log_softmax, not_the_energy, wrong_test_set, threshold_and_target),
)
