"""Image sets from the outside: what load and load_ood give, and what they say when they cannot."""

import gzip
import hashlib
import pickle
import urllib.error
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from ood_helpers import data

LETTER_SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 6, 11)]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def make_set(labels, shape=(1, 8, 8), name="made"):
    labels = torch.tensor(labels)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    classes = tuple(f"class {i}" for i in range(int(labels.max()) + 1))
    return data.ImageSet(name, torch.from_numpy(pixels), labels, classes, {"test": torch.arange(len(labels))})


def write_images(folder, count, size=(8, 8), mode="L", suffix=".png", seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{i:03d}{suffix}")


def partition(imageset):
    return sorted(torch.cat(list(imageset.parts.values())).tolist()) == list(range(len(imageset.images)))


def part_sizes(imageset):
    return {part: len(index) for part, index in imageset.parts.items()}


# Digits and the parts of a set

def test_digits_are_scikit_learns(digits):
    source = load_digits()
    known = source.target < 6
    assert digits.images.dtype == torch.uint8 and digits.shape == (1, 8, 8)
    np.testing.assert_array_equal(digits.labels, source.target[known])
    np.testing.assert_allclose(digits.images[:, 0] * (16 / 255), source.images[known], atol=0.04)
    assert digits.images.max() == 255
    np.testing.assert_array_equal(digits.near.labels + 6, source.target[~known])
    np.testing.assert_allclose(digits.near.images[:, 0] * (16 / 255), source.images[~known], atol=0.04)


def test_parts_are_fixed_disjoint_and_stratified(digits):
    again = data.load("digits")
    assert partition(digits) and list(digits.parts) == ["train", "validation", "test"]
    for part, index in digits.parts.items():
        assert torch.equal(index, again.parts[part])
        share = digits.part(part)[1].bincount(minlength=6) / digits.labels.bincount()
        assert (share - (0.6 if part == "train" else 0.2)).abs().max() < 0.01
    images, labels = digits.part("test")
    assert torch.equal(images, digits.images[digits.parts["test"]])
    with pytest.raises(ValueError, match="has no part 'tset'; it has train, validation, test"):
        digits.part("tset")


def test_known_keeps_the_first_classes_and_holds_out_the_rest():
    everything, four = data.load("digits", known=10), data.load("digits", known=4)
    assert everything.near is None and len(everything.images) == 1797
    assert four.classes == ("0", "1", "2", "3") and four.near.classes == ("4", "5", "6", "7", "8", "9")
    assert len(four.images) + len(four.near.images) == 1797 and partition(four)
    assert torch.equal(four.part("test")[0], everything.part("test")[0][everything.part("test")[1] < 4])
    for known in (1, 11):
        with pytest.raises(ValueError, match="between 2 and the 10 classes"):
            data.load("digits", known=known)


def test_default_ood_names_need_no_loading():
    assert data.ood_names("digits") == ("near", "letters", "patches", "noise")
    assert data.ood_names("digits", known=10) == data.ood_names("mnist") == ("letters", "patches", "noise")
    assert data.ood_names("cifar10", known=6)[:2] == ("near", "cifar100")
    assert data.ood_names("folder:x", known=3) == data.ood_names("digits")
    for name in data.SETS:
        assert name not in data.ood_names(name)
        assert set(data.ood_names(name)) <= {"near", "letters", "patches", "noise", *data.SETS}


def test_unknown_names_list_the_known(digits):
    with pytest.raises(ValueError, match="unknown image set 'digit'; known: digits, cifar10, .*folder:PATH"):
        data.load("digit")
    with pytest.raises(ValueError, match="unknown image set 'leters'; known: near, letters, .*folder:PATH"):
        data.load_ood("leters", digits)
    with pytest.raises(ValueError, match="ID set itself"):
        data.load_ood("digits", digits)
    with pytest.raises(ValueError, match="no held-out classes"):
        data.load_ood("near", data.load("digits", known=10))


@pytest.mark.parametrize("change, message", [
    (dict(images=torch.zeros(4, 8, 8, dtype=torch.uint8)), "images must be uint8 of shape"),
    (dict(images=torch.zeros(4, 1, 8, 8)), "images must be uint8 of shape"),
    (dict(images=torch.zeros(4, 2, 8, 8, dtype=torch.uint8)), "images must be uint8 of shape"),
    (dict(labels=torch.tensor([0, 1, 2])), r"labels must be int64 of shape \(4,\)"),
    (dict(labels=torch.tensor([0, 1, 2, 3])), r"labels must lie in 0..2, got 0..3"),
    (dict(labels=torch.tensor([0, 1, 2, -1])), r"labels must lie in 0..2, got -1..2"),
    (dict(parts={"test": torch.tensor([4])}), "part 'test' is empty or points outside"),
    (dict(parts={"test": torch.tensor([], dtype=torch.int64)}), "part 'test' is empty or points outside"),
])
def test_an_image_set_that_does_not_fit_together_is_refused(change, message):
    whole = dict(name="four", images=torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
                 labels=torch.tensor([0, 1, 2, 0]), classes=("a", "b", "c"), parts={"test": torch.arange(4)})
    data.ImageSet(**whole)
    with pytest.raises(ValueError, match=f"four: {message}"):
        data.ImageSet(**whole | change)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(8, 30), min_size=2, max_size=5), st.integers(2, 8), st.integers(0, 3))
