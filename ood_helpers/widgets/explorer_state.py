"""What the score explorer shows, as plain numbers: compute(state, data) in numpy.

static/core.js says the same in JavaScript, where no kernel is needed; a test holds the two together. Nothing here knows
of widgets.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from .. import metrics, scores

BINS, PICKED = 60, 12
GRID = 2.0**36  # rows with the same logits in another order differ in the last digit, and must tie


@dataclass
class Track:
    """One trained network through its epochs: logits[set][k] is (n, C) float16 at epochs[k]."""

    name: str
    score: str
    epochs: list
    logits: dict


@dataclass
class Data:
    """Tracks over the same images; `labels` (N,) and `images(set)` -> uint8 (N, ch, H, W) may be None."""

    tracks: list
    id: str
    oods: list
    classes: list
    labels: np.ndarray = None
    images: object = None
    cache: dict = field(default_factory=dict, repr=False)

    @property
    def bytes(self):
        return sum(part.nbytes for track in self.tracks for parts in track.logits.values() for part in parts)

    def track(self, name):
        return next((track for track in self.tracks if track.name == name), self.tracks[0])

    def tiles(self, name, indices):
        """The images of a set as RGBA uint8 (n, H, W, 4), for a canvas."""
        pixels = np.asarray(self.images(name)[list(indices)]).transpose(0, 2, 3, 1)
        if pixels.shape[3] not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels, got {pixels.shape[3]}")
        opaque = np.full((*pixels.shape[:3], 1), 255, np.uint8)
        return np.concatenate([pixels] * (3 // pixels.shape[3]) + [opaque], 3)

    def thinned(self, budget):
        """Every k-th image, so that the logits fit into so many bytes; k is 1 where they do anyway."""
        k = -(-self.bytes // budget)
        tracks = [
            Track(
                track.name,
                track.score,
                track.epochs,
                {name: [part[::k] for part in parts] for name, parts in track.logits.items()},
            )
            for track in self.tracks
        ]
        return k, Data(
            tracks,
            self.id,
            self.oods,
            self.classes,
            None if self.labels is None else self.labels[::k],
            self.images and (lambda name: self.images(name)[::k]),
        )

    def pack(self):
        """(what a browser must know as JSON, all logits as one buffer)."""
        runs, blob = [], bytearray()
        for track in self.tracks:
            sets = {}
            for name, parts in track.logits.items():
                for part in parts:
                    sets.setdefault(name, []).append([len(blob), len(part)])
                    blob += part.tobytes()
            runs.append({"name": track.name, "score": track.score, "epochs": track.epochs, "sets": sets})
        labels = None if self.labels is None else self.labels.tolist()
        return {
            "runs": runs,
            "id": self.id,
            "oods": self.oods,
            "classes": self.classes,
            "labels": labels,
            "has_images": self.images is not None,
            "in_kernel": False,
        }, bytes(blob)

    def remember(self, key, make):
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]


def half(logits, what):
    """Logits (N, C) as float16, checked. Its eleven bits move AUROC by about 1e-5.

    LogitNorm leaves the length of its logits free, and they can outgrow float16: such a row is shortened until it fits.

    >>> half([[131_008, -32_752]], "ID").tolist()
    [[65504.0, -16376.0]]
    """
    logits = np.asarray(logits.detach().cpu() if hasattr(logits, "detach") else logits)
    if logits.ndim != 2 or len(logits) == 0 or logits.shape[1] < 2:
        raise ValueError(f"{what} logits must be (N, C) with at least one row and two classes, got {logits.shape}")
    longest = np.abs(logits).max(1, keepdims=True)
    if not np.isfinite(longest).all():
        raise ValueError(f"{what} logits must be finite, but some are NaN or infinite")
    return (logits * np.minimum(1, scores.LARGEST_HALF / np.maximum(longest, 1))).astype(np.float16)


def on_grid(x):
    return np.floor(x * GRID + 0.5) / GRID


def rank(logits, name, temperature):
    """Scores (N,) of logits / T as ranks; for msp its log-odds, which order as msp does and never saturate at 1."""
    z = np.asarray(logits, np.float64)
    if name == "energy":
        return on_grid(scores.energy(z, temperature=temperature))
    z = z / temperature
    if name != "msp":
        return on_grid(scores.score(name)(z))
    top = z.argmax(1)[:, None]
    rest = np.where(np.arange(z.shape[1]) == top, -np.inf, z)
    second = rest.max(1)
    return on_grid(z.max(1) - second - np.log(np.exp(rest - second[:, None]).sum(1)))


def shown(name, ranks):
    """Ranks as the score itself."""
    if name != "msp":
        return ranks
    with np.errstate(over="ignore"):
        return on_grid(1 / (1 + np.exp(-ranks)))


def ranked(name, value):
    """The rank of a score's value."""
    if name != "msp":
        return value
    return -np.inf if value <= 0 else np.inf if value >= 1 else np.log(value / (1 - value))


