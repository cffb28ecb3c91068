"""Named image sets, in memory: in-distribution (ID) and out-of-distribution (OOD) sets with fixed splits.

``load`` gives an ID set, ``load_ood`` a set to compare it with. ``SETS`` is the one table of names.
"""

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from . import folders, synthetic
from .downloads import Archive, Own, Torchvision

MIN_PER_CLASS = 5  # dealing five piles gives each part of a set at least one image of every class


class Chosen:
    """Some images of a set that is larger than memory: they are read when they are asked for, some at a time.

    Has of a tensor what training needs: a length, indices and slices, which give tensors, ``split`` and ``to``.

    >>> every_other = Chosen(torch.arange(6), torch.tensor([0, 2, 4]))
    >>> len(every_other), every_other[1:], [part.tolist() for part in every_other.split(2)]
    (3, tensor([2, 4]), [[0, 2], [4]])
    """

    def __init__(self, images, index):
        self.images, self.index = images, index
        self.shape, self.ndim = (len(index), *images.shape[1:]), images.ndim
        self.dtype, self.device = images.dtype, images.device

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        return self if isinstance(key, slice) and key == slice(None) else self.images[self.index[key]]

    def numel(self):
        return math.prod(self.shape)

    def split(self, size):
        return (self[start : start + size] for start in range(0, len(self), size))

    def to(self, device):
        """All of it on another device, where it fits; on its own it stays unread."""
        return (
            self
            if torch.device(device).type == self.device.type
            else torch.cat([some.to(device) for some in self.split(4096)])
        )


def choose(images, index):
    """images[index], copied; of a set that is too large for that, ``Chosen``."""
    return Chosen(images, index) if images.numel() > folders.IN_MEMORY else images[index]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with labels and fixed parts; ``near`` holds the classes that were kept out, if any.

    images (N, C, H, W) uint8 with C 1 or 3; labels (N,) int64 in [0, len(classes)); ``splits`` maps "train",
    "validation", "test" to indices. The tensors are shared with later loads, so do not write into them; those
    of more than 2 GiB are mapped from a file and read as they are needed.
    Raises ValueError when shapes, types, labels or splits do not fit together.

    >>> two = ImageSet("two", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"),
    ...                {"test": torch.tensor([1])})
    >>> two.shape, two.num_classes, two.split("test")[1].tolist()
    ((1, 8, 8), 2, [1])
    """

    name: str
    images: "torch.Tensor | Chosen"
    labels: torch.Tensor
    classes: tuple
    splits: dict = field(repr=False)
    near: "ImageSet | None" = field(default=None, repr=False)

    def __post_init__(self):
        images, labels, count = self.images, self.labels, len(self.images)
        fits = images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] in (1, 3)
        if not (fits and images.numel()):
            raise ValueError(
                f"{self.name}: images must be uint8 of shape (N, 1 or 3, H, W) with N > 0, "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        if labels.dtype != torch.int64 or labels.shape != (count,):
            raise ValueError(
                f"{self.name}: labels must be int64 of shape ({count},), got {labels.dtype} {tuple(labels.shape)}"
            )
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise ValueError(
                f"{self.name}: labels must lie in 0..{len(self.classes) - 1}, got {labels.min()}..{labels.max()}"
            )
        for name, index in self.splits.items():
            if not len(index) or index.min() < 0 or index.max() >= count:
                raise ValueError(f"{self.name}: split {name!r} is empty or points outside the {count} images")

    @property
    def num_classes(self):
        return len(self.classes)

    @property
    def shape(self):
        return tuple(self.images.shape[1:])

    def split(self, name):
        """(images, labels) of one part, copied; of a mapped set they are read when they are used, see ``Chosen``."""
        if name not in self.splits:
            raise ValueError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        index = self.splits[name]
        return choose(self.images, index), self.labels[index]


class _Raw(NamedTuple):
    """What a source gives. The first ``train`` images are the set's own training part (0: no parts)."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple
    train: int = 0


class _Row(NamedTuple):
    """A row of the table: where a set comes from, its OOD sets, how many classes where that is known."""

    source: Any  # has read(name, root, size, ood)
    ood: tuple = synthetic.FAR
    count: float = float("inf")
    known: int = 0  # classes kept by default; 0 keeps all


class _Digits:
    @staticmethod
    def read(name, root, size, ood):
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = torch.from_numpy((digits.images * (255 / 16)).round().astype(np.uint8))
        return images[:, None], torch.from_numpy(digits.target).long(), tuple("0123456789"), 0


def _mnist(dataset):
    files = tuple(
        f"{dataset}/raw/{part}-ubyte.gz"
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    )
    return _Row(Torchvision(dataset, files), count=10)


def _odin(file, md5, cut=False):
    return _Row(Archive(f"https://www.dropbox.com/s/raw/{file}.tar.gz", md5, cut))


_FAR = ("svhn", "textures", "noise")

