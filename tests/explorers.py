"""Score explorers of random logits for the tests."""

import numpy as np

from ood_helpers import metrics, scores
from ood_helpers.widgets import ScoreExplorer
from ood_helpers.widgets.explorer_data import BINS
from ood_helpers.widgets.explorer_state import to_score

CLASSES = ["cat", "dog", "frog", "ship"]


def make_explorer(seed=0, names=("near", "far"), images=False, **options):
    """An explorer of 400 ID images, 300 of each OOD set and three epochs, with grey images if asked for."""
    rng = np.random.default_rng(seed)
    n = 400
    labels = rng.integers(0, 4, n)
    logits = rng.normal(0, 1, (n, 4))
    logits[np.arange(n), labels] += rng.normal(4, 1.5, n)
    sets = {"ID": logits} | {name: rng.normal(0, 1.8, (300, 4)) for name in names}
    grey = {name: (np.arange(len(z)) % 25 * 10).astype(np.uint8)[:, None, None, None] for name, z in sets.items()}
    early = {name: np.stack([z[:90] * k for k in (0.1, 0.5, 1)]) for name, z in sets.items()}
    defaults = {"labels": labels, "classes": CLASSES, "snapshots": early | {"epochs": [0, 1, 9]}}
    if images:
        defaults["images"] = {name: np.broadcast_to(g, (len(g), 1, 8, 8)) for name, g in grey.items()}
    return ScoreExplorer.from_logits(logits, {name: sets[name] for name in names}, **defaults | options)


def generate_explorers(seed=0, count=160):
    """Yield explorers in generated states: ties, one image, equal scores, huge and tiny logits, early epochs."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        classes = int(rng.choice([2, 3, 6, 10]))
        n, m = (int(rng.choice([1, 2, 20, 73, 300])) for _ in range(2))
        scale = rng.choice([0.01, 1, 8, 300])

        def draw(n, kind=k % 4, classes=classes, scale=scale):
            if kind == 0:
                return rng.normal(0, scale, (n, classes))
            if kind == 1:  # ties, also between permuted rows
                return rng.integers(-2, 3, (n, classes))
            if kind == 2:
                return np.full((n, classes), 1.5)
            return rng.permuted(np.tile(np.arange(classes) * 0.7, (n, 1)), axis=1)

        id_logits, ood_logits = draw(n), draw(m)
        snapshots = None
        if k % 3 == 0:
            early = {name: [draw(min(size, 15)) for _ in range(3)] for name, size in (("ID", n), ("far", m))}
            snapshots = {"epochs": [0, 4, 9]} | early
        labels = rng.integers(0, classes, n)
        explorer = ScoreExplorer.from_logits(id_logits, {"far": ood_logits}, snapshots=snapshots, labels=labels)
        explorer.score = [*scores.SCORES, *scores.BEYOND][k // 4 % 10]
        explorer.temperature = float(rng.choice([0.1, 0.5, 1, 3.7, 100]))
        explorer.positive = metrics.POSITIVES[k % 2]
        explorer.target = float(rng.choice([0.5, 0.9, 0.95, 1]))
        explorer.epoch = int(rng.choice([0, 2, 9]))
        explorer.bin = int(rng.integers(0, BINS))
        explorer.gamma, explorer.p = float(rng.choice([0.01, 0.1, 1, 10])), float(rng.choice([0.1, 1, 2, 100]))
        explorer.top = int(rng.choice([1, 2, 5, 100]))
        if k % 5 == 0:
            view = explorer.summary
            explorer.threshold = float(to_score(explorer.score, rng.uniform(view["low"], view["high"])))
        explorer.price, explorer.ood_share = float(rng.choice([0.1, 1, 10])), float(rng.choice([0.05, 0.5, 0.9]))
        yield explorer
