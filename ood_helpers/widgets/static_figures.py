"""Matplotlib figures of the widgets' states, for readers without a kernel and for print."""

import functools
import io
import textwrap

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from .. import plots
from . import explorer_state
from .explorer_data import BINS, Data
from .formats import format_confidence

SHADES = "cividis"  # of the playground
CLASS_MARKERS = (("o", "#ffffff", "#111111"), ("s", "#111111", "#ffffff"), ("^", "#56b4e9", "#111111"))  # face, edge


def in_style(draw):
    """Let ``draw`` run in the project's style, without changing that of the caller."""

    @functools.wraps(draw)
    def draw_in_style(*arguments):
        with matplotlib.style.context("ood_helpers.figures"):
            return draw(*arguments)

    return draw_in_style


def _add_title(figure, title):
    # A number and its percent sign stay on one line.
    lines = textwrap.wrap(title.replace(" %", "\u00a0%"), int(14 * figure.get_figwidth()))
    figure.suptitle("\n".join(plots.plain_text(line, 200) for line in lines), fontsize=9)


def png(figure: Figure) -> bytes:
    """Draw a figure into the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


@in_style
def score_explorer(state: dict, data: Data, score_label: str, title: str, peak: float = 0.0) -> Figure:
    """Histograms, ROC and precision-recall curve, with the threshold of the state on each.

    ``peak`` is the least share that the histogram's axis holds, for explorers beside each other.
    """
    figure = Figure(figsize=(9.5, 3.0), layout="constrained")
    histogram, roc, pr = figure.subplots(1, 3, width_ratios=(2.2, 1, 1))
    view, positive = explorer_state.compute(state, data), state["positive"]
    keys = [
        explorer_state.sort_key(z, state["score"], state["temperature"], **explorer_state.options_of(state))
        for z in explorer_state.current_logits(state, data)
    ]
    limits = view["low"], view["high"]
    plots.histogram(histogram, keys[0], {state["ood"]: keys[1]}, view["limit"], BINS, score_label, limits)
    if state["score"] == "msp":  # on a logit axis
        ticks = explorer_state.probability_ticks(*limits)
        histogram.set_xticks(*zip(*ticks) if ticks else ([], []))
        histogram.set(xlabel=f"{score_label}, logit axis", xlim=limits)
    histogram.set_ylim(0, min(1, 1.12 * max(view["peak"], peak)))
    if state["log_scale"]:
        histogram.set(yscale="log", ylim=(0.5 / max(view["sizes"]), 1))
    accepted, sizes = np.array(view["accepted"]), np.array(view["sizes"])
    true_positives, false_positives = accepted if positive == "id" else (sizes - accepted)[::-1]
    n_positive, n_negative = sizes if positive == "id" else sizes[::-1]
    dot = {"marker": "o", "markerfacecolor": "white", "color": "black"}
    pair = {state["ood"]: keys}
    plots.roc(roc, pair, positive).plot(false_positives / n_negative, true_positives / n_positive, **dot)
    plots.pr(pr, pair, positive)
    if true_positives + false_positives:
        pr.plot(true_positives / n_positive, true_positives / (true_positives + false_positives), **dot)
    roc.set(xscale="linear", xlim=(-0.01, 1))  # as in the browser
    for ax, name in ((roc, "ROC"), (pr, "Precision and recall")):
        ax.get_legend().remove()
        ax.set_title(name)
    _add_title(figure, title)
    return figure


@in_style
def norm_explorer(view: dict, classes: list[str], target: int, title: str) -> Figure:
    """Logits, softmax, and the step that training would take."""
    figure = Figure(figsize=(9.5, 2.6), layout="constrained")
    panels = {
        "Logits z": view["z"],
        "Softmax of z": view["probabilities"],
        "Step −∂loss/∂z": np.negative(view["gradient"]),
    }
    for ax, (name, values) in zip(figure.subplots(1, 3), panels.items()):
        for k, value in enumerate(values):
            look = {"color": plots.ID} if k == target else {"color": "0.6", "hatch": "//"}
            ax.bar(k, value, edgecolor="white", **look)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(range(len(classes)), [plots.plain_text(c, 10) for c in classes])
        ax.set_title(name)
    _add_title(figure, title)
    return figure


@in_style
def playground(grid, label: str, limits, clouds: dict, point, title: str) -> Figure:
    """A map of the plane, the training points, and the point whose prediction is shown.

    Parameters
    ----------
    grid : (x, y, values) of shapes (X,), (Y,), (Y, X)
    label : what the values are
    limits : least and largest value of the colours, None for those of the values
    clouds : {class: points (n, 2)}
    point : (x, y)
    title : the figure's title
    """
    x, y, values = grid
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    shades = ax.pcolormesh(
        x, y, values, cmap=SHADES, vmin=limits[0], vmax=limits[1], shading="gouraud", rasterized=True
    )
    figure.colorbar(shades, ax=ax, label=label.lower())
    for (marker, face, edge), (name, points) in zip(CLASS_MARKERS, clouds.items()):
        look = {"marker": marker, "color": face, "markeredgecolor": edge, "markersize": 5, "markeredgewidth": 0.6}
        ax.plot(*points.T, linestyle="none", label=name, **look)
    ax.set(aspect="equal", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.legend(loc="upper left", frameon=True, facecolor="0.85")
    for color, width in (("white", 3), ("black", 1.2)):  # a ring that is seen on any colour
        ax.plot(*point, "o", markersize=11, markerfacecolor="none", markeredgecolor=color, markeredgewidth=width)
    _add_title(figure, title)
    return figure


@in_style
def verdicts(image: np.ndarray, rows: list[dict], title: str) -> Figure:
    """An image and each network's answer: a bar for its confidence, filled if it accepts the image as known.

    Parameters
    ----------
    image : array of shape (H, W) or (H, W, 3)
    rows : list of dict
        As ``verdicts.answers`` returns them.
    title : str
    """
    figure = Figure(figsize=(9.5, 0.9 + 0.3 * max(5, len(rows))), layout="constrained")
    picture, ax = figure.subplots(1, 2, width_ratios=(1, 2.6))
    picture.imshow(image, cmap="gray_r")
    picture.set_axis_off()
    for k, row in enumerate(rows):
        known = row["known"]
        look = {"color": plots.ID} if known else {"facecolor": "white", "edgecolor": plots.OOD, "hatch": "////"}
        ax.barh(k, row["confidence"], **look)
        words = f"“{row['answer']}” with {format_confidence(row['confidence'])}: {'known' if known else 'stranger'}"
        ax.text(1.02, k, plots.plain_text(words, 60), va="center", transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(rows)), [plots.plain_text(row["name"]) for row in rows])
    ax.set(xlim=(0, 1), xlabel="confidence (top probability)", ylim=(len(rows) - 0.5, -0.5))
    _add_title(figure, title)
    return figure
