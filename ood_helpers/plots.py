"""Draw on given Axes and return them. In-distribution is blue, solid and filled; out-of-distribution is
vermillion, dashed and hatched.

Sets are named as in a run: "validation" and "test" are in-distribution (ID), others are not (OOD).

>>> from matplotlib.figure import Figure
>>> ax = histogram(Figure().subplots(), [0.7, 0.9, 0.9], {"letters": [0.2, 0.4]}, threshold=0.5)
>>> [label.get_text() for label in ax.get_legend().get_texts()]
['ID', 'letters (OOD)']
"""

from itertools import cycle
from textwrap import wrap

import numpy as np

from . import metrics
from .looks import ID, LOSS_LOOKS, OOD, looks, text


def lines(ax, x, values, spread=None):
    """values[name] (N,) against x (N,), each in its own look, with some ten markers along it.

    spread[name] (2, N), where given, is drawn as a band from its first row to its second.
    """
    for name, look in looks(values).items():
        ax.plot(x, values[name], markevery=max(1, len(x) // 10), **look)
        if spread is not None:
            ax.fill_between(x, *spread[name], color=look["color"], alpha=0.12, linewidth=0)
    ax.legend()
    return ax


def histogram(ax, id_scores, ood_scores, threshold=None, bins=40, xlabel="score", limits=None):
    """Share of images per bin of their score: ID (N,) against OOD, an array (M,) or {set: array}.

    Right of `threshold` images are accepted. Infinities count in the outermost bins; NaN raises ValueError.
    """
    from matplotlib.colors import to_rgba

    sets = {"ID": id_scores} | (ood_scores if isinstance(ood_scores, dict) else {"OOD": ood_scores})
    sets = {name: np.asarray(values, dtype=np.float64).ravel() for name, values in sets.items()}
    everything = np.concatenate(list(sets.values()))
    if np.isnan(everything).any():
        raise ValueError("scores contain NaN")
    finite = everything[np.isfinite(everything)]
    low, high = limits or ((finite.min(), finite.max()) if len(finite) else (0, 1))
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all scores are equal: one bar in the middle
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    for name, look in looks(sets).items():
        share = np.histogram(np.clip(sets[name], low, high), edges)[0] / max(len(sets[name]), 1)
        hatch = "////" if name != "ID" and len(sets) == 2 else None  # several hatches at once hide each other
        ax.stairs(
            share,
            edges,
            fill=True,
            facecolor=to_rgba(look["color"], 0.4 if name == "ID" else 0.05),
            edgecolor=look["color"],
            linestyle=look["linestyle"],
            linewidth=1.3,
            hatch=hatch,
            label=look["label"],
        )
    if threshold is not None:
        ax.axvline(threshold, color="black", linewidth=1)
        ax.annotate(
            "accepted →",
            (threshold, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=8,
        )
    ax.set(xlabel=xlabel, ylabel="share of images", xlim=(low, high), ylim=(0, None))
    ax.legend()
    return ax


def score_rows(axes, rows, bins=40):
    """A histogram per Axes, top to bottom, as in figure 1 of the IsoMax+ paper (arXiv 2105.14399).

    rows[title] = (id_scores, ood_scores), as for `histogram`.
    """
    for ax, (title, (id_scores, ood_scores)) in zip(axes, rows.items(), strict=True):
        histogram(ax, id_scores, ood_scores, bins=bins, xlabel="").set_title(text(title, 80), loc="left")
        if ax is not axes[0]:
            ax.get_legend().remove()
    axes[-1].set_xlabel("score (higher = more in-distribution)")
    return axes


def norm_growth(ax, history):
    """A run's logit norms per epoch: the median of each set, in a band from its 10 % to its 90 % quantile."""
    quantiles = {name: np.asarray(rows, dtype=np.float64).T for name, rows in history["norm"].items()}
    medians, bands = ({name: q[rows] for name, q in quantiles.items()} for rows in (1, slice(None, None, 2)))
    lines(ax, history["epoch"], medians, bands)
    ax.set(xlabel="epoch", ylabel="norm of the logits", ylim=(0, None))
    return ax


def confidence(ax, history, num_classes=None):
    """A run's mean top probability per epoch and set, above 1 / num_classes, the least it can be."""
    lines(ax, history["epoch"], history["confidence"])
    if num_classes:
        ax.axhline(1 / num_classes, color="gray", linewidth=1)
        ax.annotate(
            "guessing",
            (1, 1 / num_classes),
            xycoords=("axes fraction", "data"),
            xytext=(0, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
        )
    ax.set(xlabel="epoch", ylabel="mean top probability", ylim=(0, 1.02))
    return ax


def reliability(ax, probabilities, labels, bins=15):
    """Accuracy against confidence in equal bins, with the ECE; probabilities (N, C), labels (N,)."""
    table = metrics.reliability(probabilities, labels, bins)
    centres, accuracy = (np.arange(bins) + 0.5) / bins, table["accuracy"]
    ax.bar(centres, accuracy, 0.9 / bins, color=ID, alpha=0.75, label="accuracy")
    ax.bar(
        centres,
        table["confidence"] - accuracy,
        0.9 / bins,
        bottom=accuracy,
        fill=False,
        edgecolor=OOD,
        hatch="////",
        linewidth=0.8,
        label="gap to the confidence",
    )
    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="calibrated")
    ax.set(
        xlabel="confidence (top probability)",
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=f"ECE {100 * metrics.ece(probabilities, labels, bins):.1f} %",
    )
    ax.legend(loc="upper left", frameon=True)
    return ax


def sweep(ax, temperatures, values, deviations=None, bound=None, chosen=None, ylabel="training loss"):
    """A quantity (N,) against LogitNorm's temperature: deviations, lower bound and choice where given."""
    look = looks(["logitnorm"])["logitnorm"] | {"label": "measured"}
    ax.errorbar(temperatures, values, deviations, capsize=3, **look)
    if bound is not None:
        ax.plot(temperatures, bound, color="black", linestyle=":", label="lower bound")
        ax.fill_between(temperatures, 0, bound, color="black", alpha=0.08, linewidth=0)
    if chosen is not None:
        ax.axvline(chosen, color="gray", linewidth=1, label=f"chosen on validation: {chosen:g}")
    ax.set(xscale="log", xlabel="temperature τ", ylabel=ylabel, ylim=(0, None))
    ax.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
    ax.minorticks_off()
    ax.legend()
    return ax


def roc(ax, scores, positive="id"):
    """ROC curves with their working points at a true positive rate of 95 %; the legend has each FPR95.

    scores[name] = (id_scores, ood_scores); `positive` is the class that counts as positive, "id" or "ood".
    """
    for name, look in looks(scores).items():
        curve = metrics.curves(*scores[name], positive)
        fpr95 = metrics.detection(*scores[name], positive)["fpr95"]
        look["label"] += f": {100 * fpr95:.1f} %"
        ax.plot(curve["fpr"], curve["tpr"], markevery=[np.searchsorted(curve["tpr"], 0.95 - 1e-12)], **look)
    ax.axhline(0.95, color="gray", linewidth=0.8)
    good, bad, verb = ("ID", "OOD", "accepted") if positive == "id" else ("OOD", "ID", "rejected")
    ax.set(
        xlabel=f"{bad} {verb} (false positives)",
        ylabel=f"{good} {verb} (true positives)",
        xlim=(-0.01, 1),
        ylim=(0, 1.02),
    )
    ax.legend(title=f"FPR95, {good} positive", loc="lower right")
    return ax


def pr(ax, scores, positive="id"):
    """Precision-recall curves for the positive class, with each average precision; `scores` as for `roc`."""
    for name, look in looks(scores).items():
        curve, result = metrics.curves(*scores[name], positive), metrics.detection(*scores[name], positive)
        look["label"] += f": {100 * result['aupr_in' if positive == 'id' else 'aupr_out']:.1f} %"
        ax.plot(curve["recall"], curve["precision"], markevery=(0.1, 0.2), **look)
    good = positive.upper()
    ax.set(xlabel=f"recall of {good}", ylabel=f"precision for {good}", xlim=(0, 1.01), ylim=(0, 1.02))
    ax.legend(title=f"AUPR, {good} positive", loc="lower left")
    return ax


def heatmap(ax, values, rows, columns, label, best=np.nanargmax):
    """A table (R, C) in colours, each row's best framed; `label` names quantity, unit, convention."""
    values = np.asarray(values, dtype=np.float64)
    cmap = "cividis" if best is np.nanargmax else "cividis_r"
    _table(ax, values, map(text, rows), map(text, columns), label, annot=True, fmt=".1f", cmap=cmap, linewidths=0.5)
    for row, numbers in enumerate(values):
        if not np.isnan(numbers).all():
            _frame(ax, best(numbers), row, color="white", linewidth=4)  # black on white shows on any colour
            _frame(ax, best(numbers), row, color="black", linewidth=2)
    ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    return ax


def seeds(ax, values, xlabel):
    """values[name], one number per seed: each seed a dot, above their mean and standard deviation."""
    for y, (name, look) in enumerate(looks(values).items()):
        numbers = np.asarray(values[name], dtype=np.float64)
        ax.plot(numbers, np.full(len(numbers), y - 0.25), ".", color=look["color"], alpha=0.6, markersize=4)
        ax.errorbar(
            numbers.mean(),
            y,
            xerr=numbers.std(ddof=1) if len(numbers) > 1 else None,
            capsize=3,
            color=look["color"],
            marker=look["marker"],
        )
    ax.set_yticks(range(len(values)), [look["label"] for look in looks(values).values()])
    ax.set(xlabel=xlabel, ylim=(len(values) - 0.5, -0.5))
    ax.grid(axis="x", alpha=0.3)
    return ax


def prototypes(ax, weights, classes):
    """The cosine between every two of C prototypes (C, D); zero where a prototype is zero."""
    weights = np.asarray(weights, dtype=np.float64)
    unit = weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
    names = [text(name, 12) for name in classes]
    _table(
        ax,
        unit @ unit.T,
        names,
        names,
        "cosine",
        annot=len(names) <= 7,
        fmt=".2f",
        cmap="PuOr",
        vmin=-1,
        vmax=1,
        square=True,
    )
    return ax


def images(ax, images, titles=None, columns=8, ood=()):
    """A grid of images (N, C, H, W) in 0..255 with titles; those numbered in `ood` get a dashed frame."""
    # two lines where one would meet its neighbour
    titles = ["\n".join(map(text, wrap(title, 10, max_lines=2, placeholder="…"))) for title in titles or ()]
    height, rows = 1.1 + 0.3 * max((1 + title.count("\n") for title in titles), default=0), -(-len(images) // columns)
    for i, image in enumerate(np.asarray(images)):
        x, y = i % columns * 1.15, i // columns * height
        ax.imshow(image.transpose(1, 2, 0), extent=(x, x + 1, y + 1, y), cmap="gray", vmin=0, vmax=255)
        if titles:
            ax.text(x + 0.5, y - 0.04, titles[i], ha="center", va="bottom", fontsize=8)
        if i in ood:
            _frame(ax, x, y, color=OOD, linestyle="--", linewidth=2)
    bottom = (rows - 1) * height + 1.05
    ax.set(xlim=(-0.05, columns * 1.15 - 0.1), ylim=(bottom, 1 - height), aspect="equal")
    ax.axis("off")
    return ax


def mosaic(ax, image, names):
    """An image (C, H, W) of four quadrants under its target, where each of four class names counts 1/4."""
    images(ax, image[None], columns=1)
    ax.plot([0.5, 0.5, np.nan, 0, 1], [0, 1, np.nan, 0.5, 0.5], color=OOD, linewidth=1.5)
    target = "\n".join(f"{list(names).count(name)}/4 “{text(name, 16)}”" for name in dict.fromkeys(names))
    ax.annotate(target, (0.5, 0), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
    return ax


def inert_margin(ax, margins, values):
    """values[variant] (N,): the loss of variants of MELN against the margin (N,); flat where inert."""
    lines(ax, margins, {f"MELN, {variant}": numbers for variant, numbers in values.items()})
    ax.set(xlabel="margin m", ylabel="loss", ylim=(0, None))
    return ax


def temperature_path(ax, steps, values):
    """values[variant] (N,): the temperature that variants of MELN learn, against the step (N,)."""
    lines(ax, steps, {f"MELN, {variant}": numbers for variant, numbers in values.items()})
    ax.set_yscale("symlog", linthresh=1)
    ax.yaxis.set_major_formatter("{x:g}")
    low, high = min(-1, ax.get_ylim()[0]), ax.get_ylim()[1]
    ax.axhspan(low, 0, color=OOD, alpha=0.15, hatch="//", linewidth=0, label="no temperature")
    ax.set(xlabel="step", ylabel="temperature T", ylim=(low, high))
    ax.legend()
    return ax


def class_counts(ax, labels, classes):
    """How many images there are of each class; labels (N,) in 0..C-1."""
    counts = np.bincount(np.asarray(labels), minlength=len(classes))
    ax.bar_label(ax.barh(range(len(classes)), counts, color=ID, alpha=0.8), padding=2, fontsize=8)
    ax.set_yticks(range(len(classes)), [text(name) for name in classes])
    ax.margins(x=0.12)
    ax.set(xlabel="images")
    ax.invert_yaxis()
    return ax


def landscape(ax, x, y, confidence, points, labels):
    """Top probability (Y, X) over x (X,) and y (Y,), and the training points (N, 2) by label (N,)."""
    shades = ax.contourf(x, y, confidence, levels=np.linspace(0, 1, 11), cmap="Greys", vmax=1.5)
    ax.figure.colorbar(shades, ax=ax, label="top probability")
    for label, look in zip(np.unique(labels), cycle(LOSS_LOOKS.values())):
        ax.plot(
            *np.asarray(points)[np.asarray(labels) == label].T,
            linestyle="none",
            marker=look["marker"],
            color=look["color"],
            markeredgecolor="white",
            markeredgewidth=0.5,
            label=f"class {label}",
        )
    ax.set(aspect="equal", xlim=(min(x), max(x)), ylim=(min(y), max(y)))
    ax.legend(loc="upper left", frameon=True)
    return ax


def _table(ax, values, rows, columns, label, **options):
    import seaborn

    seaborn.heatmap(
        values,
        ax=ax,
        xticklabels=list(columns),
        yticklabels=list(rows),
        annot_kws={"size": 8},
        cbar_kws={"label": label},
        **options,
    )
    colors = ax.collections[0].get_facecolors()[~np.isnan(values).ravel()]
    for number, color in zip(ax.texts, colors):  # the one with more contrast; seaborn switches at 0.41
        number.set_color("black" if seaborn.utils.relative_luminance(color) > 0.18 else "white")
    ax.tick_params(axis="y", rotation=0)


def _frame(ax, x, y, **look):
    ax.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], clip_on=False, **look)
