"""Tables of notebook 6, on scores and thresholds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

import numpy as np
import torch
from pandas import DataFrame

from .. import metrics, scores
from ..beyond.risk import risk_coverage
from ..runs import Run
from .tables import mean_auroc


def alarms(run: Run, ood: str, share: float) -> dict[str, float]:
    """What a detector that accepts 95 % of validation images rejects (%), if a ``share`` of all images are OOD."""
    detector = run.detector()
    id_rejected, ood_rejected = (1 - detector.accepts(run.logits[name]).mean() for name in ("test", ood))
    wrong, right = (1 - share) * id_rejected, share * ood_rejected
    ood_accepted = share * (1 - ood_rejected)
    return {
        "ID rejected": 100 * id_rejected,
        "OOD rejected": 100 * ood_rejected,
        "OOD among the rejected": 100 * right / (wrong + right),
        "OOD among the accepted": 100 * ood_accepted / (ood_accepted + (1 - share) * (1 - id_rejected)),
    }


def selective_risk(trained: Mapping[str, Sequence[Run]]) -> DataFrame:
    """Area under the risk-coverage curve (AURC, %) of each loss's own score: ID test images, alone and with OOD images.

    As many OOD images as ID images are taken where there are enough; every answer to an OOD image is an error.
    """
    rows = {}
    for group in trained.values():
        areas: dict[str, list[float]] = {}
        for run in group:
            values = run.scores()
            correct = run.logits["test"].argmax(1) == run.labels["test"]
            for name in ("test", *run.config.ood):
                n = min(len(correct), len(values[name]))
                both = values["test"][:n], values[name][:n]
                right = correct[:n], np.zeros(n, dtype=bool)
                result = (
                    risk_coverage(values["test"], correct)
                    if name == "test"
                    else risk_coverage(np.concatenate(both), np.concatenate(right))
                )
                areas.setdefault("ID alone" if name == "test" else f"with {name}", []).append(100 * result["aurc"])
        rows[group[0].label] = {name: mean(area) for name, area in areas.items()}
    return DataFrame.from_dict(rows, "index").rename_axis(columns="AURC in %, lower is better")


def temperature_dial(run: Run, temperatures: Iterable[float]) -> DataFrame:
    """AUROC (%) on every OOD set of MSP at several temperatures, a row each, without rounding at small ones."""
    rows = {}
    for temperature in temperatures:
        values = {name: scores.log_odds(z.astype(np.float64) / temperature) for name, z in run.logits.items()}
        rows[temperature] = {name: mean_auroc(values, [name]) for name in run.config.ood}
    return DataFrame.from_dict(rows, "index").rename_axis("T")


def through_a_sigmoid(run: Run, score: str) -> DataFrame:
    """AUROC (%) on every OOD set of a score in float32, as it is and after a sigmoid."""
    values = {name: torch.tensor(value).float() for name, value in run.scores(score).items()}
    return DataFrame(
        {
            name: {
                title: 100 * metrics.detection(f(values["test"]), f(values[name]))["auroc"]
                for title, f in (("as it is", torch.clone), ("through a sigmoid", torch.sigmoid))
            }
            for name in run.config.ood
        }
    ).rename_axis(columns="AUROC in %")
