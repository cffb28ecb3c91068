"""The score explorer's view as plain numbers: ``compute(state, data)`` in NumPy.

static/explorer_state.js computes the same in the browser; a test compares the two on generated states. This module
imports no widget.
"""

from collections.abc import Iterable

import numpy as np

from .. import metrics, scores
from .explorer_data import BINS, PICKED, Data, Track

# Keys are rounded to multiples of 1 / GRID: rows with the same logits in another order differ in the last bit, and
# must tie.
GRID = 2.0**36
BOUNDED = ("msp", "entropy")
COSTS = 120  # intervals of the cost curve
OPTIONS = {"gen": ("gamma", "top"), "p_norm": ("p",)}  # parts of the state that are arguments of a score


def quantize(x):
    """Round to the grid on which Python and JavaScript agree."""
    return np.floor(x * GRID + 0.5) / GRID


def options_of(state: dict) -> dict:
    """The arguments of the state's score, such as GEN's gamma.

    >>> options_of({"score": "p_norm", "gamma": 0.1, "top": 100, "p": 2.0})
    {'p': 2.0}
    """
    return {name: state[name] for name in OPTIONS.get(state["score"], ())}


def sort_key(logits, score: str, temperature: float, **options) -> np.ndarray:
    """Keys (N,) that order rows as the score of logits / T does.

    A key is the score itself, except for MSP: its log-odds log(p / (1 - p)), which do not saturate where p rounds to 1.
    Energy takes T as its own temperature. ``options`` are the score's own, as from :func:`options_of`.
    """
    z = np.asarray(logits, np.float64)
    if score == "energy":
        return quantize(scores.energy(z, temperature=temperature))
    z = z / temperature
    if score != "msp":
        return quantize(scores.score(score)(z, **options))
    others = np.where(np.arange(z.shape[1]) == z.argmax(1)[:, None], -np.inf, z)
    second = others.max(1)
    return quantize(z.max(1) - second - np.log(np.exp(others - second[:, None]).sum(1)))


def to_score(score: str, key):
    """The score that belongs to a key."""
    if score != "msp":
        return key
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-key))


def from_score(score: str, value: float) -> float:
    """The key that belongs to a score."""
    if score != "msp":
        return value
    return -np.inf if value <= 0 else np.inf if value >= 1 else np.log(value / (1 - value))


