"""Image sets by name: ``load`` gives an in-distribution (ID) set with splits, ``load_ood`` an out-of-distribution set.

``SETS`` is the table of all names.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import folders, synthetic, torch_sets
from .imageset import Arrays, ImageSet, subset
from .sources import Archive, Torchvision, UserProvided

MIN_PER_CLASS = 5  # five stratified folds then give each split at least one image of every class

logger = logging.getLogger(__name__)


class _Source(Protocol):
    def read(self, name: str, root: Path, size: tuple[int, int] | None, ood: bool) -> Arrays: ...


class _DatasetEntry(NamedTuple):
    """A row of ``SETS``."""

    source: _Source | None
    ood: tuple[str, ...] = synthetic.FAR  # the OOD sets that it is compared with by default
    n_classes: float = float("inf")  # where it is known without loading
    known: int = 0  # number of classes used by default, the others being near OOD; 0: all
    # train : validation : test, the last 0 for a set with a test split of its own; None: 3:1:1, or 9:1:0 for such a set
    parts: tuple[int, int, int] | None = None


class _Digits:
    @staticmethod
    def read(name, root, size, ood):
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = torch.from_numpy((digits.images * (255 / 16)).round().astype(np.uint8))
        return Arrays(images[:, None], torch.from_numpy(digits.target).long(), tuple("0123456789"))


def _mnist_like(dataset):
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return _DatasetEntry(Torchvision(dataset, tuple(f"{dataset}/raw/{part}-ubyte.gz" for part in parts)), n_classes=10)


def _odin_archive(file, md5, crop=False):
    return _DatasetEntry(Archive(f"https://www.dropbox.com/s/raw/{file}.tar.gz", md5, crop))


_FAR_OF_PHOTOGRAPHS = ("svhn", "textures", "noise")

SETS = {
    # Many test images: of six classes 507, so that a rate changes in steps of 0.2 points.
    "digits": _DatasetEntry(_Digits, n_classes=10, known=6, parts=(6, 2, 7)),
    # Only 2,000 CIFAR images are held out for validation, because the published networks are trained on all 50,000.
    "cifar10": _DatasetEntry(
        Torchvision("CIFAR10", ("cifar-10-python.tar.gz",)), ("cifar100", *_FAR_OF_PHOTOGRAPHS), 10, parts=(24, 1, 0)
    ),
    "cifar100": _DatasetEntry(
        Torchvision("CIFAR100", ("cifar-100-python.tar.gz",)), ("cifar10", *_FAR_OF_PHOTOGRAPHS), 100, parts=(24, 1, 0)
    ),
    "svhn": _DatasetEntry(
        Torchvision("SVHN", ("train_32x32.mat", "test_32x32.mat"), "split", ("train", "test")),
        ("cifar10", "textures", "noise"),
        10,
    ),
    "textures": _DatasetEntry(
        Torchvision("DTD", ("dtd/dtd-r1.0.1.tar.gz",), "split", ("train", "val", "test")),
        ("cifar10", "svhn", "noise"),
        47,
    ),
    "places365": _DatasetEntry(
        Torchvision("Places365", ("filelist_places365-standard.tar", "val_256.tar"), "split", ("val",)),
        ("cifar10", *_FAR_OF_PHOTOGRAPHS),
        365,
    ),
    "mnist": _mnist_like("MNIST"),
    "fashion_mnist": _mnist_like("FashionMNIST"),
    "kmnist": _mnist_like("KMNIST"),
    # the sets of ODIN (Liang et al., ICLR 2018)
    "lsun_crop": _odin_archive("fhtsw1m3qxlwj6h/LSUN", "458a0a0ab8e5f1cb4516d7400568e460", crop=True),
    "lsun_resize": _odin_archive("moqh2wh8696c3yl/LSUN_resize", "278b7b31c8cb7e804a1465a8ce03a2dc"),
    "tinyimagenet_crop": _odin_archive("avgm2u562itwpkl/Imagenet", "7c0827e4246c3718a5ee076e999e52e5", crop=True),
    "tinyimagenet_resize": _odin_archive("kp3my3412u5k9rl/Imagenet_resize", "0f9ff11d45babf2eff5fe12281d1ac31"),
    "isun": _DatasetEntry(UserProvided("iSUN's images (no checksum of an archive is known)")),
    "imagenet_resize": _DatasetEntry(UserProvided("images of ImageNet resized to 32 x 32")),
    "imagenet_crop": _DatasetEntry(UserProvided("images of ImageNet cropped to 32 x 32")),
    "tiny_imagenet": _DatasetEntry(
        Archive("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"),
        _FAR_OF_PHOTOGRAPHS,
        200,
    ),
    "imagenet": _DatasetEntry(
        UserProvided("your own copy, train/ and val/ with class folders,", (256, 256)),
        ("imagenet_o", "textures", "noise"),
    ),
    "imagenet_o": _DatasetEntry(
        Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar", "86bd7a50c1c4074fb18fc5f219d6d50b"),
        ("textures", "noise"),
    ),
}


def _read(name, root, size, ood=False):
    root = Path(root or os.environ.get("OOD_DATA", "data")).expanduser()
    if name.startswith(folders.PREFIX):
        return folders.read(name.removeprefix(folders.PREFIX), root, size, ood)
    if name.startswith(torch_sets.PREFIX):
        return torch_sets.read(name.removeprefix(torch_sets.PREFIX), root)
    if name not in SETS:
        also = "near, letters, patches, noise, " if ood else ""
        raise ValueError(f"unknown image set {name!r}; known: {also}{', '.join(SETS)}, folder:PATH")
    return SETS[name].source.read(name, root, size, ood)


def load(name: str, root: str | Path | None = None, known: int | None = None, size: int | None = None) -> ImageSet:
    """Load an ID set with fixed, stratified train, validation and test splits.

    A set with its own test split keeps it, and a tenth of its training split becomes the validation split, of CIFAR's a
    twenty-fifth. Other sets are split 60/20/20, the digits 40/13/47. The most recent sets stay in memory (2 GiB in
    total at most), so that loading one again is fast. Conversions of size and channels are logged at level INFO.

    Parameters
    ----------
    name : a name of ``SETS``, or "folder:PATH" of a folder with one subfolder of images per class, or with train/ and
        test/ that have such subfolders, or what ``from_torch`` has returned
    root : folder for downloads; by default the environment variable OOD_DATA, or ./data
    known : number of classes K to use; the others become the set's ``near`` (their test images, if the set has its own
        test split). By default all classes, but six of the digits
    size : side of the images in pixels. By default images keep their size, or get 32 x 32 pixels if sizes vary
        (ImageNet: 256 x 256)

    Raises
    ------
    ValueError
        For unknown names and unusable folders or numbers.
    FileNotFoundError
        When files are missing and cannot be downloaded; the message says what to put where.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.classes, digits.shape, len(digits.images), digits.near.classes
    (('0', '1', '2', '3', '4', '5'), (1, 8, 8), 1083, ('6', '7', '8', '9'))
    >>> {split: len(index) for split, index in digits.splits.items()}
    {'train': 432, 'validation': 144, 'test': 507}
    """
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size must be a whole number of pixels, got {size!r}")
    images, labels, classes, n_train = _read(name, root, size and (size, size))
    if len(classes) < 2:
        raise ValueError(f"{name} has one class only ({classes[0]!r}); an ID set needs at least two")
    if size:
        images = _fit(images, (images.shape[1], size, size), name)
    splits = _split(name, labels, classes, n_train)
    if known is None:
        known = SETS[name].known if name in SETS and SETS[name].known else len(classes)
    if not 2 <= known <= len(classes):
        raise ValueError(f"known must be between 2 and the {len(classes)} classes of {name}, got {known}")
    if known == len(classes):
        return ImageSet(name, images, labels, classes, splits)
    is_known = labels < known
    held_out = torch.nonzero(~is_known[n_train:]).flatten() + n_train
    near = _ood_set("near", subset(images, held_out), labels[held_out] - known, classes[known:])
    position = is_known.cumsum(0) - 1  # of each known image among the known ones
    splits = {split: position[index[is_known[index]]] for split, index in splits.items()}
    images = subset(images, torch.nonzero(is_known).flatten())
    return ImageSet(name, images, labels[is_known], classes[:known], splits, near)


def load_ood(name: str, like: ImageSet, root: str | Path | None = None) -> ImageSet:
    """Load an OOD set in the size and channels of an ID set; all its images are its "test" split.

    Parameters
    ----------
    name : "near" (the held-out classes of ``like``), "letters", "patches" or "noise" (see ``synthetic``), or any name
        that ``load`` accepts: its test split, or all its images if it has no splits
    like : the ID set
    root : as in ``load``

    Raises
    ------
    ValueError, FileNotFoundError
        As ``load``; also for the ID set itself, and for "near" where no classes are held out.

    Examples
    --------
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
    images, labels, classes, n_train = _read(name, root, like.shape[1:], ood=True)
    images = _fit(images[n_train:], like.shape, f"{name} to fit {like.name}")
    return _ood_set(name, images, labels[n_train:], classes)


