"""torchvision's own sets as tensors, downloaded when they are missing."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import torch

from . import folders, import_torchvision


def read(name, folder, dataset, splits, files):
    """(images, labels, classes, number of training images) of a set in ``folder``, downloaded if need be.

    ``dataset`` is a class of torchvision.datasets and ``splits`` its arguments, the test part last; a
    single split has no test part of its own (0 training images). FileNotFoundError says which ``files`` to
    put where.
    """
    kind = getattr(import_torchvision().datasets, dataset)
    try:
        opened = _open(kind, folder, splits)
    except (RuntimeError, OSError):
        _download(kind, name, folder, splits, files)
        opened = _open(kind, folder, splits)
    images, labels = zip(*(_pixels(name, part) for part in opened))
    classes = getattr(opened[0], "classes", None) or [str(label) for label in range(10)]  # SVHN names none
    return torch.cat(images), torch.cat(labels), tuple(classes), sum(map(len, labels[:-1]))


def _open(kind, folder, splits, download=False):
    of_files = {"loader": str} if kind.__name__ in ("DTD", "Places365") else {}  # gives paths, we decode
    return [kind(folder, download=download, **split, **of_files) for split in splits]


def _pixels(name, dataset):
    if not hasattr(dataset, "data"):
        paths, labels = zip(*(dataset[i] for i in range(len(dataset))))
        images, kept = folders.decode(paths, (32, 32), True, name)
        return images, torch.tensor(labels)[kept]
    images = torch.as_tensor(dataset.data)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return images.contiguous(), torch.as_tensor(labels).long()


def _download(kind, name, folder, splits, files):
    """Download beside and rename, so that no half archive is ever taken for a whole one."""
    made = not folder.parent.exists()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as staging:
            staged = Path(staging) / name
            if folder.exists():  # archives put there by hand are used; torchvision verifies them
                shutil.copytree(folder, staged)
            _open(kind, staged, splits, download=True)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(staged, folder)
    except (RuntimeError, OSError) as error:  # URLError is an OSError
        if made:
            with suppress(OSError):
                folder.parent.rmdir()
        reason = " ".join(str(error).split())  # torchvision's may have many lines
        raise FileNotFoundError(f"{name} could not be downloaded ({reason}); without a network, fetch "
                                f"{', '.join(files)} elsewhere and put it into {folder}") from error
