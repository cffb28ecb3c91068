"""Fit a configuration: find its run, go on with it, or train it."""

import time
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

from . import data, metrics, models
from .distributed import Team
from .loop import History, keep_memory, one_epoch, outputs, parameter_groups, precision, schedule
from .runs import Checkpoint, DamagedRun, find, save

CHECKPOINT_SHARE = 0.02  # of the time may go into checkpoints


def pick_device(name=None):
    """``torch.device`` by name; by default the GPU where there is one.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name in (None, "", "auto"):
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("a GPU was asked for, but torch sees none here; use device='cpu'")
    return device


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
    runs : folder where runs are kept
    device : "cpu", "cuda", or None for the GPU where there is one
    progress : show a bar

    Returns a :class:`ood_helpers.runs.Run`. The same configuration on the same machine gives the same numbers, also
    when it was stopped, however hard, and started again: it goes on from its last checkpoint. Two processes that ask
    for the same configuration train it once. Started by torchrun, the processes share each batch.

    Errors: ValueError when a set or a name is unknown, FloatingPointError when the loss becomes NaN, OSError when the
    folder cannot be written.
    """
    device = pick_device(device)
    with Team.assemble(device) as team:
        run = look_up(config, runs)
        if not team.told(run is not None):
            checkpoint = Checkpoint(config, runs)
            with checkpoint.alone() if team.rank == 0 else nullcontext():
                if not team.told(look_up(config, runs, say=False) is not None):  # or else another process was faster
                    _train(config, runs, device, team, checkpoint, progress)
        return run or find(config, runs)


def look_up(config, runs, say=True):
    """The run, if there is a whole one; a damaged one is told of and counts as none."""
    try:
        return find(config, runs)
    except DamagedRun as error:
        if say:
            print(f"{error}; training it again")
        return None


def _train(config, runs, device, team, checkpoint, progress):
    # Small images do not keep two cores busy; one thread is faster and repeatable beside other processes.
    threads = 1 if config.model == "cnn" and device.type == "cpu" else None
    keep_memory()
    with repeatable(config.seed + 7919 * team.rank, threads):
        try:
            _Training(config, config.dataset(), device, team, checkpoint).run(runs, progress)
        except KeyboardInterrupt:
            print(f"stopped; calling it again goes on from the last checkpoint of {config.name}")
            raise
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error):
                raise ValueError(
                    f"{config.model} does not fit in the device's memory with batches of "
                    f"{config.batch_size}; try batch_size={max(1, config.batch_size // 2)}"
                ) from None
            if "too small" in str(error):
                raise ValueError(
                    f"the images of {config.data} are too small for {config.model}; load larger ones or "
                    "take another model, such as cnn"
                ) from None
            raise


