"""Figures of the notebooks that consist of several plots; each function returns a new figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pandas import DataFrame
from torch import Tensor

from .. import plots, scores
from ..beyond import plots as methods
from ..drawing import styles
from ..drawing.layout import WIDTHS, shared_legend
from ..runs import Run
from . import plots as demos
from . import tables

Sets = Sequence[str]
# Probabilities at the ticks of an axis of log-odds.
ODDS_TICKS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999)
# Of the first image of answers, in spacings. Chosen so that no photograph of a person appears under an animal's name.
OFFSET = 0.75


def answers(run: Any, sets: Sets, n: int = 8) -> Figure:
    """Draw images of each set, evenly spaced, with the network's confidence and its answer.

    Parameters
    ----------
    run : Run
    sets : sequence of str
        Names of sets; the images of OOD sets have a dashed frame.
    n : int
        Number of images of each set.
    """
    fig, axes = plt.subplots(len(sets), 1, figsize=(WIDTHS["page"], 1.1 * len(sets)), squeeze=False)
    confidence = run.scores("msp")
    for ax, name in zip(axes[:, 0], sets):
        chosen = ((np.arange(n) + OFFSET) * len(run.images(name)) / n).astype(int)
        logits = run.logits[name][chosen]
        titles = [f"{100 * confidence[name][i]:.0f} %: {run.classes[z.argmax()]}" for i, z in zip(chosen, logits)]
        in_distribution = name in styles.ID_SETS
        demos.images(ax, run.images(name)[chosen], titles, columns=n, ood=() if in_distribution else range(n))
        label = "\n".join((plots.plain_text(name).replace("_", " "), "(ID)" if in_distribution else "(OOD)"))
        ax.text(-0.3, 0.5, label, ha="right", va="center")
        ax.set_xlim(left=-1.6)
    return fig


def confidence_histograms(trained: Mapping[str, Run], sets: Sets, bins: int = 30) -> Figure:
    """Draw histograms of the confidence of one run per row, each of its OOD sets in a column.

    The axis has the log-odds of the confidence, since most of what there is to see lies between 0.9 and 1.
    """
    shape, size = (len(trained), len(sets)), (WIDTHS["page"], 0.5 + 1.6 * len(trained))
    fig, axes = plt.subplots(*shape, figsize=size, sharex=True, sharey="row", squeeze=False)
    odds_of = {
        label: {name: scores.log_odds(run.logits[name].astype(np.float64)) for name in ("test", *sets)}
        for label, run in trained.items()
    }
    top = max(np.quantile(odds["test"], 0.98) for odds in odds_of.values())
    limits = np.log(1 / (len(next(iter(trained.values())).classes) - 1)), max(top, np.log(99.0))
    for row, (label, odds) in zip(axes, odds_of.items()):
        for ax, name in zip(row, sets):
            plots.histogram(ax, odds["test"], odds[name], bins=bins, limits=limits)
            ax.label_outer()
            if ax in axes[0]:
                ax.set_title(plots.plain_text(name).replace("_", " "))
        row[0].set(ylabel=f"{label}\nshare of images", ylim=(0, 1.05 * max(ax.dataLim.ymax for ax in row)))
        ticks = [p for p in ODDS_TICKS if limits[0] <= np.log(p / (1 - p)) <= limits[1]]
        row[0].set_xticks([np.log(p / (1 - p)) for p in ticks], [f"{100 * p:g}" for p in ticks])
    for ax in axes.flat:
        ax.tick_params(axis="x", rotation=60)
        ax.set_xlabel("confidence (%)" if ax in axes[-1] else "")
    shared_legend(fig)
    return fig


def far_away(network: Any, points: np.ndarray, labels: np.ndarray) -> Figure:
    """Draw a network's confidence in the plane, near its training points and far away, and along 360 directions."""
    fig, axes = plt.subplots(1, 3, figsize=(9, 3), width_ratios=(1.25, 1.25, 1))
    radius = np.linalg.norm(points, axis=1).max()
    for ax, (title, reach) in zip(axes, {"around the data": 1.3, "five times as far": 6.5}.items()):
        line = torch.linspace(-reach * radius, reach * radius, 200).double()
        grid = torch.cartesian_prod(line, line).flip(1)  # rows are y, columns are x
        demos.landscape(
            ax, line.numpy(), line.numpy(), scores.msp(network(grid)).view(200, 200).numpy(), points, labels
        )
        ax.set_title(title)
    axes[1].get_legend().remove()
    distance = np.geomspace(0.1, 100, 60)
    confidence = np.stack([scores.msp(network(float(d * radius) * directions())).numpy() for d in distance])
    axes[2].plot(distance, np.median(confidence, 1), color="black", label="median")
    low, high = np.quantile(confidence, (0.1, 0.9), axis=1)
    axes[2].fill_between(distance, low, high, color="black", alpha=0.2, label="10 % to 90 %")
    axes[2].axvline(1, color="gray", linestyle=":", label="no data beyond")
    axes[2].set(xscale="log", xlabel="distance / radius of the data", ylabel="confidence", ylim=(0.3, 1.01))
    axes[2].set_title("over 360 directions")
    axes[2].legend(loc="lower right")
    return fig


