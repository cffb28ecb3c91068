"""Folders of image files: their layouts, their sizes, and what does not belong in them."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from imagesets import make_set, partition, split_sizes, write_images
from PIL import Image, ImageOps

from ood_helpers import data
from ood_helpers.data import folders, imageset


def test_train_and_test_folders_keep_their_test_split(tmp_path):
    hostile = "<img src=x onerror=alert(1)> $_{x}$ %s"
    for name in ("cat", hostile):
        write_images(tmp_path / "train" / name, 20, mode="RGB", suffix=".jpg")
        write_images(tmp_path / "test" / name, 4, mode="RGB", suffix=".jpg", seed=1)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    imageset = data.load(f"folder:{tmp_path}")
    assert imageset.classes == (hostile, "cat") and imageset.shape == (3, 8, 8) and partition(imageset)
    assert split_sizes(imageset) == {"train": 36, "validation": 4, "test": 8}
    assert imageset.splits["test"].tolist() == list(range(40, 48))
    with Image.open(tmp_path / "test" / imageset.classes[0] / "000.jpg") as image:
        np.testing.assert_array_equal(imageset.images[40].permute(1, 2, 0), np.asarray(image))
    two = data.load(f"folder:{tmp_path}", known=2)
    assert two.near is None
    write_images(tmp_path / "train" / "aardvark", 20)
    write_images(tmp_path / "test" / "aardvark", 3)
    three = data.load(f"folder:{tmp_path}", known=2)
    assert len(three.near.images) == 4 and three.near.classes == ("cat",)  # the test images of the last class


def test_files_that_are_no_images_are_skipped_and_listed(tmp_path):
    for name in "ab":
        write_images(tmp_path / name, 6)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / "empty.png").touch()
    intact = (tmp_path / "a" / "000.png").read_bytes()
    (tmp_path / "b" / "cut.png").write_bytes(intact[: len(intact) - 30])
    Image.effect_noise((8, 8), 50).save(tmp_path / "b" / "cut.jpg")
    os.truncate(tmp_path / "b" / "cut.jpg", (tmp_path / "b" / "cut.jpg").stat().st_size - 20)
    (tmp_path / "b" / ".DS_Store").write_text("hidden")
    Image.fromarray(np.full((8, 8), 60000, dtype=np.uint16)).save(tmp_path / "b" / "sixteen_bit.png")
    with pytest.warns(UserWarning, match="skipped 5 of 17 files") as caught:
        imageset = data.load(f"folder:{tmp_path}")
    assert imageset.labels.bincount().tolist() == [6, 6]
    (line,) = (str(warning.message) for warning in caught)
    assert all(repr(name) in line for name in ("notes.txt", "empty.png", "cut.png", "cut.jpg", "sixteen_bit.png"))


def test_images_of_different_sizes_take_the_prevailing_one(tmp_path, caplog):
    for name, size in (("a", (10, 8)), ("b", (20, 20))):
        write_images(tmp_path / name, 5, size=size)
    assert data.load(f"folder:{tmp_path}").shape == (1, 32, 32)  # five against five
    assert "scaled and cropped to 32 x 32 from 2 sizes" in caplog.text
    write_images(tmp_path / "a", 6, size=(10, 8))
    assert data.load(f"folder:{tmp_path}").shape == (1, 8, 10)
    assert "scaled and cropped to 10 x 8 from 2 sizes" in caplog.text


def test_one_colour_image_makes_the_set_colour(tmp_path):
    write_images(tmp_path / "a", 5)
    write_images(tmp_path / "b", 5, mode="RGBA")
    assert data.load(f"folder:{tmp_path}").shape == (3, 8, 8)


def test_photographs_are_turned_as_the_camera_says(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[0] = 255  # the top row becomes the right column
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png", exif=turned)
    np.testing.assert_array_equal(data.load(f"folder:{tmp_path}").images[0, 0], pixels.T[:, ::-1])


def test_image_bombs_are_skipped(tmp_path, monkeypatch):
    for name in "ab":
        write_images(tmp_path / name, 5)
    write_images(tmp_path / "a" / "bombs", 2, size=(11, 11))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.warns(UserWarning, match="skipped 2 of 12"):
        assert len(data.load(f"folder:{tmp_path}").images) == 10


def test_a_folder_is_decoded_once_until_it_changes(tmp_path):
    for name in "ab":
        write_images(tmp_path / name, 5)
    first, second = data.load(f"folder:{tmp_path}"), data.load(f"folder:{tmp_path}")
    assert first.images.data_ptr() == second.images.data_ptr()
    write_images(tmp_path / "a", 7, seed=1)
    assert len(data.load(f"folder:{tmp_path}").images) == 12


def test_unusable_folders_are_refused_in_one_sentence(tmp_path):
    def refused(kind, message):
        with pytest.raises(kind, match=message):
            data.load(f"folder:{tmp_path}")

    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.load(f"folder:{tmp_path}/nowhere")
    refused(ValueError, "no class folders with images")
    write_images(tmp_path / "a", 5)
    refused(ValueError, r"one class only \('a'\)")
    (tmp_path / "b").mkdir()
    refused(ValueError, "class 'b' has 0 usable images")
    write_images(tmp_path / "b", 4)
    refused(ValueError, "class 'b' has 4 usable images, at least 5")
    for broken in tmp_path.rglob("*.png"):
        broken.write_text("broken")
    refused(ValueError, "none of its 9 files can be read")
    (tmp_path / "train").mkdir()
    refused(ValueError, "has train/ only")
    write_images(tmp_path / "test" / "dog", 2)
    refused(ValueError, "classes that train/ does not have: 'dog'")


def test_ood_folders_may_be_flat_and_their_conversion_is_logged(tmp_path, digits, caplog):
    write_images(tmp_path / "flat", 3, size=(40, 20), mode="RGB")
    flat = data.load_ood(f"folder:{tmp_path / 'flat'}", digits)
    assert flat.shape == digits.shape and flat.classes == ("images",) and len(flat.images) == 3
    assert "scaled and cropped to 8 x 8 from 40 x 20" in caplog.text
    assert "converted from 3x8x8 to 1x8x8" in caplog.text
    caplog.clear()
    write_images(tmp_path / "split" / "train" / "a", 5)
    write_images(tmp_path / "split" / "test" / "a", 2, seed=1)
    split = data.load_ood(f"folder:{tmp_path / 'split'}", digits)
    assert len(split.images) == 2 and not caplog.records
    with Image.open(tmp_path / "split" / "test" / "a" / "000.png") as image:
        np.testing.assert_array_equal(split.images[0, 0], np.asarray(image))


def test_conversion_agrees_with_pillow(tmp_path, digits):
    write_images(tmp_path, 4, size=(30, 20), mode="RGB")
    images = data.load_ood(f"folder:{tmp_path}", make_set([0, 1], (1, 10, 10))).images
    for image, file in zip(images, sorted(tmp_path.iterdir())):
        with Image.open(file) as source:
            grey = ImageOps.fit(source, (10, 10), Image.Resampling.BILINEAR).convert("L")
        assert np.abs(image[0].int().numpy() - np.asarray(grey, dtype=int)).max() <= 1
    images = data.load_ood("digits", make_set([0, 1], (1, 12, 10))).images
    for image, source in zip(images, data.load("digits", known=10).images[:20]):
        larger = Image.fromarray(source[0].numpy()).resize((12, 12), Image.Resampling.BILINEAR)
        assert np.abs(image[0].int().numpy() - np.asarray(larger, dtype=int)[:, 1:11]).max() <= 1
    colour = data.load_ood("digits", make_set([0, 1], (3, 16, 16)))
    assert len(colour.images) == 1797 and torch.equal(colour.images[:, 0], colour.images[:, 2])


def test_a_set_can_be_asked_for_in_another_size(tmp_path, caplog):
    assert data.load("digits", size=12).shape == (1, 12, 12)
    assert "digits: converted from 1x8x8 to 1x12x12" in caplog.text
    for name, size in (("a", (50, 40)), ("b", (20, 30))):
        write_images(tmp_path / name, 5, size=size, mode="RGB")
    imageset = data.load(f"folder:{tmp_path}", size=24)
    assert imageset.shape == (3, 24, 24)
    assert "scaled and cropped to 24 x 24 from 2 sizes" in caplog.text
    with Image.open(tmp_path / "b" / "004.png") as source:
        expected = ImageOps.fit(source, (24, 24), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(imageset.images[9].permute(1, 2, 0), np.asarray(expected))
    for size in (0, -3, 2.5, "32", True):
        with pytest.raises(ValueError, match="size must be a whole number of pixels"):
            data.load("digits", size=size)


@pytest.mark.filterwarnings("ignore:.*skipped 1 of 1[12]:UserWarning")
def test_a_set_larger_than_memory_is_decoded_into_a_file_once(tmp_path, caplog, monkeypatch):
    folder, root = tmp_path / "mine", tmp_path / "data"
    for name in "ab":
        write_images(folder / name, 5, size=(70, 80), mode="RGB")
    (folder / "a" / "cut.png").write_bytes((folder / "a" / "000.png").read_bytes()[:900])
    in_memory = data.load(f"folder:{folder}", root)
    assert not root.exists()
    monkeypatch.setattr(imageset, "IN_MEMORY", 1000)
    monkeypatch.setattr(imageset, "_recent", {})
    with pytest.warns(UserWarning, match="skipped 1 of 11 files, not readable as images: 'cut.png'"):
        mapped = data.load(f"folder:{folder}", root)
    assert torch.equal(mapped.images, in_memory.images) and torch.equal(mapped.labels, in_memory.labels)
    assert "decoded once, 0.0 GB in" in caplog.text
    (place,) = root.glob(".decoded-*")
    assert {path.name for path in root.iterdir()} == {place.name, ".lock"}
    pixels = (place / "pixels").stat()
    assert pixels.st_size == in_memory.images.numel()
    monkeypatch.setattr(imageset, "_recent", {})  # as in another process
    caplog.clear()
    with pytest.warns(UserWarning, match="skipped 1 of 11"):
        again = data.load(f"folder:{folder}", root)
    assert torch.equal(again.images, in_memory.images) and "decoded once" not in caplog.text
    assert (place / "pixels").stat().st_mtime_ns == pixels.st_mtime_ns
    write_images(folder / "b", 6, size=(70, 80), mode="RGB", seed=1)
    assert len(data.load(f"folder:{folder}", root).images) == 11 and len(list(root.glob(".decoded-*"))) == 2


def test_an_ood_folder_needs_no_training_split(tmp_path, digits):
    write_images(tmp_path / "test" / "a", 3)
    assert len(data.load_ood(f"folder:{tmp_path}", digits).images) == 3
    with pytest.raises(ValueError, match="has test/ only"):
        data.load(f"folder:{tmp_path}")


def test_a_file_of_pixels_is_never_half_a_set(tmp_path, monkeypatch):
    folder, root = tmp_path / "mine", tmp_path / "data"
    for name in "ab":
        write_images(folder / name, 5)
    monkeypatch.setattr(imageset, "IN_MEMORY", 10)

    def pulled(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folders.os, "fsync", pulled)
        data.load(f"folder:{folder}", root)
    assert not root.exists()
    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"take 0.0 GB in .* 0.0 GB are free"):
        patch.setattr(folders.shutil, "disk_usage", lambda path: SimpleNamespace(free=639))
        data.load(f"folder:{folder}", root)
    assert len(data.load(f"folder:{folder}", root).images) == 10


def test_hostile_files_are_skipped(tmp_path):
    for name in "ab":
        write_images(tmp_path / name, 5)
    intact = (tmp_path / "a" / "000.png").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(40):  # every one of them damaged or cut somewhere
        damaged = bytearray(intact[: rng.integers(0, len(intact) - 20)] if i % 2 else intact)
        for position in rng.integers(0, len(damaged) + 1, 10):
            damaged[position : position + 1] = rng.bytes(1)
        (tmp_path / "a" / f"damaged{i}.png").write_bytes(damaged)
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "itself.png").symlink_to(tmp_path / "a" / "itself.png")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    for name, mode in (("palette.gif", "P"), ("print.jpg", "CMYK"), ("clear.png", "RGBA"), ("dot.png", "L")):
        Image.new(mode, (1, 1) if name == "dot.png" else (8, 8)).save(tmp_path / "b" / name)
    frames = [Image.new("P", (8, 8), color) for color in (10, 200)]
    frames[0].save(tmp_path / "b" / "animated.gif", save_all=True, append_images=frames[1:])
    skipped = r"skipped (3[5-9]|40) of 55 files, not readable as images: 'damaged"
    with pytest.warns(UserWarning, match=skipped):
        imageset = data.load(f"folder:{tmp_path}")
    assert imageset.shape == (3, 8, 8)
    assert imageset.labels.sum() == 10 and 5 <= (imageset.labels == 0).sum() <= 10
