"""Fit a configuration and keep its history."""
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from . import data, losses, metrics, models, scores
from .runs import find, save

SNAPSHOTS = 8  # epochs at which more logits are kept, for scrubbing through training


def pick_device(name=None):
    """``torch.device`` by name; by default the GPU where there is one.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name in (None, "", "auto"):
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("a GPU was asked for, but torch sees none here; use device='cpu'")
    return device


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


def parameter_groups(network, criterion, recipe):
    """The network's parameters, and the loss's own in a group of their own, with their own rate and no decay."""
    known = {id(p) for p in network.parameters()}  # a criterion may hold the network's head
    own = [p for p in criterion.parameters() if id(p) not in known]
    groups = [{"params": list(network.parameters())}]
    return groups + ([{"params": own, "lr": recipe.loss_lr, "weight_decay": 0.0}] if own else [])


def schedule(optimise, config, steps):
    """Cosine to zero over all steps, or a tenth at each milestone."""
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimise, steps * config.epochs)
    milestones = [epoch * steps for epoch in config.milestones]
    return torch.optim.lr_scheduler.MultiStepLR(optimise, milestones, gamma=0.1)


def fast_precision(device):
    """Where this machine multiplies bfloat16 fast: an autocast for the network; the losses stay in float32."""
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        fast = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


@torch.no_grad()
def outputs(network, images, batch_size=1000):
    """Features (N, D) and logits (N, C) of uint8 images (N, C, H, W), float32, in evaluation mode."""
    network.eval()
    device = _device(network)
    features, logits = [], []
    for batch in images.split(batch_size):
        features.append(network.features(batch.to(device)).float())
        logits.append(network.classifier(features[-1]).float())
    return torch.cat(features), torch.cat(logits)


class History:
    """Follows the first images of every set through training.

    An epoch only keeps their logits, and all statistics are taken once, at the end: looking may cost an epoch no more
    than a twentieth. The records are plain lists, ready for JSON.
    """

    def __init__(self, network, criterion, sets, labels, epochs):
        self.network, self.criterion, self.labels = network, criterion, labels
        self.kept = {int(epoch) for epoch in np.geomspace(1, epochs, SNAPSHOTS - 1).round()} | {0}
        narrow = min(max(len(sets["train"]) // 50, 32), 1000)
        wide = max(narrow, min(4 * narrow, 1000))
        self.wide = {name: min(len(images), wide) for name, images in sets.items()}
        self.narrow = {name: min(count, narrow) for name, count in self.wide.items()}
        self.images = torch.cat([images[: self.wide[name]] for name, images in sets.items()]).to(_device(network))
        starts = np.cumsum([0, *self.wide.values()])
        self.few = torch.cat([torch.arange(start, start + count)
                              for start, count in zip(starts, self.narrow.values())]).to(self.images.device)
        self.logits, self.snapshots, self.records = [], [], {"epoch": [], "loss": [], "seconds": []}

    def look(self, epoch, loss, seconds):
        if epoch in self.kept:
            self.snapshots.append(outputs(self.network, self.images)[1])
            self.logits.append(self.snapshots[-1][self.few])
        else:
            self.logits.append(outputs(self.network, self.images[self.few])[1])
        told = {"epoch": epoch, "loss": loss, "seconds": round(seconds, 4)}
        for name, module, attribute in (("temperature", self.criterion, "temperature"),
                                        ("margin", self.criterion, "margin"),
                                        ("scale", self.network.classifier, "distance_scale")):
            if hasattr(module, attribute):
                told[name] = torch.as_tensor(getattr(module, attribute)).item()
        for name, value in told.items():
            self.records.setdefault(name, []).append(value)

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
        snapshots = torch.stack(self.snapshots).half().cpu().split(list(self.wide.values()), 1)
        return records, {"epochs": np.array(sorted(self.kept))} | {
            name: z.numpy() for name, z in zip(self.wide, snapshots)}


def _device(network):
    return next(network.parameters()).device


@contextmanager
def repeatable(seed, threads=None):
    """Everything inside is drawn from ``seed``; the caller's random state and thread count come back untouched."""
    before = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            torch.set_num_threads(threads or before)
            yield
        finally:
            torch.set_num_threads(before)