class _Training:
    """All that changes while a configuration is trained, and how it is put down and taken up again."""

    def __init__(self, config, dataset, device, team, checkpoint):
        self.config, self.dataset, self.device, self.team, self.checkpoint = config, dataset, device, team, checkpoint
        parts = {name: dataset.split(name) for name in ("train", "validation", "test")}
        self.labels = {name: part[1] for name, part in parts.items()}
        self.sets = {name: part[0] for name, part in parts.items()}
        self.sets |= {name: data.load_ood(name, dataset).images[: config.limit] for name in config.ood}
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)  # the same first weights in every process of a team
            self.network = models.build(
                config.model, dataset.num_classes, dataset.shape, config.recipe.head, config.dropout
            )
        self.network.standardise_by(self.sets["train"]).to(device, memory_format=torch.channels_last)
        self.criterion = config.recipe.criterion(self.network.classifier, **dict(config.loss_options)).to(device)
        self.images, self.targets = self._placed(self.sets["train"], self.labels["train"])
        self.batch_size = min(config.batch_size, len(self.images))
        if team.size > len(self.images):
            raise ValueError(
                f"{team.size} processes are more than there are training images, {len(self.images)}; start fewer"
            )
        if self.batch_size % team.size:
            raise ValueError(f"batches of {self.batch_size} cannot be shared evenly by {team.size} processes")
        self.steps = len(self.images) // self.batch_size
        groups = parameter_groups(self.network, self.criterion, config.recipe, config.head_lr)
        self.optimise = torch.optim.SGD(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scheduler = schedule(self.optimise, config, self.steps)
        # the laptop's network is too small to gain from bfloat16
        wanted = "float32" if config.precision == "auto" and config.model == "cnn" else config.precision
        self.autocast = precision(device, wanted)
        self.history = History(self.network, self.criterion, self.sets, self.labels, config.epochs)
        self.epoch, self.best = 0, None  # best: (accuracy, epoch, weights) where one epoch is selected

    def _placed(self, images, labels):
        """The whole set on the device, where it fits: no loader, no copies while it trains."""
        if self.device.type == "cuda" and images.numel() > torch.cuda.mem_get_info(self.device)[0] / 2:
            print(f"{self.config.data} does not fit in the GPU's memory; its batches come through a loader")
            return images, labels
        return images.to(self.device), labels.to(self.device)

    def run(self, runs, progress):
        from tqdm.auto import tqdm

        config, first = self.config, self.team.rank == 0
        state = self.team.told(self.checkpoint.read() if first else None)
        if state is not None:
            self._restore(state)
        else:
            self._look(None, 0.0)
        model = self.team.wrap(self.network)
        bar = tqdm(
            total=config.epochs,
            initial=self.epoch,
            desc=config.name,
            unit="epoch",
            leave=False,
            disable=not (progress and first),
        )
        written, cost = time.perf_counter(), 0.0
        while self.epoch < config.epochs:
            start = time.perf_counter()
            self.epoch += 1
            generator = torch.Generator(self.device).manual_seed(config.seed * 100_003 + self.epoch)
            total = one_epoch(
                model,
                self.criterion,
                self.optimise,
                self.scheduler,
                self.images,
                self.targets,
                self.batch_size,
                generator,
                config.augment,
                self.autocast,
                self.team,
            )
            mean = total.item() / self.steps
            if not np.isfinite(mean):
                self.checkpoint.remove()
                hint = ", or positive_temperature=True" if config.loss == "meln" else ""
                raise FloatingPointError(
                    f"the loss became {mean} in epoch {self.epoch} of {config.name}: try a "
                    f"smaller lr than {config.lr}{hint}"
                )
            self._look(mean, time.perf_counter() - start)
            now = time.perf_counter()
            if self.team.told(self.epoch < config.epochs and now - written > cost / CHECKPOINT_SHARE):
                state = self._state()
                if first:
                    self.checkpoint.write(state)
                written, cost = time.perf_counter(), time.perf_counter() - now
            bar.update()
            bar.set_postfix(loss=f"{mean:.3f}")
        bar.close()
        if first:
            self._finish(runs)
        self.team.told(None)  # nobody reads the run before it is written

    def _look(self, loss, seconds):
        if self.team.rank:
            return
        with self.autocast:
            self.history.look(self.epoch, loss, seconds)
        if self.config.select != "last" and self.epoch:
            part = self.config.select
            accuracy = metrics.accuracy(outputs(self.network, self.sets[part])[1], self.labels[part])
            if self.best is None or accuracy > self.best["accuracy"]:
                weights = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
                self.best = {"accuracy": accuracy, "epoch": self.epoch, "weights": weights}

    def _state(self):
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimiser": self.optimise.state_dict(),
            "schedule": self.scheduler.state_dict(),
            "best": self.best,
            "history": self.history.state(),
            "random": self.team.everybodys((torch.get_rng_state(), cuda)),
        }

    def _restore(self, state):
        self.epoch, self.best = state["epoch"], state["best"]
        for name, part in (
            ("network", self.network),
            ("criterion", self.criterion),
            ("optimiser", self.optimise),
            ("schedule", self.scheduler),
        ):
            part.load_state_dict(state[name])
        self.history.restore(state["history"])
        cpu, cuda = state["random"][self.team.rank]
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, self.device)

    def _finish(self, runs):
        records, snapshots = self.history.finish()
        facts = {"torch": torch.__version__, "seconds": sum(records["seconds"])}
        if self.best is not None:
            self.network.load_state_dict(self.best["weights"])
            facts["selected_epoch"] = self.best["epoch"]
        self.network.cpu().to(memory_format=torch.contiguous_format)
        found = {name: outputs(self.network, images) for name, images in self.sets.items() if name != "train"}
        arrays = {
            "features": {name: f.numpy() for name, (f, _) in found.items()},
            "logits": {name: z.numpy() for name, (_, z) in found.items()},
            "labels": {name: self.labels[name].numpy() for name in ("validation", "test")},
            "snapshots": snapshots,
        }
        save(self.config, runs, self.network, records, arrays, self.dataset.classes, self.dataset.shape, **facts)
        self.checkpoint.remove()
