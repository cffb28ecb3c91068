"""Data sets of torchvision, loaders and tensors as image sets."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..engine.tensors import read_tensors, write_tensors
from .imageset import Arrays, cached

PREFIX = "torch:"


def from_torch(train: Any, test: Any = None, name: str = "images", root: str | Path | None = None) -> str:
    """Make an image set of a torchvision dataset, a DataLoader or tensors, for ``Config(data=...)``.

    Pixels are stored as uint8 below ``root``, under a name that ends with a checksum of images, labels and classes:
    the same images give the same name and the same runs, others never do.

    Parameters
    ----------
    train, test : dataset, DataLoader, or pair (images, labels)
        Items are (image, label); images are uint8, floats in 0..1 or PIL images, of one size. Of a DataLoader its
        dataset is taken, without shuffling. The transform must not be random, nor standardise: networks of this
        package do that themselves. Without ``test``, 20 % of ``train`` become the test split.
    name : str
        The beginning of the set's name.
    root : str or Path, optional
        As in :func:`load`.

    Returns
    -------
    str
        The name of the set.

    Raises
    ------
    ValueError
        If images or labels are not of the form above, or differ in size.

    Examples
    --------
    >>> import tempfile
    >>> from ood_helpers import data
    >>> images, labels = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8), torch.arange(60) % 3
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = from_torch((images, labels), name="mine", root=folder)
    ...     loaded = data.load(made, folder)
    >>> made[:11], loaded.classes, len(loaded.split("train")[0])
    ('torch:mine-', ('0', '1', '2'), 36)
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ValueError(f"name may have letters, digits, '_', '-' and '.', not {name!r}")
    parts = [_read_split(source, what) for source, what in ((train, "train"), (test, "test")) if source is not None]
    classes = parts[0][2]
    if len(parts) == 2 and parts[1][0].shape[1:] != parts[0][0].shape[1:]:
        raise ValueError(f"images of train and test differ: {_size(parts[0][0])} and {_size(parts[1][0])}")
    images, labels = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels must be in 0..{len(classes) - 1}, got {labels.min()}..{labels.max()}")
    n_train = len(parts[0][0]) if test is not None else 0
    arrays = Arrays(images.contiguous(), labels, tuple(classes), n_train)
    key = f"{name}-{_checksum(arrays)}"
    path = _path(key, root)
    if not path.exists():
        record = json.dumps({"classes": classes, "n_train": n_train})
        write_tensors(path, {"images": arrays.images, "labels": labels}, {"set": record})
    return PREFIX + key


def read(key: str, root: Path) -> Arrays:
    """Read a set that :func:`from_torch` has made; ``key`` is its name without the prefix."""
    path = _path(key, root)
    if not path.is_file():
        raise FileNotFoundError(f"{PREFIX}{key} is not in {str(root)!r}: make it with data.from_torch first")
    return cached((str(path), path.stat().st_mtime_ns), lambda: _read(path, key))


def _read(path: Path, key: str) -> Arrays:
    tensors, metadata = read_tensors(path)
    record = json.loads(metadata["set"])
    arrays = Arrays(tensors["images"], tensors["labels"], tuple(record["classes"]), record["n_train"])
    if not key.endswith(_checksum(arrays)):
        raise ValueError(f"{path} is damaged; delete it and make it again with data.from_torch")
    return arrays


def _path(key: str, root: str | Path | None) -> Path:
    folder = Path(root or os.environ.get("OOD_DATA", "data")).expanduser()
    return folder / "torch" / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', key)}.safetensors"


def _checksum(arrays: Arrays) -> str:
    digest = hashlib.sha256(json.dumps([list(arrays.images.shape), arrays.classes, arrays.n_train]).encode())
    digest.update(arrays.images.numpy())
    digest.update(arrays.labels.numpy())
    return digest.hexdigest()[:10]


def _read_split(source: Any, what: str) -> tuple[Tensor, Tensor, Sequence[str]]:
    """Images (N, C, H, W) uint8, labels (N,) and class names."""
    if isinstance(source, (tuple, list)) and len(source) == 2 and hasattr(source[0], "ndim"):
        images, labels = _to_uint8(source[0], what), torch.as_tensor(source[1])
    else:
        source = source.dataset if isinstance(source, DataLoader) else source
        pairs = _items(source)
        images = torch.cat([_to_uint8(image, what) for image in _same_size(pairs, what)])
        labels = torch.tensor([int(label) for _, label in pairs])
    if labels.shape != images.shape[:1] or labels.is_floating_point() or not len(labels):
        raise ValueError(f"{what} needs images (N, C, H, W) and integer labels (N,), got {_size(images)} images")
    classes = getattr(source, "classes", None) or range(int(labels.max()) + 1)
    return images, labels.long(), [str(name) for name in classes]


def _items(source: Any) -> list[tuple[Any, Any]]:
    if isinstance(source, IterableDataset) or not hasattr(source, "__getitem__"):
        return list(source)
    return [source[i] for i in range(len(source))]


def _same_size(pairs: Iterable[tuple[Any, Any]], what: str) -> list[Any]:
    images = [image if isinstance(image, Tensor) else _of_array(image) for image, _ in pairs]
    if len(sizes := {_size(image) for image in images}) > 1:
        raise ValueError(
            f"images of {what} have {len(sizes)} sizes, such as {min(sizes)}: resize them in the transform"
        )
    return [image[None] for image in images]


def _of_array(image: Any) -> Tensor:
    """A PIL image or array (H, W) or (H, W, C) as (C, H, W)."""
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _size(images: Tensor) -> str:
    return "x".join(map(str, images.shape[-3:]))


def _to_uint8(images: Any, what: str) -> Tensor:
    images = torch.as_tensor(images)
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images of {what} must be (N, C, H, W) with 1 or 3 channels, got {tuple(images.shape)}")
    if images.is_floating_point():
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"float images of {what} must be in 0..1: leave Normalize out, the network standardises")
        return (images * 255).round().to(torch.uint8)
    if images.dtype != torch.uint8:
        raise ValueError(f"images of {what} must be uint8 or floats in 0..1, got {images.dtype}")
    return images
