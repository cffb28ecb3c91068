"""Figures of notebooks 4, 5 and 8 that consist of several plots; each function returns a new figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .. import losses, plots
from ..drawing.layout import WIDTHS
from ..runs import Run
from . import plots as demos


def learned_temperature(runs: Sequence[Run], logitnorm: Run) -> Figure:
    """Draw the temperature that MELN learns, a line per training, and the one that was chosen for LogitNorm."""
    fig, ax = plt.subplots(figsize=(WIDTHS["column"], 2.6))
    for run in runs:
        look = plots.LOSS_STYLES["meln"] | {"marker": "", "label": "learned" if run is runs[0] else None}
        ax.plot(run.history["epoch"], run.history["temperature"], **look)
    chosen = dict(logitnorm.config.loss_options)["temperature"]
    ax.axhline(chosen, color=plots.LOSS_STYLES["logitnorm"]["color"], label="chosen on validation data")
    ax.set(xlabel="epoch", ylabel="temperature", ylim=(0, None))
    ax.legend()
    return fig


def loss_and_auroc(effects: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw frames of ``method_tables.temperature_effect``, one in a column: the loss above, the AUROC below."""
    fig, axes = plt.subplots(2, len(effects), figsize=(WIDTHS["page"], 3.8), sharex=True, squeeze=False)
    for (above, below), (title, effect) in zip(axes.T, effects.items()):
        for ax, values, best in (
            (above, effect["loss"], effect["loss"].idxmin()),
            (below, effect["AUROC"], effect["AUROC"].idxmax()),
        ):
            ax.plot(values, color="black")
            ax.plot(best, values[best], "o", color="black")
        above.set(title=title, ylabel="loss of test images")
        below.set(xlabel="temperature T", ylabel="mean AUROC, %", xscale="log")
        below.xaxis.set_major_formatter("{x:g}")
    return fig


def inert_margin(logits: Tensor, labels: Tensor) -> Figure:
    """Draw MELN's loss against its margin, subtracted from all logits (N, C) or from the true one."""
    fig, ax = plt.subplots(figsize=(WIDTHS["column"], 2.6))
    margins = np.linspace(0, 5, 26).tolist()
    curves = {
        f"margin on {on}": [losses.MarginEnhancedLogitNormLoss(1.0, m, on)(logits, labels).item() for m in margins]
        for on in ("all", "target")
    }
    demos.inert_margin(ax, margins, curves)
    return fig


def crossing_zero(paths: Mapping[str, Sequence[float]], written: Sequence[Run], positive: Sequence[Run]) -> Figure:
    """Draw how MELN's temperature crosses zero.

    Parameters
    ----------
    paths : mapping of variant to array, shape (N,)
        The temperature at every step of training on the logits of a perfect network.
    written, positive : sequence of Run
        Trainings of the loss as written, and with a positive temperature.
    """
    fig, axes = plt.subplots(2, 2, figsize=(WIDTHS["page"], 5.4))
    num_classes = len(written[0].classes)
    perfect = normalize(torch.eye(num_classes).double() * num_classes - 1)
    t = np.linspace(-3, 3, 200)  # without 0
    loss = [cross_entropy(perfect / x, torch.arange(num_classes)).item() for x in t]
    demos.temperature_wall(axes[0, 0], t, loss, num_classes).set_title("loss of a perfect network")
    demos.temperature_path(axes[0, 1], range(len(paths["as written"])), paths).set_title("T learned on that network")
    runs = {f"as written, seed {run.config.seed}": run for run in written[:3]}
    runs[f"T > 0, seed {positive[0].config.seed}"] = positive[0]
    epochs = written[0].history["epoch"]
    learned = {name: run.history["temperature"] for name, run in runs.items()}
    demos.temperature_path(axes[1, 0], epochs, learned).set(xlabel="epoch", title="T in training")
    accuracy = {f"MELN, {name}": 100 * np.array(run.history["accuracy"]["validation"]) for name, run in runs.items()}
    plots.lines(axes[1, 1], epochs, accuracy)
    axes[1, 1].set(xlabel="epoch", ylabel="validation accuracy, %", ylim=(0, 102), title="and its accuracy")
    axes[1, 1].get_legend().remove()  # the same lines as on the left
    return fig