SETS = {
    "digits": _Row(_Digits, count=10, known=6),
    "cifar10": _Row(Torchvision("CIFAR10", ("cifar-10-python.tar.gz",)), ("cifar100", *_FAR), 10),
    "cifar100": _Row(Torchvision("CIFAR100", ("cifar-100-python.tar.gz",)), ("cifar10", *_FAR), 100),
    "svhn": _Row(
        Torchvision("SVHN", ("train_32x32.mat", "test_32x32.mat"), "split", ("train", "test")),
        ("cifar10", "textures", "noise"),
        10,
    ),
    "textures": _Row(
        Torchvision("DTD", ("dtd/dtd-r1.0.1.tar.gz",), "split", ("train", "val", "test")),
        ("cifar10", "svhn", "noise"),
        47,
    ),
    "places365": _Row(
        Torchvision("Places365", ("filelist_places365-standard.tar", "val_256.tar"), "split", ("val",)),
        ("cifar10", *_FAR),
        365,
    ),
    "mnist": _mnist("MNIST"),
    "fashion_mnist": _mnist("FashionMNIST"),
    "kmnist": _mnist("KMNIST"),
    # the sets that ODIN was tested with (Liang et al., ICLR 2018)
    "lsun_crop": _odin("fhtsw1m3qxlwj6h/LSUN", "458a0a0ab8e5f1cb4516d7400568e460", cut=True),
    "lsun_resize": _odin("moqh2wh8696c3yl/LSUN_resize", "278b7b31c8cb7e804a1465a8ce03a2dc"),
    "tinyimagenet_crop": _odin("avgm2u562itwpkl/Imagenet", "7c0827e4246c3718a5ee076e999e52e5", cut=True),
    "tinyimagenet_resize": _odin("kp3my3412u5k9rl/Imagenet_resize", "0f9ff11d45babf2eff5fe12281d1ac31"),
    "isun": _Row(Own("iSUN's images (no checksum of an archive is known)")),
    "tiny_imagenet": _Row(
        Archive("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"), _FAR, 200
    ),
    "imagenet": _Row(
        Own("your own copy, train/ and val/ with class folders", (256, 256)), ("imagenet_o", "textures", "noise")
    ),
    "imagenet_o": _Row(
        Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar", "86bd7a50c1c4074fb18fc5f219d6d50b"),
        ("textures", "noise"),
    ),
}


def _read(name, root, size, ood=False):
    root = Path(root or os.environ.get("OOD_DATA", "data")).expanduser()
    if name.startswith("folder:"):
        return _Raw(*folders.read(name.removeprefix("folder:"), root, size, ood))
    if name not in SETS:
        also = "near, letters, patches, noise, " if ood else ""
        raise ValueError(f"unknown image set {name!r}; known: {also}{', '.join(SETS)}, folder:PATH")
    return _Raw(*SETS[name].source.read(name, root, size, ood))


def load(name, root=None, known=None, size=None):
    """Load an ID set with fixed train, validation and test parts.

    Sets with a test part of their own keep it, and a tenth of their training part is held out for
    validation. Others are split 60/20/20. Both are stratified and always the same. ``known=K`` keeps the
    first K classes and gives the others as ``.near`` (their test part, or all of them where the set has
    none of its own); the digits keep six by default. ``size=S`` makes the images S x S pixels; by default
    they keep their size, or get 32 x 32 where that varies, and ImageNet's 256 x 256. ``folder:PATH`` has
    train/ and test/ with class folders, or class folders that are split. Downloads go to ``root``,
    by default the environment's OOD_DATA, else data/ here. Raises
    ValueError for unknown names and unusable folders, FileNotFoundError for what is missing.

    >>> digits = load("digits")
    >>> digits.classes, digits.shape, len(digits.images), digits.near.classes
    (('0', '1', '2', '3', '4', '5'), (1, 8, 8), 1083, ('6', '7', '8', '9'))
    >>> {split: len(index) for split, index in digits.splits.items()}
    {'train': 649, 'validation': 217, 'test': 217}
    """
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size must be a whole number of pixels, got {size!r}")
    raw = _read(name, root, size and (size, size))
    if len(raw.classes) < 2:
        raise ValueError(f"{name} has one class only ({raw.classes[0]!r}); an ID set needs at least two")
    if size:
        raw = raw._replace(images=_fit(raw.images, (raw.images.shape[1], size, size), name))
    splits = _splits(name, raw)
    if known is None:
        known = SETS[name].known if name in SETS and SETS[name].known else len(raw.classes)
    if not 2 <= known <= len(raw.classes):
        raise ValueError(f"known must be between 2 and the {len(raw.classes)} classes of {name}, got {known}")
    if known == len(raw.classes):
        return ImageSet(name, raw.images, raw.labels, raw.classes, splits)
    keep = raw.labels < known
    held_out = torch.nonzero(~keep[raw.train :]).flatten() + raw.train
    near = _ood_set("near", choose(raw.images, held_out), raw.labels[held_out] - known, raw.classes[known:])
    position = keep.cumsum(0) - 1
    splits = {split: position[index[keep[index]]] for split, index in splits.items()}
    return ImageSet(
        name, choose(raw.images, torch.nonzero(keep).flatten()), raw.labels[keep], raw.classes[:known], splits, near
    )