def directions(n: int = 360) -> Tensor:
    """Unit vectors (n, 2) in all directions of the plane."""
    angles = (torch.arange(n).double() * (360 / n)).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def through_training(trained: Mapping[str, DataFrame]) -> Figure:
    """Draw norms, confidence and AUROC against the epoch, on a log axis, for each ``{label: table}``.

    The tables are those of :func:`ood_helpers.course.tables.through_training`.
    """
    fig, axes = plt.subplots(3, len(trained), figsize=(WIDTHS["page"], 5.4), sharex="col", sharey="row", squeeze=False)
    id_style, ood_style = styles.ID_STYLE, styles.OOD_STYLES[0]
    for column, (label, table) in zip(axes.T, trained.items()):
        table = table[table.index > 0]
        column[0].plot(table["norm, ID"], **id_style, label="ID")
        column[0].plot(table["norm, OOD"], **ood_style, label="OOD, all sets")
        column[1].plot(table["confidence, OOD (%)"], **ood_style)
        column[2].plot(table["AUROC, MSP (%)"], color="black", marker="o", label="MSP")
        column[2].plot(table["AUROC, direction alone (%)"], color="gray", ls=":", marker="^", label="direction alone")
        column[0].set_title(label)
        column[2].set(xscale="log", xlabel="epoch (log scale)")
        column[2].set_xticks(table.index, [f"{epoch:g}" for epoch in table.index], minor=False)
        column[2].minorticks_off()
    for ax, title in zip(axes[:, 0], ("median norm\nof the logits", "mean confidence\non OOD (%)", "mean AUROC (%)")):
        ax.set_ylabel(title)
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 1].legend()
    axes[2, 0].legend()
    return fig


def collapse(trained: Mapping[str, Sequence[Run]], through: Mapping[str, DataFrame]) -> Figure:
    """Draw neural collapse in training, the mean over the runs of each ``{label: runs}``, and areas of risk-coverage.

    Parameters
    ----------
    trained : mapping of label to runs
    through : mapping of label to DataFrame
        Tables of :func:`ood_helpers.course.tables.through_training`.
    """
    columns = len(trained) + len(through)
    fig, axes = plt.subplots(1, columns, figsize=(WIDTHS["page"], 2.8))
    for ax, (label, runs) in zip(axes, trained.items()):
        means: dict[str, Any] = {
            name: np.mean([methods.recorded(run.history, name) for run in runs], axis=0) for name in methods.COLLAPSE
        }
        methods.neural_collapse(ax, means | {"epoch": runs[0].history["epoch"]}).set_title(label)
        ax.sharey(axes[0])
        ax.label_outer()
    for ax, (label, table) in zip(axes[len(trained) :], through.items()):
        table = table[table.index > 0]
        ax.plot(table["AURC, ID (%)"], color="black", marker="o", label="AURC")
        ax.plot(table["AUGRC, ID (%)"], color="gray", ls=":", marker="^", label="AUGRC")
        ax.set(title=label, xscale="log", yscale="log", xlabel="epoch", ylabel="area, %")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_xticks(table.index, [f"{epoch:g}" for epoch in table.index], minor=False)
        ax.minorticks_off()
    shared_legend(fig)
    return fig


def temperature_sweep(rows: DataFrame, chosen: float) -> Figure:
    """Draw the loss and its bound, the norm, and the AUROC against tau; ``rows`` are ``course.tables.temperatures``."""
    fig, axes = plt.subplots(1, 3, figsize=(WIDTHS["page"], 3.2))
    taus = list(rows.index)
    demos.sweep(axes[0], taus, rows["training loss"], bound=rows["lower bound"].to_numpy(), chosen=chosen)
    demos.sweep(axes[1], taus, rows["norm, ID"], ylabel="median norm of the logits, ID")
    axes[1].plot(taus, 1 / np.array(taus), color="gray", linestyle="--", label="1 / τ")
    axes[1].set(yscale="log", ylim=(0.9, 1.5 * rows["norm, ID"].max()))
    demos.sweep(axes[2], taus, rows["AUROC, validation outliers (%)"], ylabel="AUROC (%)")
    axes[2].lines[-1].set(label="validation outliers", color="black", linestyle="-", marker="o")
    axes[2].plot(taus, rows["AUROC, OOD sets (%)"], "k:^", label="OOD test sets; not used")
    axes[2].set_ylim(rows[["AUROC, validation outliers (%)", "AUROC, OOD sets (%)"]].min().min() - 4, 100)
    for ax in axes:
        ax.set_xticks(taus, [f"{tau:g}" for tau in taus], rotation=60)
    shared_legend(fig)
    return fig


