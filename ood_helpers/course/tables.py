"""Tables of the notebooks: what a few trainings of one loss say, a quantity per column."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
import torch
from pandas import DataFrame, Index, concat

from .. import losses, metrics, scores
from ..beyond.risk import risk_coverage
from ..runs import Run
from ..sweeps import spread

LOGIT_SCORES = [name for name in scores.SCORES if name != "min_distance"]  # which equals max_logit


def confidences(trained: Sequence[Run], sure: float = 0.9) -> DataFrame:
    """Mean confidence (MSP) and share of confident answers on every set, in percent: a row per set.

    Parameters
    ----------
    trained : sequence of Run
        Trainings that differ in their seed only; cells are mean ± standard deviation over them.
    sure : float
        Confidence above which an answer counts as confident.

    Returns
    -------
    DataFrame
        Columns: number of images, mean confidence, share of images above ``sure``.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in ("test", *trained[0].config.ood):
        confidence = [run.scores("msp")[name] for run in trained]
        rows[f"{name} ({'ID' if name == 'test' else 'OOD'})"] = {
            "images": len(confidence[0]),
            "mean confidence": spread([100 * c.mean() for c in confidence]),
            f"above {100 * sure:g} %": spread([100 * (c > sure).mean() for c in confidence]),
        }
    return DataFrame(rows).T.rename_axis(columns=f"%, {_trainings(trained)}")


def by_score(trained: Mapping[str, Sequence[Run]], names: Sequence[str] = LOGIT_SCORES) -> DataFrame:
    """AUROC in %, mean over OOD sets and trainings: a row per loss, a column per score."""
    rows = {
        group[0].label: {
            name: 100 * mean(result["auroc"] for run in group for result in run.detection(name).values())
            for name in names
        }
        for group in trained.values()
    }
    return DataFrame.from_dict(rows, "index").rename_axis(columns="AUROC in %, mean over sets and trainings")


def through_training(trained: Sequence[Run]) -> DataFrame:
    """How norms, confidence and detection change during training: a row per snapshot, means over trainings.

    Parameters
    ----------
    trained : sequence of Run
        Trainings that differ in their seed only.

    Returns
    -------
    DataFrame
        Indexed by epoch: accuracy on training images (%), median norm of the logits of ID test and of OOD images, mean
        confidence (MSP) on OOD images (%), the mean AUROC over the OOD sets (%) of MSP and of the direction alone
        (MSP of logits that all have the same norm, the median of that epoch), and AURC and AUGRC (%) of MSP on ID test
        images.
    """
    return sum((_through_training(run) for run in trained[1:]), _through_training(trained[0])) / len(trained)


def _through_training(run: Run) -> DataFrame:
    """:func:`through_training` of one run."""
    epochs, ood = run.snapshots["epochs"], run.config.ood
    rows = []
    for i, epoch in enumerate(epochs):
        logits = {name: run.snapshots[name][i].astype(np.float64) for name in ("test", *ood)}
        norms, direction, msp = _norm_and_direction(logits, "test")
        correct = logits["test"].argmax(1) == run.labels["test"][: len(logits["test"])]
        risk = risk_coverage(msp["test"], correct)
        rows.append(
            {
                "training accuracy (%)": 100 * run.history["accuracy"]["train"][run.history["epoch"].index(epoch)],
                "norm, ID": np.median(norms["test"]),
                "norm, OOD": np.median(np.concatenate([norms[name] for name in ood])),
                "confidence, OOD (%)": 100 * mean(scores.msp(logits[name]).mean() for name in ood),
                "AUROC, MSP (%)": mean_auroc(msp, ood),
                "AUROC, direction alone (%)": mean_auroc(direction, ood),
                "AURC, ID (%)": 100 * risk["aurc"],
                "AUGRC, ID (%)": 100 * risk["augrc"],
            }
        )
    return DataFrame(rows, index=Index(epochs, name="epoch"))


def frozen(run: Run, name: str) -> DataFrame:
    """Mean confidence (%) on a set, by epoch: as trained, and with the first epoch's directions or norms.

    Returns
    -------
    DataFrame
        Columns "as trained", "only the norm goes on" and "only the direction goes on".
    """
    z = run.snapshots[name][1:].astype(np.float64)
    norm = np.linalg.norm(z, axis=2, keepdims=True)
    direction = z / norm
    logits = {
        "as trained": z,
        "only the norm goes on": norm * direction[:1],
        "only the direction goes on": norm[:1] * direction,
    }
    confidence = {label: [100 * scores.msp(epoch).mean() for epoch in each] for label, each in logits.items()}
    return DataFrame(confidence, index=Index(run.snapshots["epochs"][1:], name="epoch"))


