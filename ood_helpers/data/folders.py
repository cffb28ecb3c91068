"""Folders of image files as tensors."""

import hashlib
import logging
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..engine.files import atomic_directory, locked
from . import imageset
from .imageset import Arrays

PREFIX = "folder:"  # of the names of such sets
GREY = {"1", "L", "LA"}  # Pillow's modes
COLOUR = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # other modes have over 8 bits, which Pillow clips to white
LARGEST = 224  # pixels; larger images are not taken at their own size

logger = logging.getLogger(__name__)


def read(
    path: str | Path,
    root: Path,
    size: tuple[int, int] | None = None,
    ood: bool = False,
    test: str = "test",
    crop: bool = False,
) -> Arrays:
    """Read a folder with one subfolder of images per class, or with train/ and test/ that have such subfolders.

    Hidden files are ignored. Files that cannot be read as images are skipped, with one warning.

    Parameters
    ----------
    path : the folder
    root : folder for the pixels of sets larger than memory, see ``decode``
    size : (height, width) of the images; by default the size of most images, or (32, 32) if there is none
    ood : read the test split only, and accept a folder of images without class subfolders
    test : name of the test split's folder
    crop : cut images to size without scaling where possible

    Raises
    ------
    FileNotFoundError
        When the folder does not exist.
    ValueError
        When it has no such layout, or no readable images.
    """
    folder, what = Path(path).expanduser().absolute(), f"folder {str(path)!r}"
    if not folder.is_dir():
        raise FileNotFoundError(f"{what} does not exist")
    splits = [name for name in ("train", test) if (folder / name).is_dir()]
    if ood and test in splits:
        splits = [test]
    elif len(splits) == 1:
        raise ValueError(f"{what} has {splits[0]}/ only; it needs both train/ and {test}/, or neither")
    roots = [folder / name for name in splits] or [folder]
    classes = subfolders(roots[0])
    if extra := sorted(set(subfolders(roots[-1])) - set(classes)):
        raise ValueError(f"{what}: {test}/ has classes that train/ does not have: {_format_names(extra)}")
    files: list[tuple[str, int]] = []
    n_train = 0
    for directory in roots:
        n_train = len(files)  # in the end, the number of files before the last split
        # The classes take turns, so that the first images of a set, which training tracks, show all classes.
        per_class = ([(file, label) for file in image_files(directory / name)] for label, name in enumerate(classes))
        files += round_robin(*per_class)
    if ood and not classes:
        classes, files = ["images"], [(file, 0) for file in image_files(roots[0])]
    if not files:
        raise ValueError(f"{what} has no class folders with images in them")
    images, decoded = decode([file for file, _ in files], what, root, size, crop)
    labels = torch.tensor([files[i][1] for i in decoded])
    return Arrays(images, labels, tuple(classes), sum(i < n_train for i in decoded))


def subfolders(folder: Path) -> list[str]:
    """Sorted names of a folder's subfolders, without hidden ones."""
    return sorted(name for name in os.listdir(folder) if name[0] != "." and (Path(folder) / name).is_dir())


def round_robin(*iterables: Iterable) -> Iterator:
    """Items of several iterables in turn (a recipe of itertools' documentation).

    >>> "".join(round_robin("ABC", "D", "EF"))
    'ADEBFC'
    """
    iterators = iter(map(iter, iterables))
    for n_active in range(len(iterables), 0, -1):
        iterators = cycle(islice(iterators, n_active))
        yield from map(next, iterators)


def image_files(root: str | Path) -> list[str]:
    """Files of a folder and its subfolders, sorted, without hidden ones."""
    paths = []
    for folder, inner, names in os.walk(root):  # does not follow links to folders, so it always ends
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        paths += [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in paths if os.path.isfile(path)]


def _format_names(names):
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def decode(
    paths: Sequence[str | Path], what: str, root: Path, size: tuple[int, int] | None = None, crop: bool = False
) -> tuple[Tensor, list[int]]:
    """Decode image files.

    Parameters
    ----------
    paths : the files
    what : name of the set for messages
    root : sets larger than ``imageset.IN_MEMORY`` are decoded once into a hidden folder of ``root`` and memory-mapped
    size : (height, width), see ``read``; images are scaled to cover it and centre-cropped
    crop : do not scale images that are at least as large as ``size``

    Returns
    -------
    images : uint8 (n, C, H, W) with C = 1 if all images are grey, else 3
    decoded : positions in ``paths`` of the n files that could be read
    """
    stamps = tuple((os.fspath(path), os.stat(path).st_mtime_ns) for path in paths)  # a changed file is decoded again
    images, decoded = imageset.cached((stamps, str(root), size, crop), lambda: _decode(stamps, what, root, size, crop))
    return images, decoded


