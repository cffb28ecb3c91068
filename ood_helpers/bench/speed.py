"""How fast, against what people do today: alternatives take turns in one run, so that a busy machine slows them alike.

Every row gives the median time, the median of the ratios taken round by round, and the share of what this machine's
own matrix products (or copies) reach in the same run.
"""

import os
import platform
import re
import statistics
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .. import loop, losses, metrics, models
from ..data import synthetic


def interleave(alternatives, rounds, device="cpu"):
    """{name: [seconds per round]} of callables that take turns, after one round that is not counted."""
    times = {name: [] for name in alternatives}
    for _ in range(rounds + 1):
        for name, function in alternatives.items():
            start = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


def rows(task, times, unit=1.0, work=None, peak=None):
    """A row per alternative: time in ms per ``unit``, how many times the first one's speed, share of the peak."""
    first = next(iter(times.values()))
    return [
        {
            "task": task,
            "alternative": name,
            "ms": 1e3 * statistics.median(values) / unit,
            "ratio": statistics.median(a / b for a, b in zip(first, values)),
            "peak": work / statistics.median(values) / peak if work else None,
        }
        for name, values in times.items()
    ]


@cache  # of the machine, not of what is compared on it
def peaks(device):
    """Multiply-adds per second, counted as two operations, in float32 and bfloat16; bytes per second of a copy."""
    a = torch.randn(2048, 2048, device=device)
    b, big = a.bfloat16(), torch.empty(2**26, dtype=torch.uint8, device=device)
    times = interleave({"float32": lambda: a @ a, "bfloat16": lambda: b @ b, "copy": lambda: big.clone()}, 8, device)
    operations = {"float32": 2 * 2048**3, "bfloat16": 2 * 2048**3, "copy": 2 * 2**26}
    return {name: operations[name] / min(values) for name, values in times.items()}


class PlainLoop:
    """What the papers' repositories do: a PIL image and its transforms at a time, float32, a number read per step."""

    def __init__(self, network, criterion, images, labels, batch_size, device):
        from PIL import Image
        from torchvision import transforms

        transform = transforms.Compose(
            [transforms.RandomCrop(images.shape[-1], 4), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
        )
        arrays = images.permute(0, 2, 3, 1).numpy()
        pairs = [(array, int(label)) for array, label in zip(arrays, labels)]
        collate = torch.utils.data.default_collate
        self.loader = torch.utils.data.DataLoader(
            pairs,
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=4 if device != "cpu" else 0,
            collate_fn=lambda batch: collate([(transform(Image.fromarray(a)).float(), label) for a, label in batch]),
        )
        self.network, self.criterion, self.device = network.to(device), criterion, device
        self.optimise = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def __call__(self):
        loop.keep_memory(2**26)  # as much as the C library comes to keep by itself
        self.network.train()
        for batch, targets in self.loader:
            loss = self.criterion(self.network(batch.to(self.device)), targets.to(self.device))
            self.optimise.zero_grad()
            loss.backward()
            self.optimise.step()
            loss.item()


def our_epoch(network, images, labels, batch_size, device):
    """An epoch as `fit` trains it, to be called again and again."""
    network.to(device, memory_format=torch.channels_last)
    optimise = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    scheduler, generator = torch.optim.lr_scheduler.ConstantLR(optimise, 1.0), torch.Generator(device)
    criterion, images, labels = losses.LogitNormLoss(0.04), images.to(device), labels.to(device)

    def epoch():
        loop.keep_memory()
        loop.one_epoch(
            network,
            criterion,
            optimise,
            scheduler,
            images,
            labels,
            batch_size,
            generator,
            "crop_flip",
            loop.precision(torch.device(device)),
        )

    return epoch


def photographs(count):
    """Photographs of 32 pixels and labels for them, where none are given."""
    return synthetic.patches((3, 32, 32), count)[0], torch.arange(count) % 10


def train(device, images=None, labels=None, names=("wrn_16_2", "resnet18_w16"), batch_size=128, steps=4, rounds=5):
    """Images per second of an epoch, ours against the plain loop, on photographs of 32 pixels."""
    from torch.utils.flop_counter import FlopCounterMode

    count, found = steps * batch_size, []
    if images is None:
        images, labels = photographs(count)
    images, labels = images[:count], labels[:count]
    peak, autocast = peaks(device), loop.precision(torch.device(device))
    for name in names:

        def network():
            return models.build(name, 10, (3, 32, 32), nn.Linear, 0.3 if "wrn" in name else 0.0)

        criterion, plain = losses.LogitNormLoss(0.04), network()
        for block in plain.modules():  # the papers' own dropout, not ours
            if isinstance(block, models.PreActivation):
                block.dropout = nn.Dropout(0.3)
        times = interleave(
            {
                "plain loop (PIL, float32)": PlainLoop(plain, criterion, images, labels, batch_size, device),
                "ood_helpers": our_epoch(network(), images, labels, batch_size, device),
            },
            rounds,
            device,
        )
        with FlopCounterMode(display=False) as counter:
            criterion(network()(images[:2]), labels[:2]).backward()
        found += rows(
            f"train {name}, ms per image",
            times,
            count,
            counter.get_total_flops() / 2 * count,
            peak["bfloat16" if isinstance(autocast, torch.autocast) else "float32"],
        )
    return found


def authors_loss(features, prototypes, scale, targets):
    """DisMax as published: every difference, then softmax and logarithm one after the other."""
    distances = (
        torch.cdist(F.normalize(features), F.normalize(prototypes), compute_mode="donot_use_mm_for_euclid_dist")
        / 2**0.5
    )
    distances = scale.abs() * distances
    probabilities = (-10 * (distances + distances.mean(1, keepdim=True))).softmax(1)
    return -probabilities[range(len(targets)), targets].log().mean()


def heads(device, sizes=((128, 512, 10), (128, 512, 100), (256, 512, 1000), (256, 2048, 1000)), rounds=15):
    """Forward and backward of the DisMax head and its loss."""
    found, peak = [], peaks(device)["float32"]
    for batch, dim, classes in sizes:
        x = torch.randn(batch, dim, device=device, requires_grad=True)
        targets = torch.randint(classes, (batch,), device=device)
        head = losses.DisMaxLossFirstPart(dim, classes).to(device).train()
        criterion, linear = losses.DisMaxLossSecondPart(head, None), nn.Linear(dim, classes, device=device)
        times = interleave(
            {
                "torch.cdist, softmax, log": lambda: authors_loss(
                    x, head.prototypes, head.distance_scale, targets
                ).backward(),
                "ood_helpers": lambda: criterion(head(x), targets).backward(),
                "nn.Linear and cross-entropy": lambda: F.cross_entropy(linear(x), targets).backward(),
            },
            rounds,
            device,
        )
        found += rows(f"DisMax head ({batch}, {dim}, {classes})", times, 1, 6 * batch * dim * classes, peak)
    return found


def scikit_learn(id_scores, ood_scores):
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    scores, labels = np.concatenate([id_scores, ood_scores]), np.repeat([1, 0], [len(id_scores), len(ood_scores)])
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(labels, scores),
        "fpr95": fpr[np.argmax(tpr >= 0.95)],
        "aupr_in": average_precision_score(labels, scores),
        "aupr_out": average_precision_score(1 - labels, -scores),
    }


