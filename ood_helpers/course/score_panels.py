"""Figures of notebook 6, on scores, thresholds and calibration; each function returns a new figure."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pandas import DataFrame

from .. import metrics, plots
from ..drawing.layout import WIDTHS, shared_legend
from ..runs import Run
from .panels import Sets


def score_heatmap(tables: Mapping[str, DataFrame]) -> Figure:
    """Draw tables of mean AUROC, ``{title: a row per loss and a column per score}``, one below the other."""
    heights = [len(table) for table in tables.values()]
    size = (WIDTHS["page"], 1.6 + 0.36 * sum(heights))
    fig, axes = plt.subplots(len(tables), 1, figsize=size, height_ratios=heights, sharex=True, squeeze=False)
    for ax, (title, table) in zip(axes[:, 0], tables.items()):
        plots.heatmap(ax, table.to_numpy(), table.index, table.columns, "mean AUROC (%)").set_title(title, loc="left")
    return fig


def dial(table: DataFrame) -> Figure:
    """Draw the AUROC (%) of each OOD set (columns) against the temperature (index), on a log axis."""
    fig, ax = plt.subplots(figsize=(WIDTHS["text"], 3))
    for name, style in plots.styles(table.columns).items():
        ax.plot(table.index, table[name], **style | {"markersize": 3, "label": plots.plain_text(name)})
    ax.axvline(1, color="gray", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlabel="temperature T (left: top-two gap; right: max - mean)", ylabel="AUROC of MSP (%)")
    shared_legend(fig)
    return fig


def roc_curves(trained: Mapping[str, Run], sets: Sets) -> Figure:
    """Draw the ROC curves of each loss with its own score, a plot for each OOD set."""
    fig, axes = plt.subplots(1, len(sets), figsize=(WIDTHS["page"], 3.3), sharey=True, squeeze=False)
    values = {loss: run.scores() for loss, run in trained.items()}
    for ax, name in zip(axes[0], sets):
        plots.roc(ax, {loss: (each["test"], each[name]) for loss, each in values.items()})
        ax.set_title(f"ID against {plots.plain_text(name)}")
        ax.label_outer()
    return fig


def conventions(run: Run, ood: str) -> Figure:
    """Draw the MSP of ID and OOD images twice, with the thresholds of the two conventions of FPR95."""
    values = run.scores("msp")
    thresholds = metrics.threshold(values["test"], 0.95), -metrics.threshold(-values[ood], 0.95)
    results = [run.detection("msp", positive)[ood]["fpr95"] for positive in ("id", "ood")]
    titles = "ID positive: {:.1f} % of OOD accepted", "OOD positive: {:.1f} % of ID rejected"
    fig, axes = plt.subplots(1, 2, figsize=(WIDTHS["page"], 2.6), sharey=True)
    for ax, threshold, result, title in zip(axes, thresholds, results, titles):
        plots.histogram(ax, values["test"], {ood: values[ood]}, threshold, xlabel="confidence (MSP)")
        ax.set_title(title.format(100 * result), pad=14)
        ax.get_legend().remove()
        ax.label_outer()
    shared_legend(fig)
    return fig


def asked_and_given(run: Run) -> Figure:
    """Draw the share of images that is accepted, against the share of validation images that was asked for."""
    asked, values = np.linspace(0.80, 0.99, 20), run.scores()
    fig, ax = plt.subplots(figsize=(WIDTHS["text"], 3))
    given = {
        name: [100 * (values[name] >= metrics.threshold(values["validation"], share)).mean() for share in asked]
        for name in ("test", *run.config.ood)
    }
    plots.lines(ax, 100 * asked, given)
    ax.plot(100 * asked, 100 * asked, color="gray", linewidth=0.8)
    ax.set(xlabel="validation images accepted (%)", ylabel="accepted (%)", ylim=(0, 100))
    shared_legend(fig)
    return fig


def calibration(trained: Mapping[str, Sequence[Run]]) -> Figure:
    """Draw reliability diagrams of each loss's first run, raw and with the temperature fitted on validation images."""
    shape = 2, len(trained)
    fig, axes = plt.subplots(*shape, figsize=(WIDTHS["page"], 4.2), sharex=True, sharey=True, squeeze=False)
    for column, group in zip(axes.T, trained.values()):
        run = group[0]
        for ax, temperature in zip(column, (1.0, run.calibrated_temperature())):
            logits = torch.from_numpy(run.logits["test"]).double() / temperature
            plots.reliability(ax, logits.softmax(1), run.labels["test"])
            ax.set_title(f"{run.label}\nT = {temperature:.2f}, {ax.get_title()}", fontsize=8)
            ax.get_legend().remove()
            ax.label_outer()
    shared_legend(fig)
    return fig
