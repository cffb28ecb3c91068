"""Exercises of notebooks 1, 6 and 7: scores, thresholds, metrics, protocols."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from ..grading import Hint, auroc, call, check_predictions, compare, random_logits, softmax

# 1. Softmax is overconfident

CHANGES = {
    "turned upside down": lambda x: x.flip(2, 3),
    "black and white exchanged": lambda x: 255 - x,
    "half as bright": lambda x: x // 2,
    "pixels shuffled": lambda x: x.flatten(2)[
        ..., torch.randperm(x[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    ].view_as(x),
}


def changed_images(random: Generator, guess: Any, trained: Any) -> str:
    """Predict the AUROC of MSP between test images and four changed versions of them."""
    names = list(CHANGES)
    if not isinstance(guess, dict) or set(guess) != set(names):
        raise Hint(f"keep the {len(names)} lines as they are and write your AUROC behind each.")
    if not all(isinstance(value, Real) for value in guess.values()):
        raise Hint("some lines have no number yet.")
    if not all(0 <= value <= 1 for value in guess.values()):
        raise Hint("an AUROC is a number from 0 to 1: 70 % is 0.7.")
    model, images = trained.load_model(), trained.images("test")
    with torch.no_grad():
        top = {
            name: softmax(model(change(images)).double().numpy()).max(1)
            for name, change in {"": torch.clone, **CHANGES}.items()
        }
    measured = {name: auroc(top[""], top[name]) for name in names}
    pairs = [(a, b) for a in names for b in names if measured[b] - measured[a] > 0.01]  # nearer ones are luck
    right = sum(guess[a] < guess[b] for a, b in pairs)
    if all(guess[a] > guess[b] for a, b in pairs):
        raise Hint("the other way round: 1 means that confidence tells every changed image from every unchanged one.")
    if right < len(pairs):
        a, b = next((a, b) for a, b in pairs if guess[a] >= guess[b])
        raise Hint(
            f"{right} of {len(pairs)} pairs are in the right order; measured, “{b}” is above “{a}”. Which change "
            "leaves an image that still looks like one of the classes, and which leaves none of its strokes?"
        )
    error = np.mean([abs(guess[name] - measured[name]) for name in names])
    listed = ", ".join(f"{name} {measured[name]:.3f}" for name in names)
    if error > 0.1:
        raise Hint(f"the order is right; on average you are off by {error:.2f}. Measured: {listed}.")
    return f"off by {error:.2f} on average. Measured: {listed}."


def msp(random: Generator, function: Callable) -> str:
    """Implement MSP for logits (N, C), also for logits around 1000."""
    z, _ = random_logits(random)
    z[:2] *= 400  # beyond what exp can hold
    with np.errstate(all="ignore"):
        result = call(function, z)
    compare(
        result,
        softmax(z).max(1),
        {
            "that is the largest logit; it is no probability yet.": z.max(1),
            "the largest of each column: axis?": softmax(z).max(0),
            "the smallest probability, not the largest.": softmax(z).min(1),
            "the axis of the sum: each image's probabilities add up to 1.": softmax(z.T).T.max(1),
        },
        "not the largest softmax probability of each row. Is it right while no logit is as large as 1000? "
        "What may you take away from all logits of an image?",
    )
    return "right, also at logits of 1000. A shift changes no softmax; notebook 4 meets this again."


def toy_detector(random: Generator) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a small random network of 16 pixels and 4 classes, and an image that it is unsure of."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**31)))
        network = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        images = torch.rand(200, 16)
    for parameter in network.parameters():
        parameter.data.mul_(3).requires_grad_(False)
    return network, images[network(images).softmax(1).amax(1).argmin()]


def _push(
    network: torch.nn.Module, image: torch.Tensor, confidence: float, sign: bool = False, step: float = 0.02
) -> torch.Tensor:
    """Return the image after gradient ascent on its top probability, as far as ``confidence``."""
    x, target = image.clone(), network(image).argmax()
    for _ in range(500):
        x.requires_grad_()
        p = network(x).softmax(0)
        if p[target] >= confidence:
            break
        (slope,) = torch.autograd.grad(p[target].log(), x)
        slope = slope.sign() if sign else slope
        x = x.detach() + step * slope / slope.norm()
    return x.detach()


def smallest_change(random: Generator, attack: Callable) -> str:
    """Fool a small network: raise its confidence in an image with the smallest change."""
    change, ours, signs, reached, lengths = [], [], [], [], []
    for _ in range(6):
        network, image = toy_detector(random)
        lengths.append(image.norm().item())
        x = torch.as_tensor(call(attack, network, image, 0.9)).detach()
        if x.shape != image.shape:
            raise Hint(f"return the changed image, of shape {tuple(image.shape)}, not {tuple(x.shape)}.")
        if not torch.isfinite(x).all():
            raise Hint("there is a NaN or an infinity in the image: where p is 1, its slope is 0, and 0 / 0.")
        reached.append(network(x).softmax(0).max().item())
        pushed = (_push(network, image, 0.9, sign) for sign in (False, True))
        for sizes, other in zip((change, ours, signs), (x, *pushed)):
            sizes.append((other - image).norm().item())
    said = f"mean change {np.mean(change):.2f}"
    if not min(reached) >= 0.9:
        raise Hint(
            f"{sum(r >= 0.9 for r in reached)} of 6 networks were fooled; the lowest confidence is {min(reached):.2f}."
        )
    if np.mean(change) > 1.25 * np.mean(ours):
        if np.mean(reached) > 0.93:
            raise Hint(
                f"{said}: all fooled, but they end at {np.mean(reached):.3f}. You overshoot: stop sooner, step less."
            )
        if np.allclose(change, signs, rtol=0.1):
            raise Hint(f"{said}: all fooled. The sign moves every pixel alike, also those that hardly matter.")
        raise Hint(f"{said}: all fooled, and it can be done with clearly less. Which direction raises p fastest?")
    return (
        f"{said}; plain gradient ascent needs {np.mean(ours):.2f}. These images are {np.mean(lengths):.2f} long, so "
        "the change is one that is seen."
    )


# 6. Scores and thresholds


def auroc_survives(random: Generator, answer: Any) -> str:
    """Predict which transformations of a score leave AUROC as it is."""
    known, strange = random.normal(20, 4, 200), random.normal(15, 3, 300)  # both far above 0
    everything = np.concatenate([known, strange])
    before, changes = (
        auroc(known, strange),
        {
            "2 s + 1": lambda s: 2 * s + 1,
            "exp(s)": np.exp,
            "-1 / s": lambda s: -1 / s.clip(1),
            "s ** 2 - 30 s": lambda s: s**2 - 30 * s,
            "rank of s among all images": lambda s: np.searchsorted(np.sort(everything), s),
            "s divided by the standard deviation of its own set": lambda s: s / s.std(),
            "sigmoid of s in float32": lambda s: 1 / (1 + np.exp(-s.astype(np.float32))),
        },
    )
    after = {name: auroc(change(known), change(strange)) for name, change in changes.items()}
    check_predictions(
        answer,
        {name: "same" if abs(value - before) < 1e-9 else "changes" for name, value in after.items()},
        "The scores lie around 15 to 20. One question decides each: is the order of any two images kept?",
    )
    return f"{before:.3f} before; " + ", ".join(f"{name}: {value:.3f}" for name, value in after.items()) + "."


def colleague(random: Generator, function: Callable) -> str:
    """Find the bug: an AUROC computed after a sigmoid that saturates."""
    for centre in (33, 0.5):  # where float64 saturates too, and below 0
        known, strange = random.normal(centre + 5, 4, 300), random.normal(centre, 4, 400)
        strange[:50] = known[:50]  # ties
        with np.errstate(over="ignore"):
            bad, double = (
                [1 / (1 + np.exp(-s.astype(kind))) for s in (known, strange)] for kind in (np.float32, np.float64)
            )
        true = auroc(known, strange)
        compare(
            call(function, known, strange),
            true,
            {
                "the same as the colleague's. Print how many different values the sigmoid leaves: "
                "len(np.unique(...)).": auroc(*bad),
                "better, but float64 only moves the wall from 17 to 37. Is the sigmoid needed at all?": auroc(*double),
                "upside down: which of the two did you call 1?": 1 - true,
                "equal scores should count one half, not nothing.": np.mean(known[:, None] > strange),
                "equal scores should count one half, not one.": np.mean(known[:, None] >= strange),
            },
            "AUROC is the share of pairs in which the known image scores higher. Which step changed the pairs?",
        )
    return f"{true:.3f}, also with ties and with scores below 0. AUROC needs an order, not probabilities."


def threshold_95(random: Generator, function: Callable, positive: str) -> str:
    """Implement the highest threshold that keeps 95 % of the ID scores, and name its convention."""
    for n in (40, 217, 333):
        s, wanted = random.normal(5, 3, n), -(-19 * n // 20)
        t = np.asarray(call(function, s), float)
        if t.shape:
            raise Hint("one threshold for all images: one number.")
        kept = int((s >= t).sum())
        share = f"of {n} images it keeps {kept}, {100 * kept / n:.1f} %"
        if kept < n / 2:
            raise Hint(f"{share}: count from the other end.")
        if kept == wanted - 1:
            raise Hint(f"{share}. np.quantile puts t between two scores: which of the two has to be t?")
        if kept != wanted:
            raise Hint(f"{share}; wanted is the highest t that keeps at least 95 %.")
    if positive not in ("id", "ood"):
        raise Hint('the threshold is right. Now the convention: "id" or "ood"?')
    if positive == "ood":
        raise Hint("the threshold is right. With OOD positive, of which set would the 95 % be counted?")
    return "95 % of ID kept, OOD counted: FPR95 with ID positive. In use, take the validation images, not the test."


# 7. Your own images


def kappa(random: Generator, function: Callable) -> str:
    """Implement Cohen's kappa from true and predicted classes."""
    truth = random.choice(4, 120, p=(0.6, 0.2, 0.15, 0.05))
    named = np.where(random.uniform(size=120) < 0.7, truth, random.choice(4, 120, p=(0.3, 0.3, 0.2, 0.2)))
    table = np.histogram2d(truth, named, bins=4, range=((0, 4), (0, 4)))[0] / 120
    p_o, p_e = np.trace(table), table.sum(0) @ table.sum(1)
    compare(
        call(function, truth, named, forbidden=("ood_helpers", "sklearn")),
        (p_o - p_e) / (1 - p_e),
        {
            "that is the accuracy.": p_o,
            "that is what chance alone would give.": p_e,
            "how far it could rise is still to be divided by.": p_o - p_e,
            "chance is not 1/C: it follows how often each class occurs and is named.": (p_o - 1 / 4) / (1 - 1 / 4),
            "chance from the true classes alone; how often each is named counts too.": (p_o - (table.sum(1) ** 2).sum())
            / (1 - (table.sum(1) ** 2).sum()),
        },
        "compute p_o and p_e first and print them: p_o is the accuracy.",
    )
    return f"{(p_o - p_e) / (1 - p_e):.3f} where the accuracy is {p_o:.3f}."