def ood_names(name: str, known: int | None = None) -> tuple[str, ...]:
    """Names of the OOD sets that an ID set is compared with by default; nothing is loaded.

    >>> ood_names("digits"), ood_names("cifar10")
    (('near', 'letters', 'patches', 'noise'), ('cifar100', 'svhn', 'textures', 'noise'))
    """
    entry = SETS.get(name, _DatasetEntry(None))
    known = entry.known if known is None else known
    return (("near",) if 0 < known < entry.n_classes else ()) + entry.ood


def split_parts(name: str) -> tuple[int, int, int] | None:
    """Relative sizes of a set's train, validation and test split where they are not the usual ones, else None.

    The last is 0 for a set with a test split of its own.

    >>> split_parts("digits"), split_parts("cifar10"), split_parts("mnist")
    ((6, 2, 7), (24, 1, 0), None)
    """
    return SETS.get(name, _DatasetEntry(None)).parts


def folds(imageset: ImageSet, k: int = 5, seed: int = 0) -> list[ImageSet]:
    """Stratified k-fold cross-validation.

    In split i, fold i is the test set and a fifth of the other images is the validation set.

    Parameters
    ----------
    imageset : its images of all splits are used
    k : number of folds, at most the size of the smallest class
    seed : of the shuffle

    Returns
    -------
    k image sets with the same images and other splits.

    Examples
    --------
    >>> [len(fold.splits["test"]) for fold in folds(load("digits"), k=5)]
    [217, 217, 217, 216, 216]
    """
    if not 2 <= k <= imageset.labels.bincount(minlength=imageset.num_classes).min():
        raise ValueError(f"{imageset.name}: k must be between 2 and the size of the smallest class, got {k}")
    everything, result = torch.arange(len(imageset.labels)), []
    fold = stratified_folds(imageset.labels, k, seed)
    for i in range(k):
        rest = everything[fold != i]
        inner = stratified_folds(imageset.labels[rest], 5, seed)
        splits = {"train": rest[inner > 0], "validation": rest[inner == 0], "test": everything[fold == i]}
        result.append(replace(imageset, splits=splits))
    return result


