"""Train a configuration, resuming from its checkpoint, or return its saved run.

A training is one loop, ``Trainer.run``: an epoch of steps (``train_epoch``), its history (``evaluate``), a checkpoint.
The same configuration on the same machine gives the same bits, whatever stopped it in between.
"""

import hashlib
import io
import math
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from . import metrics, models
from .config import Config, ResolvedConfig
from .data import ImageSet
from .data.augmentation import AUGMENTATIONS, alternating_flips
from .engine import backbones, files
from .engine.device import pick_device, precision, repeatable
from .engine.history import History, outputs
from .engine.optimization import parameter_groups, schedule
from .runs import Run, folder_digest, load_dataset, load_if_intact, load_sets, save_run

CHECKPOINT_SHARE = 0.02  # of the time may go into checkpoints


class Checkpoint:
    """The state of an unfinished training on disk, with a checksum, and the lock of the process that trains it."""

    def __init__(self, config: Config, runs: str | Path):
        self.path = Path(runs) / ".training" / f"{config.folder(runs).name}.pt"

    def write(self, state: dict) -> None:
        """Replace what is on disk."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        files.atomic_write(self.path, hashlib.sha256(content).hexdigest().encode() + content)

    def read(self) -> dict | None:
        """The state, or None where there is none or, with a warning, where it is damaged."""
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        if content[:64] != hashlib.sha256(content[64:]).hexdigest().encode():
            warnings.warn(f"{self.path} is damaged; the training starts from the beginning", stacklevel=2)
            return None
        return torch.load(io.BytesIO(content[64:]), weights_only=True, map_location="cpu")

    def remove(self) -> None:
        """Remove it, and temporary files of killed processes."""
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*.part")):
            path.unlink(missing_ok=True)

    def locked(self) -> AbstractContextManager:
        """Hold this training's lock; wait while another process trains it."""
        return files.locked(self.path.with_suffix(".lock"), f"waiting for another process that trains {self.path.stem}")


