"""Everything that decides a training's outcome, and nothing else."""

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

from . import data, losses, models

# What the lesson trains on each set unless told otherwise: a laptop's network for the small sets, the field's usual
# one for the others.
LAPTOP = dict(model="cnn", epochs=60, batch_size=32, lr=0.1, weight_decay=5e-4, augment="none")
STANDARD = dict(model="resnet18", epochs=30, batch_size=128, lr=0.1, weight_decay=5e-4, augment="crop_flip")
LESSON = {
    "digits": LAPTOP,
    "folder": LAPTOP,
    "mnist": LAPTOP | {"epochs": 5},
    "fashion_mnist": LAPTOP | {"epochs": 5},
    "kmnist": LAPTOP | {"epochs": 5},
}

_CIFAR = dict(data="cifar10", lr=0.1, momentum=0.9, augment="crop_flip")
_ISOMAX = _CIFAR | dict(
    model="densenet_bc_100_12",
    epochs=300,
    batch_size=64,
    nesterov=True,
    weight_decay=1e-4,
    schedule="steps",
    milestones=(150, 200, 250),
)
# The papers' protocols, as their public code has them.
PRESETS = {
    "logitnorm": _CIFAR
    | dict(
        loss="logitnorm",
        loss_options={"temperature": 0.04},
        model="wrn_40_2",
        dropout=0.3,
        epochs=200,
        batch_size=128,
        nesterov=False,
        weight_decay=5e-4,
        schedule="steps",
        milestones=(80, 140),
        ood=("textures", "places365", "svhn", "lsun_crop", "lsun_resize", "isun"),
    ),
    "openood": _CIFAR
    | dict(
        loss="logitnorm",
        loss_options={"temperature": 0.04},
        model="resnet18",
        epochs=100,
        batch_size=128,
        nesterov=True,
        weight_decay=5e-4,
        schedule="cosine",
        ood=("cifar100", "tiny_imagenet", "mnist", "svhn", "textures", "places365"),
    ),
    "isomax": _ISOMAX | dict(loss="isomaxplus", ood=("tinyimagenet_resize", "lsun_resize", "svhn")),
    "dismax": _ISOMAX | dict(loss="dismax_fpr", ood=("cifar100", "tinyimagenet_resize", "lsun_resize", "svhn")),
    "dismax-imagenet": dict(
        data="imagenet",
        loss="dismax_fpr",
        model="resnet18_224",
        epochs=90,
        batch_size=256,
        lr=0.1,
        nesterov=False,
        weight_decay=1e-4,
        schedule="steps",
        milestones=(30, 60),
        augment="resized_crop",
        ood=("imagenet_o",),
    ),
    "meln": dict(
        data="folder:images",
        loss="meln",
        model="resnet50_pretrained",
        epochs=50,
        batch_size=32,
        lr=0.01,
        head_lr=0.2,
        nesterov=False,
        weight_decay=0.0,
        schedule="steps",
        milestones=(10, 20, 30, 40),
        augment="none",
        fold=0,
        ood=("patches",),
    ),
}
CHOICES = {
    "schedule": ("cosine", "steps"),
    "augment": ("none", "crop_flip", "resized_crop"),
    "select": ("last", "validation", "test"),
    "precision": ("auto", "float32", "bfloat16"),
}