def fit(config, runs="runs", device=None, progress=True):
    """Train a configuration, or find its run if that was done before.

    Parameters
    ----------
    config : Config
    runs : where runs are kept
    device : "cpu", "cuda", or None for the GPU where there is one
    progress : show a bar

    Returns a :class:`ood_helpers.runs.Run`. The same configuration on the same machine gives the same numbers.

    Errors: ValueError when a set or a name is unknown, FloatingPointError when the loss becomes NaN.
    """
    found = find(config, runs)
    if found is not None:
        return found
    device = pick_device(device)
    dataset = config.dataset()
    # Small images do not keep two cores busy; one thread is faster and repeatable beside other processes.
    threads = 1 if config.model == "cnn" and device.type == "cpu" else None
    with repeatable(config.seed, threads):
        return _fit(config, dataset, runs, device, progress)


def one_epoch(network, criterion, optimise, scheduler, images, labels, batch_size, generator, augment, autocast):
    """Every image once, in an order drawn from ``generator``, an incomplete last batch dropped.

    Returns the sum of the batches' losses, on the device: nothing in here waits for it, no number is read.
    """
    network.train(), criterion.train()
    preprocess = getattr(criterion, "preprocess", None)
    total = torch.zeros((), device=images.device)
    order = torch.randperm(len(images), generator=generator, device=images.device)
    for chosen in order[: len(images) // batch_size * batch_size].split(batch_size):
        batch, targets = images[chosen], labels[chosen]
        if augment:
            batch = crop_flip(batch, generator)
        if preprocess:
            batch, targets = preprocess(batch, targets, generator)
        with autocast:
            logits = network(batch)
        loss = criterion(logits, targets)
        optimise.zero_grad(set_to_none=True)
        loss.backward()
        optimise.step()
        scheduler.step()
        total += loss.detach()
    return total


def _fit(config, dataset, runs, device, progress):
    from tqdm.auto import trange

    parts = {name: dataset.part(name) for name in ("train", "validation", "test")}
    sets = {name: part[0] for name, part in parts.items()}
    sets |= {name: data.load_ood(name, dataset).images for name in config.ood}
    part_labels = {name: part[1] for name, part in parts.items()}
    network = models.build(config.model, dataset.num_classes, dataset.shape, config.recipe.head, config.dropout)
    network.standardise_by(sets["train"]).to(device, memory_format=torch.channels_last)
    criterion = config.recipe.criterion(network.classifier, **dict(config.loss_options)).to(device)
    images, labels = (part.to(device) for part in parts["train"])  # all of it: no loader, no copies while it trains
    batch_size = min(config.batch_size, len(images))
    steps = len(images) // batch_size
    optimise = torch.optim.SGD(parameter_groups(network, criterion, config.recipe), lr=config.lr, fused=True,
                               momentum=config.momentum, nesterov=config.nesterov, weight_decay=config.weight_decay)
    scheduler = schedule(optimise, config, steps)
    autocast = fast_precision(device) if config.model != "cnn" else nullcontext()  # too small to gain from it

    history = History(network, criterion, sets, part_labels, config.epochs)
    with autocast:
        history.look(0, None, 0.0)
    bar = trange(1, config.epochs + 1, desc=config.name, disable=not progress, leave=False, unit="epoch")
    for epoch in bar:
        start = time.perf_counter()
        generator = torch.Generator(device).manual_seed(config.seed * 100_003 + epoch)
        total = one_epoch(network, criterion, optimise, scheduler, images, labels, batch_size, generator,
                          config.augment, autocast)
        mean = total.item() / steps
        if not np.isfinite(mean):
            raise FloatingPointError(f"the loss became {mean} in epoch {epoch} of {config.name}: try a smaller lr than "
                                     f"{config.lr}" + (", or positive_temperature=True" if config.loss == "meln" else ""))
        with autocast:
            history.look(epoch, mean, time.perf_counter() - start)
        bar.set_postfix(loss=f"{mean:.3f}")

    records, snapshots = history.finish()
    network.cpu().to(memory_format=torch.contiguous_format)
    found = {name: outputs(network, images) for name, images in sets.items() if name != "train"}
    arrays = {"features": {name: f.numpy() for name, (f, _) in found.items()},
              "logits": {name: z.numpy() for name, (_, z) in found.items()},
              "labels": {name: part_labels[name].numpy() for name in ("validation", "test")},
              "snapshots": snapshots}
    return save(config, runs, network, records, arrays, dataset.classes, dataset.shape,
                torch=torch.__version__, seconds=sum(records["seconds"]))


def fit_all(configs, runs="runs", device=None, progress=True):
    """Fit several configurations; a list of runs in the same order.

    Laptop networks keep one core busy each, so on a CPU they are trained side by side, in a process per core.
    """
    from joblib import Parallel, cpu_count, delayed
    from tqdm.auto import tqdm

    configs = list(configs)
    missing = [config for config in dict.fromkeys(configs) if find(config, runs) is None]
    if len(missing) > 1 and pick_device(device).type == "cpu" and all(c.model == "cnn" for c in missing):
        done = Parallel(min(cpu_count(), len(missing)), return_as="generator_unordered")(
            delayed(fit)(config, runs, "cpu", False) for config in missing)
        for _ in tqdm(done, desc="trainings", total=len(missing), disable=not progress, leave=False):
            pass
    return [fit(config, runs, device, progress)
            for config in tqdm(configs, desc="trainings", disable=not progress or not missing, leave=False)]


def fit_points(points, labels, loss="softmax", seed=0, steps=300, width=64, **options):
    """A small network on points of the plane: the same losses where the whole input space can be drawn.

    points (N, 2) floats of about unit scale, labels (N,); ``options`` go to the loss. Returns the network,
    (B, 2) -> logits (B, C), in evaluation mode; full-batch Adam, so that two seconds are enough.

    >>> corners = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> network = fit_points(corners, torch.tensor([0, 1]), steps=50)
    >>> network(corners).argmax(1)
    tensor([0, 1])
    """
    recipe = losses.recipe(loss)
    if loss == "dismax_fpr":
        raise ValueError("dismax_fpr mixes quadrants of images; points have none, use dismax")
    points, labels = torch.as_tensor(points, dtype=torch.float32), torch.as_tensor(labels).long()
    with repeatable(seed, threads=1), torch.enable_grad():
        layers = [nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        network = nn.Sequential(*layers, recipe.head(width, int(labels.max()) + 1))
        criterion = recipe.criterion(network[-1], **options)
        optimise = torch.optim.Adam(parameter_groups(network, criterion, recipe), lr=0.01)
        for _ in range(steps):
            optimise.zero_grad()
            criterion(network(points), labels).backward()
            optimise.step()
    return network.eval()


def lesson(base, recipes=tuple(losses.RECIPES), seeds=3, runs="runs", device=None, progress=True):
    """Every recipe, trained with seeds 0 to seeds - 1 on what ``base`` says: {recipe: [run per seed]}.

    LogitNorm's temperature is chosen once, on the validation part of seed 0.
    """
    configs = {}
    for name in recipes:
        options = ()
        if name == "logitnorm":
            options = {"temperature": choose_temperature(base, runs=runs, device=device, progress=progress)[0]}
        configs[name] = [replace(base, loss=name, loss_options=options, seed=seed) for seed in range(seeds)]
    trained = iter(fit_all([config for group in configs.values() for config in group], runs, device, progress))
    return {name: [next(trained) for _ in group] for name, group in configs.items()}


def choose_temperature(config, temperatures=(0.04, 0.1, 0.2, 0.3, 0.5, 1.0), runs="runs", device=None,
                       progress=True):
    """LogitNorm's temperature, chosen on the validation part alone.

    The validation images are told from outliers made of those same images (:func:`ood_helpers.data.outliers`), so
    neither a test image nor a test OOD set is looked at. Returns (the temperature with the highest AUROC,
    {temperature: AUROC}).
    """
    configs = [replace(config, loss="logitnorm", loss_options={"temperature": t}, seed=0) for t in temperatures]
    trained = fit_all(configs, runs, device, progress)
    table = {t: validation_auroc(run) for t, run in zip(temperatures, trained)}
    return max(table, key=table.get), table


def validation_auroc(run):
    """AUROC of a run's own score between its validation images and outliers made of them."""
    images = run.images("validation")
    _, logits = outputs(run.load_model(), data.outliers(images, seed=run.config.seed))
    function = scores.score(run.config.recipe.score)
    return metrics.detection(function(run.logits["validation"].astype(np.float64)),
                             function(logits.double().numpy()))["auroc"]