def stratified_folds(labels: Tensor, k: int, seed: int = 0) -> Tensor:
    """Stratified fold index per sample; fold sizes differ by at most one, overall and in every class.

    It balances like scikit-learn's ``StratifiedKFold``, which shuffles differently: saved runs depend on these folds.

    >>> stratified_folds(torch.tensor([0, 0, 1, 1]), 2).view(2, 2).sum(1).tolist()
    [1, 1]
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    order = order[labels[order].argsort(stable=True)]
    fold = torch.empty_like(labels)
    fold[order] = torch.arange(len(labels)) % k
    return fold


def _split(name, labels, classes, n_train):
    everything = torch.arange(len(labels))
    needed = 2 if n_train else MIN_PER_CLASS
    counts = labels[: n_train or None].bincount(minlength=len(classes))
    if counts.min() < needed:
        raise ValueError(
            f"{name}: class {classes[counts.argmin()]!r} has {counts.min()} usable images, "
            f"at least {needed} are needed to train and validate with"
        )
    parts = split_parts(name) or ((9, 1, 0) if n_train else (3, 1, 1))
    _, n_validation, n_test = parts
    index = everything[: n_train or None]
    fold = stratified_folds(labels[index], sum(parts))
    return {
        "train": index[fold >= n_test + n_validation],
        "validation": index[(fold >= n_test) & (fold < n_test + n_validation)],
        "test": everything[n_train:] if n_train else index[fold < n_test],
    }


def _ood_set(name, images, labels, classes):
    return ImageSet(name, images, labels, tuple(classes), {"test": torch.arange(len(images))})


def _fit(images, shape, what):
    """Resize, centre-crop and convert channels to ``shape`` (C, H, W); grey is ITU-R 601's luma."""
    if tuple(images.shape[1:]) == shape:
        return images
    logger.info("%s: converted from %s to %s", what, "x".join(map(str, images.shape[1:])), "x".join(map(str, shape)))
    channels, height, width = shape
    if images.shape[1] > channels:
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        chunks = images.split(4096)  # float images take four times the memory
        images = torch.cat([(chunk * weights).sum(1, keepdim=True).round().byte() for chunk in chunks])
    if images.shape[2:] != (height, width):
        scale = max(height / images.shape[2], width / images.shape[3])
        size = [max(side, round(old * scale)) for side, old in zip((height, width), images.shape[2:])]
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        images = images[:, :, top : top + height, left : left + width]
    return images.expand(-1, channels, -1, -1).contiguous()