def gradient_along_logits(trained: Mapping[str, Sequence[Run]]) -> DataFrame:
    """Share of cross-entropy's squared gradient in the logits that lies along them, in percent.

    Returns
    -------
    DataFrame
        A row per label: the median over training images before training and at the end, mean over the runs, and by
        chance: the median for directions without preference in the C - 1 dimensions where components sum to zero.
    """
    from scipy.stats import beta

    rows = {
        label: {
            "before training": mean(_along_logits(run, 0) for run in group),
            "at the end": mean(_along_logits(run, -1) for run in group),
            "chance": 100 * beta(0.5, len(group[0].classes) / 2 - 1).median(),  # of a squared cosine
        }
        for label, group in trained.items()
    }
    return DataFrame.from_dict(rows, "index").rename_axis(columns="share along z in %")


def _along_logits(run: Run, snapshot: int) -> float:
    z = torch.from_numpy(run.snapshots["train"][snapshot]).double()
    y = torch.from_numpy(np.asarray(run.dataset().split("train")[1]))[: len(z)]
    gradient = z.softmax(1) - torch.nn.functional.one_hot(y, z.shape[1])
    return 100 * torch.cosine_similarity(gradient, z).square().median().item()


def mean_auroc(values: Mapping[str, np.ndarray], ood: Iterable[str]) -> float:
    """Mean AUROC over OOD sets in percent."""
    return 100 * mean(metrics.detection(values["test"], values[name])["auroc"] for name in ood)


def part_aurocs(trained: Sequence[Run]) -> DataFrame:
    """AUROC (%) of the norm of the logits alone, of their direction alone, and of both together (MSP).

    The direction alone is MSP after all images have been given the same norm, the median of the validation split.

    Returns
    -------
    DataFrame
        A row per seed and OOD set, and one per seed for the sets' ``mean``.
    """
    frames = {}
    for run in trained:
        values = dict(
            zip(("norm alone", "direction alone", "both (MSP)"), _norm_and_direction(run.logits, "validation"))
        )
        frame = DataFrame(
            {title: {ood: mean_auroc(value, [ood]) for ood in run.config.ood} for title, value in values.items()}
        )
        frames[run.config.seed] = concat([frame, frame.mean().to_frame("mean").T])
    return concat(frames, names=["seed", None])


def parts(trained: Sequence[Run]) -> DataFrame:
    """:func:`part_aurocs` for display: mean ± standard deviation over the trainings, a row per OOD set."""
    cells = part_aurocs(trained).groupby(level=1, sort=False).agg(lambda values: spread(values.tolist()))
    return cells.rename_axis(columns=f"AUROC in %, {_trainings(trained)}")


def energy_and_mean(trained: Sequence[Run], ood: Sequence[str]) -> DataFrame:
    """FPR95 (ID positive, %) of MSP, of the energy, and of the energy of logits without their mean: a row per training.

    Parameters
    ----------
    trained : sequence of Run
    ood : sequence of str
        The OOD sets over which the mean is taken.

    Returns
    -------
    DataFrame
        The three scores, and the ``mean logit`` of the test images, to which the energy is sensitive and MSP is not.
    """
    views: dict[str, Any] = {
        "MSP": scores.msp,
        "energy": scores.energy,
        "energy without the mean": lambda z: scores.energy(z - z.mean(1, keepdims=True)),
    }
    rows = {}
    for run in trained:
        logits = {name: run.logits[name].astype(np.float64) for name in ("test", *ood)}
        row = {"mean logit": logits["test"].mean()}
        for title, score in views.items():
            values = {name: score(z) for name, z in logits.items()}
            row[title] = mean(100 * metrics.detection(values["test"], values[name])["fpr95"] for name in ood)
        rows[run.config.seed] = row
    return DataFrame(rows).T.rename_axis("seed")


def ends(trained: Sequence[Run]) -> dict[str, Any]:
    """What trainings end with, as a row of a table: loss, accuracy, median norm, mean AUROC and FPR95 of MSP."""
    detected = [run.detection("msp").values() for run in trained]
    return {
        "n": len(trained),
        "training loss": spread([run.history["loss"][-1] for run in trained], 2),
        "accuracy (%)": spread([100 * run.accuracy for run in trained]),
        "norm, ID": spread([_median_norm(run) for run in trained]),
        "mean AUROC (%)": spread([100 * mean(result["auroc"] for result in results) for results in detected]),
        "mean FPR95 (ID positive, %)": spread([100 * mean(r["fpr95"] for r in results) for results in detected]),
    }


