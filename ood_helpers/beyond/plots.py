"""Plots on given Axes, which are returned: norms in training, neural collapse, risk-coverage, and ranks of a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.layout import legend_below, shared_legend
from ..drawing.styles import ID, OOD, OOD_STYLES, Style, plain_text, styles
from .risk import risk_coverage as areas

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

# Line styles differ too, so that colour is not the only cue.
NORMS: dict[str, Style] = {
    "feature_norm": {"label": "features", "color": ID, "linestyle": "-"},
    "classifier_norm": {"label": "classifier", "color": "#000000", "linestyle": "--"},
    "norm": {"label": "logits", "color": OOD, "linestyle": ":"},
}
COLLAPSE: dict[str, Style] = {
    "nc1": {"label": "NC1: within / between classes", "color": "#000000", "linestyle": "-"},
    "nc2": {"label": "NC2: means to a simplex", "color": "#009E73", "linestyle": "--"},
    "nc3": {"label": "NC3: weights to means", "color": "#CC79A7", "linestyle": ":"},
}


def recorded(history: Mapping[str, Any], name: str, of: str = "train") -> np.ndarray:
    """One number per epoch of a run's ``history``, the median where it holds quantiles; NaN where it has none.

    Parameters
    ----------
    name : str
        "norm", "feature_norm", "classifier_norm", "nc1", ...
    of : str
        The set, where there is one number per set.

    Raises
    ------
    ValueError
        If the run was trained by a version that did not record it.

    Examples
    --------
    >>> recorded({"epoch": [0, 1], "norm": {"train": [[1, 2, 3], [4, 5, 6]]}}, "norm")
    array([2., 5.])
    """
    if name not in history:
        raise ValueError(f"this run has no {name}; train it again with this version")
    values = history[name][of] if isinstance(history[name], Mapping) else history[name]
    return np.array([row[1] if isinstance(row, Sequence) else row for row in values], dtype=np.float64)


def norms(ax: Axes, history: Mapping[str, Any], of: str = "train") -> Axes:
    """Draw the norms of features and logits (medians) and of the classifier's weights against the epoch, log scales."""
    for name, style in NORMS.items():
        values = recorded(history, name, of)
        ax.plot(np.array(history["epoch"]) + 1, np.where(values > 0, values, np.nan), **style)  # IsoMax starts at 0
    ax.set(ylabel="norm")
    return _over_epochs(ax)


def _over_epochs(ax: Axes) -> Axes:
    """Log scales with plain numbers, and a legend."""
    ax.set(xscale="log", yscale="log", xlabel="epoch + 1")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    legend_below(ax)
    return ax


def norm_panels(fig: Figure, trained: Sequence[Any]) -> None:
    """Draw :func:`norms` of a run in each Axes of a figure, with its label as the title and one legend for all."""
    for ax, run in zip(fig.axes, trained):
        norms(ax, run.history).set_title(plain_text(run.label), fontsize=8)
        ax.label_outer()
    shared_legend(fig)


def logit_norms(ax: Axes, trained: Mapping[str, Any], of: str = "test") -> Axes:
    """Draw the median norm of the logits of each ``{loss: run}`` against the epoch."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for loss, style in styles(trained).items():
        history = trained[loss].history
        ax.plot(history["epoch"], recorded(history, "norm", of), **style | {"markersize": 3})
    ax.set(xlabel="epoch", ylabel="median norm of the logits", yscale="log")  # IsoMax's are distances, and long
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    legend_below(ax)
    return ax


def neural_collapse(ax: Axes, history: Mapping[str, Any]) -> Axes:
    """Draw NC1, NC2 and NC3 of a run's ``history`` on the training images against the epoch, log scales."""
    for name, style in COLLAPSE.items():
        ax.plot(np.array(history["epoch"]) + 1, recorded(history, name), **style)
    ax.set(ylabel="distance from collapse")
    return _over_epochs(ax)


def risk_coverage(ax: Axes, scores: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Axes:
    """Draw the risk of decided images against their share; the legend gives each AURC.

    Parameters
    ----------
    scores : mapping of name to (scores (N,), correct (N,))
    """
    for name, style in styles(scores).items():
        result = areas(*scores[name])
        style["label"] += f": {100 * result['aurc']:.2f} %"
        ax.plot(result["coverage"], 100 * result["risk"], markevery=(0.1, 0.2), **style)
    ax.set(xlabel="coverage: share of images that are decided", ylabel="errors among them, %", xlim=(0, 1))
    legend_below(ax, title="AURC")
    return ax


def norm_before_and_after(ax: Axes, before: ArrayLike, after: Mapping[float, ArrayLike]) -> Axes:
    """Draw the norm of clipped logits (N,) against the norm before (N,), a line per threshold, beside the diagonal."""
    for (threshold, norm), style in zip(after.items(), OOD_STYLES):
        norm = np.asarray(norm)
        jumps = np.where(np.abs(np.diff(norm, prepend=norm[:1])) > 0.1, np.nan, norm)  # no line through a jump
        ax.plot(before, jumps, color=style["color"], linestyle=style["linestyle"], label=f"t = {threshold:g}")
    ax.plot(before, before, color="gray", linewidth=0.8, label="unchanged")
    ax.set(xlabel="norm of the logits", ylabel="norm that the loss sees", ylim=(0, 2.5))
    legend_below(ax)
    return ax


def bump(ax: Axes, ranks: pd.DataFrame, highlight: Mapping[str, Any]) -> Axes:
    """Draw how the ranks of methods change from benchmark to benchmark, the best on top.

    Parameters
    ----------
    ranks : DataFrame
        A row per method and a column per benchmark; NaN where a method has no entry.
    highlight : mapping of method to style
        Methods that are drawn with a colour of their own and named at their last rank; the others are thin grey lines.
    """
    x = np.arange(ranks.shape[1])
    for method in [*ranks.index.difference(list(highlight)), *highlight]:  # the highlighted lines above the others
        row, named = ranks.loc[method], method in highlight
        own = {"linewidth": 2, "marker": "o", "label": plain_text(method)} | dict(highlight.get(method, {}))
        ax.plot(x, row, **(own if named else _REST))
        if named:
            end = int(np.flatnonzero(row.notna())[-1])
            place: Style = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
            ax.annotate(plain_text(method), (end, row.iloc[end]), color=own["color"], **place)
    ax.set_xticks(x, [plain_text(name) for name in ranks])
    ax.set(xlabel="benchmark", ylabel="rank", xlim=(-0.2, len(x) - 0.3))
    ax.set_yticks([1, *range(10, int(np.nanmax(ranks)) + 1, 10)])
    ax.invert_yaxis()
    return ax


_REST: Style = {"color": "#BBBBBB", "linewidth": 0.6}
