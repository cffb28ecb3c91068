"""Alt text: a figure described in words, from the numbers that it shows, for readers who do not see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS, MAX_ENTRIES = 6, 5  # further ones are only counted, because an alt text is read aloud
ROC_GID = "roc"  # group id of a ROC curve (see Line2D.set_gid); its label has the number that matters


def describe(fig: Figure) -> str:
    """Describe a figure panel by panel: axis labels, and key numbers of each curve, histogram, table and bar.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> _ = ax.plot([0, 5, 9], [1.0, 3.0, 2.0], label="norm")
    >>> ax.set(xlabel="epoch", ylabel="length") and describe(ax.figure)
    'length against epoch: norm from 1 at 0 to 2 at 9, highest 3.'
    """
    panels = [ax for ax in fig.axes if ax.get_label() != "<colorbar>" and (ax.axison or ax.images)]
    count = f"{len(panels)} panels. " if len(panels) > 1 else ""
    texts = [_panel(ax, _ylabel(ax, panels)) for ax in panels[:MAX_PANELS]]
    more = [f"And {len(panels) - MAX_PANELS} more panels."] if len(panels) > MAX_PANELS else []
    return count + " ".join(texts + more)


def _ylabel(ax: Axes, panels: list[Axes]) -> str:
    """Return the y label of the panel or, if a row of panels shares one label, of its neighbor."""
    spec = ax.get_subplotspec()
    row = [each for each in panels if spec and (its := each.get_subplotspec()) and its.rowspan == spec.rowspan]
    return ax.get_ylabel() or next((each.get_ylabel() for each in row if each.get_ylabel()), "")


def _panel(ax: Axes, ylabel: str) -> str:
    title = ax.get_title() or ax.get_title("left")
    axes = " against ".join(filter(None, (ylabel, ax.get_xlabel())))
    entries = [*_tables(ax), *_pictures(ax), *_points(ax), *_curves(ax), *_histograms(ax), *_bars(ax)]
    if not entries:  # a curve without a label is described if there is nothing else to say
        entries = [*_curves(ax, unlabelled="a curve")]
    if len(entries) > MAX_ENTRIES:
        entries[MAX_ENTRIES:] = [f"and {len(entries) - MAX_ENTRIES} more"]
    heading = ", ".join(filter(None, (title, axes)))
    text = ": ".join(filter(None, (heading, "; ".join(entries)))).rstrip(".")
    fallback = "a panel without labels" if ax.has_data() else "an empty panel"
    return re.sub(r"\s+", " ", text.replace("\\$", "$") or fallback) + "."


def _label(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _format(value: float) -> str:
    return f"{value:.3g}"


def _tables(ax: Axes) -> Iterator[str]:
    for mesh in ax.collections:
        values: Any = mesh.get_array()
        if values is None or not hasattr(mesh, "get_coordinates"):
            continue
        values = np.ma.filled(np.ma.asarray(values, float), np.nan)
        values = values.reshape(np.array(mesh.get_coordinates().shape[:2]) - 1)
        names = [[label.get_text() for label in axis.get_ticklabels()] for axis in (ax.yaxis, ax.xaxis)]
        ends = []
        for extreme in (np.nanargmin, np.nanargmax):
            cell = np.unravel_index(extreme(values), values.shape)
            place = ", ".join(texts[k] for k, texts in zip(cell, names) if k < len(texts) and texts[k])
            ends.append(f"{_format(values[cell])} ({place})")
        colorbar = getattr(mesh, "colorbar", None)
        quantity = f" with the {colorbar.ax.get_ylabel()}" if colorbar else ""
        yield f"table of {values.shape[0]} by {values.shape[1]}{quantity}, from {ends[0]} to {ends[1]}"


def _pictures(ax: Axes) -> Iterator[str]:
    if ax.images:
        words = [text.get_text().replace("\n", " ") for text in ax.texts if text.get_text()]
        labels = f", labelled {', '.join(words[:10])}{' …' if len(words) > 10 else ''}" if words else ""
        yield f"{len(ax.images)} picture{'s' * (len(ax.images) > 1)}{labels}"


def _points(ax: Axes) -> Iterator[str]:
    """Single markers with error bars, named by the ticks of the y axis."""
    names = {
        tick: label.get_text()
        for each in ax.get_shared_y_axes().get_siblings(ax)
        for tick, label in zip(each.get_yticks(), each.get_yticklabels())
        if label.get_text()
    }
    for container in ax.containers:
        line = container[0] if type(container).__name__ == "ErrorbarContainer" else None
        if line is not None and len(line.get_xdata()) == 1 and names.get(line.get_ydata()[0]):
            yield f"{names[line.get_ydata()[0]]} {_format(line.get_xdata()[0])}"


def _curves(ax: Axes, unlabelled: str = "") -> Iterator[str]:
    containers = {id(each[0]): each for each in ax.containers if type(each).__name__ == "ErrorbarContainer"}
    for line in ax.lines:
        name = _label(containers.get(id(line), line)) or unlabelled
        x, y = (np.asarray(data, float) for data in line.get_data())
        if not name or len(x) < 2 or not np.isfinite(y).any():
            continue
        if line.get_gid() == ROC_GID:
            legend = ax.get_legend()
            yield f"{legend.get_title().get_text() if legend else ''} {name}".strip()
        elif len(x) == 2 and x[0] == x[1]:
            yield f"{name} at {_format(x[0])}"
        elif line.get_linestyle() in ("None", "none"):
            yield f"{name}, {len(x)} points"
        elif line.get_transform() == ax.get_yaxis_transform(which="grid"):  # drawn by axhline
            yield f"{name} at {_format(y[0])}"
        else:
            x, y = x[np.isfinite(y)], y[np.isfinite(y)]
            peak = f", highest {_format(y.max())}" if y.max() > max(y[0], y[-1]) else ""
            dip = f", lowest {_format(y.min())}" if y.min() < min(y[0], y[-1]) else ""
            ends = [f"{_format(y[end])} at {_format(x[end])}" for end in (0, -1)]
            yield f"{name} from {ends[0]} to {ends[1]}{peak}{dip}"


def _histograms(ax: Axes) -> Iterator[str]:
    for patch in ax.patches:
        if hasattr(patch, "get_data") and (data := patch.get_data()).values.sum() > 0:
            share = np.cumsum(data.values) / data.values.sum()
            low, high = (np.searchsorted(share, quantile) for quantile in (0.25, 0.75))
            ends = f"between {_format(data.edges[low])} and {_format(data.edges[high + 1])}"
            yield f"{_label(patch) or 'a set'}: half of the images {ends}"


def _bars(ax: Axes) -> Iterator[str]:
    containers: list[Any] = ax.containers
    for container in containers:
        if type(container).__name__ != "BarContainer" or not container.patches:
            continue
        vertical = container.orientation == "vertical"
        sizes = np.array([bar.get_height() if vertical else bar.get_width() for bar in container.patches])
        axis = ax.xaxis if vertical else ax.yaxis
        names = [label.get_text() for label in axis.get_ticklabels()]
        if len(names) == len(sizes) <= MAX_ENTRIES + 3 and all(names):
            yield ", ".join(f"{name}: {_format(size)}" for name, size in zip(names, sizes))
            continue
        sizes = sizes[np.isfinite(sizes) & (sizes != 0)]
        if len(sizes):
            name = _label(container) or "bars"
            yield f"{name}: {len(sizes)} from {_format(sizes.min())} to {_format(sizes.max())}"