def said(value):
    """A score in words: three digits, and more where three would round a probability up to 1.

    >>> said(0.98812), said(0.99983), said(12.34)
    ('0.988', '0.9998', '12.3')
    """
    return f"{value:.{max(3, math.ceil(-math.log10(1 - value))) if 0 < value < 1 else 3}g}"


def axis_range(name, classes, temperature, extremes):
    """(low, high) of a score's axis: bounds from the logits of all epochs, so that it never moves while scrubbing."""
    max_low, max_high, mean_low, sum_low, sum_high, _ = extremes
    t, width = temperature, np.log(classes)
    low, high = {
        "msp": (1 / classes, 1),
        "entropy": (-width, 0),
        "energy": (max(max_low, mean_low + t * width), max_high + t * width),
        "mmls": (sum_low / t, sum_high / t),
        "mmles": (sum_low / t - width, sum_high / t),
        "mmleps": (sum_low / t - width + 1 / classes, sum_high / t + 1),
    }.get(name, (max_low / t, max_high / t))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def extremes(track, sets):
    parts = [part.astype(np.float64) for name in sets for part in track.logits[name]]
    top, mean, norm = (
        np.concatenate([f(z) for z in parts])
        for f in (lambda z: z.max(1), lambda z: z.mean(1), lambda z: np.sqrt((z * z).sum(1)))
    )
    both = top + mean
    return [float(x) for x in (top.min(), top.max(), mean.min(), both.min(), both.max(), norm.max() or 1)]


def edges_of(name, low, high):
    """Where the bars begin, in ranks; the first and the last also hold what lies outside the axis."""
    return np.array([ranked(name, low + (high - low) * (k + 1) / BINS) for k in range(BINS - 1)])


def histogram(ascending, edges):
    return np.diff(np.searchsorted(ascending, edges, "left"), prepend=0, append=len(ascending)).tolist()


def count_from(ascending, value):
    """How many are >= value."""
    return len(ascending) - np.searchsorted(ascending, value, "left")


def threshold_for(id_ranks, ood_ranks, positive, target):
    """The rank from which on an image is accepted, so that `target` of the positive set lands on its own side."""
    ranks = id_ranks[::-1] if positive == "id" else ood_ranks
    shares = np.arange(1, len(ranks) + 1) / len(ranks)
    value = ranks[min(int(np.searchsorted(shares, target)), len(ranks) - 1)]
    return float(value if positive == "id" else value + 1 / GRID)


