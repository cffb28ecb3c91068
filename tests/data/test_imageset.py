"""Image sets: what fits together, what stays in memory, and their way to a folder and back."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from imagesets import make_set, partition, write_images

from ood_helpers import data
from ood_helpers.data import imageset


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": torch.zeros(4, 8, 8, dtype=torch.uint8)}, "images must be uint8 of shape"),
        ({"images": torch.zeros(4, 1, 8, 8)}, "images must be uint8 of shape"),
        ({"images": torch.zeros(4, 2, 8, 8, dtype=torch.uint8)}, "images must be uint8 of shape"),
        ({"labels": torch.tensor([0, 1, 2])}, r"labels must be int64 of shape \(4,\)"),
        ({"labels": torch.tensor([0, 1, 2, 3])}, r"labels must lie in 0..2, got 0..3"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, r"labels must lie in 0..2, got -1..2"),
        ({"splits": {"test": torch.tensor([4])}}, "split 'test' is empty or points outside"),
        ({"splits": {"test": torch.tensor([], dtype=torch.int64)}}, "split 'test' is empty or points outside"),
    ],
)
def test_an_image_set_that_does_not_fit_together_is_refused(change, message):
    fields = {
        "name": "four",
        "images": torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
        "labels": torch.tensor([0, 1, 2, 0]),
        "classes": ("a", "b", "c"),
        "splits": {"test": torch.arange(4)},
    }
    data.ImageSet(**fields)
    with pytest.raises(ValueError, match=f"four: {message}"):
        data.ImageSet(**fields | change)


def test_a_written_folder_comes_back_the_same(digits, tmp_path):
    sizes = [20, 12, 9, 7, 6, 5]
    folder = data.write_folder(digits, tmp_path / "six", sizes)
    back = data.load(f"folder:{folder}")
    assert back.classes == digits.classes and back.labels.bincount().tolist() == sizes and partition(back)
    for label, size in enumerate(sizes):
        assert torch.equal(back.images[back.labels == label], digits.images[digits.labels == label][:size])
    assert all(len(back.split(part)[1].unique()) == 6 for part in back.splits)
    assert back.labels[:6].tolist() == [*range(6)]  # classes take turns: training follows the first images
    assert [path.name for path in tmp_path.iterdir()] == ["six"]


def test_writing_a_folder_again_leaves_it_and_spoils_no_other(digits, tmp_path):
    folder = data.write_folder(digits, tmp_path / "six", [5] * 6)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    data.write_folder(digits, folder, [5] * 6)
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    with pytest.raises(ValueError, match="holds other files"):
        data.write_folder(digits, folder, [6] * 6)
    with pytest.raises(ValueError, match="999 were requested"):
        data.write_folder(digits, tmp_path / "more", [999] * 6)
    assert [path.name for path in tmp_path.iterdir()] == ["six"]


@pytest.mark.parametrize("name", ["../outside", "/tmp/x", "..", "", ".hidden"])
def test_class_names_cannot_lead_out_of_the_folder(name, tmp_path):
    imageset = replace(make_set([0, 1]), classes=("a", name))
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        data.write_folder(imageset, tmp_path / "inside")
    assert not list(tmp_path.iterdir())


def test_classes_kept_out_of_a_set_larger_than_memory_are_not_copied(digits, monkeypatch):
    monkeypatch.setattr(imageset, "IN_MEMORY", 50_000)  # bytes; the digits are 115,008
    large = data.load("digits")
    for mine, theirs in ((large, digits), (large.near, digits.near)):
        assert isinstance(mine.images, data.LazySubset) and mine.shape == theirs.shape
        assert torch.equal(mine.images[0:], theirs.images) and torch.equal(mine.labels, theirs.labels)
        assert mine.images[:] is mine.images and mine.images.numel() == theirs.images.numel()
        for split in mine.splits:
            images, labels = mine.split(split)
            assert torch.equal(torch.cat([*images.split(50)]), theirs.images[theirs.splits[split]])
            assert torch.equal(labels, theirs.labels[theirs.splits[split]])


def test_sets_in_memory_are_bounded_in_total(tmp_path, monkeypatch):
    monkeypatch.setattr(imageset, "IN_MEMORY", 1500)  # bytes: each of the two sets fits, both do not
    for kind in ("one", "other"):
        for name in "ab":
            write_images(tmp_path / kind / name, 8)
    one = weakref.ref(data.load(f"folder:{tmp_path}/one").images)
    assert one() is data.load(f"folder:{tmp_path}/one").images
    data.load(f"folder:{tmp_path}/other")
    gc.collect()
    assert one() is None
