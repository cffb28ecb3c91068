"""How time and memory grow with the work: heads with classes, metrics with scores, training with batch and width."""

import statistics
import tracemalloc
from functools import partial
from itertools import accumulate

import numpy as np
import torch
from torch import nn

from .. import losses, metrics, models
from .speed import interleave, machine, our_epoch, photographs


def extra(function, device):
    """Bytes that its tensors and arrays held at most, beyond those that were there before."""
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
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]
    return arrays + max(accumulate(changes), default=0)


def measure(device):
    """Time and memory as the work grows, drawn as figures/bench/scaling.* on axes where in proportion is straight."""

    def head(loss, classes):
        recipe = losses.recipe(loss)
        classifier = recipe.head(512, classes).to(device)
        criterion, targets = recipe.criterion(classifier).to(device), torch.randint(classes, (128,), device=device)
        x = torch.randn(128, 512, device=device, requires_grad=True)
        return lambda: criterion(classifier(x), targets).backward()

    def scores(count):
        pair = np.random.default_rng(0).standard_normal((2, count // 2), dtype=np.float32)
        return lambda: metrics.detection(*pair)

    def step(batch, width):
        network = models.Network(*models.resnet(3, blocks=(2, 2, 2, 2), width=width), nn.Linear, 10, 3)
        return our_epoch(network, *photographs(batch), batch, device)

    decades, found = [10**power for power in range(1, 9)], []
    for task, lines, sizes in (
        (
            "classes of a head, 128 x 512",
            {loss: partial(head, loss) for loss in ("isomax", "isomaxplus", "dismax")},
            decades[:4],
        ),
        ("scores of metrics.detection", {"ID and OOD": scores}, decades[3:]),
        ("images per step, ResNet-18 of width 16", {"training": partial(step, width=16)}, (32, 64, 128, 256, 512)),
        ("width of ResNet-18, 128 images", {"training": partial(step, 128)}, (8, 16, 32, 64)),
    ):
        place = "cpu" if scores in lines.values() else device
        for name, make in lines.items():
            work = {size: make(size) for size in sizes}
            ms = {size: 1e3 * statistics.median(times) for size, times in interleave(work, 3, place).items()}
            found += [
                {
                    "task": task,
                    "line": name,
                    "size": size,
                    "alternative": f"{name}, {size:,}",
                    "ms": ms[size],
                    "ratio": size / ms[size] * ms[sizes[0]] / sizes[0],
                    "peak": None,
                    "mib": extra(work[size], place) / 2**20,
                }
                for size in sizes
            ]
    draw(found, machine(device))
    return found


def draw(found, machine):
    """Time above memory, a column per task."""
    from matplotlib import pyplot as plt

    from ..figures import save_figure, style
    from ..plots import LOSS_STYLES, styles

    style()
    tasks = list(dict.fromkeys(row["task"] for row in found))
    fig, axes = plt.subplots(2, len(tasks), figsize=(2.9 * len(tasks), 4.6), sharex="col")
    for column, task in zip(axes.T, tasks):
        for ax, quantity, label in zip(column, ("ms", "mib"), ("time in ms", "extra memory in MiB")):
            for name in dict.fromkeys(row["line"] for row in found if row["task"] == task):
                x, y = zip(
                    *[(row["size"], row[quantity]) for row in found if (row["task"], row["line"]) == (task, name)]
                )
                plain = {"color": "black", "marker": "o", "label": name}
                ax.plot(x, y, **styles([name])[name] if name in LOSS_STYLES else plain)
            ax.plot(x, np.multiply(x, y[-1] / x[-1]), color="gray", linestyle=":", label="in proportion")
            ax.set(xscale="log", yscale="log", ylabel=label if task == tasks[0] else "")
            ax.set_xticks(x, [f"{size:g}" for size in x])
            ax.xaxis.minorticks_off()
        column[1].set_xlabel(task)
    axes[0, 0].legend()
    path = save_figure(
        fig, "scaling", "bench", command="python -m ood_helpers bench scaling", machine=machine, rows=found
    )
    print(f"saved as {path}")
