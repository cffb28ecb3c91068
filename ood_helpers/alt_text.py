"""A figure in words, from the numbers that it shows: for readers who do not see it."""

import re

import numpy as np

PANELS, ENTRIES = 6, 5  # more are only counted: a text that is read aloud has to end


def describe(fig):
    """What `fig` shows, panel by panel: labels, and the telling numbers of each curve, histogram, table, bar.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> _ = ax.plot([0, 5, 9], [1.0, 3.0, 2.0], label="norm")
    >>> ax.set(xlabel="epoch", ylabel="length") and describe(ax.figure)
    'length against epoch: norm from 1 at 0 to 2 at 9, highest 3.'
    """
    panels = [ax for ax in fig.axes if ax.get_label() != "<colorbar>" and (ax.axison or ax.images)]
    told = [_panel(ax, _yaxis(ax, panels)) for ax in panels[:PANELS]]
    more = f" And {len(panels) - PANELS} more panels." if len(panels) > PANELS else ""
    return (f"{len(panels)} panels. " if len(panels) > 1 else "") + " ".join(told) + more


def _yaxis(ax, panels):
    """The panel's own label or, in a row that shares one, its neighbour's."""
    row = [
        each
        for each in panels
        if each.get_subplotspec()
        and ax.get_subplotspec()
        and each.get_subplotspec().rowspan == ax.get_subplotspec().rowspan
    ]
    return ax.get_ylabel() or next((each.get_ylabel() for each in row if each.get_ylabel()), "")


def _panel(ax, ylabel):
    title = ax.get_title() or ax.get_title("left")
    axes = " against ".join(filter(None, (ylabel, ax.get_xlabel())))
    entries = [*_tables(ax), *_pictures(ax), *_points(ax), *_curves(ax), *_histograms(ax), *_bars(ax)]
    if len(entries) > ENTRIES:
        entries[ENTRIES:] = [f"and {len(entries) - ENTRIES} more"]
    shown = "; ".join(entries)
    text = ": ".join(filter(None, (", ".join(filter(None, (title, axes))), shown)))
    return re.sub(r"\s+", " ", text.replace("\\$", "$").rstrip(".") or "an empty panel") + "."


def _named(artist):
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _number(value):
    return f"{value:.3g}"


def _tables(ax):
    for mesh in ax.collections:
        values = mesh.get_array()
        if values is None or not hasattr(mesh, "get_coordinates"):
            continue
        values = np.ma.filled(np.ma.asarray(values, float), np.nan)
        values = values.reshape(np.array(mesh.get_coordinates().shape[:2]) - 1)
        axes = ax.yaxis, ax.xaxis
        rows, columns = ([label.get_text() for label in axis.get_ticklabels()] for axis in axes)
        bar = getattr(mesh, "colorbar", None)
        ends = [np.unravel_index(f(values), values.shape) for f in (np.nanargmin, np.nanargmax)]
        places = [
            ", ".join(names[k] for k, names in zip(end, (rows, columns)) if k < len(names) and names[k]) for end in ends
        ]
        low, high = (f"{_number(values[end])} ({place})" for end, place in zip(ends, places))
        what = f" with the {bar.ax.get_ylabel()}" if bar else ""
        yield f"table of {values.shape[0]} by {values.shape[1]}{what}, from {low} to {high}"


def _pictures(ax):
    if ax.images:
        words = [text.get_text().replace("\n", " ") for text in ax.texts if text.get_text()]
        yield (
            f"{len(ax.images)} picture{'s' * (len(ax.images) > 1)}"
            + (f", labelled {', '.join(words[:10])}{' …' if len(words) > 10 else ''}" if words else "")
        )


def _points(ax):
    """Single marks with error bars beside a name on the y axis."""
    names = {
        tick: label.get_text()
        for each in ax.get_shared_y_axes().get_siblings(ax)
        for tick, label in zip(each.get_yticks(), each.get_yticklabels())
        if label.get_text()
    }
    for container in ax.containers:
        line = container[0] if type(container).__name__ == "ErrorbarContainer" else None
        if line is not None and len(line.get_xdata()) == 1 and names.get(line.get_ydata()[0]):
            yield f"{names[line.get_ydata()[0]]} {_number(line.get_xdata()[0])}"


def _curves(ax):
    of = {id(container[0]): container for container in ax.containers if type(container).__name__ == "ErrorbarContainer"}
    for line in ax.lines:
        name = _named(of.get(id(line), line))
        x, y = (np.asarray(data, float) for data in line.get_data())
        if not name or len(x) < 2 or not np.isfinite(y).any():
            continue
        if len(x) == 2 and x[0] == x[1]:
            yield f"{name} at {_number(x[0])}"
        elif line.get_linestyle() in ("None", "none"):
            yield f"{name}, {len(x)} points"
        elif len(x) > 2:
            x, y = x[np.isfinite(y)], y[np.isfinite(y)]
            if (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1):  # a ROC curve: its label has the number
                yield f"{ax.get_legend().get_title().get_text() if ax.get_legend() else ''} {name}".strip()
                continue
            peak = f", highest {_number(y.max())}" if y.max() > max(y[0], y[-1]) else ""
            dip = f", lowest {_number(y.min())}" if y.min() < min(y[0], y[-1]) else ""
            ends = [f"{_number(y[end])} at {_number(x[end])}" for end in (0, -1)]
            yield f"{name} from {ends[0]} to {ends[1]}{peak}{dip}"


def _histograms(ax):
    for patch in ax.patches:
        if hasattr(patch, "get_data") and (data := patch.get_data()).values.sum() > 0:
            share = np.cumsum(data.values) / data.values.sum()
            low, high = (np.searchsorted(share, half) for half in (0.25, 0.75))
            ends = f"between {_number(data.edges[low])} and {_number(data.edges[high + 1])}"
            yield f"{_named(patch) or 'a set'}: half of the images {ends}"


def _bars(ax):
    for container in ax.containers:
        if type(container).__name__ == "BarContainer" and container.patches:
            upright = container.orientation == "vertical"
            sizes = np.array([bar.get_height() if upright else bar.get_width() for bar in container.patches])
            axis = ax.xaxis if upright else ax.yaxis
            names = [label.get_text() for label in axis.get_ticklabels()]
            if len(names) == len(sizes) <= ENTRIES + 3 and all(names):
                yield ", ".join(f"{name}: {_number(size)}" for name, size in zip(names, sizes))
                continue
            sizes = sizes[np.isfinite(sizes) & (sizes != 0)]
            if len(sizes):
                name, low, high = _named(container) or "bars", _number(sizes.min()), _number(sizes.max())
                yield f"{name}: {len(sizes)} from {low} to {high}"
