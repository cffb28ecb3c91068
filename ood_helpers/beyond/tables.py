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

REFERENCE = 5000  # training images, at most, that means, covariances and neighbours are computed from
MOST = 2000  # images of a set that are scored, or up to twice as many where they are not a multiple


def all_scores(run: Run) -> dict[str, dict[str, np.ndarray]]:
    """Scores (N,) of the test and OOD sets, ``{score: {set: values}}``, by all scores of logits and features.

    Scores that need a linear classifier are left out where the run has a distance head. MSP is given as its log-odds,
    which order alike and do not saturate. Scores of features are fitted on the first ``REFERENCE`` training images.
    Large sets are subsampled: every k-th image is scored.
    """
    logits, features = (
        {name: rows[name][:: max(1, len(rows[name]) // MOST)] for name in ("test", *run.config.ood)}
        for rows in (run.logits, run.features)
    )
    functions = {name: scores.score(name) for name in (*scores.SCORES, *scores.BEYOND) if name != "min_distance"}
    functions["msp"] = scores.log_odds
    values = {
        score: {name: function(z.astype(np.float64)) for name, z in logits.items()}
        for score, function in functions.items()
    }
    network, (images, labels) = run.load_model(), run.dataset().split("train")
    train, head = outputs(network, torch.as_tensor(images[:REFERENCE]))[0], network.classifier
    for score, function in FEATURE_SCORES.items():
        if isinstance(head, nn.Linear) or score in OF_FEATURES_ALONE:
            values[score] = {
                name: function(train, labels[:REFERENCE], head, torch.from_numpy(f)).numpy()
                for name, f in features.items()
            }
    return values


def aurocs_by_set(run: Run) -> dict[str, dict[str, float]]:
    """AUROC in percent, ``{score: {OOD set: value}}``, by :func:`all_scores`.

    Exported runs have no features: theirs were measured when they were exported, and are empty where they were not.
    """
    if hasattr(run, "aurocs"):
        return run.aurocs
    return {
        score: {ood: 100 * metrics.detection(sets["test"], sets[ood])["auroc"] for ood in run.config.ood}
        for score, sets in all_scores(run).items()
    }


def aurocs(trained: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Mean AUROC over the OOD sets in percent: a row per training, indexed by loss and seed, a column per score.

    Parameters
    ----------
    trained : mapping
        ``{name: [run, ...]}``, as from ``sweeps.compare_losses``. Runs that come with the repository have their values
        with them, as measured when they were exported; one that was exported without is left out.
    """
    rows = {}
    for name, group in trained.items():
        for run in group:
            if values := aurocs_by_set(run):
                rows[name, run.config.seed] = {score: mean(by_set.values()) for score, by_set in values.items()}
    index = pd.MultiIndex.from_tuples(list(rows), names=["loss", "seed"])
    frame = pd.DataFrame(list(rows.values()), index=index)
    frame.attrs = {"labels": {name: group[0].label for name, group in trained.items()}}
    return frame


def by_newer_score(trained: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """:func:`aurocs` by the energy and the scores that are not those of the six papers: a row per loss, mean over runs.

    NaN where a score needs a linear classifier and the loss has a distance head.
    """
    frame = aurocs(trained)
    table = frame.groupby(level="loss", sort=False).mean().reindex(columns=["energy", *scores.BEYOND, *FEATURE_SCORES])
    return table.rename(index=frame.attrs["labels"]).rename_axis(columns="AUROC in %, mean over sets and trainings")


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
