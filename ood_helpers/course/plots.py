"""Plots for single demonstrations of the notebooks, in the style of ``ood_helpers.plots``."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import cycle
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from ..drawing.layout import frame, legend_below
from ..drawing.styles import ID, LOSS_STYLES, OOD, plain_text, styles
from ..plots import annotated_table, histogram, lines


def images(
    ax: Axes, images: ArrayLike, titles: Iterable[str] = (), columns: int = 8, ood: Collection[int] = ()
) -> Axes:
    """Draw a grid of images with titles.

    Parameters
    ----------
    images : array, shape (N, C, H, W)
        Values from 0 to 255.
    titles : iterable of str
        N titles, or none. A long title takes two lines, so that it does not meet its neighbor.
    columns : int
    ood : collection of int
        Indices of the images with a dashed frame.
    """
    images = np.asarray(images)
    titles = ["\n".join(map(plain_text, wrap(title, 10, max_lines=2, placeholder="…"))) for title in titles]
    height, n_rows = 1.1 + 0.3 * max((1 + t.count("\n") for t in titles), default=0), -(-len(images) // columns)
    for i, image in enumerate(images):
        x, y = i % columns * 1.15, i // columns * height
        ax.imshow(image.transpose(1, 2, 0), extent=(x, x + 1, y + 1, y), cmap="gray", vmin=0, vmax=255)
        if titles:
            ax.text(x + 0.5, y - 0.04, titles[i], ha="center", va="bottom", fontsize=8)
        if i in ood:
            frame(ax, x, y, color=OOD, linestyle="--", linewidth=2)
    bottom = (n_rows - 1) * height + 1.05
    ax.set(xlim=(-0.05, columns * 1.15 - 0.1), ylim=(bottom, 1 - height), aspect="equal")
    ax.axis("off")
    return ax


def mosaic(ax: Axes, image: np.ndarray, names: Sequence[str]) -> Axes:
    """Draw a mosaic of four quadrants and its target, in which the class of each quadrant counts 1/4.

    Parameters
    ----------
    image : array, shape (C, H, W)
    names : sequence of four class names
    """
    images(ax, image[None], columns=1)
    ax.plot([0.5, 0.5, np.nan, 0, 1], [0, 1, np.nan, 0.5, 0.5], color=OOD, linewidth=1.5)
    target = "\n".join(f"{list(names).count(name)}/4 “{plain_text(name, 16)}”" for name in dict.fromkeys(names))
    ax.annotate(target, (0.5, 0), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
    return ax


def class_counts(ax: Axes, labels: ArrayLike, classes: Sequence[str]) -> Axes:
    """Draw the number of images of each class; ``labels`` (N,) are integers in 0..C-1."""
    counts = np.bincount(np.asarray(labels), minlength=len(classes))
    ax.bar_label(ax.barh(range(len(classes)), counts, color=ID, alpha=0.8), padding=2, fontsize=8)
    ax.set_yticks(range(len(classes)), [plain_text(name) for name in classes])
    ax.margins(x=0.12)
    ax.set(xlabel="images")
    ax.invert_yaxis()
    return ax


def landscape(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    confidence: np.ndarray,
    points: ArrayLike,
    labels: ArrayLike,
    colorbar: bool = True,
) -> Axes:
    """Draw the top probability of a network in the plane, from 1 / C to 1, and its training points.

    Parameters
    ----------
    x, y : arrays, shapes (X,) and (Y,)
    confidence : array, shape (Y, X)
    points : array, shape (N, 2)
    labels : array of int, shape (N,)
    colorbar : bool
        Of several landscapes side by side one needs it.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    least = 1 / len(np.unique(labels))
    shades = ax.contourf(
        x, y, np.clip(confidence, least, 1), levels=np.linspace(least, 1, 11), cmap="Greys", vmin=least, vmax=1.4
    )
    if colorbar:
        ax.figure.colorbar(shades, ax=ax, label="top probability", format="{x:.2f}")
    for label, style in zip(np.unique(labels), cycle(LOSS_STYLES.values())):
        look = {"marker": style["marker"], "color": style["color"], "markeredgecolor": "white", "markeredgewidth": 0.5}
        ax.plot(*points[labels == label].T, linestyle="none", label=f"class {label}", **look)
    ax.set(aspect="equal", xlim=(min(x), max(x)), ylim=(min(y), max(y)))
    legend_below(ax)
    return ax


def sweep(
    ax: Axes,
    temperatures: Sequence[float],
    values: ArrayLike,
    bound: ArrayLike | None = None,
    chosen: float | None = None,
    ylabel: str = "training loss",
) -> Axes:
    """Draw a quantity against the temperature of LogitNorm.

    Parameters
    ----------
    temperatures : sequence of float, shape (N,)
    values : array, shape (N,)
    bound : array, shape (N,), optional
        Lower bound of the quantity.
    chosen : float, optional
        The temperature that was chosen on the validation set.
    ylabel : str
    """
    if bound is not None:
        ax.plot(temperatures, bound, color="black", linestyle=":", label="lower bound")
        ax.fill_between(temperatures, 0, bound, color="black", alpha=0.08, linewidth=0)
    if chosen is not None:
        ax.axvline(chosen, color="gray", linewidth=1, label=f"chosen on validation: {chosen:g}")
    ax.plot(temperatures, values, **styles(["logitnorm"])["logitnorm"] | {"label": "measured"})
    ax.set(xscale="log", xlabel="temperature τ", ylabel=ylabel, ylim=(0, None))
    ax.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
    ax.minorticks_off()
    legend_below(ax)
    return ax