def _curve(id_ranks, ood_ranks, points=100):
    at = np.concatenate([r[np.arange(points) * (len(r) - 1) // (points - 1)] for r in (id_ranks, ood_ranks)])
    at = np.sort(at)[::-1]
    return [[0, 0], *np.stack([count_from(id_ranks, at), count_from(ood_ranks, at)], 1).tolist()]


def _picture(data, track, epoch, ood, score, temperature):
    """Everything that does not depend on the threshold, the target or the opened bar."""
    pair, classes = (data.id, ood), len(data.classes)
    ends = data.remember(("extremes", track.name, ood), lambda: extremes(track, pair))
    low, high = axis_range(score, classes, temperature, ends)
    logits = [track.logits[name][epoch] for name in pair]
    ranks = [rank(z, score, temperature) for z in logits]
    ascending, edges = [np.sort(r) for r in ranks], edges_of(score, low, high)
    counts = [histogram(r, edges) for r in ascending]
    final = (
        counts
        if epoch == len(track.epochs) - 1
        else [histogram(np.sort(rank(track.logits[name][-1], score, temperature)), edges) for name in pair]
    )
    peak = max(max(c) / sum(c) for c in final)  # the last epoch's: one height for all, and early bars may leave it
    steps = [ends[5] * (k + 1) / (BINS // 2) for k in range(BINS // 2 - 1)]
    norms = [histogram(np.sort(np.sqrt((z.astype(np.float64) ** 2).sum(1))), steps) for z in logits]
    labelled = data.labels is not None
    return {
        "ranks": ranks,
        "ascending": ascending,
        "edges": edges,
        "both": [metrics.detection(*ranks, p) for p in ("id", "ood")],
        "shown": {
            "low": low,
            "high": high,
            "peak": peak,
            "counts": dict(zip(("id", "ood"), counts)),
            "sizes": [len(r) for r in ranks],
            "curve": _curve(*ascending),
            "norms": {"id": norms[0], "ood": norms[1], "high": ends[5]},
            "accuracy": metrics.accuracy(logits[0], data.labels[: len(logits[0])]) if labelled else None,
        },
    }


def _pick(data, track, epoch, state, name, ranks, edges):
    values = shown(state["score"], ranks)
    inside = np.flatnonzero(np.searchsorted(edges, ranks, "right") == state["bin"])
    here = inside[np.argsort(-ranks[inside], kind="stable")]
    chosen = here[(np.arange(min(PICKED, len(here))) * max(1, len(here) / PICKED)).astype(int)]
    labels = data.labels if name == data.id else None
    return {
        "set": name,
        "total": len(inside),
        "items": [
            {
                "index": int(i),
                "score": float(values[i]),
                "prediction": int(track.logits[name][epoch][i].argmax()),
                "label": None if labels is None else int(labels[i]),
            }
            for i in chosen
        ],
    }


def prepare(state, data):
    """The state's track, the index of its epoch (the nearest there is) and all that its threshold does not change."""
    track = data.track(state["run"])
    gaps = [abs(e - state["epoch"]) for e in track.epochs]
    epoch = max(k for k, gap in enumerate(gaps) if gap == min(gaps))
    key = (track.name, epoch, state["ood"], state["score"], state["temperature"])
    last, ready = data.cache.get("ready", (None, None))
    if last != key:  # the last picture is kept: a threshold that moves needs no new scores
        ready = _picture(data, track, *key[1:])
        data.cache["ready"] = key, ready
    return track, epoch, ready


def compute(state, data):
    """The whole picture of a state, as JSON can carry it.

    state: run, score, temperature, ood, epoch, threshold (in the score's unit; None follows `target`), positive,
    target (0..1), bin (None or the opened bar). Scores are those of logits / temperature, energy with its own T.
    Returns low, high (the axis), peak, counts {id, ood} (60 bars), sizes, accepted (ID and OOD at or above the
    threshold), threshold, metrics (auroc, aupr_in, aupr_out, fpr95 of `positive`), curve, norms, accuracy, picked.

    >>> data = Data([Track("net", "msp", [0], {"ID": [half(np.eye(2), "ID")], "far": [half(0 * np.eye(2), "OOD")]})],
    ...             id="ID", oods=["far"], classes=["a", "b"])
    >>> state = dict(run="net", score="msp", temperature=1.0, ood="far", epoch=0, threshold=None, positive="id",
    ...              target=0.95, bin=None)
    >>> compute(state, data)["metrics"]["auroc"]
    1.0
    """
    track, epoch, ready = prepare(state, data)
    positive, score = state["positive"], state["score"]
    at = (
        threshold_for(*ready["ascending"], positive, state["target"])
        if state["threshold"] is None
        else ranked(score, state["threshold"])
    )
    chosen = ready["both"][metrics.POSITIVES.index(positive)]
    picked = (
        None
        if state["bin"] is None
        else [
            _pick(data, track, epoch, state, name, ranks, ready["edges"])
            for name, ranks in zip((data.id, state["ood"]), ready["ranks"])
        ]
    )
    return ready["shown"] | {
        "accepted": [int(count_from(r, at)) for r in ready["ascending"]],
        "threshold": float(shown(score, at)) if state["threshold"] is None else state["threshold"],
        "metrics": {name: chosen[name] for name in ("auroc", "aupr_in", "aupr_out", "fpr95")},
        "picked": picked,
    }
