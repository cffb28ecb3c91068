"""The figure of strangers that were drawn with a finger on the exported sketchpad, and what networks say about them."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..drawing.styles import ID, OOD, plain_text
from ..runs import Run
from ..widgets import verdicts
from ..widgets.folded import SHAPE, decode, pixel_image
from ..widgets.formats import format_confidence

DRAWINGS = Path(__file__).parent / "static" / "strangers_drawn.json"  # {name: 64 counts as digits of base 17}
ROW = 0.3  # height of a row in the width of a column


def strangers_drawn(runs: Sequence[Run]) -> Figure:
    """Draw the strangers, and below each drawing every network's answer and verdict.

    Parameters
    ----------
    runs : sequence of Run
        Networks trained on the digits.

    Returns
    -------
    matplotlib.figure.Figure
        A column per drawing and a row per network: the class, its probability, and a filled cell where the network
        accepts the drawing as known (at the threshold that accepts 95 % of the validation split).
    """
    drawings = {name: decode(text) for name, text in json.loads(DRAWINGS.read_text(encoding="utf-8")).items()}
    pixels = torch.stack([torch.from_numpy(pixel_image(counts)).view(SHAPE) for counts in drawings.values()])
    names = verdicts.run_names(runs)
    entries = [verdicts.describe(run, name) for run, name in zip(runs, names)]
    with torch.no_grad():
        logits = [run.load_model()(pixels).numpy() for run in runs]
    figure = Figure(figsize=(1.9 + 0.92 * len(drawings), 1.55 + 0.28 * len(runs)), layout="constrained")
    ax = figure.subplots()
    for column, (name, counts) in enumerate(drawings.items()):
        ax.imshow(counts, cmap="gray_r", vmin=0, vmax=16, extent=(column + 0.1, column + 0.9, -0.1, -0.9))
        ax.text(column + 0.5, -0.98, plain_text(name), ha="center", va="bottom", fontsize=8)
        rows = verdicts.answers(entries, {n: z[column] for n, z in zip(names, logits)}, runs[0].classes)
        for k, row in enumerate(rows):
            known = row["known"]
            look = {"facecolor": ID} if known else {"facecolor": "white", "edgecolor": OOD, "hatch": "//"}
            ax.add_patch(Rectangle((column + 0.03, k * ROW + 0.02), 0.94, ROW - 0.04, linewidth=0.6, **look))
            words = f"{plain_text(row['answer'], 8)}: {format_confidence(row['confidence'])}"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1} if not known else None
            color = "white" if known else "black"
            ax.text(column + 0.5, (k + 0.5) * ROW, words, ha="center", va="center", fontsize=7, color=color, bbox=box)
    ax.set_yticks([(k + 0.5) * ROW for k in range(len(names))], [plain_text(name) for name in names])
    ax.set(xlim=(0, len(drawings)), ylim=(len(names) * ROW, -1.12), aspect="equal", xticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=ID, label="known: accepted as ID"),
        Rectangle((0, 0), 1, 1, facecolor="white", edgecolor=OOD, hatch="//", label="stranger: rejected as OOD"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure
