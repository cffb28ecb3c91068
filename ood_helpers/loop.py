"""One epoch, near what the machine can do: batches, augmentation, optimiser, and the history of what was learned."""

import ctypes
from contextlib import nullcontext, suppress

import numpy as np
import torch
from torch import nn

from .distributed import Team
from .scores import compact_float_dtype

SNAPSHOTS = 6  # epochs at which more logits are kept, for scrubbing through training
ALONE = Team()


def crop_flip(images, generator, padding=4):
    """Random crops of the padded images and random flips, as one gather for the whole batch.

    (B, C, H, W) -> the same shape, stored channels last. Zeros are padded, as in the papers.
    """
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (padding,) * 4)
    shift = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator, device=images.device)
    flip = torch.rand(count, 1, generator=generator, device=images.device) < 0.5
    across, down = torch.arange(width, device=images.device), torch.arange(height, device=images.device)
    columns = torch.where(flip, width - 1 - across, across) + shift[0]
    rows = down + shift[1]
    batch = torch.arange(count, device=images.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def resized_crop(images, generator, size=224):
    """Crops of 8 to 100 % of the area and of aspect 3/4 to 4/3, scaled to ``size``, and flips: ImageNet's usual."""
    count, _, height, width = images.shape
    u = torch.rand(5, count, generator=generator, device=images.device)
    area, aspect = 0.08 + 0.92 * u[0], torch.exp((2 * u[1] - 1) * np.log(4 / 3))
    across, down = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    theta = torch.zeros(count, 2, 3, device=images.device)  # from the output's [-1, 1] to the input's
    theta[:, 0, 0], theta[:, 1, 1] = torch.where(u[4] < 0.5, -across, across), down
    theta[:, 0, 2], theta[:, 1, 2] = (1 - across) * (2 * u[2] - 1), (1 - down) * (2 * u[3] - 1)
    grid = nn.functional.affine_grid(theta, (count, 1, size, size), align_corners=False)
    return nn.functional.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)


AUGMENTATIONS = {"none": lambda images, generator: images, "crop_flip": crop_flip, "resized_crop": resized_crop}


def parameter_groups(network, criterion, recipe, head_lr=None):
    """The network's parameters; its head's apart if it has a rate; the loss's own, with their rate and no decay."""
    head = list(network.classifier.parameters()) if head_lr else []
    mine = [p for p in network.parameters() if all(p is not q for q in head)]
    known = {id(p) for p in network.parameters()}  # a criterion may hold the network's head
    own = [p for p in criterion.parameters() if id(p) not in known]
    return (
        [{"params": mine}]
        + ([{"params": head, "lr": head_lr}] if head else [])
        + ([{"params": own, "lr": recipe.loss_lr, "weight_decay": 0.0, "own": True}] if own else [])
    )


def schedule(optimise, config, steps):
    """Cosine to zero over all steps, or a tenth at each milestone."""
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimise, steps * config.epochs)
    milestones = [epoch * steps for epoch in config.milestones]
    return torch.optim.lr_scheduler.MultiStepLR(optimise, milestones, gamma=0.1)


def precision(device, wanted="auto"):
    """A context for the network's products; heads and losses compute in float32 whatever it says.

    "auto" is bfloat16 where this machine multiplies it fast (any recent GPU, AVX512-bf16, AMX), else float32.
    """
    fast = wanted == "bfloat16"
    if wanted == "auto" and device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    elif wanted == "auto" and device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()


def keep_memory(most=2**31 - 1):
    """Freed memory of up to ``most`` bytes stays with the process, where the C library can be told so (glibc).

    A step's activations are freed and asked for again; fetched from the system each time, they cost some 6 % of it.
    """
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: its largest, so that tensors come from the heap
        library.mallopt(-1, most)  # M_TRIM_THRESHOLD


def batches(images, labels, order, batch_size, device):
    """Batches on the device, in this order, an incomplete last one dropped.

    What is on the device already is only indexed; what did not fit there comes through a loader with workers.
    """
    chunks = order[: len(order) // batch_size * batch_size].split(batch_size)
    if images.device.type == device.type:
        yield from ((images[chosen], labels[chosen]) for chosen in chunks)
        return
    pairs = torch.utils.data.StackDataset(images, labels)
    loader = torch.utils.data.DataLoader(
        pairs, batch_sampler=[chunk.tolist() for chunk in chunks], num_workers=4, pin_memory=True
    )
    yield from ((x.to(device, non_blocking=True), y.to(device, non_blocking=True)) for x, y in loader)


def one_epoch(
    network, criterion, optimise, scheduler, images, labels, batch_size, generator, augment, autocast, team=ALONE
):
    """Every image once, in an order drawn from ``generator``.

    Returns the sum of the batches' losses, on the device: nothing in here waits for it, no number is read.
    """
    network.train(), criterion.train()
    device = generator.device
    preprocess, change = getattr(criterion, "preprocess", None), AUGMENTATIONS[augment]
    total = torch.zeros((), device=device)
    order = torch.randperm(len(images), generator=generator, device=device).to(images.device)
    own = [p for group in optimise.param_groups if group.get("own") for p in group["params"]]
    for batch, targets in batches(images, labels, order, batch_size, device):
        batch = change(batch, generator)
        if preprocess:
            batch, targets = preprocess(batch, targets, generator)
        with autocast:
            logits = team.whole(network(team.share(batch)))
        loss = criterion(logits, targets)
        optimise.zero_grad(set_to_none=True)
        (loss * team.size).backward()  # the team averages the network's gradients, where it should add them
        if team.size > 1:
            for p in own:
                p.grad /= team.size
        optimise.step()
        scheduler.step()
        total += loss.detach()
    return total


@torch.inference_mode()
def outputs(network, images, batch_size=250):
    """Features (N, D) and logits (N, C) of uint8 images (N, C, H, W), float32, in evaluation mode."""
    network.eval()
    device = device_of(network)
    features, logits = [], []
    for batch in images.split(batch_size):
        features.append(network.features(batch.to(device)).float())
        logits.append(network.classifier(features[-1]).float())
    return torch.cat(features), torch.cat(logits)


def device_of(network):
    return next(network.parameters()).device


class History:
    """Follows the first images of every set through training.

    An epoch only keeps their logits, and all statistics are taken once, at the end: looking may cost an epoch no more
    than a twentieth. The records are plain lists, ready for JSON.
    """

    def __init__(self, network, criterion, sets, labels, epochs):
        self.network, self.criterion, self.labels = network, criterion, labels
        self.kept = {int(epoch) for epoch in np.geomspace(1, epochs, SNAPSHOTS - 1).round()} | {0}
        narrow = min(max(len(sets["train"]) // 50, 24), 1000)
        wide = max(narrow, min(5 * narrow, 1000))
        self.wide = {name: min(len(images), wide) for name, images in sets.items()}
        self.narrow = {name: min(count, narrow) for name, count in self.wide.items()}
        self.images = torch.cat([images[: self.wide[name]] for name, images in sets.items()]).to(device_of(network))
        starts = np.cumsum([0, *self.wide.values()])
        self.few = torch.cat(
            [torch.arange(start, start + count) for start, count in zip(starts, self.narrow.values())]
        ).to(self.images.device)
        self.few_images = self.images[self.few]
        self.logits, self.snapshots, self.records = [], [], {"epoch": [], "loss": [], "seconds": []}

    def look(self, epoch, loss, seconds):
        if epoch in self.kept:
            self.snapshots.append(outputs(self.network, self.images)[1])
            self.logits.append(self.snapshots[-1][self.few])
        else:
            self.logits.append(outputs(self.network, self.few_images)[1])
        told = {"epoch": epoch, "loss": loss, "seconds": round(seconds, 4)}
        for name, module, attribute in (
            ("temperature", self.criterion, "temperature"),
            ("margin", self.criterion, "margin"),
            ("scale", self.network.classifier, "distance_scale"),
        ):
            if hasattr(module, attribute):
                told[name] = torch.as_tensor(getattr(module, attribute)).item()
        for name, value in told.items():
            self.records.setdefault(name, []).append(value)

    def state(self):
        return {"logits": self.logits, "snapshots": self.snapshots, "records": self.records}

    def restore(self, state):
        device = self.images.device
        self.logits, self.snapshots = ([z.to(device) for z in state[key]] for key in ("logits", "snapshots"))
        self.records = state["records"]

    def finish(self):
        """(records, snapshots): the statistics of every epoch, and the logits of some."""
        records = self.records | {"norm": {}, "confidence": {}, "accuracy": {}}
        quantiles = torch.tensor([0.1, 0.5, 0.9])
        logits = torch.stack(self.logits).cpu().split(list(self.narrow.values()), 1)
        for name, z in zip(self.narrow, logits):  # (epochs, images, classes)
            records["norm"][name] = z.norm(dim=2).quantile(quantiles, dim=1).T.tolist()
            records["confidence"][name] = z.softmax(2).amax(2).mean(1).tolist()
            if name in self.labels:
                right = z.argmax(2) == self.labels[name][: self.narrow[name]]
                records["accuracy"][name] = right.float().mean(1).tolist()
        snapshots = torch.stack(self.snapshots).cpu().numpy()
        snapshots = np.split(snapshots.astype(compact_float_dtype(snapshots)), np.cumsum(list(self.wide.values()))[:-1], 1)
        return records, {"epochs": np.array(sorted(self.kept))} | dict(zip(self.wide, snapshots))
