"""Sources of image sets: torchvision, archives by address and checksum, and folders that only the user can provide.

Every source has ``read(name, root, size, ood)`` and gives ``Arrays``. What is missing and cannot be downloaded is a
FileNotFoundError that says what to put where.
"""

import shutil
import tarfile
import zipfile
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch

from ..engine.files import atomic_directory
from ..engine.torchvision import import_torchvision
from . import folders
from .downloads import download, md5, unpack
from .imageset import Arrays, cached

OF_FILES = {"DTD": {}, "Places365": {"small": True}}  # torchvision decodes these one by one; we use their paths


class Torchvision(NamedTuple):
    """A class of ``torchvision.datasets``.

    ``argument`` is the name of its argument that selects a split, and ``splits`` are the values, the test split last; a
    single value means that the set has no splits. ``files`` are what to provide where nothing can be downloaded.
    """

    dataset: str
    files: tuple[str, ...]
    argument: str = "train"
    splits: tuple = (True, False)

    def read(self, name: str, root: Path, size: tuple[int, int] | None, ood: bool) -> Arrays:
        folder = root / name
        if self.dataset not in OF_FILES:
            return cached((self, folder), lambda: _arrays(self._datasets(name, folder)))
        datasets = self._datasets(name, folder)[-1 if ood else 0 :]
        paths, labels = zip(*(dataset[i] for dataset in datasets for i in range(len(dataset))))
        images, decoded = folders.decode(paths, name, root, size or (32, 32))
        n_train = sum(i < len(paths) - len(datasets[-1]) for i in decoded)
        return Arrays(images, torch.tensor(labels)[decoded], tuple(datasets[0].classes), n_train)

    def _datasets(self, name, folder):
        """torchvision's datasets, one per split, downloaded if necessary."""
        with suppress(RuntimeError, OSError):
            return self._open(folder)
        try:
            with folders.preparing(folder.parent):
                with suppress(RuntimeError, OSError):
                    return self._open(folder)  # another process downloaded it in the meantime
                with atomic_directory(folder, flush=False) as staging:
                    if folder.exists():  # archives that the user put there; torchvision verifies them
                        shutil.copytree(folder, staging, dirs_exist_ok=True)
                    try:
                        self._open(staging, download=True)
                    except OSError as error:  # of the network, not of the directory
                        raise RuntimeError(error) from error
        except (RuntimeError, OSError) as error:
            raise _missing(name, error, ", ".join(self.files), folder) from error
        return self._open(folder)

    def _open(self, folder, download=False):
        dataset = getattr(import_torchvision().datasets, self.dataset)
        options = OF_FILES[self.dataset] | {"loader": str} if self.dataset in OF_FILES else {}
        return [dataset(folder, download=download, **{self.argument: split}, **options) for split in self.splits]


def _arrays(datasets):
    """``Arrays`` of torchvision datasets that hold their pixels, one per split."""
    images, labels = [], []
    for dataset in datasets:
        pixels = torch.as_tensor(dataset.data)
        if pixels.ndim == 3:
            pixels = pixels[:, None]
        elif pixels.shape[-1] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        images.append(pixels.contiguous())
        labels.append(torch.as_tensor(dataset.targets if hasattr(dataset, "targets") else dataset.labels).long())
    classes = getattr(datasets[0], "classes", None) or [str(label) for label in range(10)]  # SVHN has no names
    return Arrays(torch.cat(images), torch.cat(labels), tuple(classes), sum(map(len, labels[:-1])))


class Archive(NamedTuple):
    """A tar or zip of image files: flat, or in class folders, or in train/ and val/ with class folders."""

    url: str
    md5: str
    crop: bool = False  # crop images to size instead of scaling them

    def read(self, name: str, root: Path, size: tuple[int, int] | None, ood: bool) -> Arrays:
        folder = root / name / "unpacked"
        if not folder.is_dir():
            with folders.preparing(root):
                if not folder.is_dir():  # another process may have made it in the meantime
                    self._fetch(name, folder)
        while len(inner := folders.subfolders(folder)) == 1:
            folder = folder / inner[0]
        return folders.read(folder, root, size, ood, "val", self.crop)

    def _fetch(self, name, folder):
        """Download, verify and unpack. An archive that the user put there is verified too."""
        file = folder.parent / self.url.rpartition("/")[2]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                download(self.url, self.md5, file)
            elif md5(file) != self.md5:
                raise OSError(f"the existing {file.name} has the wrong MD5, expected {self.md5}")
            unpack(file, folder)
        except (OSError, HTTPException, tarfile.TarError, zipfile.BadZipFile) as error:
            with suppress(OSError):
                file.parent.rmdir()  # if it is empty
            raise _missing(name, error, self.url, file.parent) from error


class UserProvided(NamedTuple):
    """Images that only the user can provide, in a folder with the set's name."""

    what: str
    size: tuple[int, int] | None = None  # (height, width) by default

    def read(self, name: str, root: Path, size: tuple[int, int] | None, ood: bool) -> Arrays:
        if not (root / name).is_dir():
            raise FileNotFoundError(f"{name} cannot be downloaded; put {self.what} into {root / name}")
        return folders.read(root / name, root, size or self.size, ood, "val")


def _missing(name, error, files, folder):
    reason = " ".join(str(error).split())  # torchvision's may have many lines
    return FileNotFoundError(
        f"{name} could not be downloaded ({reason}); without a network, fetch {files} "
        f"elsewhere and put it into {folder}"
    )
