"""Exercises of notebooks 2 to 4: the losses, their gradients and their temperatures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch.nn import functional as F

from ..grading import Hint, auroc, call, check_predictions, compare, random_logits, softmax

# 2. The norm of the logits grows


def doubled_logits(random: Generator, answer: Any) -> str:
    """Predict what doubling all logits changes."""
    z, y = random_logits(random, 400)
    z[np.arange(200), y[:200]] += 4  # the first half is known, and mostly right
    p = softmax(z)

    def word(before, after):
        return "same" if np.allclose(before, after, atol=1e-9) else "changes"

    q, wrong = softmax(2 * z), z.argmax(1) != y
    nll = [-np.log(each[wrong, y[wrong]]).mean() for each in (p, q)]
    check_predictions(
        answer,
        {
            "predicted class": word(p.argmax(1), q.argmax(1)),
            "confidence (MSP)": word(p.max(1), q.max(1)),
            "AUROC of the largest logit": word(*(auroc(s[:200], s[200:]) for s in (z.max(1), 2 * z.max(1)))),
            "AUROC of MSP": word(*(auroc(s[:200], s[200:]) for s in (p.max(1), q.max(1)))),
            "cross-entropy of wrong answers": word(*nll),
        },
        "For AUROC only the order of images counts: does doubling keep it? Compare z = (2, 0, 0) and (1.4, 0, -9).",
    )
    return f"the loss of wrong answers went from {nll[0]:.2f} to {nll[1]:.2f}: a confident wrong answer costs most."


def softmax_gradient(random: Generator, function: Callable) -> str:
    """Implement the gradient of the mean cross-entropy in the logits."""
    z, y = random_logits(random)
    p, one = softmax(z), np.eye(z.shape[1])[y]
    result = call(function, torch.tensor(z), torch.tensor(y), forbidden=("ood_helpers", "torch.autograd"))
    compare(
        result,
        (p - one) / len(z),
        {
            "that is the step downhill; the gradient points the other way.": (one - p) / len(z),
            "that is the gradient of the sum. The loss is the mean over the batch.": p - one,
            "only the part that all classes share; what is special about the true one?": p / len(z),
        },
        "the numbers are not right. Check one of them by moving a logit a little.",
    )
    return "(p - onehot(y)) / B, which is zero for no finite logits: the push never ends."


def norm_needed(random: Generator, function: Callable) -> str:
    """Derive the norm that k classes need for a top probability q."""
    for _ in range(5):
        q, k = random.uniform(0.5, 0.9999), int(random.integers(3, 200))
        gap, odds = np.sqrt(k / (k - 1)), np.log(q / (1 - q))
        compare(
            call(function, q, k),
            (np.log(k - 1) + odds) / gap,
            {
                "that is the gap between the logits. How long is the vector with this gap?": np.log(k - 1) + odds,
                "as if there were one rival. There are k - 1 of them in the softmax's sum.": odds / gap,
                "divide by the gap of a vector of length 1, do not multiply.": (np.log(k - 1) + odds) * gap,
            },
            "try k = 2 and q = 0.5 on paper: a vector of length 0 is enough.",
        )
    return (
        "the norm grows with log(q / (1 - q)): every further 9 of confidence adds log 10 = 2.3 to the gap, and "
        "sqrt((k - 1) / k) of that to the norm."
    )


# 3. LogitNorm


def logitnorm(random: Generator, function: Callable) -> str:
    """Implement LogitNorm."""
    for batch in (5, 40):
        z, y = map(torch.tensor, random_logits(random, batch))
        tau, norm = random.uniform(0.05, 0.9), z.norm(dim=1, keepdim=True)
        compare(
            call(function, z, y, tau),
            F.cross_entropy(z / (norm * tau), y),
            {
                "times tau? A small tau should make the logits long.": F.cross_entropy(z / norm * tau, y),
                "the norm of the whole batch; each image has its own.": F.cross_entropy(z / (z.norm() * tau), y),
                "the sum over the batch; cross-entropy takes the mean.": F.cross_entropy(
                    z / (norm * tau), y, reduction="sum"
                ),
                "nll_loss wants log-probabilities. A library shipped this loss for four releases.": F.nll_loss(
                    z / (norm * tau), y
                ),
                "a norm per class: which axis is the image?": F.cross_entropy(
                    z / (z.norm(dim=0, keepdim=True) * tau), y
                ),
                "plain cross-entropy at a temperature: the norm is still in it.": F.cross_entropy(z / tau, y),
            },
            "not the formula above. Compute z / norm first and look whether each row has length 1.",
        )
    zero = torch.as_tensor(call(function, torch.zeros(2, 3).double(), torch.tensor([0, 1]), 0.5))
    if not torch.isfinite(zero).all():
        raise Hint("right, until all logits of an image are 0: then 0 / 0. The authors add 1e-7 somewhere.")
    return "three lines, and the loss cannot see the norm any more."


def tau_for_floor(random: Generator, function: Callable) -> str:
    """Derive the tau whose LogitNorm loss has a given lower bound."""
    for _ in range(5):
        tau, k = random.uniform(0.15, 1.5), int(random.integers(3, 100))
        gap = np.sqrt(k / (k - 1))
        floor = np.log1p((k - 1) * np.exp(-gap / tau))
        compare(
            call(function, floor, k),
            tau,
            {
                "that is 1 / tau.": 1 / tau,
                "the paper's looser bound has 2 where the exact one has sqrt(k / (k - 1)).": 2 * tau / gap,
                "the gap on the unit sphere is sqrt(k / (k - 1)), not 1.": tau / gap,
                "exp(L) is 1 + something; where did the 1 go?": gap / (np.log(k - 1) - floor),
            },
            "put your tau back into the bound: do you get the floor that was asked for?",
        )
    floors = [np.log1p(5 * np.exp(-np.sqrt(6 / 5) / tau)) for tau in (0.28, 1.2 * 0.28)]
    return f"a fifth more tau, 0.28 to 0.34, lifts the floor of 6 classes from {floors[0]:.2f} to {floors[1]:.2f}."


@dataclass
class Candidate:
    """One temperature with results of its training; reading ``test_auroc`` is recorded in ``seen``."""

    tau: float
    training_loss: float
    validation_accuracy: float
    validation_auroc: float
    seen: ClassVar[list] = []

    @property
    def test_auroc(self) -> float:
        """Record that it was read; the value means nothing."""
        self.seen.append(self.tau)
        return 0.9


def pick_tau(random: Generator, function: Callable) -> str:
    """Choose tau without the test images."""
    for _ in range(8):
        columns = [np.sort(random.uniform(low, 1, 7)) for low in (0.03, 0)]
        columns += list(random.uniform(0.8, 1, (2, 7)))
        table = [Candidate(*map(float, row)) for row in zip(*columns)]
        Candidate.seen.clear()
        result = call(function, table, forbidden=())
        if Candidate.seen:
            raise Hint("test_auroc was looked at. Then the test images took part in the choice, and cannot judge it.")
        if isinstance(result, Candidate):
            raise Hint("that is the whole candidate; return its tau.")
        lowest, surest = (
            table[int(f([getattr(c, name) for c in table]))].tau
            for f, name in ((np.argmin, "training_loss"), (np.argmax, "validation_accuracy"))
        )
        best = max(table, key=lambda c: c.validation_auroc).tau
        if result != best:
            compare(
                result,
                best,
                {
                    "the lowest training loss: that is the smallest tau, each time. Its floor is lowest, "
                    "nothing more.": lowest,
                    "the best accuracy. It is flat over tau, and not what the detector is for.": surest,
                },
                "which column stands for telling known from unknown, without test images?",
            )
    return "chosen on validation outliers only, so the test result stays honest."


# 4. MELN


def _margins() -> dict[str, Callable]:
    """Losses of (z, y, m) in which a number m is put somewhere."""

    def norm(z):
        return z.norm(dim=1, keepdim=True)

    return {
        "(z - m) / norm(z)": lambda z, y, m: (z - m) / norm(z),
        "(z - m) / norm(z - m)": lambda z, y, m: (z - m) / norm(z - m),
        "z / norm(z) - m": lambda z, y, m: z / norm(z) - m,
        "m taken from the true class alone, / norm(z)": lambda z, y, m: (z - m * F.one_hot(y, z.shape[1])) / norm(z),
        "m z / norm(m z)": lambda z, y, m: m * z / norm(m * z),
        "m z / norm(z)": lambda z, y, m: m * z / norm(z),
    }


def which_margins(random: Generator, answer: Any) -> str:
    """Predict which margins act on a loss with normalised logits."""
    z, y = map(torch.tensor, random_logits(random))
    m, slopes = torch.tensor(0.3, dtype=torch.float64, requires_grad=True), {}
    for name, logits in _margins().items():
        (slopes[name],) = torch.autograd.grad(F.cross_entropy(logits(z, y, m), y), m)
    check_predictions(
        answer,
        {name: "acts" if abs(slope) > 1e-12 else "inert" for name, slope in slopes.items()},
        "Two things cancel: a shift of all logits in the softmax, and a factor in z / norm(z). Which is where?",
    )
    return "measured slopes: " + "; ".join(f"{name}: {slope:.1e}" for name, slope in slopes.items()) + "."


def margin_slope(random: Generator, function: Callable) -> str:
    """Implement the derivative of the loss in a margin on the true class."""
    z, y = map(torch.tensor, random_logits(random))
    for m in random.uniform(0, 3, 3):
        one, norm = F.one_hot(y, z.shape[1]), z.norm(dim=1, keepdim=True)
        wrong = 1 - ((z - m * one) / norm).softmax(1).gather(1, y[:, None])
        compare(
            call(function, z, y, float(m)),
            (wrong / norm).mean(),
            {
                "zero: so m left every logit. Take it from the true class alone.": 0.0,
                "the sign: does a larger margin make the loss smaller?": -(wrong / norm).mean(),
                "the norm in the denominator is still to come.": wrong.mean(),
                "the sum over the batch; the loss is the mean.": (wrong / norm).sum(),
                "one number per image; the loss is their mean.": (wrong / norm)[:, 0],
                "right, in a tuple: torch.autograd.grad gives one slope for each input, so take [0].": (
                    wrong / norm
                ).mean()[None],
                "the softmax of the raw logits; the loss sees them after margin and norm.": (
                    (1 - z.softmax(1).gather(1, y[:, None])) / norm
                ).mean(),
                "1 / norm(z) is at work, the share 1 - p of the other classes is missing.": (1 / norm).mean(),
            },
            "let autograd tell you: m as a tensor with requires_grad=True, the loss, torch.autograd.grad(loss, m).",
        )
    return "(1 - p_y) / norm(z), averaged: it acts on every image, less on those with long logits."


def positive_temperature(random: Generator, function: Callable) -> str:
    """Find the bug: a parametrisation of T that stays positive and keeps its gradient."""
    theta = torch.linspace(-20, 20, 401, dtype=torch.float64, requires_grad=True)
    T = call(function, theta)
    if not isinstance(T, torch.Tensor) or T.shape != theta.shape or not T.requires_grad:
        raise Hint("return a tensor made from theta by torch operations, as long as theta: its gradient must pass.")
    slope = T.detach().diff()
    if not abs(call(function, torch.zeros(1).double()) - 1).item() < 1e-6:
        raise Hint("at theta = 0, where training starts, T should be 1.")
    if not (T > 0).all():
        raise Hint(f"at theta = {theta[T.argmin()].item():.1f} it gives {T.min().item():.3g}; T must stay above zero.")
    if (slope == 0).any():
        raise Hint("positive, but flat somewhere: a step that gets there gets no gradient, and stays there for ever.")
    if not ((slope > 0).all() or (slope < 0).all()):
        raise Hint("positive, but it turns around: a step too far comes out on the other side, larger again.")
    return "positive, smooth and increasing. Whether the learned T is a good one is another question."


EXERCISES = (
    doubled_logits,
    softmax_gradient,
    norm_needed,
    logitnorm,
    tau_for_floor,
    pick_tau,
    which_margins,
    margin_slope,
    positive_temperature,
)