def frozen(run: Any, sets: Sets) -> Figure:
    """Draw the mean confidence over the snapshots of a run, and what it would be with norm or direction frozen.

    Both are frozen at the first epoch; one of them then goes on as in the training.
    """
    fig, axes = plt.subplots(1, len(sets), figsize=(WIDTHS["page"], 2.2), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], sets):
        table = tables.frozen(run, name)
        for label, line in zip(table, ("k-", "k--", "k:")):
            ax.plot(table.index, table[label], line, label=label)
        ax.set(title=plots.plain_text(name).replace("_", " "), xlabel="epoch", xscale="log")
        ax.set_xticks(table.index, [f"{epoch:g}" for epoch in table.index], minor=False)
        ax.minorticks_off()
    axes[0, 0].set_ylabel("mean confidence (%)")
    shared_legend(fig)
    return fig


def push(logits: Tensor, labels: Tensor) -> Figure:
    """Draw how strongly cross-entropy pushes the norm of logits (N, C), all classified correctly, at every norm."""
    direction, norms = logits / logits.norm(dim=1, keepdim=True), torch.linspace(0.1, 25, 200).double()
    true = direction.gather(1, labels[:, None])[:, 0]
    pushes = torch.stack([true - ((s * direction).softmax(1) * direction).sum(1) for s in norms])
    low, middle, high = pushes.quantile(torch.tensor([0.1, 0.5, 0.9]).double(), dim=1)
    fig, ax = plt.subplots(figsize=(4.5, 2.6))
    ax.plot(norms, middle, color="black", label="median of the images")
    ax.fill_between(norms, low, high, color="black", alpha=0.2, label="10 % to 90 %")
    ax.axvline(logits.norm(dim=1).median().item(), color="gray", linestyle=":", label="norm reached")
    ax.set(yscale="log", xlabel="norm of the logits", ylabel="push towards more norm")
    shared_legend(fig)
    return fig


def reliability(streams: Mapping[str, tuple[Any, Any]]) -> Figure:
    """Draw a reliability diagram for each ``{title: (probabilities, labels)}``."""
    fig, axes = plt.subplots(1, len(streams), figsize=(WIDTHS["page"], 2.6), sharey=True, squeeze=False)
    for ax, (name, (probabilities, labels)) in zip(axes[0], streams.items()):
        plots.reliability(ax, probabilities, labels)
        ax.set_title(f"{name}: {ax.get_title()}")
        ax.label_outer()
        if ax is not axes[0, -1]:
            ax.get_legend().remove()
    return fig


def sample_grid(mine: Any, other: Any, rows: int = 6) -> Figure:
    """Draw five images of each class of one image set, and in each row three of another, with dashed frames."""
    rows = min(rows, mine.num_classes)
    chosen = [np.flatnonzero(mine.labels.numpy() == label)[:5] for label in range(rows)]
    others = np.linspace(0, len(other.images) - 1, 3 * rows).astype(int).reshape(rows, 3)
    images = [torch.cat([mine.images[a], other.images[b]]) for a, b in zip(chosen, others)]
    titles = [title for label in range(rows) for title in [mine.classes[label]] * 5 + ["other"] * 3]
    fig, ax = plt.subplots(figsize=(6, 0.92 * rows))
    demos.images(ax, torch.cat(images), titles, columns=8, ood=[i for i in range(8 * rows) if i % 8 > 4])
    return fig


def fold_dots(table: DataFrame, columns: Sequence[str]) -> Figure:
    """Draw a dot per fold and the mean of each loss, for columns of ``course.tables.folds``."""
    fig, axes = plt.subplots(1, len(columns), figsize=(WIDTHS["page"], 1.8), sharey=True)
    for ax, column in zip(axes, columns):
        values = {loss: group[column].to_numpy() for loss, group in table.groupby(level=0, sort=False)}
        plots.seeds(ax, values, f"{column} (%)")
    return fig


def two_thresholds(trained: Mapping[str, Run], other: str, table: DataFrame) -> Figure:
    """Draw the MSP of the first fold's test images and of the other folder, with the threshold from validation."""
    fig, axes = plt.subplots(1, len(trained), figsize=(WIDTHS["page"], 2.5), sharey=True)
    for ax, (loss, run) in zip(axes, trained.items()):
        values = run.scores("msp")
        threshold = table.loc[(loss, 1), "threshold"]
        plots.histogram(ax, values["test"], {"other folder": values[other]}, threshold, limits=(0, 1))
        ax.set_title(f"{run.label}, fold 1", pad=14)
        ax.set_xlabel("maximum softmax probability")
        ax.get_legend().remove()
        ax.label_outer()
    shared_legend(fig)
    return fig


def most_accepted(run: Run, name: str, n: int = 16) -> Figure:
    """Draw the images of an OOD set with the highest confidence, with their class and confidence."""
    confidence = run.scores("msp")[name]
    top = np.argsort(-confidence, kind="stable")[:n]
    answers = run.logits[name][top].argmax(1)
    titles = [f"{run.classes[label]}: {100 * confidence[i]:.0f} %" for label, i in zip(answers, top)]
    fig, ax = plt.subplots(figsize=(6.4, 2.2))
    demos.images(ax, run.images(name)[top], titles, ood=range(n))
    return fig
