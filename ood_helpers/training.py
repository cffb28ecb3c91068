"""Fit a configuration and keep its history."""
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from . import data, losses, metrics, models, scores
from .runs import find, save

PROBE = 128  # images of each set whose logits are followed through training
SNAPSHOTS = 12  # epochs at which those logits are kept


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


@torch.no_grad()
def outputs(network, images, batch_size=1000):
    """Features (N, D) and logits (N, C) of uint8 images (N, C, H, W), in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    features, logits = [], []
    for batch in images.split(batch_size):
        features.append(network.features(batch.to(device)))
        logits.append(network.classifier(features[-1]))
    return torch.cat(features), torch.cat(logits)


class History:
    """Follows the first images of every set through training; its records are plain lists, ready for JSON."""

    def __init__(self, network, criterion, sets, labels, epochs):
        self.network, self.criterion, self.labels = network, criterion, labels
        self.sizes = {name: min(len(images), PROBE) for name, images in sets.items()}
        device = next(network.parameters()).device
        self.images = torch.cat([images[: self.sizes[name]] for name, images in sets.items()]).to(device)
        self.kept = {int(e) for e in np.unique(np.geomspace(1, epochs, SNAPSHOTS - 1).round())} | {0}
        self.snapshots = {"epochs": [], **{name: [] for name in sets}}
        self.records = {"epoch": [], "loss": [], "seconds": [], "accuracy": {name: [] for name in labels},
                        "norm": {name: [] for name in sets}, "confidence": {name: [] for name in sets}}

    def record(self, epoch, loss, seconds):
        _, logits = outputs(self.network, self.images)
        logits = dict(zip(self.sizes, logits.cpu().float().split(list(self.sizes.values()))))
        records = self.records
        records["epoch"].append(epoch)
        records["loss"].append(loss)
        records["seconds"].append(round(seconds, 4))
        quantiles = torch.tensor([0.1, 0.5, 0.9])
        for name, values in logits.items():
            records["norm"][name].append(values.norm(dim=1).quantile(quantiles).tolist())
            records["confidence"][name].append(values.softmax(1).amax(1).mean().item())
            if name in self.labels:
                records["accuracy"][name].append(metrics.accuracy(values, self.labels[name][: len(values)]))
        for name, module, attribute in (("temperature", self.criterion, "temperature"),
                                        ("margin", self.criterion, "margin"),
                                        ("scale", self.network.classifier, "distance_scale")):
            if hasattr(module, attribute):
                records.setdefault(name, []).append(torch.as_tensor(getattr(module, attribute)).item())
        if epoch in self.kept:
            self.snapshots["epochs"].append(epoch)
            for name, values in logits.items():
                self.snapshots[name].append(values.half().numpy())


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


def _fit(config, dataset, runs, device, progress):
    from tqdm.auto import trange

    images, labels = (part.to(device) for part in dataset.part("train"))
    network = models.build(config.model, dataset.num_classes, dataset.shape, config.recipe.head, config.dropout)
    network.standardise_by(images).to(device)
    criterion = config.recipe.criterion(network.classifier, **dict(config.loss_options)).to(device)
    batch_size = min(config.batch_size, len(images))
    steps = len(images) // batch_size
    optimise = torch.optim.SGD(parameter_groups(network, criterion, config.recipe), lr=config.lr,
                               momentum=config.momentum, nesterov=config.nesterov, weight_decay=config.weight_decay)
    scheduler = schedule(optimise, config, steps)

    parts = {name: dataset.part(name) for name in ("train", "validation", "test")}
    sets = {name: part[0] for name, part in parts.items()}
    sets |= {name: data.load_ood(name, dataset).images for name in config.ood}
    part_labels = {name: part[1] for name, part in parts.items()}
    history = History(network, criterion, sets, part_labels, config.epochs)
    history.record(0, None, 0.0)
    preprocess = getattr(criterion, "preprocess", None)
    bar = trange(1, config.epochs + 1, desc=config.name, disable=not progress, leave=False, unit="epoch")
    for epoch in bar:
        start = time.perf_counter()
        generator = torch.Generator(device).manual_seed(config.seed * 100_003 + epoch)
        network.train(), criterion.train()
        order = torch.randperm(len(images), generator=generator, device=device)
        total = torch.zeros((), device=device)
        for step in range(steps):
            chosen = order[step * batch_size:(step + 1) * batch_size]
            batch, targets = images[chosen], labels[chosen]
            if config.augment:
                batch = crop_flip(batch, generator)
            if preprocess:
                batch, targets = preprocess(batch, targets, generator)
            loss = criterion(network(batch), targets)
            optimise.zero_grad(set_to_none=True)
            loss.backward()
            optimise.step()
            scheduler.step()
            total += loss.detach()
        mean = (total / steps).item()
        if not np.isfinite(mean):
            raise FloatingPointError(f"the loss became {mean} in epoch {epoch} of {config.name}: try a smaller lr than "
                                     f"{config.lr}" + (", or positive_temperature=True" if config.loss == "meln" else ""))
        history.record(epoch, mean, time.perf_counter() - start)
        bar.set_postfix(loss=f"{mean:.3f}", val=f"{history.records['accuracy']['validation'][-1]:.3f}")
    return _finish(config, runs, dataset, network.cpu(), history, sets, part_labels)


def _finish(config, runs, dataset, network, history, sets, labels):
    features, logits = {}, {}
    for name, images in sets.items():
        if name != "train":
            f, z = outputs(network, images)
            features[name], logits[name] = f.float().numpy(), z.float().numpy()
    arrays = {"features": features, "logits": logits,
              "labels": {name: values.numpy() for name, values in labels.items() if name != "train"},
              "snapshots": {name: np.asarray(values) for name, values in history.snapshots.items()}}
    return save(config, runs, network, history.records, arrays, dataset.classes, dataset.shape,
                     torch=torch.__version__, seconds=sum(history.records["seconds"]))


def fit_all(configs, runs="runs", device=None, progress=True):
    """Fit several configurations; a list of runs in the same order."""
    from tqdm.auto import tqdm

    return [fit(config, runs, device, progress)
            for config in tqdm(list(configs), desc="runs", disable=not progress, leave=False)]


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