@dataclass(frozen=True)
class Config:
    """One training. Fields left at None take the set's defaults for the lesson (``LESSON``) where it has any.

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
    augment: str = None  # "crop_flip": 4 pixels of padding; "resized_crop": as for ImageNet
    dropout: float = 0.0
    known: int = None  # the first so many classes are in-distribution, the others are the near OOD set
    fold: int = None  # of five stratified folds; None is the set's own test part
    ood: tuple = None  # names of the OOD sets
    loss_options: tuple = ()  # for the loss's constructor, e.g. {"temperature": 0.3}
    head_lr: float = None  # of the classifier; None is lr
    select: str = "last"  # which epoch is kept: the last, or the most accurate on this part ("test" is a leak)
    limit: int = None  # at most so many images of each part and set
    precision: str = "auto"  # of the network's products: bfloat16 where the machine computes it fast

    def __post_init__(self):
        try:
            options = dict(self.loss_options)
        except (TypeError, ValueError):
            options = {None: None}
        if not all(
            isinstance(name, str) and isinstance(value, (bool, int, float, str)) for name, value in options.items()
        ):
            raise ValueError(f"loss_options must map names to values, not {self.loss_options!r}")
        object.__setattr__(self, "loss_options", tuple(sorted(options.items())))
        for field in fields(self):
            self._check(field)
        losses.recipe(self.loss)
        defaults = LESSON.get(self.data.partition(":")[0], STANDARD) | {"ood": data.ood_names(self.data, self.known)}
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.model not in models.BACKBONES:
            raise ValueError(f"unknown model {self.model!r}; known: {', '.join(models.BACKBONES)}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least one image, not {self.limit}")
        if self.fold is not None and not 0 <= self.fold < 5:
            raise ValueError(f"fold must be 0 to 4, not {self.fold}")

    def _check(self, field):
        value = getattr(self, field.name)
        if field.type is tuple and isinstance(value, list):
            object.__setattr__(self, field.name, value := tuple(value))
        if field.name in ("milestones", "ood") and value is not None:
            kind = {"milestones": int, "ood": str}[field.name]
            if not isinstance(value, tuple) or not all(isinstance(item, kind) for item in value):
                raise ValueError(f"{field.name} must be of type tuple, of {kind.__name__}, not {value!r}")
        kinds = {float: (int, float)}.get(field.type, field.type)
        wrong = not isinstance(value, kinds) or (isinstance(value, bool) and field.type is not bool)
        if wrong and not (value is None and field.default is None):
            raise ValueError(f"{field.name} must be of type {field.type.__name__}, not {value!r}")

    @classmethod
    def preset(cls, name, **changes):
        """A paper's protocol; every field can be changed.

        >>> Config.preset("dismax", model="resnet34", seed=1).name
        'cifar10-resnet34-dismax_fpr-seed1'
        """
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
        protocol = PRESETS[name] | changes
        if "loss" in changes and "loss_options" not in changes:
            protocol.pop("loss_options", None)  # one loss's options mean nothing to another
        return cls(**protocol)

    @classmethod
    def from_dict(cls, record):
        """From a run's JSON, which anybody may have edited: unknown names and wrong types are refused."""
        known = [field.name for field in fields(cls)]
        for name in record:
            if name not in known:
                raise ValueError(f"unknown field {name!r} in a configuration; known: {', '.join(known)}")
        return cls(**record)

    def quick(self):
        """Two epochs of a few images: does everything run? The numbers mean nothing."""
        return replace(
            self,
            epochs=2,
            limit=min(self.limit or 128, 128),
            batch_size=min(self.batch_size, 32),
            milestones=(1,) if self.milestones else (),
        )

    @property
    def recipe(self):
        return losses.recipe(self.loss)

    @property
    def label(self):
        """The loss's name and its options, for a legend."""
        options = ", ".join(_in_words(name, value) for name, value in self.loss_options)
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
        return re.sub(r"[^A-Za-z0-9.+-]+", "_", text)[-100:].lstrip(".")

    def folder(self, runs):
        return Path(runs) / f"{self.name}-{self.hash}"

    def dataset(self):
        """The images it is trained and tested on."""
        size = None
        if self.model in models.LARGE:
            size = 256 if self.augment == "resized_crop" else 224  # crops are taken from images a little larger
        whole = data.load(self.data, known=self.known, size=size)
        whole = whole if self.fold is None else data.folds(whole)[self.fold]
        if self.limit is None:
            return whole
        spread = {
            name: [i * len(index) // self.limit for i in range(self.limit)] if len(index) > self.limit else slice(None)
            for name, index in whole.splits.items()
        }
        return replace(whole, splits={name: index[spread[name]] for name, index in whole.splits.items()})


def _in_words(option, value):
    """A loss's option for a legend.

    >>> _in_words("temperature", 0.3), _in_words("entropic_scale", 50 ** 0.5), _in_words("positive_temperature", True)
    ('τ 0.3', 'entropic scale 7.07', 'T > 0')
    """
    if option == "positive_temperature":
        return "T > 0" if value else "any T"
    number = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{'τ' if option == 'temperature' else option} {number}".replace("_", " ")
