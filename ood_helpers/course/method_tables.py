"""Tables of notebooks 4, 5 and 8: what temperatures, scores and choices are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy, normalize

from .. import losses, metrics, scores, sweeps
from ..drawing.styles import SCORE_LABELS
from ..runs import Run
from .tables import mean_auroc

TEMPERATURES = np.geomspace(0.04, 4, 21)


def temperature_effect(run: Run) -> pd.DataFrame:
    """What softmax(u / T) of the directions u = z / norm2(z) is worth at many temperatures T, the index.

    Returns
    -------
    DataFrame
        ``loss`` of the test images in nats, and ``AUROC`` of the top probability in %, mean over the OOD sets.
    """
    u = {name: normalize(torch.from_numpy(run.logits[name]).double()) for name in ("test", *run.config.ood)}
    labels, rows = torch.from_numpy(run.labels["test"]), {}
    for t in TEMPERATURES:
        msp = {name: scores.msp(z / t).numpy() for name, z in u.items()}
        aurocs = [metrics.detection(msp["test"], msp[name])["auroc"] for name in run.config.ood]
        rows[t] = {"loss": cross_entropy(u["test"] / t, labels).item(), "AUROC": 100 * np.mean(aurocs)}
    return pd.DataFrame(rows).T.rename_axis("T")


def best_temperatures(effects: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Of frames of :func:`temperature_effect`: where the loss is lowest and AUROC highest, and the ends of AUROC."""
    rows = {
        name: {
            "T of the lowest loss": effect["loss"].idxmin(),
            "T of the highest AUROC": effect["AUROC"].idxmax(),
            "lowest AUROC, %": effect["AUROC"].min(),
            "highest AUROC, %": effect["AUROC"].max(),
        }
        for name, effect in effects.items()
    }
    return pd.DataFrame(rows).T


def learn_on_perfect_network(num_classes: int, steps: int = 200, **options: Any) -> list[float]:
    """MELN's temperature at every step of SGD (rate 0.01, momentum 0.9) on the fixed logits of a perfect network.

    Parameters
    ----------
    num_classes : int
    steps : int
    **options
        Of ``losses.MarginEnhancedLogitNormLoss``.

    Examples
    --------
    >>> min(learn_on_perfect_network(6)) < 0 < min(learn_on_perfect_network(6, positive_temperature=True))
    True
    """
    perfect, labels = torch.eye(num_classes) * num_classes - 1, torch.arange(num_classes)
    criterion = losses.MarginEnhancedLogitNormLoss(**options)
    optimizer = torch.optim.SGD(criterion.parameters(), lr=0.01, momentum=0.9)
    path = []
    for _ in range(steps):
        path.append(criterion.temperature.item())
        optimizer.zero_grad()
        criterion(perfect, labels).backward()
        optimizer.step()
    return path


def collapses(runs: Sequence[Run]) -> pd.DataFrame:
    """MELN's temperature at both ends of each training, and the accuracy at its best and in the end (%)."""
    rows = {
        run.config.seed: {
            "T after epoch 1": run.history["temperature"][1],
            "T at the end": run.history["temperature"][-1],
            "best validation accuracy, %": 100 * max(run.history["accuracy"]["validation"]),
            "test accuracy at the end, %": 100 * run.accuracy,
        }
        for run in runs
    }
    return pd.DataFrame(rows).T.rename_axis("seed")


def differences(frame: pd.DataFrame, reference: str, quantity: str = "mean") -> pd.DataFrame:
    """:func:`ood_helpers.sweeps.compare` of each other loss with ``reference``, in one column of ``sweeps.table``."""
    names = [name for name in frame.index.unique(0) if name != reference]
    rows = {frame.attrs["labels"][name]: sweeps.compare(frame, reference, name).loc[quantity] for name in names}
    table = pd.DataFrame(rows).T[["difference", "low", "high", "n", "clear"]].infer_objects()
    return table.rename_axis(columns=f"minus {frame.attrs['labels'][reference]}, points")


def confidence(views: Mapping[str, tuple[Run, float]], ood: str) -> pd.DataFrame:
    """Confidence and ECE in %: a row per ``{title: (run, temperature)}``."""
    rows = {}
    for title, (run, temperature) in views.items():
        msp = run.scores("msp", temperature)
        rows[title] = {
            "T": temperature,
            "confidence on ID, %": 100 * msp["test"].mean(),
            f"on {ood}, %": 100 * msp[ood].mean(),
            "ECE, %": 100 * run.ece(temperature),
        }
    return pd.DataFrame(rows).T