def test_folds_partition_and_stratify(sizes, k, seed):
    imageset = make_set([label for label, size in enumerate(sizes) for _ in range(size)], shape=(1, 1, 1))
    made = data.folds(imageset, k, seed)
    tests = torch.cat([fold.parts["test"] for fold in made])
    assert sorted(tests.tolist()) == list(range(sum(sizes)))
    counts = torch.stack([fold.part("test")[1].bincount(minlength=len(sizes)) for fold in made])
    assert (counts.amax(0) - counts.amin(0)).max() <= 1 and counts.sum(1).max() - counts.sum(1).min() <= 1
    assert all(partition(fold) and set(fold.parts) == {"train", "validation", "test"} for fold in made)


def test_folds_refuse_what_cannot_be_dealt(digits):
    for k in (1, 6):
        with pytest.raises(ValueError, match="smallest class"):
            data.folds(make_set([0] * 5 + [1] * 9), k)
    one, other = data.folds(digits, 5, seed=0)[0], data.folds(digits, 5, seed=1)[0]
    assert not torch.equal(one.parts["test"], other.parts["test"]) and one.near is digits.near


# OOD sets and outliers that are made

@pytest.mark.parametrize("shape", LETTER_SHAPES)
@pytest.mark.parametrize("name", ["letters", "patches", "noise"])
def test_made_sets_have_the_shape_and_repeat(name, shape):
    like = make_set([0, 1], shape)
    first, second = data.load_ood(name, like), data.load_ood(name, like)
    assert first.shape == shape and len(first.images) > 500 and first.name == name
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
    assert torch.equal(first.parts["test"], torch.arange(len(first.images)))
    assert first.images.flatten(1).float().std(1).min() > 8  # none of them is flat


def test_letters_are_drawn_in_the_style_of_the_digits(digits):
    letters = data.load_ood("letters", digits)
    assert not set("OIZSBGQJ") & set(letters.classes)
    assert set(letters.images.unique().tolist()) <= set(digits.images.unique().tolist())  # the same 17 levels
    ink = [images.float().mean() for images in (letters.images, digits.images)]
    assert 0.8 < ink[0] / ink[1] < 1.25
    assert len(letters.images.unique(dim=0)) == len(letters.images)
    columns = torch.arange(8.0)
    centre = (letters.images.float().sum((1, 2)) * columns).sum(1) / letters.images.float().sum((1, 2, 3))
    assert abs(centre.mean() - 3.5) < 0.3


def test_colour_letters_have_their_own_ink_and_paper():
    images = data.load_ood("letters", make_set([0, 1], (3, 32, 32))).images
    corners = images[:, :, 0, 0]
    assert len(corners.unique(dim=0)) > 600
    assert torch.equal(corners, images[:, :, -1, -1])  # paper all around


