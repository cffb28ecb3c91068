"""Where named image sets come from: torchvision, archives by address and checksum, the user's own folders.

Each kind of source has ``read(name, root, size, ood)``: (images, labels, classes, number of own training
images), as ``folders.read`` gives them. What is missing and cannot be fetched is a FileNotFoundError that
says what to put where.
"""

import hashlib
import os
import shutil
import tarfile
import zipfile
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch

from .. import import_torchvision
from . import folders

OF_FILES = {"DTD": {}, "Places365": {"small": True}}  # torchvision decodes one by one; we take the paths


class Torchvision(NamedTuple):
    """A class of torchvision.datasets; one ``argument`` chooses the splits, the test part last.

    A single split has no test part of its own. ``files`` are what it needs where nothing can be downloaded.
    """

    dataset: str
    files: tuple
    argument: str = "train"
    splits: tuple = (True, False)

    def read(self, name, root, size, ood):
        folder = root / name
        if self.dataset not in OF_FILES:
            return _arrays(self, name, folder)
        opened = self.opened(name, folder)[-1 if ood else 0 :]
        paths, labels = zip(*(part[i] for part in opened for i in range(len(part))))
        images, kept = folders.decode(paths, name, root, size or (32, 32))
        train = sum(i < len(paths) - len(opened[-1]) for i in kept)
        return images, torch.tensor(labels)[kept], tuple(opened[0].classes), train

    def opened(self, name, folder):
        """torchvision's datasets, one for each split, downloaded if need be."""
        with suppress(RuntimeError, OSError):
            return self.open(folder)
        try:
            with folders.alone(folder.parent), folders.beside(folder) as staged:
                with suppress(RuntimeError, OSError):
                    return self.open(folder)  # another process fetched it meanwhile
                if folder.exists():  # archives put there by hand are used; torchvision verifies them
                    shutil.copytree(folder, staged)
                self.open(staged, download=True)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(staged, folder)
        except (RuntimeError, OSError) as error:  # URLError is an OSError
            raise _missing(name, error, ", ".join(self.files), folder) from error
        return self.open(folder)

    def open(self, folder, download=False):
        kind = getattr(import_torchvision().datasets, self.dataset)
        files = OF_FILES[self.dataset] | {"loader": str} if self.dataset in OF_FILES else {}
        return [kind(folder, download=download, **{self.argument: split}, **files) for split in self.splits]


@lru_cache(maxsize=4)
def _arrays(source, name, folder):
    images, labels = zip(*map(_pixels, opened := source.opened(name, folder)))
    classes = getattr(opened[0], "classes", None) or [str(label) for label in range(10)]  # SVHN names none
    return torch.cat(images), torch.cat(labels), tuple(classes), sum(map(len, labels[:-1]))


def _pixels(dataset):
    images = torch.as_tensor(dataset.data)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return images.contiguous(), torch.as_tensor(labels).long()


class Archive(NamedTuple):
    """A tar or zip of image files: flat, or class folders, or train/ and val/ with class folders."""

    url: str
    md5: str
    cut: bool = False  # pieces of larger images, which are cut to size and not scaled

    def read(self, name, root, size, ood):
        folder = root / name / "unpacked"
        if not folder.is_dir():
            with folders.alone(root):
                if not folder.is_dir():  # another process may have made it meanwhile
                    self.fetch(name, folder)
        while len(inner := folders.subfolders(folder)) == 1:
            folder = folder / inner[0]
        return folders.read(folder, root, size, ood, "val", self.cut)

    def fetch(self, name, folder):
        """Download, verify and unpack; an archive that was put there by hand is verified all the same."""
        file = folder.parent / self.url.rpartition("/")[2]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                download(self.url, self.md5, file)
            elif md5(file) != self.md5:
                raise OSError(f"the {file.name} that is there is another or cut, its md5 is not {self.md5}")
            unpack(file, folder)
        except (OSError, HTTPException, tarfile.TarError, zipfile.BadZipFile) as error:
            with suppress(OSError):
                file.parent.rmdir()  # if nothing is in it
            raise _missing(name, error, self.url, file.parent) from error


class Own(NamedTuple):
    """Images that only the user can provide, in a folder of the set's name."""

    what: str
    size: tuple = None  # (height, width) unless another is asked for

    def read(self, name, root, size, ood):
        if not (root / name).is_dir():
            raise FileNotFoundError(f"{name} cannot be downloaded; put {self.what} into {root / name}")
        return folders.read(root / name, root, size or self.size, ood, "val")


def _missing(name, error, files, folder):
    reason = " ".join(str(error).split())  # torchvision's may have many lines
    return FileNotFoundError(
        f"{name} could not be downloaded ({reason}); without a network, fetch {files} "
        f"elsewhere and put it into {folder}"
    )


def download(url, md5sum, file):
    """Download ``url`` to ``file``, which exists only when it is whole and verified.

    What came before a connection broke stays beside it, and the next call goes on from there, or starts again
    where the server cannot. OSError or HTTPException says why it failed.
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
        if not start:  # nothing old was in it, so it is the server that has something else
            raise OSError(f"the file at {url} is another, its md5 is not {md5sum}")


def _append(url, part, start):
    from tqdm.auto import tqdm

    headers = {"User-Agent": __package__} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urlopen(Request(url, headers=headers), timeout=60)
    except HTTPError as error:
        if start and error.code == 416:  # there is nothing after what we have
            return
        raise
    with answer:
        start = start if answer.status == 206 else 0
        length = answer.headers["Content-Length"]
        total = start + int(length) if length else None
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(desc=part.stem, total=total, initial=start, unit="B", unit_scale=True, leave=False) as bar,
        ):
            while some := answer.read(2**18):
                bar.update(file.write(some))
            file.flush()
            os.fsync(file.fileno())
            if total and file.tell() < total:
                raise OSError(f"it broke off after {file.tell()} of {total} bytes; call again to go on")


def md5(file):
    """The file's MD5 in hexadecimal: it tells a damaged file, not a forged one."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(file, folder):
    """Unpack a tar or zip into ``folder``: beside, and renamed when it is complete.

    ValueError when a member is no plain file or folder inside it: a link, or a name that leads out.
    """
    with folders.beside(folder) as staged:
        staged.mkdir()
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():  # a link would be written as a plain file
                    _check(file, member.filename, True)
                    archive.extract(member, staged)
        else:
            with tarfile.open(file) as archive:
                for member in archive:
                    _check(file, member.name, member.isfile() or member.isdir())
                    archive.extract(member, staged, filter="data")
        for notes in staged.glob("*/val/val_annotations.txt"):
            _sort(notes)
        os.replace(staged, folder)


def _check(file, name, plain):
    path = PurePosixPath(name)
    if not plain or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{str(file)!r} holds {name!r}, which is no plain file inside it; it is not used")


def _sort(notes):
    """Tiny ImageNet's validation images into class folders, as its training images are, and no boxes."""
    val, train = notes.parent, notes.parents[1] / "train"
    classes, files = set(os.listdir(train)), set(os.listdir(val / "images"))
    for line in notes.read_text().splitlines():
        file, name = line.split("\t")[:2]
        if name in classes and file in files:
            (val / name).mkdir(exist_ok=True)
            (val / "images" / file).rename(val / name / file)
    shutil.rmtree(val / "images")
    for boxes in (notes, *train.glob("*/*_boxes.txt")):
        boxes.unlink()
