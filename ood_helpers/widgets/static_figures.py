"""Still pictures of the widgets' states, for readers who have no kernel and for print."""

import io
import textwrap

import numpy as np

from .. import plots
from . import explorer_state as summary


def _figure(size, columns, ratios=None, rows=1):
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, width_ratios=ratios)


def styled(draw):
    """Let `draw` run in the project's style, without changing anyone else's."""

    def styled_draw(*arguments):
        import matplotlib.style

        with matplotlib.style.context("ood_helpers.figures"):
            return draw(*arguments)

    return styled_draw


def _title(figure, title):
    lines = textwrap.wrap(title, int(14 * figure.get_figwidth()))
    figure.suptitle("\n".join(plots.plain_text(line, 200) for line in lines), fontsize=9)


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


@styled
def explorer(state, data, score, title):
    """The score explorer's state: histogram, ROC and precision-recall with the working point."""
    view, (_, _, ready) = summary.compute(state, data), summary.prepare(state, data)
    figure, axes = _figure((9.5, 3.0), 3, (2.2, 1, 1))
    values = [summary.shown(state["score"], ranks) for ranks in ready["ranks"]]
    plots.histogram(
        axes[0],
        values[0],
        {state["ood"]: values[1]},
        view["threshold"],
        summary.BINS,
        score,
        (view["low"], view["high"]),
    )
    if state["log_scale"]:
        axes[0].set(yscale="log", ylim=(None, 1))
    pair, positive = {state["ood"]: ready["ranks"]}, state["positive"]
    accepted = np.array(view["accepted"]) / view["sizes"]
    tpr, fpr = accepted if positive == "id" else 1 - accepted[::-1]
    found = np.array(view["accepted"] if positive == "id" else np.subtract(view["sizes"], view["accepted"])[::-1])
    plots.roc(axes[1], pair, positive).plot(fpr, tpr, "o", markerfacecolor="white", color="black")
    plots.pr(axes[2], pair, positive)
    if found.sum():
        axes[2].plot(tpr, found[0] / found.sum(), "o", markerfacecolor="white", color="black")
    for ax, name in zip(axes[1:], ("ROC", "Precision and recall")):
        ax.get_legend().remove()
        ax.set_title(name)
    _title(figure, title)
    return figure


@styled
def norm(view, classes, target, title):
    """The norm explorer's state: logits, softmax, and the step that training would take."""
    figure, axes = _figure((9.5, 2.6), 3)
    rows = {
        "Logits z": view["z"],
        "Softmax of z": view["probabilities"],
        "Step −∂loss/∂z": np.negative(view["gradient"]),
    }
    for ax, (name, values) in zip(axes, rows.items()):
        for k, value in enumerate(values):
            look = {"color": plots.ID} if k == target else {"color": "0.6", "hatch": "//"}
            ax.bar(k, value, edgecolor="white", **look)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(range(len(classes)), [plots.plain_text(c, 10) for c in classes])
        ax.set_title(name)
    _title(figure, title)
    return figure


@styled
def playground(across, up, values, said, ends, points, labels, classes, point, title):
    """The playground's state: values (Y, X) of what is `said`, the training points, and the point asked about.

    Colours and markers are those of static/playground.js.
    """
    figure, ax = _figure((6.4, 4.2), 1)
    shades = ax.pcolormesh(
        across, up, values, cmap="cividis", vmin=ends[0], vmax=ends[1], shading="gouraud", rasterized=True
    )
    figure.colorbar(shades, ax=ax, label=said)
    for k, (marker, face, edge) in enumerate(
        (("o", "white", "#111111"), ("s", "#111111", "white"), ("^", "#56b4e9", "#111111"))
    ):
        ax.plot(
            *points[labels == k].T,
            linestyle="none",
            marker=marker,
            color=face,
            markersize=5,
            markeredgecolor=edge,
            markeredgewidth=0.6,
            label=classes[k],
        )
    ax.set(aspect="equal", xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    ax.legend(loc="upper left", frameon=True, facecolor="0.85")
    ax.plot(*point, "o", markersize=11, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3)
    ax.plot(*point, "o", markersize=11, markerfacecolor="none", markeredgecolor="black", markeredgewidth=1.2)
    _title(figure, title)
    return figure