class Trainer:
    """One training: network, loss, optimizer, schedule and history.

    ``papers.distributed.DistributedTrainer``, for several processes, overrides the five methods after the constructor.
    """

    def __init__(self, config: ResolvedConfig, dataset: ImageSet, device: torch.device):
        self.config, self.dataset, self.device = config, dataset, device
        self.sets, self.labels = load_sets(config, dataset)
        recipe, shape = config.recipe, dataset.shape
        with repeatable(config.seed):
            self.network = models.build(config.model, dataset.num_classes, shape, recipe.head, config.dropout)
        self.network.standardise_by(self.sets["train"]).to(device).to(memory_format=torch.channels_last)
        self.model: nn.Module = self.network
        self.criterion = recipe.criterion(self.network.classifier, **dict(config.loss_options)).to(device)
        self.images, self.targets = self.sets["train"], self.labels["train"]
        if device.type != "cuda" or self.images.numel() <= torch.cuda.mem_get_info(device)[0] / 2:
            self.images, self.targets = self.images.to(device), self.targets.to(device)
        self.batch_size = min(config.batch_size, len(self.images))
        self.steps = len(self.images) // self.batch_size
        groups = parameter_groups(self.network, self.criterion, config)
        options = {name: getattr(config, name) for name in ("lr", "momentum", "nesterov", "weight_decay")}
        self.optimizer = torch.optim.SGD(groups, fused=True, **options)
        self.scheduler = schedule(self.optimizer, config, self.steps)
        small = config.model in backbones.SMALL and config.precision == "auto"
        self.autocast = precision(device, "float32" if small else config.precision)
        self.average: AveragedModel | None = None
        if config.ema_decay:
            average = get_ema_multi_avg_fn(config.ema_decay)
            self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self.evaluated = cast(models.Network, self.average.module) if self.average else self.network
        self.history = History(self.evaluated, self.criterion, self.sets, self.labels, config.epochs)
        self.stateful: dict[str, Any] = {
            "network": self.network,
            "criterion": self.criterion,
            "optimizer": self.optimizer,
        }
        self.stateful |= {"schedule": self.scheduler, "history": self.history}  # by their names in a checkpoint
        if self.average:
            self.stateful["average"] = self.average
        self.epoch = 0
        self.best: dict | None = None  # accuracy, epoch and weights of the selected epoch

    @staticmethod
    def rank() -> int:
        """Number of this process; process 0 writes checkpoints and the run."""
        return 0

    @staticmethod
    def broadcast(value):
        """The value of process 0."""
        return value

    @staticmethod
    def all_gather_objects(value) -> list:
        """The values of all processes."""
        return [value]

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of a batch."""
        return self.model(images)

    def backward(self, loss: Tensor) -> None:
        """Gradients of all parameters."""
        loss.backward()

    def train_epoch(self) -> float:
        """One step per batch of the shuffled images, an incomplete last batch dropped; returns the mean loss."""
        self.model.train(), self.criterion.train()
        generator = torch.Generator(self.device).manual_seed(self.config.seed * 100_003 + self.epoch)
        augment, preprocess = AUGMENTATIONS[self.config.augment], getattr(self.criterion, "preprocess", None)
        total = torch.zeros((), device=self.device)  # stays on the device: no step waits for it
        order = torch.randperm(len(self.images), generator=generator, device=self.device).to(self.images.device)
        flips = alternating_flips(len(self.images), self.config.seed, self.epoch).to(self.device)
        for index in order[: self.steps * self.batch_size].split(self.batch_size):
            images, targets = (x[index].to(self.device, non_blocking=True) for x in (self.images, self.targets))
            images = augment(images, generator, flips[index])
            if preprocess:
                images, targets = preprocess(images, targets, generator)
            with self.autocast:
                logits = self.forward(images)
            loss = self.criterion(logits, targets)
            self.optimizer.zero_grad(set_to_none=True)
            self.backward(loss)
            self.optimizer.step()
            self.scheduler.step()
            if self.average:
                self.average.update_parameters(self.network)
            total += loss.detach()
        return total.item() / self.steps

    def evaluate(self, loss: float | None, seconds: float) -> None:
        """Record the epoch's history; store its weights where it is the best one so far and one is selected."""
        with self.autocast:
            self.history.record(self.epoch, loss, seconds)
        split = self.config.select
        if split != "last" and self.epoch > 0:
            accuracy = metrics.accuracy(outputs(self.evaluated, self.sets[split])[1], self.labels[split])
            if self.best is None or accuracy > self.best["accuracy"]:
                weights = {name: value.detach().cpu().clone() for name, value in self.evaluated.state_dict().items()}
                self.best = {"accuracy": accuracy, "epoch": self.epoch, "weights": weights}

    def run(self, runs: str | Path, checkpoint: Checkpoint, progress: bool = True) -> Run:
        """Train from the checkpoint, or from the beginning, to the last epoch, and save the run."""
        config = self.config
        if (state := self.broadcast(checkpoint.read())) is not None:
            self.load_state_dict(state)
        else:
            self.evaluate(None, 0.0)
        hidden = not progress or self.rank() > 0
        bar = tqdm(None, config.name, config.epochs, leave=False, initial=self.epoch, unit="epoch", disable=hidden)
        written, cost = time.perf_counter(), 0.0
        while self.epoch < config.epochs:
            start = time.perf_counter()
            self.epoch += 1
            loss = self.train_epoch()
            if not math.isfinite(loss):
                checkpoint.remove()
                remedy = f", or {config.recipe.remedy}" if config.recipe.remedy else ""
                message = f"the loss became {loss} in epoch {self.epoch} of {config.name}"
                raise FloatingPointError(f"{message}: try a smaller lr than {config.lr}{remedy}")
            self.evaluate(loss, time.perf_counter() - start)
            now = time.perf_counter()
            if self.broadcast(self.epoch < config.epochs and now - written > cost / CHECKPOINT_SHARE):
                state = self.state_dict()
                if self.rank() == 0:
                    checkpoint.write(state)
                written, cost = time.perf_counter(), time.perf_counter() - now
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}")
        bar.close()
        run = self.broadcast(self.save(runs) if self.rank() == 0 else None)
        checkpoint.remove()
        return run

    def state_dict(self) -> dict:
        """Everything that the rest of the training depends on."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        state = {name: part.state_dict() for name, part in self.stateful.items()}
        random = self.all_gather_objects((torch.get_rng_state(), cuda))
        return state | {"epoch": self.epoch, "best": self.best, "random": random}

    def load_state_dict(self, state: dict) -> None:
        """Continue from the ``state_dict`` of an interrupted training."""
        if "optimiser" in state:  # its name in checkpoints of earlier versions
            state["optimizer"] = state.pop("optimiser")
        self.epoch, self.best = state["epoch"], state["best"]
        for name, part in self.stateful.items():
            part.load_state_dict(state[name])
        if self.rank() < len(state["random"]):  # more processes may continue than were interrupted
            cpu, cuda = state["random"][self.rank()]
            torch.set_rng_state(cpu)
            if cuda is not None:
                torch.cuda.set_rng_state(cuda, self.device)

    def save(self, runs: str | Path) -> Run:
        """Save the run: weights, history, and the outputs on all sets but the training split."""
        history, snapshots = self.history.summary()
        facts = {"torch": torch.__version__, "seconds": sum(history["seconds"])}
        if (digest := folder_digest(self.config, self.sets, self.labels)) is not None:
            facts["digest"] = digest
        if self.best is not None:
            self.evaluated.load_state_dict(self.best["weights"])
            facts["selected_epoch"] = self.best["epoch"]
        self.evaluated.cpu().to(memory_format=torch.contiguous_format)
        results = {name: outputs(self.evaluated, images) for name, images in self.sets.items() if name != "train"}
        arrays = {
            "features": {name: features.numpy() for name, (features, _) in results.items()},
            "logits": {name: logits.numpy() for name, (_, logits) in results.items()},
            "labels": {name: self.labels[name].numpy() for name in ("validation", "test")},
            "snapshots": snapshots,
        }
        return save_run(self.config, runs, self.evaluated, history, arrays, self.dataset, **facts)


def fit(
    config: Config,
    runs: str | Path = "runs",
    device: str | None = None,
    progress: bool = True,
    trainer: type[Trainer] = Trainer,
) -> Run:
    """Train a configuration, or return its run if that was done before.

    It resumes from its last checkpoint, to the same bits. Of several processes that ask for one configuration, one
    trains it. The caller's random state, number of threads and memory allocator are left as they were.

    Parameters
    ----------
    config : Config
    runs : directory of all runs
    device : "cpu", "cuda", or None for the GPU where there is one
    progress : whether to show a progress bar
    trainer : ``papers.distributed.DistributedTrainer`` where several processes share the training

    Returns
    -------
    runs.Run

    Raises
    ------
    ValueError, FloatingPointError, OSError
        When a name is unknown, memory is too small, or the images of a folder have changed since the run was trained;
        when the loss becomes NaN; when nothing can be written.
    """
    config, chosen, checkpoint = config.resolved(), pick_device(device), Checkpoint(config, runs)
    # Small images do not keep two cores busy; one thread is faster and repeatable beside other processes.
    threads = 1 if config.model in backbones.SMALL and chosen.type == "cpu" else None
    if run := trainer.broadcast(load_if_intact(config, runs)):
        return run
    with checkpoint.locked() if trainer.rank() == 0 else nullcontext(), repeatable(config.seed, threads, chosen):
        if run := trainer.broadcast(load_if_intact(config, runs)):  # another process was faster
            return run
        try:
            return trainer(config, load_dataset(config), chosen).run(runs, checkpoint, progress)
        except KeyboardInterrupt as error:
            error.add_note(f"Call fit again to resume {config.name} from its last checkpoint.")
            raise
        except (torch.OutOfMemoryError, MemoryError):
            message = f"{config.model} does not fit in the device's memory with batches of {config.batch_size}; "
            raise ValueError(f"{message}try batch_size={max(1, config.batch_size // 2)}") from None
