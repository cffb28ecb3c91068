"""Sources of image sets: torchvision, archives by address and checksum, and folders that only the user can provide.

Every source has ``read(name, root, size, ood)`` and gives ``Arrays``. What is missing and cannot be downloaded is a
FileNotFoundError that says what to put where.
"""

import hashlib
import os
import shutil
import tarfile
import zipfile
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch

from .. import import_torchvision
from ..files import atomic_directory
from . import folders
from .imageset import Arrays

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
            return folders.cached((self, folder), lambda: _arrays(self._datasets(name, folder)))
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


def download(url: str, md5sum: str, file: Path) -> None:
    """Download ``url`` to ``file``, which appears only when it is complete and has the right MD5.

    Partial downloads are kept as ``*.part`` and resumed if the server supports ranges.

    Raises
    ------
    OSError, HTTPException
        When the download fails, with the reason.
    """
    part = file.with_name(f"{file.name}.part")
    while True:
        start = part.stat().st_size if part.exists() else 0
        if not start or md5(part) != md5sum:
            _append(url, part, start)
        if md5(part) == md5sum:
            os.replace(part, file)
            return
        part.unlink()
        if not start:  # all of it is new, so the server's file is another one
            raise OSError(f"the file at {url} has the wrong MD5, expected {md5sum}")


def _append(url, part, start):
    from tqdm.auto import tqdm

    headers = {"User-Agent": __package__} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=60)
    except HTTPError as error:
        if start and error.code == 416:  # range not satisfiable: there is nothing after what we have
            return
        raise
    start = start if response.status == 206 else 0  # partial content
    total = start + response.length if response.length else None
    bar = {"desc": part.stem, "total": total, "initial": start, "leave": False}
    with response, open(part, "ab" if start else "wb") as file, tqdm.wrapattr(file, "write", **bar) as progress:
        shutil.copyfileobj(response, progress, 2**18)
        file.flush()
        os.fsync(file.fileno())
        if total and file.tell() < total:
            raise OSError(f"the connection broke after {file.tell()} of {total} bytes; call again to resume")


def md5(file: Path) -> str:
    """The file's MD5 in hexadecimal; it detects corruption, not tampering."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(file: Path, folder: Path) -> None:
    """Unpack a tar or zip into ``folder``, which appears when it is complete.

    Raises
    ------
    ValueError
        When a member is not a plain file or folder inside it: a link, or a path that leads out.
    """
    with atomic_directory(folder, flush=False) as staging:
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():  # a link is written as a plain file
                    _check(file, member.filename, True)
                    archive.extract(member, staging)
        else:
            with tarfile.open(file) as archive:
                for member in archive:
                    _check(file, member.name, member.isfile() or member.isdir())
                    archive.extract(member, staging, filter="data")
        for annotations in staging.glob("*/val/val_annotations.txt"):
            _sort_tiny_imagenet(annotations)


def _check(file, name, plain):
    path = PurePosixPath(name)
    if not plain or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{str(file)!r} contains {name!r}, which is not a plain file inside it; it is not used")


def _sort_tiny_imagenet(annotations):
    """Move Tiny ImageNet's validation images into class folders, like its training images; delete box annotations."""
    val, train = annotations.parent, annotations.parents[1] / "train"
    classes, files = set(os.listdir(train)), set(os.listdir(val / "images"))
    for line in annotations.read_text().splitlines():
        file, name = line.split("\t")[:2]
        if name in classes and file in files:
            (val / name).mkdir(exist_ok=True)
            (val / "images" / file).rename(val / name / file)
    shutil.rmtree(val / "images")
    for boxes in (annotations, *train.glob("*/*_boxes.txt")):
        boxes.unlink()
