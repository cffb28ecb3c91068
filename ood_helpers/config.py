"""Everything that decides a training's outcome, and nothing else."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from . import data, losses
from .engine.backbones import MODELS
from .presets import COSINE, LESSON, PHOTOGRAPHS, PRESETS, STANDARD

CHOICES = {
    "model": MODELS,
    "schedule": ("cosine", "steps", "triangular"),
    "augment": ("none", "crop_flip", "shift_flip", "resized_crop"),
    "select": ("last", "validation", "test"),
    "precision": ("auto", "float32", "bfloat16"),
}


@dataclass(frozen=True, eq=False)
class Config:
    """One training. A field that is None takes the default of its image set when the configuration is used.

    ``resolved()`` fills these defaults in (``LESSON``, ``STANDARD``, ``PHOTOGRAPHS`` and ``data.ood_names``); names,
    folders and comparisons are of resolved configurations, so that writing a default out changes nothing.

    >>> Config(loss="logitnorm", loss_options={"temperature": 0.3}, seed=7).name
    'digits-cnn-logitnorm-temperature0.3-seed7'
    >>> replace(Config("digits"), data="cifar10").resolved().model
    'airbench'
    >>> Config(loss="softmx")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: unknown loss 'softmx'; known: softmax, logitnorm, ...
    """

    data: str = "digits"
    loss: str = "softmax"
    seed: int = 0
    model: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None  # of the network; a loss's own parameters have their own, in losses.RECIPES
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float | None = None
    schedule: str | None = None  # "cosine" to zero; "triangular": linear up and down; "steps": times 0.1 at milestones
    warmup: float | None = None  # share of a triangular schedule in which the rate rises
    milestones: tuple[int, ...] = ()  # epochs
    augment: str | None = None  # "crop_flip": 4 pixels of zeros; "shift_flip": 2, reflected; "resized_crop": ImageNet's
    dropout: float = 0.0
    known: int | None = None  # the first so many classes are in-distribution, the others are the near OOD set
    fold: int | None = None  # of five stratified folds; None is the set's own test split
    ood: tuple[str, ...] | None = None  # names of the OOD sets
    loss_options: Any = ()  # for the loss's constructor, e.g. {"temperature": 0.3}; stored as sorted pairs
    head_lr: float | None = None  # of the classifier; None: the image set's default, or lr
    norm_bias_lr: float | None = None  # of the batch norms' biases; None: the image set's default, or lr
    # per step, of the average of the weights that is evaluated; 0: no average; None: the image set's default, or 0
    ema_decay: float | None = None
    select: str = "last"  # which epoch is kept: the last, or the most accurate on this split ("test" is a leak)
    limit: int | None = None  # at most so many images of each split and set
    precision: str = "auto"  # of the network's products: bfloat16 where the machine computes it fast

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss_options", _checked_options(self.loss_options))
        for field in fields(self):
            if field.name != "loss_options":
                value = _checked(field.name, getattr(self, field.name), field.default)
                object.__setattr__(self, field.name, value)
        losses.recipe(self.loss)
        for name, known in CHOICES.items():
            if getattr(self, name) not in (*known, None):
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")
        for name in ("epochs", "batch_size", "lr", "head_lr", "norm_bias_lr"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value!r}")
        if self.warmup is not None and not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the training, from 0 to below 1, not {self.warmup}")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be from 0 to below 1, not {self.ema_decay}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least one image, not {self.limit}")
        if self.fold is not None and not 0 <= self.fold < 5:
            raise ValueError(f"fold must be 0 to 4, not {self.fold}")

    @classmethod
    def preset(cls, name: str, **changes) -> "Config":
        """A paper's protocol; every field can be changed.

        >>> Config.preset("dismax", model="resnet34", seed=1).name
        'cifar10-resnet34-dismax_fpr-seed1'
        """
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
        protocol: dict[str, Any] = PRESETS[name] | changes
        if "loss" in changes and "loss_options" not in changes:
            protocol.pop("loss_options", None)  # one loss's options mean nothing to another
        return cls(**protocol)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Config":
        """From a run's JSON, which anybody may have edited: unknown names and wrong types are refused."""
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in record if name not in known]:
            raise ValueError(f"unknown field {unknown[0]!r} in a configuration; known: {', '.join(known)}")
        return cls(**record)

    def resolved(self) -> "ResolvedConfig":
        """The same training with every default filled in."""
        return self._resolved

    @cached_property
    def _resolved(self) -> "ResolvedConfig":
        photographs = self.model == "airbench" or (self.model is None and self.data == "cifar10")
        settings = PHOTOGRAPHS if photographs else LESSON.get(self.data.partition(":")[0], STANDARD)
        defaults = settings | {"ood": data.ood_names(self.data, self.known)}
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        missing = {name: value for name, value in defaults.items() if values[name] is None}
        return ResolvedConfig(**(values | missing))

    def __eq__(self, other) -> bool:
        return isinstance(other, Config) and astuple(self.resolved()) == astuple(other.resolved())

    def __hash__(self) -> int:
        return hash(astuple(self.resolved()))

    def quick(self) -> "Config":
        """Two epochs of a few images: does everything run? The numbers mean nothing."""
        changes: dict[str, Any] = {"limit": min(self.limit or 128, 128), "milestones": (1,) if self.milestones else ()}
        return replace(self, epochs=2, batch_size=min(self.resolved().batch_size, 32), **changes)

    @property
    def recipe(self) -> losses.Recipe:
        """The loss's head, criterion and score."""
        return losses.recipe(self.loss)

    @property
    def label(self) -> str:
        """The loss's name and its options, for a legend."""
        options = ", ".join(_in_words(name, value) for name, value in self.loss_options)
        return self.recipe.label + (f" ({options})" if options else "")

    @property
    def hash(self) -> str:
        """Ten digits that differ between any two trainings."""
        # Only of what differs from a field's default, so that a field added later leaves older runs their names.
        config = self.resolved()
        defaults = {f.name: COSINE.get(f.name, f.default) for f in fields(self)}
        values = {name: value for name, default in defaults.items() if (value := getattr(config, name)) != default}
        if self.fold is None and (parts := data.split_parts(self.data)):
            values["split"] = parts
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def name(self) -> str:
        """Set, model, loss with options, fold and seed, as the start of a folder's name."""
        options = "".join(f"-{name}{value}" for name, value in self.loss_options)
        fold = "" if self.fold is None else f"-fold{self.fold}"
        text = f"{self.data}-{self.resolved().model}-{self.loss}{options}{fold}-seed{self.seed}"
        return re.sub(r"[^A-Za-z0-9.+-]+", "_", text)[-100:].lstrip(".")

    def folder(self, runs: str | Path) -> Path:
        """The folder of its run."""
        return Path(runs) / f"{self.name}-{self.hash}"


