"""Folders of image files as tensors, and back. Names of folders and files are only text."""

import hashlib
import os
import shutil
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

GREY = {"1", "L", "LA"}
COLOUR = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # others have over 8 bits, which Pillow cuts to white
LARGEST = 224  # pixels, of a folder that is taken as it is
IN_MEMORY = 2**31  # bytes; a larger set is decoded once into a file and mapped


def read(path, root, size=None, ood=False, test="test", cut=False):
    """(images, labels, classes, number of own training images) of a folder laid out as for ``data.load``.

    ``test`` names the folder of the test part beside train/. For OOD use a flat folder of images will do, and
    of two parts only the test part is read. Hidden files are passed over; files that cannot be read are
    skipped, counted and listed in one printed line. All images get the ``size`` (height, width): by default
    that which most of them have, or 32 x 32 where none prevails. ``cut`` and ``root``: see ``decode``.
    """
    folder, whole = Path(path).expanduser().absolute(), repr(str(path))
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {whole} does not exist")
    parts = [part for part in ("train", test) if (folder / part).is_dir()]
    if len(parts) == 1:
        raise ValueError(f"folder {whole} has {parts[0]}/ only; it needs both train/ and {test}/, or neither")
    roots = [folder / part for part in parts[ood:]] or [folder]
    classes = subfolders(roots[0])
    if set(subfolders(roots[-1])) - set(classes):
        raise ValueError(
            f"folder {whole}: {test}/ has classes that train/ has not: "
            f"{_some(sorted(set(subfolders(roots[-1])) - set(classes)))}"
        )
    # the classes take turns, so that a set's first images, which training follows, are of all of them
    files = [
        (file, label, root)
        for root in roots
        for turn in zip_longest(*(_files(root / name) for name in classes))
        for label, file in enumerate(turn)
        if file
    ]
    if ood and not classes:
        classes, files = ["images"], [(file, 0, folder) for file in _files(roots[0])]
    if not files:
        raise ValueError(f"folder {whole} has no class folders with images in them")
    images, kept = decode([file for file, *_ in files], f"folder {whole}", root, size, cut)
    files = [files[i] for i in kept]
    train = sum(place == roots[0] for *_, place in files) if len(roots) == 2 else 0
    return images, torch.tensor([label for _, label, _ in files]), tuple(classes), train


def subfolders(folder):
    """Names of the folders in a folder, sorted, hidden ones left out."""
    return sorted(name for name in os.listdir(folder) if name[0] != "." and (Path(folder) / name).is_dir())


def _files(root):
    found = []
    for folder, inner, names in os.walk(root):  # does not follow links to folders, so loops cannot trap it
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        found += [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
    return [file for file in found if os.path.isfile(file)]


def _some(names):
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def decode(paths, what, root, size=None, cut=False):
    """Decode image files: uint8 (n, C, H, W) and the positions of the n files that could be read.

    Scaled to cover ``size`` (height, width) and cut to its centre; ``cut`` only cuts where it can. Above
    2 GiB the pixels are decoded once into a hidden folder of ``root`` and mapped from there, until a file
    changes.
    """
    stamps = tuple((os.fspath(path), os.stat(path).st_mtime_ns) for path in paths)
    return _decode(stamps, what, str(root), size, cut)


@lru_cache(maxsize=4)
def _decode(stamps, what, root, size, cut):
    """The stamps name the files and when they changed: the same files are decoded once in a process."""
    paths, root = [path for path, _ in stamps], Path(root).expanduser()
    place = root / f".decoded-{hashlib.sha256(repr((stamps, size, cut)).encode()).hexdigest()[:16]}"
    if not place.is_dir():
        size, colour = _look(paths, size, what, cut)
        shape = (len(paths), 3 if colour else 1, *size)
        one = partial(_one, size=size, mode="RGB" if colour else "L", cut=cut)
        images = _each(paths, one, large=max(size) > 64)
        if np.prod(shape) <= IN_MEMORY:
            pixels, kept = np.empty(shape, dtype=np.uint8), []
            for i, image in images:
                pixels[len(kept)] = image
                kept.append(i)
            _tell_skipped(paths, kept, what)
            return torch.from_numpy(pixels[: len(kept)]), kept
        _write(place, images, shape, what)
    pixels, kept = _mapped(place)
    _tell_skipped(paths, kept, what)
    return pixels, kept


def _look(paths, size, what, cut):
    """The size that the images get and whether any has colour, from the files' headers alone."""
    from PIL import Image
    from tqdm.auto import tqdm

    sizes, colour = Counter(), False
    with _no_bombs():
        for path in tqdm(paths, desc="reading sizes", unit="image", delay=2, leave=False):
            with suppress(Exception), Image.open(path) as image:  # what cannot be read is counted later
                sizes[image.size[::-1]] += 1
                colour = colour or image.mode in COLOUR
    prevailing, votes = sizes.most_common(1)[0] if sizes else ((32, 32), 0)
    if size is None:
        size = prevailing if 2 * votes > sizes.total() and max(prevailing) <= LARGEST else (32, 32)
    if set(sizes) - {size}:
        origin = "{1} x {0}".format(*prevailing) if len(sizes) == 1 else f"{len(sizes)} sizes"
        print(f"{what}: {'cut' if cut else 'scaled and cut'} to {size[1]} x {size[0]} from {origin}")
    return size, colour


def _each(paths, one, large):
    """(position, pixels) of every file that can be read, in order.

    Threads are for large files: with small ones Python's own work prevails, and a pool took twice as long.
    """
    from tqdm.auto import tqdm

    with (
        _no_bombs(),
        ThreadPoolExecutor(os.cpu_count() if large else 1) as pool,
        tqdm(total=len(paths), desc="decoding", unit="image", delay=2, leave=False) as bar,
    ):
        for start in range(0, len(paths), 256):
            some = paths[start : start + 256]
            for i, image in enumerate(pool.map(one, some) if large else map(one, some), start):
                bar.update()
                if image is not None:
                    yield i, image


def _one(path, size, mode, cut):
    from PIL import Image, ImageOps

    height, width = size
    try:
        with Image.open(path) as image:
            if image.mode not in GREY | COLOUR:
                return None
            if not cut:
                image.draft(mode, (width, height))  # a large JPEG is read at a fraction of its size
            image = ImageOps.exif_transpose(image).convert(mode)
            if cut and image.width >= width and image.height >= height:
                left, top = (image.width - width) // 2, (image.height - height) // 2
                image = image.crop((left, top, left + width, top + height))
            elif image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(height, width, len(mode)).transpose(2, 0, 1)
    except Exception:  # a damaged or hostile file can make a decoder raise anything
        return None


def _no_bombs():
    """Pillow only warns of images that are small as files and huge in memory; here that is an error."""
    from PIL import Image

    return warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)


