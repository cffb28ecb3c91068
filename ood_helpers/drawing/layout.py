"""Figures at the widths of printed pages: legends that cover no data, and text of at least 7 points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

WIDTHS = {"column": 3.25, "text": 5.5, "page": 6.75}  # in inches: a column, the text of one column, both columns
SMALLEST = 7  # points
_BELOW = "legend below"  # group id of legends that are laid out again when the width changes


def legend_below(ax: Axes, title: str | None = None) -> Legend | None:
    """Put a legend of everything with a label below the Axes, where it covers no data.

    Needs constrained layout, which the project's style sets, to make room for it.
    """
    return _arrange(ax, title)


def shared_legend(fig: Figure, title: str | None = None) -> Legend | None:
    """Replace the legends of all panels by one below the figure; of equal labels the first one counts."""
    for ax in fig.axes:
        if legend := ax.get_legend():
            legend.remove()
    return _arrange(fig, title)


def resize(fig: Figure, width: str | float) -> None:
    """Give a figure a printed width and text of at least 7 points.

    A figure that is at most 0.8 times as high as the new width keeps its height; a higher one is scaled down, to
    that height at least. In a column the text is one point smaller.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
    width : {"column", "text", "page"} or float
        3.25, 5.5 or 6.75 inches, or a number of inches.
    """
    if isinstance(width, str) and width not in WIDTHS:
        raise ValueError(f"unknown width {width!r}; known: {', '.join(WIDTHS)}, or a number of inches")
    inches = WIDTHS[width] if isinstance(width, str) else float(width)
    old_width, old_height = fig.get_size_inches()
    height = max(old_height * min(1, inches / old_width), min(old_height, 0.8 * inches))
    fig.set_size_inches(inches, height)
    smaller = 1 if inches < WIDTHS["text"] else 0
    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):  # ticks to come take the size of their axis
            if labels := axis.get_ticklabels():
                points: Any = labels[0].get_fontsize()
                axis.set_tick_params(labelsize=max(SMALLEST, points - smaller))
    for text in _texts(fig):
        text.set_fontsize(max(SMALLEST, text.get_fontsize() - smaller))
    for owner in (fig, *fig.axes):
        for legend in _legends(owner):
            if legend.get_gid() == _BELOW:
                size: Any = legend.get_texts()[0].get_fontsize()
                legend.remove()
                _arrange(owner, legend.get_title().get_text() or None, size)


def frame(ax: Axes, x: float, y: float, **style: Any) -> None:
    """Draw a frame around the unit square whose corner is (x, y)."""
    ax.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], clip_on=False, **style)


def _texts(fig: Figure) -> Iterator[Any]:
    """All texts but the labels of ticks."""
    from matplotlib.text import Text

    ticks = {label for ax in fig.axes for axis in (ax.xaxis, ax.yaxis) for label in axis.get_ticklabels(which="both")}
    yield from (text for text in fig.findobj(Text) if text not in ticks)


def _legends(owner: Any) -> list[Legend]:
    legend = owner.get_legend() if hasattr(owner, "get_legend") else None
    return list(owner.legends) if hasattr(owner, "legends") else [legend] if legend else []


def _arrange(owner: Any, title: str | None = None, fontsize: float | None = None) -> Legend | None:
    """Draw a legend with as many columns as fit below a figure or an Axes; None if nothing has a label."""
    fig = owner.figure
    entries: dict[str, Any] = {}
    for ax in fig.axes if owner is fig else [owner]:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    where: dict[str, Any] = {"loc": "outside lower center"}
    room = fig.bbox.width
    if owner is not fig:
        from matplotlib.transforms import ScaledTranslation

        spec, box = owner.get_subplotspec(), owner.xaxis.get_tightbbox()
        depth = max(0, owner.bbox.y0 - box.y0) / fig.dpi if box else 0  # of the labels of the x axis
        where = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderaxespad": 0.3}
        where["bbox_transform"] = owner.transAxes + ScaledTranslation(0, -depth, fig.dpi_scale_trans)
        if spec:
            room *= len(spec.colspan) / spec.get_gridspec().ncols
        room -= 0.5 * fig.dpi  # the labels of the y axis
    look = {"fontsize": fontsize, "title_fontsize": fontsize, "handlelength": 1.8, "columnspacing": 1.2}
    for columns in range(len(entries), 0, -1):
        legend = owner.legend(entries.values(), entries, title=title, ncols=columns, **where, **look)
        legend.set_gid(_BELOW)
        if columns == 1 or legend.get_window_extent().width <= room:
            return legend
        legend.remove()
    return None