class ResolvedConfig(Config):
    """A configuration in which every default is filled in."""

    model: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    schedule: str
    warmup: float
    augment: str
    ood: tuple[str, ...]


def _plain_type(annotation: Any) -> type:
    """``int`` of ``int | None``, ``tuple`` of ``tuple[str, ...] | None``."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kind = next(kind for kind in kinds if kind is not NoneType)
    return get_origin(kind) or kind


# The plain type of every field; of the tuples, their items'.
FIELD_TYPES = {name: _plain_type(hint) for name, hint in get_type_hints(Config).items()}
ITEM_TYPES = {"milestones": int, "ood": str}


def _checked(name: str, value: Any, default: Any) -> Any:
    kind = FIELD_TYPES[name]
    if value is None and default is None:
        return None
    if kind is tuple:
        value, item = tuple(value) if isinstance(value, list) else value, ITEM_TYPES[name]
        if not isinstance(value, tuple) or not all(isinstance(x, item) for x in value):
            raise ValueError(f"{name} must be of type tuple, of {item.__name__}, not {value!r}")
    elif not isinstance(value, (int, float) if kind is float else kind) or (
        isinstance(value, bool) and kind is not bool
    ):
        raise ValueError(f"{name} must be of type {kind.__name__}, not {value!r}")
    if kind is not float:
        return value
    if not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return float(value)  # 1 and 1.0 are one configuration, with one hash


def _checked_options(value: Any) -> tuple[tuple[str, Any], ...]:
    try:
        options = dict(value)
    except (TypeError, ValueError):
        options = {None: None}
    if not all(isinstance(name, str) and isinstance(x, (bool, int, float, str)) for name, x in options.items()):
        raise ValueError(f"loss_options must map names to values, not {value!r}")
    # Every number that a loss takes is a float; larger whole numbers would not stay what they are.
    options = {name: float(x) if type(x) is int and abs(x) < 2**53 else x for name, x in options.items()}
    return tuple(sorted(options.items()))


def _in_words(option, value):
    """A loss's option for a legend.

    >>> _in_words("temperature", 0.3), _in_words("entropic_scale", 50 ** 0.5), _in_words("positive_temperature", True)
    ('τ 0.3', 'entropic scale 7.07', 'T > 0')
    """
    if option == "positive_temperature":
        return "T > 0" if value else "any T"
    number = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{'τ' if option == 'temperature' else option} {number}".replace("_", " ")