def _tell_skipped(paths, kept, what):
    if not kept:
        raise ValueError(f"{what}: none of its {len(paths)} files can be read as an image")
    if len(kept) < len(paths):
        broken = [os.path.basename(paths[i]) for i in sorted(set(range(len(paths))) - set(kept))]
        print(f"{what}: skipped {len(broken)} of {len(paths)} files, no readable images: {_some(broken)}")


def _write(place, images, shape, what):
    """Decode into ``place``: beside, flushed to the disk, renamed: a half set is never believed."""
    root, needed = place.parent, int(np.prod(shape))
    with alone(root):
        if place.is_dir():  # another process made it meanwhile
            return
        size, free = f"{needed / 1e9:.1f} GB in {str(root)!r}", shutil.disk_usage(root).free
        if needed > free:
            raise OSError(
                f"{what}: the pixels of {shape[0]} images of {shape[3]} x {shape[2]} take {size}, "
                f"where {free / 1e9:.1f} GB are free; make room or ask for a smaller size"
            )
        print(f"{what}: decoded once, {size}")
        kept = []
        with beside(place) as staged:
            staged.mkdir()
            with open(staged / "pixels", "wb") as file:
                for i, image in images:
                    file.write(image.tobytes())
                    kept.append(i)
                file.flush()
                os.fsync(file.fileno())
            np.savez(staged / "index.npz", kept=kept, shape=(len(kept), *shape[1:]))
            os.replace(staged, place)


def _mapped(place):
    with np.load(place / "index.npz") as index:
        kept, shape = index["kept"].tolist(), tuple(index["shape"].tolist())
    if not kept:
        return None, kept
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot be written to, which nobody should
        return torch.from_numpy(np.memmap(place / "pixels", np.uint8, "r", shape=shape)), kept


@contextmanager
def alone(root):
    """Only one process prepares files in ``root`` at a time; others say that they wait."""
    from filelock import FileLock, Timeout  # torch brings it

    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".lock")  # the system frees it when its process dies
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process, which prepares files in {str(root)!r}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
        if made and set(os.listdir(root)) <= {".lock"}:
            shutil.rmtree(root, ignore_errors=True)


@contextmanager
def beside(folder):
    """A place beside ``folder`` to make it in; whatever is left there is removed."""
    staged = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(staged, ignore_errors=True)  # of a process that was killed
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_folder(imageset, path, sizes=None):
    """Write ``path``/class/*.png: the first ``sizes[c]`` images of class c, or all of them; returns the path.

    Written beside and renamed when complete; a folder that already holds these files is left as it is.
    Raises ValueError when a class has fewer images or its name cannot be a folder, and when the folder has
    others.
    """
    from PIL import Image

    path, sizes = Path(path), sizes or imageset.labels.bincount(minlength=imageset.num_classes).tolist()
    files = {}
    for label, (name, size) in enumerate(zip(imageset.classes, sizes, strict=True)):
        if Path(name).name != name or name[:1] in ("", "."):
            raise ValueError(f"class name {name!r} of {imageset.name} cannot be the name of a folder")
        index = torch.nonzero(imageset.labels == label).flatten()[:size].tolist()
        if len(index) < size:
            raise ValueError(f"class {name!r} of {imageset.name} has {len(index)} images, {size} are asked")
        files |= {f"{name}/{position:04d}.png": i for position, i in enumerate(index)}
    if path.exists():
        if {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} != set(files):
            raise ValueError(f"{str(path)!r} already exists and holds other files; choose another folder")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as staging:
        staged = Path(staging) / "folder"
        for file, i in files.items():
            (staged / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(imageset.images[i].permute(1, 2, 0).squeeze(2).numpy()).save(staged / file)
        os.replace(staged, path)
    return path