def honest_epoch(random: Generator, function: Callable) -> str:
    """Find the leak: choose each fold's epoch on validation, report its test accuracy."""
    for _ in range(3):
        validation, test = (random.uniform(0.5, 1, (5, 20)) for _ in range(2))
        chosen, folds = validation.argmax(1), np.arange(5)
        compare(
            call(function, validation, test),
            test[folds, chosen].mean(),
            {
                "still the best test epoch of each fold: the luck of the draw, reported as skill.": test.max(1).mean(),
                "that is the validation accuracy, of the epochs that were best in it: luck again.": validation.max(
                    1
                ).mean(),
                "the epoch is chosen on validation, but one for all folds; each fold has its own.": test[
                    :, validation.mean(0).argmax()
                ].mean(),
                "the mean over all epochs; choose one per fold.": test.mean(),
                "the last epoch: honest, but no choice was made.": test[:, -1].mean(),
                "five numbers; report their mean.": test[folds, chosen],
            },
            "for each fold: at which epoch is its validation accuracy highest, and what is its test accuracy there?",
        )
    return (
        f"{test[folds, chosen].mean():.3f}, where choosing on the test folds would have said "
        f"{test.max(1).mean():.3f}. "
        "These numbers were pure noise around 0.75."
    )


EXERCISES = (changed_images, msp, smallest_change, auroc_survives, colleague, threshold_95, kappa, honest_epoch)
