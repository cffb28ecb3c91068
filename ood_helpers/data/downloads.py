"""Files from the internet: download with resume, verify, unpack."""

import hashlib
import os
import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ..engine.files import atomic_directory


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