def load_ood(name, like, root=None):
    """Load an OOD set for the ID set ``like``, in its size and channels; all its images are its "test" part.

    "near" are the held-out classes of ``like``; "letters", "patches" and "noise" are made (see
    ``synthetic``); any name that ``load`` knows gives that set's own test part, or the whole set where it
    has none.

    >>> digits = load("digits")
    >>> len(load_ood("near", digits).images), load_ood("noise", digits).shape
    (714, (1, 8, 8))
    """
    if name == "near":
        if like.near is None:
            raise ValueError(f"{like.name} has no held-out classes; load it with known=K to have near OOD")
        return like.near
    if name == like.name:
        raise ValueError(f"{name} is the ID set itself; choose another OOD set")
    if name in synthetic.FAR:
        return _ood_set(name, *getattr(synthetic, name)(like.shape))
    raw = _read(name, root, like.shape[1:], ood=True)
    images = _fit(raw.images[raw.train :], like.shape, f"{name} to fit {like.name}")
    return _ood_set(name, images, raw.labels[raw.train :], raw.classes)


def ood_names(name, known=None):
    """Names of the OOD sets that an ID set is compared with unless others are asked for; nothing is loaded.

    >>> ood_names("digits"), ood_names("cifar10")
    (('near', 'letters', 'patches', 'noise'), ('cifar100', 'svhn', 'textures', 'noise'))
    """
    row = SETS.get(name, _Row(None))
    kept = row.known if known is None else known
    return (("near",) if 0 < kept < row.count else ()) + row.ood


def folds(imageset, k=5, seed=0):
    """k stratified folds of all images: fold i tests, a fifth of the rest validates, the others train.

    >>> [len(fold.splits["test"]) for fold in folds(load("digits"), k=5)]
    [217, 217, 217, 216, 216]
    """
    if not 2 <= k <= imageset.labels.bincount(minlength=imageset.num_classes).min():
        raise ValueError(f"{imageset.name}: k must be between 2 and the size of the smallest class, got {k}")
    everything, made = torch.arange(len(imageset.labels)), []
    pile = _deal(imageset.labels, k, seed)
    for i in range(k):
        splits = _hold_out(imageset.labels, everything[pile != i], 5, seed) | {"test": everything[pile == i]}
        made.append(replace(imageset, name=f"{imageset.name} fold {i + 1}/{k}", splits=splits))
    return made


def _splits(name, raw):
    everything = torch.arange(len(raw.labels))
    needed = 2 if raw.train else MIN_PER_CLASS
    counts = raw.labels[: raw.train or None].bincount(minlength=len(raw.classes))
    if counts.min() < needed:
        raise ValueError(
            f"{name}: class {raw.classes[counts.argmin()]!r} has {counts.min()} usable images, "
            f"at least {needed} are needed to train and validate with"
        )
    if raw.train:
        return _hold_out(raw.labels, everything[: raw.train], 10) | {"test": everything[raw.train :]}
    pile = _deal(raw.labels, 5)
    return {"train": everything[pile > 1], "validation": everything[pile == 1], "test": everything[pile == 0]}


def _hold_out(labels, index, piles, seed=0):
    pile = _deal(labels[index], piles, seed)
    return {"train": index[pile > 0], "validation": index[pile == 0]}


def _deal(labels, piles, seed=0):
    """Shuffle, sort by class and deal like cards: piles differ by one at most, overall and in every class."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    order = order[labels[order].argsort(stable=True)]
    pile = torch.empty_like(labels)
    pile[order] = torch.arange(len(labels)) % piles
    return pile


def _ood_set(name, images, labels, classes):
    return ImageSet(name, images, labels, tuple(classes), {"test": torch.arange(len(images))})


def _fit(images, shape, what):
    """Scale to cover the size, cut the centre, repeat grey or weigh colour (ITU-R 601) to fit channels."""
    if tuple(images.shape[1:]) == shape:
        return images
    print(f"{what}: converted from {'x'.join(map(str, images.shape[1:]))} to {'x'.join(map(str, shape))}")
    channels, height, width = shape
    if images.shape[1] > channels:
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        images = torch.cat(
            [(some * weights).sum(1, keepdim=True).round().byte() for some in images.split(4096)]
        )  # floats are four times the size
    if images.shape[2:] != (height, width):
        scale = max(height / images.shape[2], width / images.shape[3])
        size = [max(side, round(old * scale)) for side, old in zip((height, width), images.shape[2:])]
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        images = images[:, :, top : top + height, left : left + width]
    return images.expand(-1, channels, -1, -1).contiguous()