def pytorch_ood(id_scores, ood_scores):
    from pytorch_ood.metrics import OODMetrics

    judge = OODMetrics()
    scores = torch.from_numpy(np.concatenate([-id_scores, -ood_scores]))  # there, higher is more OOD
    judge.update(scores, torch.cat([torch.ones(len(id_scores)), -torch.ones(len(ood_scores))]))
    return judge.compute()


def detection(device, sizes=(10_000, 100_000, 1_000_000), rounds=3):
    """AUROC, both AUPR and FPR95 of n ID and n OOD scores; the largest difference from scikit-learn is printed."""
    found, copy = [], peaks("cpu")["copy"]
    generator = np.random.default_rng(0)
    for n in sizes:
        pair = [generator.normal(shift, 1, n).astype(np.float32) for shift in (1, 0)]
        alternatives = {"scikit-learn's four calls": scikit_learn, "ood_helpers": metrics.detection}
        try:
            import pytorch_ood as _  # noqa: F401

            alternatives["pytorch-ood"] = pytorch_ood
        except ImportError:
            pass
        times = interleave({name: lambda f=f: f(*pair) for name, f in alternatives.items()}, rounds)
        oracle, ours = scikit_learn(*pair), metrics.detection(*pair)
        worst = max(abs(oracle[key] - ours[key]) for key in oracle)
        found += rows(f"metrics, {n:,} + {n:,} (differs by {worst:.0e})", times, 1, 8 * n, copy)
    return found


def explorer(device):
    """Key press to changed pixels, in a real browser; prints a table of its own."""
    from . import explorer_latency as latency

    return [
        {
            "task": f"explorer, {n:,} + {n:,}, key to pixels",
            "alternative": control,
            "ms": float(np.median(values)),
            "ratio": float(np.median(times["null"]) / np.median(values)),
            "peak": None,
        }
        for n, times in latency.bench().items()
        for control, values in times.items()
    ]


TASKS = {"train": train, "heads": heads, "metrics": detection, "explorer": explorer}


def machine(device):
    """Hardware and versions, for the record."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, TypeError):  # Linux tells more
        name = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[1]
    return {
        "device": torch.cuda.get_device_name() if device != "cpu" else name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "peaks": peaks(device),
    }


def text(found):
    """Rows as a table.

    >>> print(text([{"task": "sum", "alternative": "loop", "ms": 2.0, "ratio": 1.0, "peak": None}]))
    sum
      loop                                2.000 ms     1.00 x
    """
    lines, task = [], None
    for row in found:
        lines += [row["task"]] if row["task"] != task else []
        task = row["task"]
        share = f"  {100 * row['peak']:5.1f} % of peak" if row["peak"] else ""
        memory = f"  {row['mib']:>9.2f} MiB" if "mib" in row else ""
        lines.append(f"  {row['alternative']:<30} {row['ms']:>10.3f} ms {row['ratio']:>8.2f} x{share}{memory}")
    return "\n".join(lines)