def test_noise_is_uniform(digits):
    counts = data.load_ood("noise", digits).images.flatten().long().bincount(minlength=256)
    assert (counts - 250).abs().max() < 6 * 250 ** 0.5


def test_outliers_are_made_of_the_given_images_alone():
    images = (torch.arange(40, dtype=torch.uint8) * 4).view(40, 1, 1, 1).repeat(1, 1, 8, 8)
    images[:, :, 0, 0] += 1
    before = images.clone()
    made, again, other = (data.outliers(images, seed) for seed in (3, 3, 4))
    assert torch.equal(images, before) and made.shape == images.shape and made.dtype == torch.uint8
    assert torch.equal(made, again) and not torch.equal(made, other)
    mosaics, blends, swapped, shuffled = (made[i::4, 0] for i in range(4))
    quadrants = torch.stack([mosaics[:, i, j] for i in (1, 7) for j in (1, 7)], 1)
    assert all(len(row.unique()) == 4 for row in quadrants) and set((quadrants % 4).flatten().tolist()) == {0}
    sums = {4 * (i + j) for i in range(40) for j in range(i)}
    assert all(len(blend.flatten()[1:].unique()) == 1 and int(blend[1, 1]) * 2 in sums for blend in blends)
    assert all(image[4, 4] == image[0, 0] + 1 for image in swapped)  # the marked corner moved to the centre
    assert all((image == image.median() + 1).sum() == 1 for image in shuffled)  # the marked pixel is kept
    assert sum(int(image[0, 0] == image.median() + 1) for image in shuffled) < len(shuffled)


@pytest.mark.parametrize("images", [torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(8, 1, 8, 8),
                                    torch.zeros(8, 8, 8, dtype=torch.uint8)])
def test_outliers_refuse_what_is_no_stack_of_images(images):
    with pytest.raises(ValueError, match="at least four uint8 images"):
        data.outliers(images, seed=0)


# Folders

def test_a_written_folder_comes_back_the_same(digits, tmp_path):
    sizes = [20, 12, 9, 7, 6, 5]
    folder = data.write_folder(digits, tmp_path / "six", sizes)
    back = data.load(f"folder:{folder}")
    assert back.classes == digits.classes and back.labels.bincount().tolist() == sizes and partition(back)
    for label, size in enumerate(sizes):
        assert torch.equal(back.images[back.labels == label], digits.images[digits.labels == label][:size])
    assert all(len(back.part(part)[1].unique()) == 6 for part in back.parts)
    assert [path.name for path in tmp_path.iterdir()] == ["six"]


def test_writing_a_folder_again_leaves_it_and_spoils_no_other(digits, tmp_path):
    folder = data.write_folder(digits, tmp_path / "six", [5] * 6)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    data.write_folder(digits, folder, [5] * 6)
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    with pytest.raises(ValueError, match="holds other files"):
        data.write_folder(digits, folder, [6] * 6)
    with pytest.raises(ValueError, match="999 are asked"):
        data.write_folder(digits, tmp_path / "more", [999] * 6)
    assert [path.name for path in tmp_path.iterdir()] == ["six"]


@pytest.mark.parametrize("name", ["../outside", "/tmp/x", "..", "", ".hidden"])
def test_class_names_cannot_lead_out_of_the_folder(name, tmp_path):
    imageset = replace(make_set([0, 1]), classes=("a", name))
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        data.write_folder(imageset, tmp_path / "inside")
    assert not list(tmp_path.iterdir())


def test_train_and_test_folders_keep_their_test_part(tmp_path):
    hostile = "<img src=x onerror=alert(1)> $_{x}$ %s"
    for name in ("cat", hostile):
        write_images(tmp_path / "train" / name, 20, mode="RGB", suffix=".jpg")
        write_images(tmp_path / "test" / name, 4, mode="RGB", suffix=".jpg", seed=1)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    imageset = data.load(f"folder:{tmp_path}")
    assert imageset.classes == (hostile, "cat") and imageset.shape == (3, 8, 8) and partition(imageset)
    assert part_sizes(imageset) == {"train": 36, "validation": 4, "test": 8}
    assert imageset.parts["test"].tolist() == list(range(40, 48))
    with Image.open(tmp_path / "test" / imageset.classes[0] / "000.jpg") as image:
        np.testing.assert_array_equal(imageset.images[40].permute(1, 2, 0), np.asarray(image))
    two = data.load(f"folder:{tmp_path}", known=2)
    assert two.near is None
    write_images(tmp_path / "train" / "aardvark", 20)
    write_images(tmp_path / "test" / "aardvark", 3)
    three = data.load(f"folder:{tmp_path}", known=2)
    assert len(three.near.images) == 4 and three.near.classes == ("cat",)  # the test images of the last class


