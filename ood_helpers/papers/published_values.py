"""The values that the papers print, read from published.csv."""

import csv
from functools import lru_cache
from pathlib import Path

from ..data.sets import SETS

# Names in published.csv -> ours
MODELS = {"densenetbc100": "densenet_bc_100_12", "wideresnet2810": "wrn_28_10"}
SCORES = {"mps": "msp", "mds": "min_distance", "es": "entropy"}
ARCHIVES = {
    "imagenet_resize": "tinyimagenet_resize",
    "imagenet_crop": "tinyimagenet_crop",
}  # folders of ODIN's archives


@lru_cache
def published():
    """All published values in percent.

    Returns
    -------
    dict
        ``{(source, ID set, model, loss, score): {(OOD set, metric): (mean, standard deviation or None)}}``; quantities
        without an OOD set, such as accuracy, have "-" in its place.
    """
    values = {}
    with open(Path(__file__).with_name("published.csv"), newline="") as file:
        for row in csv.DictReader(file):
            model, score = MODELS.get(row["model"], row["model"]), SCORES.get(row["score"], row["score"])
            unit = 100 if row["metric"] == "ece" else 1
            deviation = unit * float(row["std"]) if row["std"] else None
            system = values.setdefault((row["source"], row["id_dataset"], model, row["method"], score), {})
            system[row["ood_dataset"], row["metric"]] = unit * float(row["mean"]), deviation
    return values


def published_row(source, id_set, model, loss, score="msp"):
    """One system's published values; ValueError if it was not published.

    >>> published_row("openood_v1.5", "cifar10", "resnet18", "logitnorm")["near", "auroc"]
    (92.33, 0.08)
    """
    key = (source, id_set, model, loss, score)
    if key not in published():
        known = sorted({" ".join(k[1:]) for k in published() if k[0] == source})
        raise ValueError(f"no published row for {' '.join(key)}; {source} has: {', '.join(known) or 'none'}")
    return published()[key]


def known_as(name):
    """The name under which a set is published: a folder named like a known set holds it in another encoding.

    >>> known_as("folder:images/cifar10"), known_as("folder:images/imagenet_resize"), known_as("folder:cats")
    ('cifar10', 'tinyimagenet_resize', 'folder:cats')
    """
    stem = Path(name.removeprefix("folder:")).name if name.startswith("folder:") else name
    stem = ARCHIVES.get(stem, stem)
    return stem if stem in SETS else name