def temperatures(trained: Sequence[Run]) -> DataFrame:
    """LogitNorm's trainings at several temperatures tau: a row per training, indexed by tau.

    Returns
    -------
    DataFrame
        Lower bound of the loss, training loss, median norm of the logits of ID test images, tau times that norm, the
        temperature T that calibrates the network (fitted on validation images), mean AUROC over the OOD sets (%).
    """
    rows = {}
    for run in trained:
        tau, norm = dict(run.config.loss_options)["temperature"], _median_norm(run)
        rows[tau] = {
            "lower bound": losses.lower_bound(len(run.classes), tau),
            "training loss": run.history["loss"][-1],
            "norm, ID": norm,
            "tau * norm": tau * norm,
            "calibrating T": run.calibrated_temperature(),
            "AUROC, OOD sets (%)": 100 * mean(result["auroc"] for result in run.detection("msp").values()),
        }
    return DataFrame.from_dict(rows, "index").rename_axis("tau")


def calibration(trained: Mapping[str, Sequence[Run]]) -> DataFrame:
    """Calibration before and after a temperature is fitted on validation images: a row per loss.

    Returns
    -------
    DataFrame
        T, expected calibration error (ECE) on test images and mean confidence on OOD images without and with T, in
        percent; mean ± standard deviation over the trainings.
    """
    rows = {}
    for group in trained.values():
        fitted = [run.calibrated_temperature() for run in group]
        row = {"n": len(group), "fitted T": spread(fitted, 2)}
        for title, ts in (("raw", [1.0] * len(group)), ("with T", fitted)):
            pairs = list(zip(group, ts))
            row[f"ECE, {title} (%)"] = spread([100 * run.ece(t) for run, t in pairs])
            msp = [run.scores("msp", temperature=t) for run, t in pairs]
            row[f"confidence on OOD, {title} (%)"] = spread(
                [100 * mean(values[name].mean() for name in run.config.ood) for (run, _), values in zip(pairs, msp)]
            )
        rows[group[0].label] = row
    return DataFrame.from_dict(rows, "index")


def folds(trained: Mapping[str, Sequence[Run]], other: str) -> DataFrame:
    """Classification and detection in every fold: a row per loss and fold.

    Every threshold is the one that accepts 95 % of the fold's validation images; the score is MSP.

    Parameters
    ----------
    trained : mapping of a loss to its runs, one per fold
    other : str
        Name of the OOD set.

    Returns
    -------
    DataFrame
        Accuracy and macro F1 (%), Cohen's kappa, errors on validation images, the calibrating temperature T, threshold,
        ID accepted, OOD accepted, FPR95 (ID positive, threshold from the test fold) and AUROC (%).
    """
    from sklearn.metrics import cohen_kappa_score, f1_score

    rows = {}
    for loss, group in trained.items():
        for fold, run in enumerate(group, 1):
            labels, answers, values = run.labels["test"], run.logits["test"].argmax(1), run.scores("msp")
            threshold = metrics.threshold(values["validation"], 0.95)
            result = metrics.detection(values["test"], values[other])
            rows[loss, fold] = {
                "accuracy": 100 * run.accuracy,
                "macro F1": 100 * f1_score(labels, answers, average="macro"),
                "kappa": cohen_kappa_score(labels, answers),
                "validation errors": int((run.logits["validation"].argmax(1) != run.labels["validation"]).sum()),
                "T": run.calibrated_temperature(),
                "threshold": threshold,
                "ID accepted": 100 * (values["test"] >= threshold).mean(),
                "OOD accepted": 100 * (values[other] >= threshold).mean(),
                "FPR95 (ID positive)": 100 * result["fpr95"],
                "AUROC": 100 * result["auroc"],
            }
    return DataFrame.from_dict(rows, "index").rename_axis(["loss", "fold"])


def _trainings(trained: Sequence[Run]) -> str:
    return f"{len(trained)} trainings" if len(trained) > 1 else "one training"


def _norm_and_direction(logits: Mapping[str, np.ndarray], reference: str) -> tuple[dict[str, np.ndarray], ...]:
    """Three scores of each set: norm, MSP of the direction at the median norm of ``reference``, MSP (as log-odds)."""
    z = {name: values.astype(np.float64) for name, values in logits.items()}
    norms = {name: np.linalg.norm(values, axis=1) for name, values in z.items()}
    median = np.median(norms[reference])
    scaled = {name: median * values / np.maximum(norms[name], 1e-12)[:, None] for name, values in z.items()}
    return norms, *({name: scores.log_odds(values) for name, values in each.items()} for each in (scaled, z))


def _median_norm(run: Run) -> float:
    return float(np.median(np.linalg.norm(run.logits["test"].astype(np.float64), axis=1)))
