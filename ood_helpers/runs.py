"""A trained run on disk: named by its configuration, found again instead of trained again."""
import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from . import calibration, losses, metrics, models, scores

FORMAT = 1  # of a run's folder; raised when an older folder can no longer be read

# What the lesson trains on each set unless told otherwise: a laptop's network for the small sets, the field's usual
# one for CIFAR.
LAPTOP = dict(model="cnn", epochs=60, batch_size=32, lr=0.1, weight_decay=5e-4, augment=False)
STANDARD = dict(model="resnet18", epochs=30, batch_size=128, lr=0.1, weight_decay=5e-4, augment=True)
LESSON = {"digits": LAPTOP, "folder": LAPTOP, "mnist": LAPTOP | {"epochs": 5}, "fashion_mnist": LAPTOP | {"epochs": 5},
          "kmnist": LAPTOP | {"epochs": 5}}


@dataclass(frozen=True)
class Config:
    """Everything that decides a training's outcome, and nothing else. Fields left at None take the set's defaults.

    >>> Config(loss="logitnorm", loss_options={"temperature": 0.3}, seed=7).name
    'digits-cnn-logitnorm-temperature0.3-seed7'
    >>> Config(loss="softmx")
    Traceback (most recent call last):
    ValueError: unknown loss 'softmx'; known: softmax, logitnorm, meln, isomax, isomaxplus, dismax, dismax_fpr
    """

    data: str = "digits"
    loss: str = "softmax"
    seed: int = 0
    model: str = None
    epochs: int = None
    batch_size: int = None
    lr: float = None  # of the network; a loss's own parameters have their own, in losses.RECIPES
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = None
    schedule: str = "cosine"  # per step down to zero; or "steps": times 0.1 at each milestone
    milestones: tuple = ()  # epochs
    augment: bool = None  # random crop (4 pixels of padding) and flip
    dropout: float = 0.0
    known: int = None  # the first so many classes are in-distribution, the others are the near OOD set
    fold: int = None  # of five stratified folds; None is the set's own test part
    ood: tuple = None  # names of the OOD sets
    loss_options: tuple = ()  # for the loss's constructor, e.g. {"temperature": 0.3}

    def __post_init__(self):
        from . import data

        losses.recipe(self.loss)
        kind = self.data.partition(":")[0]
        defaults = LESSON.get(kind, STANDARD) | {"ood": data.ood_names(self.data, self.known)}
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        options = dict(self.loss_options)
        object.__setattr__(self, "loss_options", tuple(sorted(options.items())))
        for name in ("ood", "milestones"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.model not in models.BACKBONES:
            raise ValueError(f"unknown model {self.model!r}; known: {', '.join(models.BACKBONES)}")
        if self.schedule not in ("cosine", "steps"):
            raise ValueError(f"unknown schedule {self.schedule!r}; known: cosine, steps")
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")

    @property
    def recipe(self):
        return losses.recipe(self.loss)

    @property
    def label(self):
        """The loss's name and its options, for a legend."""
        options = ", ".join(f"{'τ' if name == 'temperature' else name} {value}" for name, value in self.loss_options)
        return self.recipe.label + (f" ({options})" if options else "")

    @property
    def hash(self):
        # Of what differs from the field's default, so that a field added later leaves older runs their names.
        told = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def name(self):
        options = "".join(f"-{name}{value}" for name, value in self.loss_options)
        fold = "" if self.fold is None else f"-fold{self.fold}"
        text = f"{self.data}-{self.model}-{self.loss}{options}{fold}-seed{self.seed}"
        return re.sub(r"[^A-Za-z0-9.+-]+", "_", text)[-100:]

    def dataset(self):
        """The images it is trained and tested on."""
        from . import data

        whole = data.load(self.data, known=self.known)
        return whole if self.fold is None else data.folds(whole)[self.fold]

    def folder(self, runs):
        return Path(runs) / f"{self.name}-{self.hash}"


@dataclass(frozen=True)
class Run:
    """One trained network and all it says about its validation part, its test part and its OOD sets.

    ``logits``, ``features`` and ``labels`` map a set's name ("validation", "test", then ``config.ood``) to arrays
    (N, C), (N, D) and (N,). ``history`` maps a quantity to its values per epoch (epoch 0 is before training);
    ``history["norm"][set]`` holds the 10 %, 50 % and 90 % quantiles of the logit norm. ``snapshots["epochs"]`` are the
    epochs at which ``snapshots[set]`` (E, n, C), float16, were taken on the set's first n images.
    """

    config: Config
    path: Path
    classes: tuple
    shape: tuple
    history: dict

    @cached_property
    def _arrays(self):
        with np.load(self.path / "outputs.npz") as file:
            return {key: file[key] for key in file.files}

    def _group(self, kind):
        return {key.partition("/")[2]: value for key, value in self._arrays.items() if key.startswith(kind + "/")}

    @cached_property
    def logits(self):
        return self._group("logits")

    @cached_property
    def features(self):
        return self._group("features")

    @cached_property
    def labels(self):
        return self._group("labels")

    @cached_property
    def snapshots(self):
        return self._group("snapshots")

    @property
    def label(self):
        return self.config.label

    @property
    def accuracy(self):
        """On the test part."""
        return metrics.accuracy(self.logits["test"], self.labels["test"])

    def load_model(self):
        """The trained network, in evaluation mode, on the CPU."""
        network = models.build(self.config.model, len(self.classes), self.shape, self.config.recipe.head,
                               self.config.dropout)
        network.load_state_dict(torch.load(self.path / "weights.pt", weights_only=True, map_location="cpu"))
        return network.eval()

    def images(self, name):
        """The images (N, C, H, W) behind ``logits[name]``."""
        from . import data

        dataset = self.config.dataset()
        if name in dataset.parts:
            return dataset.part(name)[0]
        return data.load_ood(name, dataset).images

    def scores(self, score=None, temperature=1.0):
        """Scores of every set from its logits over ``temperature``, higher = more in-distribution.

        ``score`` is a name from ``scores.SCORES``; by default the one the loss's authors use.
        """
        function = scores.score(score or self.config.recipe.score)
        return {name: function(logits.astype(np.float64) / temperature) for name, logits in self.logits.items()}

    def detection(self, score=None, positive="id"):
        """``metrics.detection`` of the test part against each OOD set: a dict of dicts."""
        values = self.scores(score)
        return {name: metrics.detection(values["test"], values[name], positive) for name in self.config.ood}

    def calibrated_temperature(self):
        """The temperature that the validation part asks for; the test part is not looked at."""
        return calibration.fit_temperature(self.logits["validation"], self.labels["validation"])

    def ece(self, temperature=1.0):
        """Expected calibration error of the test part's probabilities, 15 bins, a fraction."""
        logits = torch.from_numpy(self.logits["test"]).double() / temperature
        return metrics.ece(logits.softmax(1), self.labels["test"])


def find(config, runs="runs"):
    """The run of this configuration, or None if it has not been trained."""
    path = config.folder(runs)
    if not (path / "config.json").exists():
        return None
    record = json.loads((path / "config.json").read_text())
    history = json.loads((path / "history.json").read_text())
    return Run(config, path, tuple(record["classes"]), tuple(record["shape"]), history)


def save(config, runs, network, history, outputs, classes, shape, **facts):
    """Write a run's folder beside its place and move it there whole, so that no half run is ever found."""
    place = config.folder(runs)
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        record = {"format": FORMAT, "config": asdict(config), "classes": classes, "shape": shape, **facts}
        (beside / "config.json").write_text(json.dumps(record, indent=1))
        (beside / "history.json").write_text(json.dumps(history))
        torch.save(network.state_dict(), beside / "weights.pt")
        np.savez(beside / "outputs.npz", **{f"{kind}/{name}": array for kind, group in outputs.items()
                                            for name, array in group.items()})
        beside.chmod(0o755)  # mkdtemp's folder is for its owner alone
        shutil.rmtree(place, ignore_errors=True)
        beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return find(config, runs)