def prototypes(weights: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """Draw the cosines between the prototypes ``weights[loss]`` (C, D) of each loss."""
    fig, axes = plt.subplots(1, len(weights), figsize=(WIDTHS["page"], 2.6))
    for ax, (loss, w) in zip(axes, weights.items()):
        demos.prototypes(ax, w, classes).set_title(plots.LOSS_STYLES[loss]["label"])
        if ax is not axes[-1]:  # one colour bar for all
            ax.collections[0].colorbar.remove()
        ax.label_outer()
    return fig


def entropic_scale(first: Mapping[str, Run], ood: str) -> Figure:
    """Draw the top probability of one run of each loss at test, and of IsoMax also with its scale of training."""
    views = {"Softmax (CE)": (first["softmax"], 1.0), "IsoMax, in training: softmax(10 z)": (first["isomax"], 0.1)}
    views |= {
        f"{run.config.recipe.label}, at test: softmax(z)": (run, 1.0)
        for loss, run in first.items()
        if loss != "softmax"
    }
    return confidences(views, ood)


def confidences(views: Mapping[str, tuple[Run, float]], ood: str, columns: int = 3) -> Figure:
    """Draw histograms of the top probability of ID and one OOD set.

    Parameters
    ----------
    views : mapping of title to (Run, temperature)
    ood : str
    columns : int
    """
    rows = -(-len(views) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTHS["page"], 2.1 * rows + 0.4), sharex=True, squeeze=False)
    for ax, (title, (run, temperature)) in zip(axes.flat, views.items()):
        msp = run.scores("msp", temperature)
        plots.histogram(ax, msp["test"], {ood: msp[ood]}, bins=25, limits=(0, 1), xlabel="msp")
        ax.set_title(title, fontsize=9)
        ax.label_outer(remove_inner_ticks=False)
    plots.shared_legend(fig)
    return fig


def same_training(logits: Mapping[str, ArrayLike], runs: Sequence[Run], classes: Sequence[str]) -> Figure:
    """Draw that two losses are one: logits (C,) and probabilities of an image, and the training loss of ``runs``."""
    fig, axes = plt.subplots(1, 3, figsize=(WIDTHS["page"], 2.6))
    z = {name: torch.as_tensor(values) for name, values in logits.items()}
    demos.per_class(axes[0], z, classes, "logit in training")
    demos.per_class(axes[1], {name: values.softmax(0) for name, values in z.items()}, classes, "probability")
    axes[1].set_yscale("log")
    curves = {name: run.history["loss"][1:] for name, run in zip(logits, runs)}
    plots.lines(axes[2], runs[0].history["epoch"][1:], curves)
    axes[2].set(xlabel="epoch", ylabel="training loss", yscale="log")
    plots.shared_legend(fig)
    return fig


def mosaics(pictures: Tensor, labels: Tensor, classes: Sequence[str], n: int = 6) -> Figure:
    """Draw the first n mosaics of (N, C, H, W), with the classes ``labels`` (N, 4) of their quadrants."""
    fig, axes = plt.subplots(1, n, figsize=(WIDTHS["page"], 1.6))
    for ax, picture, four in zip(axes, pictures, labels):
        demos.mosaic(ax, picture.numpy(), [classes[i] for i in four])
    return fig


def scores_of(runs: Sequence[Run], names: Sequence[str], ood: Sequence[str]) -> Figure:
    """Draw histograms: a row per run, a column per score."""
    rows: dict[str, Any] = {}
    for run in runs:
        for name in names:
            values = run.scores(name)
            title = f"{run.label}, {plots.SCORE_LABELS[name]}"
            rows[title] = (values["test"], {other: values[other] for other in ood})
    fig, axes = plt.subplots(len(runs), len(names), figsize=(WIDTHS["page"], 2.0 * len(runs)), squeeze=False)
    demos.score_rows(axes.ravel(), rows)
    for ax in axes[-1]:
        ax.set_xlabel(axes[-1, -1].get_xlabel())
    for ax in axes[:, 1:].ravel():
        ax.set_ylabel("")
    return fig


def beside_published(frame: pd.DataFrame) -> Figure:
    """Draw a frame of ``papers.beside_published``: a dot per training, and the first published mean as a diamond."""
    groups = dict(list(frame.groupby("quantity", sort=False)))
    heights = [0.8 + len(group) for group in groups.values()]
    fig, axes = plt.subplots(
        len(groups), 1, figsize=(WIDTHS["page"], 0.32 * sum(heights) + 0.8), height_ratios=heights, squeeze=False
    )
    for ax, (quantity, group) in zip(axes[:, 0], groups.items()):
        rows = group.drop_duplicates("loss")
        plots.seeds(ax, dict(zip(rows["loss"], rows["ours"])), f"{quantity}, %")
        demos.published(
            ax, rows["loss"].tolist(), dict(zip(rows["loss"], zip(rows["published"], rows["published_std"].fillna(0))))
        )
        low, high = ax.get_xlim()
        ax.set_xlim(min(low, (low + high) / 2 - 2), max(high, (low + high) / 2 + 2))  # no gap looks large by its scale
    plots.shared_legend(fig)
    return fig


def leak(gains: Mapping[int, Sequence[float]]) -> Figure:
    """Draw by how many points a choice on the test split flatters, against the number of images."""
    fig, ax = plt.subplots(figsize=(WIDTHS["column"], 2.6))
    plots.lines(ax, list(gains), {"softmax": np.array(list(gains.values()))})
    ax.set(xscale="log", xlabel="images in the test split", ylabel="leak, points of accuracy", ylim=(0, None))
    ax.set_xticks(list(gains), [str(size) for size in gains])
    ax.minorticks_off()
    return fig
