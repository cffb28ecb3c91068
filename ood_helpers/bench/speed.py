"""Speed compared with named alternatives, which take turns in one run, so that a busy machine slows all of them.

Every row has the median time, the median of the speed ratios of all rounds, and the share of the peak that matrix
products (or copies) of this machine reach in the same run.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import losses, metrics, models
from ..config import Config
from ..data import ImageSet, synthetic
from ..engine import backbones
from ..engine.device import precision, processor, raise_malloc_thresholds
from ..training import Trainer
from .baselines import BaselineTrainer, published_dismax_loss, pytorch_ood, scikit_learn

Times = dict[str, list[float]]  # seconds per round of each alternative
Row = dict[str, Any]


def interleave(alternatives: dict[Any, Callable], rounds: int, device: str = "cpu") -> dict[Any, list[float]]:
    """Time callables that take turns: ``{name: [seconds per round]}``, after one warm-up round."""
    times: dict[Any, list[float]] = {name: [] for name in alternatives}
    for _ in range(rounds + 1):
        for name, function in alternatives.items():
            start = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


def make_rows(task: str, times: Times, n_units: int = 1, work: float | None = None, peak: float = 1.0) -> list[Row]:
    """Return a row per alternative; its ``ratio`` is its speed relative to the first one.

    A round of ``n_units`` takes ``work`` operations (or bytes), and ``peak`` is what the machine can do per second.
    """
    first = next(iter(times.values()))
    return [
        {
            "task": task,
            "alternative": name,
            "ms": 1e3 * statistics.median(values) / n_units,
            "ratio": statistics.median(a / b for a, b in zip(first, values)),
            "peak": work / statistics.median(values) / peak if work else None,
        }
        for name, values in times.items()
    ]


@cache  # the peaks depend on the machine only
def peaks(device: str) -> dict[str, float]:
    """Measure operations per second of float32 and bfloat16 products (a multiply-add is two), bytes of a copy."""
    a = torch.randn(2048, 2048, device=device)
    b, big = a.bfloat16(), torch.empty(2**26, dtype=torch.uint8, device=device)
    times = interleave({"float32": lambda: a @ a, "bfloat16": lambda: b @ b, "copy": lambda: big.clone()}, 8, device)
    operations = {"float32": 2 * 2048**3, "bfloat16": 2 * 2048**3, "copy": 2 * 2**26}
    return {name: operations[name] / min(values) for name, values in times.items()}


class FitTrainer(Trainer):
    """An epoch as in ``fit``, of a given network on given images."""

    def __init__(
        self, network: nn.Module, criterion: nn.Module, images: Tensor, labels: Tensor, batch_size: int, device: str
    ) -> None:
        self.config, self.device, self.epoch = Config(augment="crop_flip").resolved(), torch.device(device), 0
        self.model, self.criterion = network.to(device, memory_format=torch.channels_last), criterion
        self.images, self.targets = images.to(device), labels.to(device)
        self.batch_size, self.steps = batch_size, len(images) // batch_size
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
        self.scheduler = torch.optim.lr_scheduler.ConstantLR(self.optimizer, 1.0)
        self.autocast, self.average = precision(self.device), None

    def __call__(self) -> None:
        raise_malloc_thresholds()
        self.epoch += 1
        self.train_epoch()


def photographs(count: int) -> tuple[Tensor, Tensor]:
    """Return photographs (count, 3, 32, 32) that come with scikit-learn, with arbitrary labels of ten classes."""
    return synthetic.patches((3, 32, 32), count)[0], torch.arange(count) % 10


def train(
    device: str,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    names: tuple[str, ...] = ("wrn_16_2", "resnet18_w16"),
    batch_size: int = 128,
    steps: int = 4,
    rounds: int = 5,
) -> list[Row]:
    """Measure milliseconds per image of a training epoch, ours against the baseline, on images of 32 pixels."""
    from torch.utils.flop_counter import FlopCounterMode

    count, rows = steps * batch_size, []
    if images is None or labels is None:
        images, labels = photographs(count)
    images, labels = images[:count], labels[:count]
    autocast = precision(torch.device(device))
    peak = peaks(device)["bfloat16" if isinstance(autocast, torch.autocast) else "float32"]
    criterion = losses.LogitNormLoss(0.04)
    for name in names:
        build = partial(models.build, name, 10, (3, 32, 32), nn.Linear, 0.3 if "wrn" in name else 0.0)
        plain = build()
        for block in plain.modules():  # the papers' dropout instead of ours
            if isinstance(block, backbones.PreActivation):
                block.dropout = nn.Dropout(0.3)  # type: ignore[assignment]
        alternatives: dict[str, Callable] = {
            "plain loop (PIL, float32)": BaselineTrainer(plain, criterion, images, labels, batch_size, device),
            "ood_helpers": FitTrainer(build(), criterion, images, labels, batch_size, device),
        }
        times = interleave(alternatives, rounds, device)
        with FlopCounterMode(display=False) as counter:
            criterion(build()(images[:2]), labels[:2]).backward()
        work = counter.get_total_flops() / 2 * count
        rows += make_rows(f"train {name}, ms per image", times, count, work, peak)
    return rows


def recipe(device: str, rounds: int = 3, steps: int | None = None, images: int = 48_000, **changes: Any) -> list[Row]:
    """Measure the time that trainings to 93 % on CIFAR-10 take: ours, and the usual one of a ResNet-18.

    A step of each takes its turn; the time of an image is multiplied by the training images and by the epochs of the
    recipe, those of ``Config("cifar10")`` and OpenOOD's 100. That ours reaches 93 % is a finding of the trainings in
    ``figures/cifar10``, not of this measurement.

    Parameters
    ----------
    device, rounds
        As in the other measurements.
    steps : int, optional
        In a round; by default one on a CPU, and 50 on a GPU, where the loader's processes take a while to start.
    images : int
        Of the training split.
    **changes
        Fields of ``Config`` that differ from the recipe's.
    """
    steps = steps or (1 if device == "cpu" else 50)
    config, usual = Config("cifar10", ood=(), **changes).resolved(), Config.preset("openood", loss="softmax").resolved()
    ours, theirs = (photographs(steps * each.batch_size) for each in (config, usual))
    splits = {"train": torch.arange(len(ours[0])), "validation": torch.arange(1), "test": torch.arange(1)}
    dataset = ImageSet("photographs", *ours, tuple("0123456789"), splits)
    trainer = Trainer(config, dataset, torch.device(device))
    network = models.build(usual.model, 10, (3, 32, 32), nn.Linear)
    plain = BaselineTrainer(network, nn.CrossEntropyLoss(), *theirs, usual.batch_size, device)
    alternatives = {
        f"plain loop, {usual.model}, {usual.epochs} epochs": (plain, usual, len(theirs[0])),
        f"ood_helpers, {config.model}, {config.epochs} epochs": (trainer.train_epoch, config, len(ours[0])),
    }
    times = interleave({name: function for name, (function, *_) in alternatives.items()}, rounds, device)
    totals = {
        name: [seconds / count * images * each.epochs for seconds in times[name]]
        for name, (_, each, count) in alternatives.items()
    }
    return make_rows("train to 93 % on CIFAR-10", totals)


def _head_steps(device: str, batch: int, dim: int, classes: int) -> dict[str, Callable]:
    x = torch.randn(batch, dim, device=device, requires_grad=True)
    targets = torch.randint(classes, (batch,), device=device)
    head = losses.DisMaxLossFirstPart(dim, classes).to(device).train()
    criterion, linear = losses.DisMaxLossSecondPart(head, None), nn.Linear(dim, classes, device=device)
    published = partial(published_dismax_loss, x, head.prototypes, head.distance_scale, targets)
    return {
        "torch.cdist, softmax, log": lambda: published().backward(),
        "ood_helpers": lambda: criterion(head(x), targets).backward(),
        "nn.Linear and cross-entropy": lambda: F.cross_entropy(linear(x), targets).backward(),
    }


def heads(
    device: str,
    sizes: tuple[tuple[int, int, int], ...] = ((128, 512, 10), (128, 512, 100), (256, 512, 1000), (256, 2048, 1000)),
    rounds: int = 15,
) -> list[Row]:
    """Measure the forward and backward pass of the DisMax head and loss; ``sizes`` are (batch, features, classes)."""
    rows, peak = [], peaks(device)["float32"]
    for batch, dim, classes in sizes:
        times = interleave(_head_steps(device, batch, dim, classes), rounds, device)
        rows += make_rows(f"DisMax head ({batch}, {dim}, {classes})", times, 1, 6 * batch * dim * classes, peak)
    return rows


def detection(device: str, sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000), rounds: int = 3) -> list[Row]:
    """Measure AUROC, both AUPR and FPR95 of n ID and n OOD scores; rows name the difference from scikit-learn."""
    rows, generator = [], np.random.default_rng(0)
    functions: dict[str, Callable] = {"scikit-learn's four calls": scikit_learn, "ood_helpers": metrics.detection}
    if find_spec("pytorch_ood"):
        functions["pytorch-ood"] = pytorch_ood
    for n in sizes:
        pair = [generator.normal(shift, 1, n).astype(np.float32) for shift in (1, 0)]
        times = interleave({name: partial(function, *pair) for name, function in functions.items()}, rounds)
        expected, result = scikit_learn(*pair), metrics.detection(*pair)
        worst = max(abs(expected[key] - result[key]) for key in expected)
        rows += make_rows(f"metrics, {n:,} + {n:,} (differs by {worst:.0e})", times, 1, 8 * n, peaks("cpu")["copy"])
    return rows


def explorer(device: str) -> list[Row]:
    """Measure from a key press to changed pixels in a real browser; also prints a table of its own."""
    from . import explorer_latency

    return [
        {
            "task": f"explorer, {n:,} + {n:,}, key to pixels",
            "alternative": control,
            "ms": float(np.median(values)),
            "ratio": float(np.median(times["null"]) / np.median(values)),
            "peak": None,
        }
        for n, times in explorer_latency.bench().items()
        for control, values in times.items()
    ]


TASKS = {
    "train": lambda device, **data: train(device, **data) + recipe(device),
    "heads": heads,
    "metrics": detection,
    "explorer": explorer,
}


def machine(device: str) -> dict[str, Any]:
    """Return hardware and versions."""
    return {
        "device": torch.cuda.get_device_name() if device != "cpu" else processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "peaks": peaks(device),
    }


def format_rows(rows: list[Row]) -> str:
    """Format rows as a table.

    >>> print(format_rows([{"task": "sum", "alternative": "loop", "ms": 2.0, "ratio": 1.0, "peak": None}]))
    sum
      loop                                2.000 ms     1.00 x
    """
    lines, task = [], None
    for row in rows:
        lines += [row["task"]] if row["task"] != task else []
        task = row["task"]
        share = f"  {100 * row['peak']:5.1f} % of peak" if row["peak"] else ""
        memory = f"  {row['mib']:>9.2f} MiB" if "mib" in row else ""
        took = f"{row['ms']:>10.3f} ms " if row["ms"] < 60_000 else f"{row['ms'] / 60_000:>10.1f} min"
        lines.append(f"  {row['alternative']:<30} {took} {row['ratio']:>7.2f} x{share}{memory}")
    return "\n".join(lines)