def test_files_that_are_no_images_are_skipped_and_listed(tmp_path, capsys):
    for name in "ab":
        write_images(tmp_path / name, 6)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / "empty.png").touch()
    whole = (tmp_path / "a" / "000.png").read_bytes()
    (tmp_path / "b" / "cut.png").write_bytes(whole[:len(whole) - 30])
    (tmp_path / "b" / ".DS_Store").write_text("hidden")
    Image.fromarray(np.full((8, 8), 60000, dtype=np.uint16)).save(tmp_path / "b" / "sixteen_bit.png")
    imageset = data.load(f"folder:{tmp_path}")
    assert imageset.labels.bincount().tolist() == [6, 6]
    line, = capsys.readouterr().out.splitlines()
    assert "skipped 4 of 16 files" in line
    assert all(repr(name) in line for name in ("notes.txt", "empty.png", "cut.png", "sixteen_bit.png"))


def test_images_of_different_sizes_take_the_prevailing_one(tmp_path, capsys):
    for name, size in (("a", (10, 8)), ("b", (20, 20))):
        write_images(tmp_path / name, 5, size=size)
    assert data.load(f"folder:{tmp_path}").shape == (1, 32, 32)  # five against five
    assert "2 image sizes, all scaled and cut to 32 x 32" in capsys.readouterr().out
    write_images(tmp_path / "a", 6, size=(10, 8))
    assert data.load(f"folder:{tmp_path}").shape == (1, 8, 10)
    assert "10 x 8" in capsys.readouterr().out


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


def test_image_bombs_are_skipped(tmp_path, monkeypatch, capsys):
    for name in "ab":
        write_images(tmp_path / name, 5)
    write_images(tmp_path / "a" / "bombs", 2, size=(11, 11))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert len(data.load(f"folder:{tmp_path}").images) == 10
    assert "skipped 2 of 12" in capsys.readouterr().out


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
    refused(ValueError, "classes that train/ has not: 'dog'")


def test_ood_folders_may_be_flat_and_are_converted_aloud(tmp_path, digits, capsys):
    write_images(tmp_path / "flat", 3, size=(40, 20), mode="RGB")
    flat = data.load_ood(f"folder:{tmp_path / 'flat'}", digits)
    assert flat.shape == digits.shape and flat.classes == ("images",) and len(flat.images) == 3
    assert "converted from 3x20x40 to 1x8x8" in capsys.readouterr().out
    write_images(tmp_path / "split" / "train" / "a", 5)
    write_images(tmp_path / "split" / "test" / "a", 2, seed=1)
    split = data.load_ood(f"folder:{tmp_path / 'split'}", digits)
    assert len(split.images) == 2 and capsys.readouterr().out == ""
    with Image.open(tmp_path / "split" / "test" / "a" / "000.png") as image:
        np.testing.assert_array_equal(split.images[0, 0], np.asarray(image))


def test_conversion_agrees_with_pillow(tmp_path, capsys):
    write_images(tmp_path, 4, size=(30, 20), mode="RGB")
    like = make_set([0, 1], (1, 10, 10))
    images = data.load_ood(f"folder:{tmp_path}", like).images
    for image, file in zip(images, sorted(tmp_path.iterdir())):
        with Image.open(file) as source:
            grey = source.convert("L").resize((15, 10), Image.Resampling.BILINEAR).crop((2, 0, 12, 10))
        assert np.abs(image[0].int().numpy() - np.asarray(grey, dtype=int)).max() <= 2
    colour = data.load_ood("digits", make_set([0, 1], (3, 16, 16)))
    assert len(colour.images) == 1797 and torch.equal(colour.images[:, 0], colour.images[:, 2])


