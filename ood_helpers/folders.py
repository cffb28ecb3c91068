"""Folders of image files to images in memory, and back. Names of folders and files are only text."""

import os
import tempfile
import warnings
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

GREY = {"1", "L", "LA"}
COLOUR = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # others have over 8 bits, which Pillow cuts to white
LARGEST = 224  # pixels; a folder of larger images does not fit in memory


def read(path, ood=False):
    """(images, labels, classes, number of own training images) of a folder laid out as for ``load``.

    For OOD use a flat folder of images will do, and of train/ and test/ only test/ is read. Hidden files
    are passed over; files that cannot be read are skipped, counted and listed in one printed line. Images
    of different sizes are scaled and cut to the size that most of them have, or to 32 x 32 where none
    prevails.
    """
    folder, whole = Path(path).expanduser(), repr(str(path))
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {whole} does not exist")
    parts = [part for part in ("train", "test") if (folder / part).is_dir()]
    if len(parts) == 1:
        raise ValueError(f"folder {whole} has {parts[0]}/ only; it needs both train/ and test/, or neither")
    roots = [folder / part for part in parts[ood:]] or [folder]
    classes = _folders(roots[0])
    if set(_folders(roots[-1])) - set(classes):
        raise ValueError(f"folder {whole}: test/ has classes that train/ has not: "
                         f"{_some(sorted(set(_folders(roots[-1])) - set(classes)))}")
    files = [(file, label, root) for root in roots for label, name in enumerate(classes)
             for file in _files(root / name)]
    if ood and not classes:
        classes, files = ["images"], [(file, 0, folder) for file in _files(roots[0])]
    if not files:
        raise ValueError(f"folder {whole} has no class folders with images in them")
    stamps = tuple((file, os.stat(file).st_mtime_ns) for file, *_ in files)
    images, kept = _decode_same_size(stamps, str(path))
    files = [files[i] for i in kept]
    train = sum(root == roots[0] for *_, root in files) if len(roots) == 2 else 0
    return images, torch.tensor([label for _, label, _ in files]), tuple(classes), train


def _folders(root):
    return sorted(name for name in os.listdir(root) if name[0] != "." and (Path(root) / name).is_dir())


def _files(root):
    found = []
    for folder, inner, names in os.walk(root):  # does not follow links to folders, so loops cannot trap it
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        found += [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
    return [file for file in found if os.path.isfile(file)]


def _some(names):
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


@lru_cache(maxsize=4)
def _decode_same_size(stamps, what):
    """The stamps name the files and when they changed: the same files are decoded once in a process."""
    from PIL import Image

    sizes, colour = Counter(), False
    with _no_bombs():
        for file, _ in stamps:
            try:
                with Image.open(file) as image:  # reads the header alone
                    sizes[image.size] += 1
                    colour = colour or image.mode in COLOUR
            except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
                pass  # counted when it is decoded
    size, votes = sizes.most_common(1)[0] if sizes else ((32, 32), 0)
    if len(sizes) > 1 or max(size) > LARGEST:
        size = size if 2 * votes > sizes.total() and max(size) <= LARGEST else (32, 32)
        print(f"folder {what!r}: {len(sizes)} image sizes, all scaled and cut to {size[0]} x {size[1]}")
    return decode([file for file, _ in stamps], size, colour, f"folder {what!r}")


def decode(paths, size, colour, what):
    """Decode image files: uint8 (n, 3 or 1, H, W) and the positions of the n files that could be read.

    Scaled to cover ``size`` (width, height) and cut to its centre. One thread: for small files Python's own
    work prevails, and a pool of threads took twice as long.
    """
    from PIL import Image, ImageOps
    from tqdm.auto import tqdm

    mode, kept, broken = "RGB" if colour else "L", [], []
    pixels = np.empty((len(paths), size[1], size[0], len(mode)), dtype=np.uint8)
    with _no_bombs():
        for i, path in enumerate(tqdm(paths, desc="decoding", unit="image", delay=2, leave=False)):
            try:
                with Image.open(path) as image:
                    if image.mode not in GREY | COLOUR:
                        raise ValueError(f"mode {image.mode}")
                    image.draft(mode, size)  # a large JPEG is read at a fraction of its size
                    image = ImageOps.exif_transpose(image).convert(mode)
                    if image.size != size:
                        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
                    pixels[len(kept)] = np.asarray(image).reshape(pixels.shape[1:])
                kept.append(i)
            except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
                broken.append(os.path.basename(path))
    if not kept:
        raise ValueError(f"{what}: none of its {len(paths)} files can be read as an image")
    if broken:
        print(f"{what}: skipped {len(broken)} of {len(paths)} files, no readable images: {_some(broken)}")
    return torch.from_numpy(pixels[:len(kept)]).permute(0, 3, 1, 2).contiguous(), kept


def _no_bombs():
    """Pillow only warns of images that are small as files and huge in memory; here that is an error."""
    from PIL import Image

    return warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)


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