def axis_range(
    track: Track, sets: Iterable[str], score: str, temperature: float = 1.0, **options
) -> tuple[float, float]:
    """Ends of the axis: the least and the largest key of some sets, the same for all epochs.

    Earlier epochs extend the axis by a quarter of the last one's range at most, so that they do not crowd it. MSP and
    entropy, which have bounds, keep the axis of T = 1: at another temperature the bars move along it.
    """
    t = 1.0 if score in BOUNDED else temperature
    keys = [[sort_key(z, score, t, **options) for z in track.logits[name]] for name in sets]
    low, high = (float(end([end(epochs[-1]) for epochs in keys])) for end in (np.min, np.max))
    room = (high - low) / 4
    low = max(low - room, float(min(k.min() for epochs in keys for k in epochs)))
    high = min(high + room, float(max(k.max() for epochs in keys for k in epochs)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def bin_edges(low: float, high: float) -> np.ndarray:
    """The keys (BINS - 1,) between the bars; the first and the last bar also hold what lies outside the axis."""
    return np.array([low + (high - low) * (k + 1) / BINS for k in range(BINS - 1)])


def probability_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks of the axis of MSP, which is one of log-odds: keys and the probabilities that they are.

    >>> [text for _, text in probability_ticks(-1, 10)]
    ['0.5', '0.9', '0.99', '0.999', '0.9999']
    """
    ticks = [(float(np.log(p / (1 - p))), f"{p:g}") for p in (0.01, 0.1, 0.2, 0.5, 0.9, 0.99, 0.999, 0.9999)]
    ticks += [(k * float(np.log(10)), f"1−1e−{k}") for k in range(6, 17, 2)]
    return [(key, text) for key, text in ticks if low <= key <= high]


def _norms(logits):
    return np.sqrt((logits.astype(np.float64) ** 2).sum(1))


def _histogram(values, edges):
    return np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1).tolist()


def _count_at_least(ascending, value):
    return len(ascending) - np.searchsorted(ascending, value, "left")


def threshold_for(id_keys, ood_keys, positive: str, target: float) -> float:
    """The key at or above which an image is accepted, so that ``target`` of the positive class is classified rightly.

    ``id_keys`` and ``ood_keys`` are in ascending order.
    """
    keys = id_keys[::-1] if positive == "id" else ood_keys
    shares = np.arange(1, len(keys) + 1) / len(keys)
    value = keys[min(int(np.searchsorted(shares, target)), len(keys) - 1)]
    return float(value if positive == "id" else value + 1 / GRID)


def _curve(id_keys, ood_keys, points=100):
    """Accepted ID and OOD images [[a, b], ...] at the quantiles of both sets, from the strictest threshold on."""
    thresholds = np.concatenate([k[np.arange(points) * (len(k) - 1) // (points - 1)] for k in (id_keys, ood_keys)])
    thresholds = np.sort(thresholds)[::-1]
    return [[0, 0], *np.stack([_count_at_least(k, thresholds) for k in (id_keys, ood_keys)], 1).tolist()]


def _cost(id_keys, ood_keys, low, high, limit, price, ood_share):
    """The expected cost along the axis, at ``limit``, at the threshold that accepts 95 % of ID, and at its minimum."""

    def cost(key):
        accepted, rejected = _count_at_least(ood_keys, key), len(id_keys) - _count_at_least(id_keys, key)
        return float(price * ood_share * (accepted / len(ood_keys)) + (1 - ood_share) * (rejected / len(id_keys)))

    usual = threshold_for(id_keys, ood_keys, "id", 0.95)
    best = metrics.expected_cost(id_keys, ood_keys, price, ood_share)
    return {
        "curve": [cost(low + (high - low) * k / COSTS) for k in range(COSTS + 1)],
        "here": cost(limit),
        "usual": {"key": usual, "cost": cost(usual)},
        "best": {"key": None if np.isinf(best["threshold"]) else best["threshold"], "cost": best["cost"]},
    }


def _pick(data, logits, state, name, keys, edges):
    """Up to PICKED images of the opened bar, evenly spaced in the order of their scores."""
    inside = np.flatnonzero(np.searchsorted(edges, keys, "right") == state["bin"])
    ordered = inside[np.argsort(-keys[inside], kind="stable")]
    chosen = ordered[(np.arange(min(PICKED, len(ordered))) * max(1, len(ordered) / PICKED)).astype(int)]
    labels = data.labels if name == data.id_name else None
    return {
        "set": name,
        "total": len(inside),
        "items": [
            {
                "index": int(i),
                "score": float(to_score(state["score"], keys[i])),
                "prediction": int(logits[i].argmax()),
                "label": None if labels is None else int(labels[i]),
            }
            for i in chosen
        ],
    }


def current_logits(state: dict, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """ID and OOD logits of the state's network at the nearest saved epoch; of two as near, the later one."""
    track = data.track(state["run"])
    epoch = min(range(len(track.epochs)), key=lambda k: (abs(track.epochs[k] - state["epoch"]), -k))
    return track.logits[data.id_name][epoch], track.logits[state["ood"]][epoch]


def compute(state: dict, data: Data) -> dict:
    """Everything that the explorer shows in a state.

    Parameters
    ----------
    state : dict
        run, score, temperature, ood, epoch, threshold (in units of the score; None: follows ``target``), positive,
        target (0 to 1), bin (the opened bar, or None), price and ood_share (see ``metrics.expected_cost``), and what
        ``OPTIONS`` names for the score. Scores are those of logits / temperature.
    data : Data

    Returns
    -------
    dict
        low, high (ends of the axis, which is one of keys), peak, counts {id, ood} (BINS bars each), sizes, limit and
        threshold (the same as a key and as a score), accepted (ID and OOD images at or above it), metrics (auroc,
        aupr_in, aupr_out, and fpr95 of ``positive``), curve, cost, norms, accuracy, picked. It can be sent as JSON.

    Examples
    --------
    >>> from ood_helpers.widgets.explorer_data import to_float16
    >>> logits = {"ID": [to_float16(np.eye(2), "ID")], "far": [to_float16(np.zeros((2, 2)), "OOD")]}
    >>> data = Data([Track("net", "msp", [0], logits)], id_name="ID", ood_names=["far"], classes=["a", "b"])
    >>> state = {"run": "net", "score": "msp", "temperature": 1.0, "ood": "far", "epoch": 0, "threshold": None,
    ...          "positive": "id", "target": 0.95, "bin": None, "price": 1.0, "ood_share": 0.5}
    >>> compute(state, data)["metrics"]["auroc"]
    1.0
    """
    score, temperature, positive, options = state["score"], state["temperature"], state["positive"], options_of(state)
    track, names, pair = data.track(state["run"]), (data.id_name, state["ood"]), current_logits(state, data)
    low, high = axis_range(track, names, score, temperature, **options)
    edges = bin_edges(low, high)
    keys = [sort_key(z, score, temperature, **options) for z in pair]
    ascending = [np.sort(k) for k in keys]
    final = [_histogram(sort_key(track.logits[name][-1], score, temperature, **options), edges) for name in names]
    threshold = state["threshold"]
    if threshold is None:
        limit = threshold_for(*ascending, positive, state["target"])
        threshold = float(to_score(score, limit))
    else:
        limit = from_score(score, threshold)
    longest = float(max(_norms(z).max() for name in names for z in track.logits[name])) or 1.0  # over all epochs
    steps = [longest * (k + 1) / (BINS // 2) for k in range(BINS // 2 - 1)]
    result = metrics.detection(*keys, positive)
    return {
        "low": low,
        "high": high,
        "peak": max(max(counts) / sum(counts) for counts in final),  # of the last epoch: one height for all epochs
        "counts": {side: _histogram(k, edges) for side, k in zip(("id", "ood"), keys)},
        "sizes": [len(k) for k in keys],
        "accepted": [int(_count_at_least(k, limit)) for k in ascending],
        "threshold": threshold,
        "limit": float(np.clip(limit, -1e9, 1e9)),
        "metrics": {name: result[name] for name in ("auroc", "aupr_in", "aupr_out", "fpr95")},
        "curve": _curve(*ascending),
        "cost": _cost(*ascending, low, high, limit, state["price"], state["ood_share"]),
        "norms": {side: _histogram(_norms(z), steps) for side, z in zip(("id", "ood"), pair)} | {"high": longest},
        "accuracy": None if data.labels is None else metrics.accuracy(pair[0], data.labels[: len(pair[0])]),
        "picked": None
        if state["bin"] is None
        else [_pick(data, z, state, name, k, edges) for name, z, k in zip(names, pair, keys)],
    }
