"""Every loss with every score: AUROC of trainings, and each score or loss against a reference."""

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import metrics, scores
from ..engine.history import outputs
from ..runs import Run
from ..sweeps import compare, spread
from .feature_scores import FEATURE_SCORES, OF_FEATURES_ALONE


def all_scores(run: Run) -> dict[str, dict[str, np.ndarray]]:
    """Scores (N,) of the test and OOD sets, ``{score: {set: values}}``, by all scores of logits and features.

    Scores that need a linear classifier are left out where the run has a distance head. MSP is given as its log-odds,
    which order alike and do not saturate.
    """
    values = {name: run.scores(name) for name in (*scores.SCORES, *scores.BEYOND) if name != "min_distance"}
    values["msp"] = {name: scores.log_odds(z.astype(np.float64)) for name, z in run.logits.items()}
    network, (images, labels) = run.load_model(), run.dataset().split("train")
    train, head = outputs(network, torch.as_tensor(images[:]))[0], network.classifier
    for name, score in FEATURE_SCORES.items():
        if isinstance(head, nn.Linear) or name in OF_FEATURES_ALONE:
            sets = {key: torch.from_numpy(f) for key, f in run.features.items()}
            values[name] = {key: score(train, labels, head, f).numpy() for key, f in sets.items()}
    return values


def aurocs(trained: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Mean AUROC over the OOD sets in percent: a row per training, indexed by loss and seed, a column per score.

    Parameters
    ----------
    trained : mapping
        ``{name: [run, ...]}``, as from ``sweeps.compare_losses``.
    """
    rows = {}
    for name, group in trained.items():
        for run in group:
            by_score = all_scores(run)
            rows[name, run.config.seed] = {
                score: 100 * mean(metrics.detection(sets["test"], sets[ood])["auroc"] for ood in run.config.ood)
                for score, sets in by_score.items()
            }
    frame = pd.DataFrame(rows).T.rename_axis(["loss", "seed"])
    frame.attrs = {"labels": {name: group[0].label for name, group in trained.items()}}
    return frame


def against(values: Mapping[str, Sequence[float]], reference: str) -> pd.DataFrame:
    """Each row of values against the reference: mean ± standard deviation, and the paired difference.

    Parameters
    ----------
    values : mapping of name to values of the same seeds
    reference : str

    Returns
    -------
    DataFrame
        A row per name, the best first: ``mean``, ``difference`` with its 95 % interval from ``low`` to ``high``, ``n``,
        and ``clearly`` "better", "worse" or "" where the interval includes 0.
    """
    rows = {}
    for name in sorted(values, key=lambda name: -mean(values[name])):
        row = {"mean": spread(list(values[name]))}
        if name != reference:
            result = compare(values, reference, name).iloc[0]
            row |= {key: round(result[key], 1) for key in ("difference", "low", "high")} | {"n": result["n"]}
            row["clearly"] = ("better" if result["difference"] > 0 else "worse") if result["clear"] else ""
        rows[name] = row
    return pd.DataFrame(rows).T.fillna("")