def what_was_run(trained: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """How the networks were trained: a row per loss."""
    rows = {}
    for group in trained.values():
        run, config = group[0], group[0].config
        options = run.label.removeprefix(config.recipe.label).strip(" ()")
        rows[config.recipe.label] = {
            "n": len(group),
            "options": options,
            "network": config.model,
            "epochs": config.epochs,
            "minutes each": sweeps.spread([sum(each.history["seconds"]) / 60 for each in group], 0),
            "training accuracy, %": sweeps.spread([100 * each.history["accuracy"]["train"][-1] for each in group]),
            "test accuracy, %": sweeps.spread([100 * each.accuracy for each in group]),
        }
    return pd.DataFrame(rows).T


def by_set(trained: Mapping[str, Sequence[Run]], systems: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Mean AUROC in % over trainings: a row per OOD set, a column per (loss, score)."""
    columns = {}
    for loss, name in systems:
        label = f"{trained[loss][0].config.recipe.label}, {SCORE_LABELS.get(name, name)}"
        columns[label] = sweeps.table({loss: trained[loss]}, "auroc", score=name).mean().drop("mean")
    return pd.DataFrame(columns)


def auroc_through_training(systems: Sequence[tuple[Run, str]], ood: str) -> pd.DataFrame:
    """AUROC in % on an OOD set after every epoch that the runs recorded: a row per epoch, a column per (run, score)."""
    columns = {}
    for run, name in systems:
        score = scores.score(name)
        logits = zip(*(run.snapshots[split].astype(np.float64) for split in ("test", ood)))
        aurocs = [mean_auroc({"test": score(known), ood: score(strangers)}, [ood]) for known, strangers in logits]
        label = f"{run.config.recipe.label}, {SCORE_LABELS.get(name, name)}"
        columns[label] = pd.Series(aurocs, index=run.snapshots["epochs"])
    return pd.DataFrame(columns).rename_axis(index="epoch", columns=f"AUROC in %, {ood}")


def favourite_class(trained: Mapping[str, Sequence[Run]], ood: str) -> pd.DataFrame:
    """The class that each network names most often on an OOD set, how often, and its AUROC and FPR95: a row per run."""
    rows = {}
    for run in (run for group in trained.values() for run in group):
        named = np.bincount(run.logits[ood].argmax(1), minlength=len(run.classes))
        detected = run.detection()[ood]
        rows[run.label, run.config.seed] = {
            "AUROC, %": round(100 * detected["auroc"], 1),
            "FPR95 (ID positive), %": round(100 * detected["fpr95"], 1),
            "most named class": run.classes[named.argmax()],
            "share of the images, %": round(100 * named.max() / named.sum(), 1),
        }
    return pd.DataFrame(rows).T.rename_axis(["loss", "seed"])


def leak(trained: Mapping[tuple[int, str], Sequence[Run]]) -> tuple[pd.DataFrame, dict[int, list[float]]]:
    """What choosing the epoch on the test split adds to the accuracy.

    Parameters
    ----------
    trained : mapping of (number of images, split) to runs
        Trainings of the same seeds whose epoch was chosen on "validation" and on "test".

    Returns
    -------
    table : DataFrame
        A row per number of images: accuracies and their difference in points.
    gains : dict
        The differences of the single trainings by number of images.
    """
    rows, gains = {}, {}
    for size in dict.fromkeys(size for size, _ in trained):
        honest, leaky = ([100 * run.accuracy for run in trained[size, part]] for part in ("validation", "test"))
        gains[size] = [b - a for a, b in zip(honest, leaky, strict=True)]
        found = sweeps.compare({"honest": honest, "leaky": leaky}, "honest", "leaky").loc["value"]
        rows[size] = {
            "epoch chosen on validation, accuracy in %": sweeps.spread(honest),
            "chosen on test": sweeps.spread(leaky),
            "leak, points": sweeps.spread(gains[size]),
            "95 % interval": f"{found['low']:.1f} to {found['high']:.1f}",
            "n": len(honest),
        }
    return pd.DataFrame(rows).T.rename_axis("images in each split"), gains


def temperature_leak(trained: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """What fitting the temperature on the test split takes off ECE, in points: a row per loss."""
    rows = {}
    for group in trained.values():
        honest, leaky = (
            [100 * run.ece(run.calibrated_temperature(part)) for run in group] for part in ("validation", "test")
        )
        rows[group[0].config.recipe.label] = {
            "T from validation, ECE in %": sweeps.spread(honest, 2),
            "T from test": sweeps.spread(leaky, 2),
            "leak, points": sweeps.spread([a - b for a, b in zip(honest, leaky)], 2),
            "n": len(group),
        }
    return pd.DataFrame(rows).T