def inert_margin(ax: Axes, margins: Sequence[float], values: Mapping[str, ArrayLike]) -> Axes:
    """Draw the loss ``values[variant]`` (N,) of variants of MELN against the margin (N,); constant if it is inert."""
    lines(ax, margins, {f"MELN, {variant}": losses for variant, losses in values.items()})
    ax.set(xlabel="margin m", ylabel="loss")
    legend_below(ax)
    return ax


def temperature_wall(ax: Axes, temperatures: ArrayLike, loss: ArrayLike, num_classes: int) -> Axes:
    """Draw the loss (N,) of a perfect network against the temperature (N,), which has a pole at 0."""
    t, values = (np.asarray(each, dtype=np.float64) for each in (temperatures, loss))
    for side in (t < 0, t > 0):  # two lines, none through the pole
        ax.plot(t[side], values[side], color="black")
    ax.axvline(0, color="gray", linewidth=1)
    ax.axhline(np.log(num_classes), color="gray", linestyle=":", label=f"guessing: log {num_classes}")
    ax.set(xlabel="temperature T", ylabel="loss", ylim=(0, 3 * np.log(num_classes)))
    legend_below(ax)
    return ax


def temperature_path(ax: Axes, steps: Sequence[int], values: Mapping[str, ArrayLike]) -> Axes:
    """Draw the temperature ``values[variant]`` (N,) that variants of MELN learn, against the step (N,)."""
    lines(ax, steps, {f"MELN, {variant}": temperatures for variant, temperatures in values.items()})
    ax.set_yscale("symlog", linthresh=1)
    ax.yaxis.set_major_formatter("{x:g}")
    low, high = min(-1, ax.get_ylim()[0]), ax.get_ylim()[1]
    ax.axhspan(low, 0, color=OOD, alpha=0.15, hatch="//", linewidth=0, label="no temperature")
    ax.set(xlabel="step", ylabel="temperature T", ylim=(low, high))
    legend_below(ax)
    return ax


def prototypes(ax: Axes, weights: ArrayLike, classes: Iterable[str]) -> Axes:
    """Draw the cosine between every two of C prototypes (C, D); 0 where a prototype is 0."""
    weights = np.asarray(weights, dtype=np.float64)
    unit = weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
    names = [plain_text(name, 12) for name in classes]
    options = {"annot": len(names) <= 7, "fmt": ".2f", "cmap": "PuOr", "vmin": -1, "vmax": 1, "square": True}
    annotated_table(ax, unit @ unit.T, names, names, "cosine", **options)
    ax.set(xlabel="prototype of class", ylabel="prototype of class")
    return ax


def per_class(ax: Axes, values: Mapping[str, ArrayLike], classes: Sequence[str], ylabel: str) -> Axes:
    """Draw a quantity of each class, without lines, as classes have no order; equal values show inside each other.

    Parameters
    ----------
    values : mapping of name to array, shape (C,)
    classes : sequence of C names
    ylabel : str
    """
    for k, (name, style) in enumerate(styles(values).items()):
        look = {"linestyle": "none", "markerfacecolor": "none" if k == 0 else style["color"], "markersize": 9 - 5 * k}
        ax.plot(range(len(classes)), np.asarray(values[name]), **style | look)
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if any(len(c) > 3 for c in classes) else {}
    ax.set_xticks(range(len(classes)), [plain_text(name, 10) for name in classes], **slanted)
    ax.set(xlabel="class", ylabel=ylabel)
    ax.margins(x=0.1)
    legend_below(ax)
    return ax


def published(ax: Axes, rows: Sequence[str], values: Mapping[str, tuple[float, float]]) -> Axes:
    """Add published means ± standard deviations, in percent, as diamonds below the ``rows`` of ``plots.seeds``."""
    for k, (name, (mean, deviation)) in enumerate(values.items()):
        ends = [[min(deviation, mean)], [min(deviation, 100 - mean)]]
        label = None if k else "published"
        look = {"fmt": "D", "color": "black", "markerfacecolor": "white", "markersize": 4, "capsize": 2}
        ax.errorbar(mean, list(rows).index(name) + 0.3, xerr=ends, label=label, **look)
    left, right = ax.dataLim.intervalx
    ax.set_xlim(max(0, left - 0.05 * (right - left)), min(100, right + 0.05 * (right - left)))
    legend_below(ax)
    return ax


def score_rows(
    axes: Sequence[Axes], rows: Mapping[str, tuple[ArrayLike, ArrayLike | dict[str, ArrayLike]]], bins: int = 40
) -> Sequence[Axes]:
    """Draw a histogram per Axes, from top to bottom, as in figure 1 of the IsoMax+ paper (arXiv 2105.14399).

    Parameters
    ----------
    axes : sequence of Axes, one for each row
    rows : mapping of title to (id_scores, ood_scores)
        As for ``histogram``.
    bins : int
    """
    for ax, (title, (id_scores, ood_scores)) in zip(axes, rows.items(), strict=True):
        histogram(ax, id_scores, ood_scores, bins=bins, xlabel="").set_title(plain_text(title, 80), loc="left")
        if ax is not axes[0] and (legend := ax.get_legend()):
            legend.remove()
    axes[-1].set_xlabel("score (higher = more in-distribution)")
    return axes
