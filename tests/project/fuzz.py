"""Files from outside, changed by a fuzzer that sees which lines of Python they reach.

PYTHONPATH=tests python tests/project/fuzz.py -runs=1000

Needs atheris; the options are libFuzzer's. A record is a run or a ValueError; an image is pixels or nothing; an archive
leaves plain files in its folder, or nothing, and never anything beside it.
"""

import io
import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "tarfile", "zipfile", "ood_helpers"]):
    import numpy as np
    from PIL import Image

    from ood_helpers import runs, training
    from ood_helpers.config import Config
    from ood_helpers.data import downloads, folders

    Image.init()  # every format's reader
    Image.MAX_IMAGE_PIXELS = 10_000  # large ones only take longer

from loopback import tar, zipped
from test_reliability import signed


def record(content, folder):
    with suppress(ValueError, AttributeError, RecursionError):  # no record, and so without a checksum
        content = signed(json.loads(content)).encode()
    (RUN.path / "config.json").write_bytes(content)
    with suppress(ValueError):
        runs.load_run(RUN.path)


def image(content, folder):
    (folder / "image").write_bytes(content)
    with folders.bombs_as_errors():
        found = folders._decode_one(folder / "image", (8, 8), "RGB", crop=bool(content[-1:] > b"\x80"))
    assert found is None or (found.shape, found.dtype) == ((3, 8, 8), np.uint8)


def archive(content, folder, suffix=".tar"):
    file, inside = folder / f"archive{suffix}", folder / "inside"
    file.write_bytes(content)
    try:
        downloads.unpack(file, inside)
    except Exception:  # whichever: what counts is what it leaves
        assert not inside.exists()
    assert set(os.listdir(folder)) <= {file.name, "inside"} and set(os.listdir(PLACE)) == {"runs", "one"}
    assert all(path.is_dir() or (path.is_file() and not path.is_symlink()) for path in inside.rglob("*"))


def zip_archive(content, folder):
    archive(content, folder, ".zip")


KINDS = (record, image, archive, zip_archive)


def one(data):
    folder = PLACE / "one" / "folder"
    folder.mkdir()
    try:
        KINDS[data[0] % len(KINDS) if data else 0](data[1:], folder)
    finally:
        shutil.rmtree(folder)
    assert not os.listdir(folder.parent)


def seeds():
    """What the fuzzer begins with."""
    yield record, (RUN.path / "config.json").read_bytes()
    pixels = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    for form in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "TGA"):
        buffer = io.BytesIO()
        pixels.save(buffer, form)
        yield image, buffer.getvalue()
    yield archive, tar({"a/b.png": b"pixels", "l": {"type": b"2", "linkname": ".."}, "../c": b""}, "w")
    yield zip_archive, zipped({"a/b.png": b"pixels", "../c": b"", "/d": b""})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as corpus:
        PLACE = Path(place)
        (PLACE / "one").mkdir()
        RUN = training.fit(Config(epochs=1, limit=96, ood=("near",)), PLACE / "runs", "cpu", progress=False)
        for i, (kind, content) in enumerate(seeds()):
            (Path(corpus) / str(i)).write_bytes(bytes([KINDS.index(kind)]) + content)
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()
