"""Image sets in memory: images, labels and splits; larger sets are read when they are used."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

IN_MEMORY = 2**31  # bytes; larger sets are decoded into a file and memory-mapped
T = TypeVar("T", bound=tuple)


class Arrays(NamedTuple):
    """An image set as its source gives it, before it is split."""

    images: Tensor  # uint8 (N, C, H, W)
    labels: Tensor  # int64 (N,)
    classes: tuple[str, ...]
    n_train: int = 0  # the first images are the source's own training split; 0: the source has no splits


class LazySubset:
    """A lazily indexed subset of a memory-mapped image tensor.

    It supports what training needs of a tensor: a length, indices and slices (which give tensors), ``split``, ``to``.

    >>> every_other = LazySubset(torch.arange(6), torch.tensor([0, 2, 4]))
    >>> len(every_other), every_other[1:], [chunk.tolist() for chunk in every_other.split(2)]
    (3, tensor([2, 4]), [[0, 2], [4]])
    """

    def __init__(self, images: "Tensor | LazySubset", index: Tensor):
        self.images, self.index = images, index
        self.shape, self.ndim = (len(index), *images.shape[1:]), images.ndim
        self.dtype, self.device = images.dtype, images.device

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Any) -> "Tensor | LazySubset":
        return self if isinstance(key, slice) and key == slice(None) else self.images[self.index[key]]

    def numel(self) -> int:
        return math.prod(self.shape)

    def split(self, size: int) -> Iterator[Tensor]:
        """Consecutive chunks of at most ``size`` images."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def to(self, device: "torch.device | str") -> "Tensor | LazySubset":
        """All images on another device, or itself if they are on this type of device already."""
        if torch.device(device).type == self.device.type:
            return self
        return torch.cat([chunk.to(device) for chunk in self.split(4096)])


def subset(images: Tensor | LazySubset, index: Tensor) -> Tensor | LazySubset:
    """``images[index]``: a copy, or a ``LazySubset`` of a set that is larger than ``IN_MEMORY``."""
    return LazySubset(images, index) if images.numel() > IN_MEMORY else images[index]


_recent: dict = {}


def cached(key: tuple, load: Callable[[], T]) -> T:
    """The result of ``load()``, or the earlier one for ``key``: a sweep asks for the same sets in every training.

    Results are tuples that begin with a tensor of pixels. The most recent ones are retained, up to
    ``IN_MEMORY`` bytes in total; memory-mapped ones take no memory and are not counted.
    """
    _recent[key] = _recent.pop(key, None) or load()
    result, total = _recent[key], 0
    for earlier in reversed(list(_recent)):
        size = _recent[earlier][0].numel()
        total += size if size <= IN_MEMORY else 0
        if total > IN_MEMORY:
            del _recent[earlier]
    return result


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A labelled image dataset with train, validation and test splits.

    Sets that are loaded again share their tensors, so do not write into them.

    Parameters
    ----------
    name : name of the set
    images : uint8 (N, C, H, W) with C = 1 or 3; memory-mapped above 2 GiB
    labels : int64 (N,) in [0, len(classes))
    classes : class names
    splits : indices of the images of "train", "validation" and "test"; an OOD set has "test" only
    near : image set of the held-out classes, if any

    Raises
    ------
    ValueError
        When shapes, types, labels or splits do not fit together.

    Examples
    --------
    >>> images, labels = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1])
    >>> two = ImageSet("two", images, labels, ("a", "b"), {"test": torch.tensor([1])})
    >>> two.shape, two.num_classes, two.split("test")[1].tolist()
    ((1, 8, 8), 2, [1])
    """

    name: str
    images: Tensor | LazySubset
    labels: Tensor
    classes: tuple[str, ...]
    splits: dict[str, Tensor] = field(repr=False)
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
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.images.shape[1:])

    def split(self, name: str) -> tuple[Tensor | LazySubset, Tensor]:
        """Images and labels of one split: copies, or a ``LazySubset`` of a set that is larger than memory."""
        if name not in self.splits:
            raise ValueError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        index = self.splits[name]
        return subset(self.images, index), self.labels[index]


def write_folder(imageset: ImageSet, path: str | Path, sizes: Sequence[int] | None = None) -> Path:
    """Write an image set as ``path``/class/*.png.

    A folder that already holds these files is left as it is; a new one appears when it is complete.

    Parameters
    ----------
    imageset : an image set
    path : the folder
    sizes : number of images of each class, its first ones; by default all

    Returns
    -------
    ``path``

    Raises
    ------
    ValueError
        When a class has fewer images, its name cannot be a folder's, or the folder holds other files.
    """
    from PIL import Image

    path, sizes = Path(path), sizes or imageset.labels.bincount(minlength=imageset.num_classes).tolist()
    files: dict[str, int] = {}
    for label, (name, size) in enumerate(zip(imageset.classes, sizes, strict=True)):
        if Path(name).name != name or name[:1] in ("", "."):
            raise ValueError(f"class name {name!r} of {imageset.name} cannot be the name of a folder")
        index = torch.nonzero(imageset.labels == label).flatten()[:size].tolist()
        if len(index) < size:
            raise ValueError(f"class {name!r} of {imageset.name} has {len(index)} images, {size} were requested")
        files |= {f"{name}/{position:04d}.png": i for position, i in enumerate(index)}
    if path.exists():
        if {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} != set(files):
            raise ValueError(f"{str(path)!r} already exists and holds other files; choose another folder")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as temporary:  # one for each process
        staging = Path(temporary) / "folder"
        for file, i in files.items():
            (staging / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(imageset.images[i].permute(1, 2, 0).squeeze(2).numpy()).save(staging / file)
        os.replace(staging, path)
    return path
