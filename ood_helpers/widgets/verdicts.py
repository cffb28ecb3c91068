"""What trained networks say about one image: for the sketchpad and the picker, and their static/verdicts.js."""

from collections.abc import Sequence

import numpy as np

from .. import metrics, scores
from ..runs import Run
from .explorer_state import sort_key, to_score
from .formats import format_confidence

BINS = 48  # bars of a histogram
ACCEPTED = 0.95  # fraction of the ID images of the validation split that a threshold accepts
CERTAIN = 0.99  # a higher confidence surprises no more than this one
TAIL = 0.005  # fraction of the images that may lie outside a histogram's axis at either end


def check_runs(widget: str, runs: Run | Sequence[Run]) -> list[Run]:
    """Return the runs as a list; raise an error in one sentence unless they are runs on the same image sets."""
    runs = list(runs) if isinstance(runs, (list, tuple)) else [runs]
    if not runs or not all(hasattr(run, "config") and hasattr(run, "logits") for run in runs):
        raise TypeError(f"{widget} takes a trained run or a list of them, as fit() returns")
    if len({(run.config.data, run.config.known, run.config.fold, run.config.ood) for run in runs}) > 1:
        raise ValueError(f"the runs of one {widget} must share data, known classes, fold and OOD sets")
    return runs


def run_names(runs: Sequence[Run]) -> list[str]:
    """Name each run by its label, with its seed where labels repeat, and its configuration's hash where both do."""
    names = [run.label for run in runs]
    for further in ([f"seed {run.config.seed}" for run in runs], [run.config.hash for run in runs]):
        names = [name if names.count(name) == 1 else f"{name}, {more}" for name, more in zip(names, further)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two of the runs have the same configuration: {repeated[0]}")
    return names


def describe(run: Run, name: str) -> dict:
    """Return what a script needs to judge an image: the network's score, its threshold, and histograms.

    Scores are given as the keys by which ``explorer_state.sort_key`` orders them (of MSP the log-odds).

    Parameters
    ----------
    run : Run
    name : str

    Returns
    -------
    dict
        name, loss, score, limit (the key at or above which an image is accepted: 95 % of the validation split),
        low and high (ends of the axis), counts {set: BINS integers} of the test split ("ID") and of each OOD set.
    """
    score = run.config.recipe.score
    keys = {key: sort_key(logits, score, 1.0) for key, logits in run.logits.items()}
    limit = metrics.threshold(keys.pop("validation"), ACCEPTED)
    keys = {"ID": keys.pop("test")} | {ood: keys[ood] for ood in run.config.ood}
    ends = [np.quantile(values, (TAIL, 1 - TAIL)) for values in keys.values()]
    low, high = min([limit, *(end[0] for end in ends)]), max([limit, *(end[1] for end in ends)])
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    edges = low + (high - low) * np.arange(1, BINS) / BINS
    counts = {
        key: np.bincount(np.searchsorted(edges, values, "right"), minlength=BINS).tolist()
        for key, values in keys.items()
    }
    return {
        "name": name,
        "loss": run.config.loss,
        "score": score,
        "limit": limit,
        "low": float(low),
        "high": float(high),
        "counts": counts,
    }


def surprise(runs: Sequence[Run], name: str) -> np.ndarray:
    """Return how surprising the answers to each image (N,) of a set are; 0 where the networks agree.

    It is the highest confidence of a network that accepts the image, in whole tenths of a percent, plus a hundredth
    for every network that refuses it. static/verdicts.js computes the same.
    """
    known, confidence = [], []
    for run in runs:
        score = run.config.recipe.score
        limit = metrics.threshold(sort_key(run.logits["validation"], score, 1.0), ACCEPTED)
        known.append(sort_key(run.logits[name], score, 1.0) >= limit)
        confidence.append(scores.msp(run.logits[name].astype(np.float64)))
    refusing = len(runs) - np.sum(known, axis=0)
    surest = np.where(known, confidence, 0).max(0)
    return np.where((surest > 0) & (refusing > 0), np.floor(1000 * surest.clip(max=CERTAIN)) + refusing / 100, 0)


def answers(entries: Sequence[dict], logits: dict[str, np.ndarray], classes: Sequence[str]) -> list[dict]:
    """Return each network's answer to one image.

    Parameters
    ----------
    entries : list of dict
        As ``describe`` returns them.
    logits : dict
        ``{name: (C,)}``.
    classes : sequence of str

    Returns
    -------
    list of dict
        name, answer (a class), confidence (its probability), norm (of the logits), score, threshold, known (whether
        the image is accepted as ID).

    Examples
    --------
    >>> entry = {"name": "net", "score": "max_logit", "limit": 2.0}
    >>> [row] = answers([entry], {"net": np.array([0.0, 3.0])}, ["cat", "dog"])
    >>> row["answer"], row["score"], row["threshold"], row["known"]
    ('dog', 3.0, 2.0, True)
    """
    rows = []
    for entry in entries:
        z = np.asarray(logits[entry["name"]], np.float64)[None]
        key = float(sort_key(z, entry["score"], 1.0)[0])
        rows.append(
            {
                "name": entry["name"],
                "answer": classes[int(z.argmax())],
                "confidence": float(scores.msp(z)[0]),
                "norm": float(np.linalg.norm(z)),
                "score": float(to_score(entry["score"], key)),
                "threshold": float(to_score(entry["score"], entry["limit"])),
                "known": key >= entry["limit"],
            }
        )
    return rows


def sentence(rows: Sequence[dict], name: str, what: str) -> str:
    """Say what one network answers and which networks refuse ``what``.

    >>> row = {"name": "A", "answer": "3", "confidence": 0.9999, "known": True}
    >>> sentence([row, row | {"name": "B", "known": False}], "A", "the drawing")
    'A calls the drawing “3” with > 99.9 % and accepts it as known. 1 of 2 networks refuses it as a stranger: B.'
    """
    own = next(row for row in rows if row["name"] == name)
    refusing = [row["name"] for row in rows if not row["known"]]
    verdict = "and accepts it as known" if own["known"] else "but refuses it as a stranger"
    answer = f"{name} calls {what} “{own['answer']}” with {format_confidence(own['confidence'])} {verdict}."
    if len(rows) == 1:
        return answer
    if not refusing:
        return f"{answer} None of the {len(rows)} networks refuses it."
    if len(refusing) == len(rows):
        return f"{answer} All {len(rows)} networks refuse it."
    verb = "refuses" if len(refusing) == 1 else "refuse"
    return f"{answer} {len(refusing)} of {len(rows)} networks {verb} it as a stranger: {', '.join(refusing)}."