# torchvision's sets, from small files in their true layouts

def idx(array):
    sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + sides + array.tobytes()


def mnist_files(train=40, test=20):
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        yield f"{part}-images-idx3-ubyte", idx(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        yield f"{part}-labels-idx1-ubyte", idx((np.arange(count) % 10).astype(np.uint8))


@pytest.fixture
def no_network(monkeypatch):
    """Downloads break off in the middle of the first file."""
    import torchvision

    def break_off(url, filename, *args):
        with open(filename, "wb") as file:
            file.write(b"half an archive")
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", break_off)
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, max_hops=3: url)


def test_archives_put_there_by_hand_are_used(tmp_path, no_network, monkeypatch):
    import torchvision

    raw = tmp_path / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for name, content in mnist_files():
        packed = gzip.compress(content)
        (raw / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
        assert f"MNIST/raw/{name}.gz" in data.SETS["mnist"].files
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    mnist = data.load("mnist", root=tmp_path)
    assert mnist.shape == (1, 28, 28) and mnist.num_classes == 10 and partition(mnist)
    assert part_sizes(mnist) == {"train": 36, "validation": 4, "test": 20}
    assert mnist.part("test")[1].tolist() == [i % 10 for i in range(20)]
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]
    assert data.load("mnist", root=tmp_path).images.data_ptr() == mnist.images.data_ptr()


def test_cifar_keeps_its_pixels_in_place(tmp_path, monkeypatch):
    import torchvision

    rng = np.random.default_rng(0)
    pixels = {f"data_batch_{i}": rng.integers(0, 256, (10, 3072), dtype=np.uint8) for i in range(1, 6)}
    pixels["test_batch"] = rng.integers(0, 256, (10, 3072), dtype=np.uint8)
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, batch in pixels.items():
        (folder / name).write_bytes(pickle.dumps({"data": batch, "labels": list(range(10))}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *args: True)
    cifar = data.load("cifar10", root=tmp_path)
    assert cifar.classes[3] == "class 3" and len(cifar.parts["test"]) == 10
    np.testing.assert_array_equal(cifar.part("test")[0].flatten(1), pixels["test_batch"])
    np.testing.assert_array_equal(cifar.images[:10].flatten(1), pixels["data_batch_1"])


def test_textures_are_cut_to_32_pixels(tmp_path, digits, capsys):
    folder = tmp_path / "textures" / "dtd" / "dtd"
    for name in ("banded", "woven"):
        write_images(folder / "images" / name, 9, size=(50, 40), mode="RGB", suffix=".jpg")
    (folder / "labels").mkdir()
    for i, split in enumerate(("train", "val", "test")):
        lines = [f"{name}/{j:03d}.jpg" for name in ("banded", "woven") for j in range(3 * i, 3 * i + 3)]
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(lines))
    textures = data.load("textures", root=tmp_path)
    assert textures.shape == (3, 32, 32) and textures.classes == ("banded", "woven")
    assert part_sizes(textures) == {"train": 10, "validation": 2, "test": 6}
    assert len(data.load_ood("textures", digits, root=tmp_path).images) == 6  # the test part alone
    assert "textures to fit digits: converted from 3x32x32 to 1x8x8" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cifar10", "svhn", "textures", "mnist", "places365"])
def test_a_download_that_breaks_says_what_to_put_where_and_leaves_nothing(name, tmp_path, no_network):
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, root=tmp_path / "data")
    message = str(caught.value)
    assert all(file in message for file in data.SETS[name].files) and str(tmp_path / "data" / name) in message
    assert "\n" not in message and not list(tmp_path.iterdir())


def test_a_broken_download_leaves_the_users_own_files(tmp_path, no_network):
    own = tmp_path / "cifar10" / "cifar-10-python.tar.gz"
    own.parent.mkdir()
    own.write_bytes(b"not the archive")
    with pytest.raises(FileNotFoundError):
        data.load("cifar10", root=tmp_path)
    assert own.read_bytes() == b"not the archive" and list(tmp_path.iterdir()) == [own.parent]
