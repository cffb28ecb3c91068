"""Plots on given Axes, which are returned, and the colors, lines, markers and labels of all figures and widgets.

In-distribution (ID) data is blue, solid and filled, out-of-distribution (OOD) data vermillion, dashed and hatched;
nothing is distinguished by color alone. Sets are named as in a run: "train", "validation" and "test" are ID, all
others are OOD. In the docstrings, ``ax`` is the ``matplotlib.axes.Axes`` to draw on.

>>> from matplotlib.figure import Figure
>>> ax = histogram(Figure().subplots(), [0.7, 0.9, 0.9], {"letters": [0.2, 0.4]}, threshold=0.5)
>>> [label.get_text() for label in ax.get_legend().get_texts()]
['ID', 'letters (OOD)']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from . import metrics
from .alt_text import ROC_GID
from .beyond.styles import BEYOND_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

Style = dict[str, Any]  # keywords of Matplotlib's functions

ID, OOD = "#0072B2", "#D55E00"
ID_SETS = ("ID", "train", "validation", "test")
ID_STYLE: Style = {"color": ID, "linestyle": "-", "marker": "o"}
# Several OOD sets share the hue and differ in lightness, line and marker.
OOD_STYLES: tuple[Style, ...] = (
    {"color": OOD, "linestyle": "--", "marker": "s"},
    {"color": "#7A3500", "linestyle": ":", "marker": "^"},
    {"color": "#F39A55", "linestyle": "-.", "marker": "D"},
    {"color": "#3F1B00", "linestyle": (0, (6, 1, 1, 1, 1, 1)), "marker": "v"},
)
# From the palettes of Okabe & Ito and of Tol, distinct for color-blind readers, without the ID blue and OOD vermillion.
LOSS_STYLES: dict[str, Style] = {
    "softmax": {"color": "#000000", "linestyle": "-", "marker": "o", "label": "Softmax (CE)"},
    "logitnorm": {"color": "#009E73", "linestyle": "--", "marker": "s", "label": "LogitNorm"},
    "meln": {"color": "#E69F00", "linestyle": "-.", "marker": "^", "label": "MELN"},
    "isomax": {"color": "#56B4E9", "linestyle": ":", "marker": "D", "label": "IsoMax"},
    "isomaxplus": {"color": "#332288", "linestyle": (0, (5, 1)), "marker": "v", "label": "IsoMax+"},
    "dismax": {"color": "#CC79A7", "linestyle": (0, (3, 1, 1, 1)), "marker": "P", "label": "DisMax"},
    "dismax_fpr": {"color": "#882255", "linestyle": (0, (1, 1)), "marker": "X", "label": "DisMax†"},
}


def plain_text(name: object, width: int = 28) -> str:
    r"""Format the name of a class or file as a label: on one line, shortened to ``width``, and without formulas.

    >>> print(plain_text("$cash$\nonly"))
    \$cash\$ only
    """
    text = " ".join(str(name).split())
    return (text if len(text) <= width else text[: width - 1] + "…").replace("$", r"\$")


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return color, line style, marker and label of each name, as keywords for ``ax.plot``.

    Parameters
    ----------
    names : iterable of str
        Sets, losses, or labels of runs, which begin with that of their loss; several of one loss get darker shades.

    >>> styles(["test", "near"])["test"]["label"], styles(["meln"])["meln"]["label"]
    ('test (ID)', 'MELN')
    """
    from matplotlib.colors import to_hex, to_rgb

    ood_styles, papers, known = cycle(OOD_STYLES), list(LOSS_STYLES), LOSS_STYLES | BEYOND_STYLES
    result: dict[str, Style] = {}
    used: list[str] = []
    for name in names:
        label = known[name]["label"] if name in known else str(name)
        matches = [loss for loss in known if label.startswith(known[loss]["label"])]
        if matches:
            loss = max(matches, key=lambda match: len(known[match]["label"]))
            n_before = used.count(loss)
            shade: Any = [channel * 0.55**n_before for channel in to_rgb(known[loss]["color"])]
            style = known[papers[(list(known).index(loss) + 2 * n_before) % len(papers)] if n_before else loss]
            result[name] = style | {"color": to_hex(shade), "label": plain_text(label, 60)}
            used.append(loss)
        elif name in ID_SETS:
            result[name] = ID_STYLE | {"label": name if name == "ID" else f"{name} (ID)"}
        else:
            result[name] = next(ood_styles) | {"label": name if name == "OOD" else f"{plain_text(name)} (OOD)"}
    return result