def _decode(stamps, what, root, size, crop):
    paths = [path for path, _ in stamps]
    place = root / f".decoded-{hashlib.sha256(repr((stamps, size, crop)).encode()).hexdigest()[:16]}"
    if not place.is_dir():
        size, colour = _scan_headers(paths, size, what, crop)
        shape = (len(paths), 3 if colour else 1, *size)
        decode_one = partial(_decode_one, size=size, mode="RGB" if colour else "L", crop=crop)
        images = _decode_all(paths, decode_one, large=max(size) > 64)
        if np.prod(shape) <= imageset.IN_MEMORY:
            pixels, decoded = np.empty(shape, dtype=np.uint8), []
            for i, image in images:
                pixels[len(decoded)] = image
                decoded.append(i)
            report_skipped(paths, decoded, what)
            return torch.from_numpy(pixels[: len(decoded)]), decoded
        _decode_to_disk(place, images, shape, what)
    with np.load(place / "index.npz") as index:
        decoded, shape = index["decoded"].tolist(), tuple(index["shape"].tolist())
    report_skipped(paths, decoded, what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that the tensor must not be written to
        return torch.from_numpy(np.memmap(place / "pixels", np.uint8, "r", shape=shape)), decoded


def _scan_headers(paths, size, what, crop):
    """The common (height, width), and whether any image has colour, from the files' headers alone."""
    from PIL import Image
    from tqdm.auto import tqdm

    sizes, colour = Counter(), False
    with bombs_as_errors():
        for path in tqdm(paths, desc="reading sizes", unit="image", delay=2, leave=False):
            with suppress(Exception), Image.open(path) as image:  # unreadable files are reported after decoding
                sizes[image.size[::-1]] += 1
                colour = colour or image.mode in COLOUR
    most_common, count = sizes.most_common(1)[0] if sizes else ((32, 32), 0)
    if size is None:
        size = most_common if 2 * count > sizes.total() and max(most_common) <= LARGEST else (32, 32)
    if set(sizes) - {size}:
        origin = "{1} x {0}".format(*most_common) if len(sizes) == 1 else f"{len(sizes)} sizes"
        how = "cropped" if crop else "scaled and cropped"
        logger.info("%s: %s to %s x %s from %s", what, how, size[1], size[0], origin)
    return size, colour


def _decode_all(paths, decode_one, large):
    """Yield (position, pixels) of every file that can be read, in order.

    Large files are decoded in threads; with small ones Python's own work dominates, and threads took twice as long.
    """
    from tqdm.auto import tqdm

    with (
        bombs_as_errors(),
        ThreadPoolExecutor(os.cpu_count() if large else 1) as pool,
        tqdm(total=len(paths), desc="decoding", unit="image", delay=2, leave=False) as bar,
    ):
        for start in range(0, len(paths), 256):
            chunk = paths[start : start + 256]
            for i, image in enumerate(pool.map(decode_one, chunk) if large else map(decode_one, chunk), start):
                bar.update()
                if image is not None:
                    yield i, image


def _decode_one(path, size, mode, crop):
    """One file as uint8 (C, H, W), or None if it is not a readable image."""
    from PIL import Image, ImageOps

    height, width = size
    try:
        with Image.open(path) as image:
            if image.mode not in GREY | COLOUR:
                return None
            if not crop:
                image.draft(mode, (width, height))  # a large JPEG is decoded at a fraction of its size
            image = ImageOps.exif_transpose(image).convert(mode)
            if crop and image.width >= width and image.height >= height:
                left, top = (image.width - width) // 2, (image.height - height) // 2
                image = image.crop((left, top, left + width, top + height))
            elif image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(height, width, len(mode)).transpose(2, 0, 1)
    except Exception:  # a damaged or hostile file can make a decoder raise anything
        return None


def bombs_as_errors() -> warnings.catch_warnings:
    """Make Pillow's warning about images that are small as files and huge in memory an error."""
    from PIL import Image

    return warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)


def report_skipped(paths: Sequence[str], decoded: Sequence[int], what: str) -> None:
    """Warn of the files that are not among the positions ``decoded``; raise ValueError if no file is."""
    if not decoded:
        raise ValueError(f"{what}: none of its {len(paths)} files can be read as an image")
    if len(decoded) < len(paths):
        names = [os.path.basename(paths[i]) for i in sorted(set(range(len(paths))) - set(decoded))]
        message = f"{what}: skipped {len(names)} of {len(paths)} files, not readable as images: {_format_names(names)}"
        warnings.warn(message, stacklevel=2)


def _decode_to_disk(place, images, shape, what):
    """Decode into the directory ``place``, which appears when it is complete."""
    root, needed = place.parent, int(np.prod(shape))
    with preparing(root):
        if place.is_dir():  # another process made it in the meantime
            return
        size, free = f"{needed / 1e9:.1f} GB in {str(root)!r}", shutil.disk_usage(root).free
        if needed > free:
            raise OSError(
                f"{what}: the pixels of {shape[0]} images of {shape[3]} x {shape[2]} take {size}, "
                f"where {free / 1e9:.1f} GB are free; make room or ask for a smaller size"
            )
        logger.info("%s: decoded once, %s", what, size)
        decoded = []
        with atomic_directory(place) as staging:
            with open(staging / "pixels", "wb") as file:
                for i, image in images:
                    file.write(image.tobytes())
                    decoded.append(i)
            np.savez(staging / "index.npz", decoded=decoded, shape=(len(decoded), *shape[1:]))


@contextmanager
def preparing(root: Path) -> Iterator[None]:
    """Let one process at a time prepare files in ``root``; a folder that was created in vain is removed."""
    existed = root.exists()
    try:
        with locked(root / ".lock", f"waiting for another process, which prepares files in {str(root)!r}"):
            yield
    finally:
        if not existed and root.is_dir() and set(os.listdir(root)) <= {".lock"}:
            shutil.rmtree(root, ignore_errors=True)
