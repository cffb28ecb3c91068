"""Growth of time and memory: heads with classes, metrics with scores, training with batch size and width."""

import json
import statistics
import tempfile
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import losses, metrics, models
from ..engine import backbones
from .speed import FitTrainer, Row, interleave, machine, photographs


def peak_memory_bytes(function: Callable, device: str) -> int:
    """Return the most bytes that tensors and arrays of ``function`` occupied at once."""
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        tracemalloc.start()
        function()
        arrays = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    changes = [event["args"]["Bytes"] for event in sorted(events, key=lambda event: event["ts"])]
    return arrays + max(accumulate(changes), default=0)


def _head_step(device: str, loss: str, classes: int) -> Callable:
    recipe = losses.recipe(loss)
    classifier = recipe.head(512, classes).to(device)
    criterion, targets = recipe.criterion(classifier).to(device), torch.randint(classes, (128,), device=device)
    x = torch.randn(128, 512, device=device, requires_grad=True)
    return lambda: criterion(classifier(x), targets).backward()


def _metrics_call(count: int) -> Callable:
    id_scores, ood_scores = np.random.default_rng(0).standard_normal((2, count // 2), dtype=np.float32)
    return partial(metrics.detection, id_scores, ood_scores)


def _training_step(device: str, batch: int, width: int) -> Callable:
    network: nn.Module = models.Network(*backbones.resnet(3, blocks=(2, 2, 2, 2), width=width), nn.Linear, 10, 3)
    return FitTrainer(network, losses.LogitNormLoss(0.04), *photographs(batch), batch, device)


def measure(device: str) -> list[Row]:
    """Measure time and memory as the work grows, and draw them as figures/bench/scaling.* on logarithmic axes."""
    powers, rows = [10**exponent for exponent in range(1, 9)], []
    heads: dict[str, Callable] = {
        loss: partial(_head_step, device, loss) for loss in ("isomax", "isomaxplus", "dismax")
    }
    batches: dict[str, Callable] = {"training": partial(_training_step, device, width=16)}
    widths: dict[str, Callable] = {"training": partial(_training_step, device, 128)}
    tasks: tuple[tuple[str, str, dict[str, Callable], Any], ...] = (
        ("classes of a head, 128 x 512", device, heads, powers[:4]),
        ("scores of metrics.detection", "cpu", {"ID and OOD": _metrics_call}, powers[3:]),
        ("images per step, ResNet-18 of width 16", device, batches, (32, 64, 128, 256, 512)),
        ("width of ResNet-18, 128 images", device, widths, (8, 16, 32, 64)),
    )
    for task, where, lines, sizes in tasks:
        for name, make in lines.items():
            work = {size: make(size) for size in sizes}
            ms = {size: 1e3 * statistics.median(times) for size, times in interleave(work, 3, where).items()}
            rows += [
                {
                    "task": task,
                    "line": name,
                    "size": size,
                    "alternative": f"{name}, {size:,}",
                    "ms": ms[size],
                    "ratio": size / ms[size] * ms[sizes[0]] / sizes[0],
                    "peak": None,
                    "mib": peak_memory_bytes(work[size], where) / 2**20,
                }
                for size in sizes
            ]
    draw(rows, machine(device))
    return rows


def draw(rows: list[Row], machine: dict[str, Any]) -> None:
    """Draw time beside memory, a row per task; a gray line shows growth in proportion to the size."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    from ..drawing.layout import WIDTHS, shared_legend
    from ..drawing.styles import LOSS_STYLES, styles
    from ..figures import save_figure, style

    style()
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    fig, axes = plt.subplots(len(tasks), 2, figsize=(WIDTHS["page"], 1.7 * len(tasks)))
    for panels, task in zip(axes, tasks):
        of_task = [row for row in rows if row["task"] == task]
        for ax, quantity, label in zip(panels, ("ms", "mib"), ("time in ms", "memory in MiB")):
            for name in dict.fromkeys(row["line"] for row in of_task):
                x, y = zip(*[(row["size"], row[quantity]) for row in of_task if row["line"] == name])
                plain = {"color": "black", "marker": "o", "label": "measured"}
                ax.plot(x, y, **styles([name])[name] if name in LOSS_STYLES else plain)
            ax.plot(x, np.multiply(x, y[-1] / x[-1]), color="gray", linestyle=":", label="in proportion")
            ax.set(xscale="log", yscale="log", xlabel=task, ylabel=label)
            if max(x) < 1000:  # powers of ten are Matplotlib's labels, other sizes are given
                ax.set_xticks(x, [f"{size:g}" for size in x])
            few = max(y) < 100 * min(y)
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
            ax.yaxis.set_major_formatter("{x:g}")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_minor_locator(NullLocator())
    shared_legend(fig)
    command = "python -m ood_helpers bench scaling"
    path = save_figure(fig, "scaling", "bench", width="page", command=command, machine=machine, rows=rows)
    print(f"saved as {path}")