def lines(
    ax: Axes, x: Sequence[float], values: Mapping[str, ArrayLike], bands: Mapping[str, ArrayLike] | None = None
) -> Axes:
    """Draw a line per name, with about ten markers.

    Parameters
    ----------
    x : sequence of float, shape (N,)
    values : mapping of name to array, shape (N,)
    bands : mapping of name to array, shape (2, N), optional
        Lower and upper end of a band around each line.
    """
    for name, style in styles(values).items():
        ax.plot(x, values[name], markevery=max(1, len(x) // 10), **style)
        if bands is not None:
            ax.fill_between(x, *np.asarray(bands[name]), color=style["color"], alpha=0.12, linewidth=0)
    ax.legend()
    return ax


def histogram(
    ax: Axes,
    id_scores: ArrayLike,
    ood_scores: ArrayLike | dict[str, ArrayLike],
    threshold: float | None = None,
    bins: int = 40,
    xlabel: str = "score",
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw histograms of scores, as the share of each set's images per bin.

    Parameters
    ----------
    id_scores : array, shape (N,)
        Infinite scores count in the outermost bins.
    ood_scores : array, shape (M,), or dict of name to array
    threshold : float, optional
        Images with a score on its right are accepted as ID.
    limits : (float, float), optional
        Ends of the score axis; by default the smallest and largest finite score.

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
        offset: Style = {"xytext": (3, 2), "textcoords": "offset points"}
        ax.annotate("accepted →", (threshold, 1), xycoords=("data", "axes fraction"), fontsize=8, **offset)
    ax.set(xlabel=xlabel, ylabel="share of images", xlim=(low, high), ylim=(0, None))
    ax.legend()
    return ax


def norm_growth(ax: Axes, history: Mapping[str, Any]) -> Axes:
    """Draw the logit norms of a run's ``history``: the median of each set in a band of its 10 % to 90 % quantile."""
    quantiles = {name: np.asarray(rows, dtype=np.float64).T for name, rows in history["norm"].items()}
    medians = {name: rows[1] for name, rows in quantiles.items()}
    lines(ax, history["epoch"], medians, {name: rows[[0, 2]] for name, rows in quantiles.items()})
    ax.set(xlabel="epoch", ylabel="norm of the logits", ylim=(0, None))
    return ax


def confidence(ax: Axes, history: Mapping[str, Any], num_classes: int | None = None) -> Axes:
    """Draw the mean top probability per epoch of a run's ``history``, and its minimum 1 / ``num_classes`` if given."""
    lines(ax, history["epoch"], history["confidence"])
    if num_classes:
        ax.axhline(1 / num_classes, color="gray", linewidth=1)
        where: Style = {"xycoords": ("axes fraction", "data"), "xytext": (0, -2), "textcoords": "offset points"}
        ax.annotate("guessing", (1, 1 / num_classes), ha="right", va="top", fontsize=8, **where)
    ax.set(xlabel="epoch", ylabel="mean top probability", ylim=(0, 1.02))
    return ax


def reliability(ax: Axes, probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Axes:
    """Draw a reliability diagram: accuracy per bin (of equal width) of confidence, and the calibration error (ECE).

    Parameters
    ----------
    probabilities : array, shape (N, C)
    labels : array of int, shape (N,)
    """
    table = metrics.reliability(probabilities, labels, bins)
    centers, accuracy, width = (np.arange(bins) + 0.5) / bins, table["accuracy"], 0.9 / bins
    ax.bar(centers, accuracy, width, color=ID, alpha=0.75, label="accuracy")
    gap: Style = {"fill": False, "edgecolor": OOD, "hatch": "////", "linewidth": 0.8, "label": "gap to the confidence"}
    ax.bar(centers, table["confidence"] - accuracy, width, bottom=accuracy, **gap)
    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="calibrated")
    ax.set(xlabel="confidence (top probability)", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    ax.set_title(f"ECE {100 * metrics.ece(probabilities, labels, bins):.1f} %")
    ax.legend(loc="upper left", frameon=True)
    return ax


def roc(ax: Axes, scores: Mapping[str, tuple[ArrayLike, ArrayLike]], positive: str = "id") -> Axes:
    """Draw ROC curves and their points at a true positive rate of 95 %; the legend gives each FPR95.

    Parameters
    ----------
    scores : mapping of name to (id_scores, ood_scores)
    positive : {"id", "ood"}
        The positive class.
    """
    for name, style in styles(scores).items():
        curve = metrics.curves(*scores[name], positive)
        style["label"] += f": {100 * metrics.detection(*scores[name], positive)['fpr95']:.1f} %"
        at_95 = np.searchsorted(curve["tpr"], 0.95 - 1e-12)
        ax.plot(curve["fpr"], curve["tpr"], markevery=[at_95], gid=ROC_GID, **style)
    ax.axhline(0.95, color="gray", linewidth=0.8)
    positives, negatives, verb = ("ID", "OOD", "accepted") if positive == "id" else ("OOD", "ID", "rejected")
    ax.set(xlabel=f"{negatives} {verb} (false positives)", ylabel=f"{positives} {verb} (true positives)")
    ax.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    ax.legend(title=f"FPR95, {positives} positive", loc="lower right")
    return ax


def pr(ax: Axes, scores: Mapping[str, tuple[ArrayLike, ArrayLike]], positive: str = "id") -> Axes:
    """Draw precision-recall curves, with average precisions in the legend; arguments as for ``roc``."""
    for name, style in styles(scores).items():
        curve, result = metrics.curves(*scores[name], positive), metrics.detection(*scores[name], positive)
        style["label"] += f": {100 * result['aupr_in' if positive == 'id' else 'aupr_out']:.1f} %"
        ax.plot(curve["recall"], curve["precision"], markevery=(0.1, 0.2), **style)
    name = positive.upper()
    ax.set(xlabel=f"recall of {name}", ylabel=f"precision for {name}", xlim=(0, 1.01), ylim=(0, 1.02))
    ax.legend(title=f"AUPR, {name} positive", loc="lower left")
    return ax


def heatmap(
    ax: Axes, values: ArrayLike, rows: Iterable[str], columns: Iterable[str], label: str, best: Callable = np.nanargmax
) -> Axes:
    """Draw a table of numbers in colors, with a frame around the best of each row.

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
    names = map(plain_text, rows), map(plain_text, columns)
    annotated_table(ax, values, *names, label, annot=True, fmt=".1f", cmap=cmap, linewidths=0.5)
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
    """Draw a dot per seed in ``values[name]``, above their mean and standard deviation."""
    for y, (name, style) in enumerate(styles(values).items()):
        x = np.asarray(values[name], dtype=np.float64)
        ax.plot(x, np.full(len(x), y - 0.25), ".", color=style["color"], alpha=0.6, markersize=4)
        deviation = x.std(ddof=1) if len(x) > 1 else None
        ax.errorbar(x.mean(), y, xerr=deviation, capsize=3, color=style["color"], marker=style["marker"])
    ax.set_yticks(range(len(values)), [style["label"] for style in styles(values).values()])
    ax.set(xlabel=xlabel, ylim=(len(values) - 0.5, -0.5))
    ax.grid(axis="x", alpha=0.3)
    return ax


def frame(ax: Axes, x: float, y: float, **style: Any) -> None:
    """Draw a frame around the unit square whose corner is (x, y)."""
    ax.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], clip_on=False, **style)
