"""Plots on given Axes, which are returned; their colors, lines and labels are those of ``styles``.

In the docstrings, ``ax`` is the ``matplotlib.axes.Axes`` to draw on. Legends stand below the Axes, for which a figure
needs constrained layout (``figures.style`` sets it); ``shared_legend`` replaces those of several panels by one.

>>> from matplotlib.figure import Figure
>>> ax = histogram(Figure(layout="constrained").subplots(), [0.7, 0.9, 0.9], {"letters": [0.2, 0.4]}, threshold=0.5)
>>> [label.get_text() for label in ax.get_legend().get_texts()]
['ID', 'letters (OOD)']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import metrics
from .drawing.alt_text import ROC_GID
from .drawing.layout import frame, legend_below
from .drawing.layout import shared_legend as shared_legend
from .drawing.styles import ID, ID_SETS, SCORE_LABELS, Style, plain_text, styles
from .drawing.styles import LOSS_STYLES as LOSS_STYLES
from .drawing.styles import OOD as OOD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

FEW = 5  # up to so many trainings are drawn one by one, without an interval
EPOCH_TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def lines(
    ax: Axes, x: Sequence[float], values: Mapping[str, ArrayLike], bands: Mapping[str, ArrayLike] | None = None
) -> Axes:
    """Draw a line per name, with about ten markers.

    Parameters
    ----------
    x : sequence of float, shape (N,)
    values : mapping of name to array, shape (N,) or (N, S)
        Of S trainings each is a dot, and the line is their mean.
    bands : mapping of name to array, shape (2, N), optional
        Lower and upper end of a band around a line.
    """
    for name, style in styles(values).items():
        y = np.asarray(values[name], dtype=np.float64)
        if y.ndim == 2:
            dots: Style = {"marker": style["marker"], "color": style["color"], "markeredgewidth": 0, "alpha": 0.5}
            ax.plot(np.repeat(x, y.shape[1]), y.ravel(), linestyle="none", markersize=3.5, **dots)
            y = y.mean(axis=1)
        ax.plot(x, y, markevery=0.1 if len(x) > 10 else 1, **style)
        if bands is not None and name in bands:
            ax.fill_between(x, *np.asarray(bands[name]), color=style["color"], alpha=0.15, linewidth=0)
    legend_below(ax)
    return ax


def histogram(
    ax: Axes,
    id_scores: ArrayLike,
    ood_scores: ArrayLike | dict[str, ArrayLike],
    threshold: float | None = None,
    bins: int = 40,
    xlabel: str = "score",
    limits: tuple[float, float] | None = None,
    log: bool = False,
) -> Axes:
    """Draw histograms of scores, as the share of each set's images per bin.

    Parameters
    ----------
    id_scores : array, shape (N,)
        Infinite scores count in the outermost bins.
    ood_scores : array, shape (M,), or dict of name to array
    threshold : float, optional
        Images with a score on its right are accepted as ID.
    xlabel : str
        The name of a score (a key of ``styles.SCORE_LABELS``) becomes words.
    limits : (float, float), optional
        Ends of the score axis; by default the smallest and largest finite score.
    log : bool
        Draw the shares on a logarithmic axis, on which rare scores show.

    Raises
    ------
    ValueError
        If a score is NaN.
    """
    from matplotlib.colors import to_rgba

    by_name = {"ID": id_scores} | (ood_scores if isinstance(ood_scores, dict) else {"OOD": ood_scores})
    sets = {name: np.asarray(scores, dtype=np.float64).ravel() for name, scores in by_name.items()}
    together = np.concatenate(list(sets.values()))
    if np.isnan(together).any():
        raise ValueError("scores contain NaN")
    finite = together[np.isfinite(together)]
    low, high = limits or ((finite.min(), finite.max()) if len(finite) else (0, 1))
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all scores are equal: one bar in the middle
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    for name, style in styles(sets).items():
        share = np.histogram(np.clip(sets[name], low, high), edges)[0] / max(len(sets[name]), 1)
        hatch = "////" if name != "ID" and len(sets) == 2 else None  # several hatches would hide each other
        face = to_rgba(style["color"], 0.4 if name == "ID" else 0.05)
        edge: Style = {"edgecolor": style["color"], "linestyle": style["linestyle"], "linewidth": 1.3}
        ax.stairs(share, edges, fill=True, facecolor=face, hatch=hatch, label=style["label"], **edge)
    if threshold is not None:
        ax.axvline(threshold, color="black", linewidth=1)
        side = -1 if threshold > low + 0.6 * (high - low) else 1  # of the line, where there is room for the words
        offset: Style = {"xytext": (3 * side, -1), "textcoords": "offset points", "va": "top"}
        offset |= {"ha": "left" if side > 0 else "right", "fontsize": 8}
        ax.annotate("accepted →", (threshold, 1), xycoords=("data", "axes fraction"), **offset)
    ax.set(xlabel=SCORE_LABELS.get(xlabel, xlabel), ylabel="share of images", xlim=(low, high))
    if log:
        ax.set(yscale="log", ylim=(0.5 / max(map(len, sets.values())), 1))
    else:
        ax.set_ylim(0, None if threshold is None else 1.15 * ax.dataLim.ymax)
    legend_below(ax)
    return ax


def norm_growth(ax: Axes, history: Mapping[str, Any]) -> Axes:
    """Draw the median logit norm of each set in a run's ``history``, and for ID a band of 80 % of the images.

    The epochs, of which the first ones matter most, are on a logarithmic axis that begins with 0.
    """
    quantiles = {name: np.asarray(rows, dtype=np.float64).T for name, rows in history["norm"].items()}
    bands = {name: rows[[0, 2]] for name, rows in quantiles.items() if name in ID_SETS}
    lines(ax, history["epoch"], {name: rows[1] for name, rows in quantiles.items()}, bands)
    ax.set(ylabel="norm of the logits", ylim=(0, None))
    return _epoch_axis(ax, history["epoch"])


def confidence(ax: Axes, history: Mapping[str, Any], num_classes: int | None = None) -> Axes:
    """Draw the mean top probability per epoch of a run's ``history``, and its minimum 1 / ``num_classes`` if given."""
    lines(ax, history["epoch"], history["confidence"])
    if num_classes:
        ax.axhline(1 / num_classes, color="gray", linewidth=1)
        where: Style = {"xycoords": ("axes fraction", "data"), "xytext": (0, -2), "textcoords": "offset points"}
        ax.annotate("guessing", (1, 1 / num_classes), ha="right", va="top", fontsize=8, **where)
    ax.set(ylabel="mean top probability", ylim=(0, 1.02))
    return _epoch_axis(ax, history["epoch"])


def _epoch_axis(ax: Axes, epochs: Sequence[int]) -> Axes:
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    ticks = [tick for tick in EPOCH_TICKS if min(epochs) <= tick <= max(epochs)]
    ax.set_xticks(ticks, [f"{tick}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("epoch")
    legend_below(ax)
    return ax


def reliability(ax: Axes, probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Axes:
    """Draw a reliability diagram: accuracy per bin (of equal width) of confidence, and the calibration error (ECE).

    Each bin gives the number of its images; a bin of fewer than ten is pale.

    Parameters
    ----------
    probabilities : array, shape (N, C)
    labels : array of int, shape (N,)
    """
    table = metrics.reliability(probabilities, labels, bins)
    counts, accuracy, confidence = table["count"], table["accuracy"], table["confidence"]
    for bars, alpha, name in (
        (counts >= 10, 0.75, "accuracy"),
        ((counts > 0) & (counts < 10), 0.3, "of fewer than 10"),
    ):
        if bars.any():
            centers = (np.flatnonzero(bars) + 0.5) / bins
            ax.bar(centers, accuracy[bars], 0.9 / bins, color=ID, alpha=alpha, label=name)
    gap: Style = {"fill": False, "edgecolor": "0.35", "hatch": "....", "linewidth": 0.8, "label": "gap to confidence"}
    some = counts > 0
    centers = (np.flatnonzero(some) + 0.5) / bins
    ax.bar(centers, (confidence - accuracy)[some], 0.9 / bins, bottom=accuracy[some], **gap)
    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="calibrated")
    for x, top, count in zip(centers, np.maximum(confidence, accuracy)[some], counts[some]):
        offset: Style = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        ax.annotate(f"{int(count)}", (x, top), fontsize=7, rotation=90, **offset)
    ax.set(xlabel="confidence (top probability)", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.2))
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_title(f"ECE {100 * metrics.ece(probabilities, labels, bins):.1f} %")
    legend_below(ax)
    return ax


def roc(ax: Axes, scores: Mapping[str, tuple[ArrayLike, ArrayLike]], positive: str = "id") -> Axes:
    """Draw ROC curves and their points at a true positive rate of 95 %; the legend gives each FPR95.

    False positives are on a logarithmic axis, where good detectors differ.

    Parameters
    ----------
    scores : mapping of name to (id_scores, ood_scores)
    positive : {"id", "ood"}
        The positive class.
    """
    low = 0.01
    for name, style in styles(scores).items():
        curve = metrics.curves(*scores[name], positive)
        style["label"] += f": {100 * metrics.detection(*scores[name], positive)['fpr95']:.1f} %"
        at_95 = np.searchsorted(curve["tpr"], 0.95 - 1e-12)
        ax.plot(curve["fpr"], curve["tpr"], markevery=[at_95], gid=ROC_GID, **style)
        low = min(low, 0.5 / len(np.ravel(scores[name][1 if positive == "id" else 0])))
    ax.axhline(0.95, color="gray", linewidth=0.8)
    positives, negatives, verb = ("ID", "OOD", "accepted") if positive == "id" else ("OOD", "ID", "rejected")
    ax.set(xlabel=f"{negatives} {verb} (false positives)", ylabel=f"{positives} {verb}\n(true positives)")
    ax.set(xscale="log", xlim=(low, 1), ylim=(0, 1.02))
    ax.xaxis.set_major_formatter("{x:g}")
    for line in ax.lines[: len(scores)]:  # no false positive is at the left end, not at minus infinity
        line.set_xdata(np.maximum(line.get_xdata(), low))
    legend_below(ax, f"FPR95, {positives} positive")
    return ax


def pr(ax: Axes, scores: Mapping[str, tuple[ArrayLike, ArrayLike]], positive: str = "id") -> Axes:
    """Draw precision-recall curves, with average precisions in the legend; arguments as for ``roc``."""
    for name, style in styles(scores).items():
        curve, result = metrics.curves(*scores[name], positive), metrics.detection(*scores[name], positive)
        style["label"] += f": {100 * result['aupr_in' if positive == 'id' else 'aupr_out']:.1f} %"
        ax.plot(curve["recall"], curve["precision"], markevery=[len(curve["recall"]) // 2], **style)
    name = positive.upper()
    ax.set(xlabel=f"recall of {name}", ylabel=f"precision for {name}", xlim=(0, 1.01), ylim=(0, 1.02))
    legend_below(ax, f"AUPR, {name} positive")
    return ax


def heatmap(
    ax: Axes, values: ArrayLike, rows: Iterable[str], columns: Iterable[str], label: str, best: Callable = np.nanargmax
) -> Axes:
    """Draw a table of numbers in colors (yellow is best), with a frame around the best of each row.

    Names of scores (keys of ``styles.SCORE_LABELS``) become words.

    Parameters
    ----------
    values : array, shape (R, C)
        NaN leaves a cell empty.
    label : str
        Quantity, unit and convention, such as "FPR95 in %, ID positive".
    best : {numpy.nanargmax, numpy.nanargmin}
    """
    values = np.asarray(values, dtype=np.float64)
    cmap = "cividis" if best is np.nanargmax else "cividis_r"
    words = [[plain_text(SCORE_LABELS.get(name, name)) for name in names] for names in (rows, columns)]
    annotated_table(ax, values, words[0], words[1], label, annot=True, fmt=".1f", cmap=cmap, linewidths=0.5)
    scale: Any = ax.collections[0].colorbar
    if best is np.nanargmin:
        scale.ax.invert_yaxis()
    scale.ax.set_title("best", fontsize=8)
    for row, numbers in enumerate(values):
        if not np.isnan(numbers).all():
            frame(ax, best(numbers), row, color="white", linewidth=4)  # black on white is visible on any color
            frame(ax, best(numbers), row, color="black", linewidth=2)
    texts = [label.get_text() for label in ax.get_xticklabels()]
    ax.set_xticks(ax.get_xticks(), texts, rotation=30, ha="right", rotation_mode="anchor")
    return ax


def annotated_table(
    ax: Axes, values: np.ndarray, rows: Iterable[str], columns: Iterable[str], label: str, **options: Any
) -> Axes:
    """Draw ``seaborn.heatmap`` with numbers that are legible on every color; names as from ``plain_text``."""
    import seaborn

    names = {"xticklabels": list(columns), "yticklabels": list(rows)}
    seaborn.heatmap(values, ax=ax, annot_kws={"size": 8}, cbar_kws={"label": label}, **names, **options)
    faces: Any = ax.collections[0].get_facecolor()
    colors = faces[~np.isnan(values).ravel()]
    for number, color in zip(ax.texts, colors):  # of black and white the one with more contrast
        number.set_color("black" if seaborn.utils.relative_luminance(color) > 0.18 else "white")
    ax.tick_params(axis="y", rotation=0)
    return ax


def seeds(ax: Axes, values: Mapping[str, ArrayLike], xlabel: str) -> Axes:
    """Draw a marker per training in ``values[name]`` and a bar at their mean.

    Of more than five trainings a line also gives the mean ± one standard deviation, cut off where a percentage
    (``xlabel`` has a %) cannot be.
    """
    low, high = (0, 100) if "%" in xlabel else (-np.inf, np.inf)
    for y, (name, style) in enumerate(styles(values).items()):
        x = np.asarray(values[name], dtype=np.float64)
        many = len(x) > FEW
        look: Style = {"color": style["color"], "linestyle": "none", "clip_on": False, "zorder": 3}
        dots: Style = {"marker": "." if many else style["marker"], "markersize": 4 if many else 5, "alpha": 0.6}
        ax.plot(x, np.full(len(x), y - 0.25 * many), **look | dots, markeredgewidth=0)
        ends = [[min(x.std(ddof=1), abs(end - x.mean()))] for end in (low, high)] if many else None
        ax.errorbar(x.mean(), y, xerr=ends, capsize=3, marker="|", markersize=13, markeredgewidth=1.5, **look)
    ax.set_yticks(range(len(values)), [style["label"] for style in styles(values).values()])
    ax.set(xlabel=xlabel, ylim=(len(values) - 0.5, -0.5))
    ax.set_xlim(max(low, ax.get_xlim()[0]), min(high, ax.get_xlim()[1]))
    ax.grid(axis="x", alpha=0.3)
    return ax
