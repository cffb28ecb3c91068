"""Sources of image sets, from small files in their true layouts: archives, torchvision's sets, the user's folders."""

import gzip
import hashlib
import pickle
import urllib.error

import numpy as np
import pytest
from imagesets import LIKE, partition, split_sizes, write_images
from loopback import picture, pixels, tar, zipped

from ood_helpers import data
from ood_helpers.data import imageset
from ood_helpers.data.sources import Archive, UserProvided

ODIN = {
    "lsun_crop": "LSUN/test",
    "lsun_resize": "LSUN_resize/LSUN_resize",
    "tinyimagenet_crop": "Imagenet/test",
    "tinyimagenet_resize": "Imagenet_resize/Imagenet_resize",
}


# Archives and folders


@pytest.mark.parametrize("name", ODIN)
def test_odins_archives(name, offer, tmp_path, caplog, capsys):
    size = (36, 36) if name.endswith("crop") else (32, 32)
    files = [picture(size=size) for _ in range(3)]
    offer(name, tar({f"{ODIN[name]}/{i}.png": file for i, file in enumerate(files)}))
    loaded = data.load_ood(name, LIKE, tmp_path)
    assert loaded.shape == (3, 32, 32) and loaded.classes == ("images",)
    for image, file in zip(loaded.images, files):  # the larger ones are cropped, not scaled
        cut = (slice(2, 34), slice(2, 34)) if name.endswith("crop") else ()
        np.testing.assert_array_equal(image.permute(1, 2, 0), pixels(file)[cut])
    assert ("cropped to 32 x 32 from 36 x 36" in caplog.text) == name.endswith("crop")
    progress = capsys.readouterr().err
    assert "LSUN" in progress or "Imagenet" in progress
    with pytest.raises(ValueError, match="no class folders"):
        data.load(name, tmp_path)


def test_imagenet_o(offer, tmp_path):
    files = {
        f"imagenet-o/{wnid}/{i}.JPEG": picture("JPEG", (300, 280))
        for wnid in ("n01443537", "n02219486")
        for i in range(2)
    }
    offer("imagenet_o", tar(files | {"imagenet-o/README.txt": b"hello"}, "w"))
    loaded = data.load_ood("imagenet_o", LIKE, tmp_path)
    assert loaded.classes == ("n01443537", "n02219486") and loaded.labels.tolist() == [0, 1, 0, 1]
    assert loaded.shape == (3, 32, 32)


def tiny_imagenet():
    files = {
        f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{i}.JPEG": picture("JPEG", (64, 64))
        for wnid in ("n01443537", "n01629819")
        for i in range(10)
    }
    files |= {f"tiny-imagenet-200/train/{wnid}/{wnid}_boxes.txt": b"x" for wnid in ("n01443537", "n01629819")}
    files |= {f"tiny-imagenet-200/val/images/val_{i}.JPEG": picture("JPEG", (64, 64)) for i in range(4)}
    notes = "".join(
        f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n"
        for i, wnid in enumerate(("n01629819", "n01443537", "n01629819", "../../../out"))
    )
    return files | {
        "tiny-imagenet-200/val/val_annotations.txt": notes.encode(),
        "tiny-imagenet-200/test/images/test_0.JPEG": picture("JPEG", (64, 64)),
        "tiny-imagenet-200/words.txt": b"n01443537\tgoldfish",
    }


def test_tiny_imagenet(offer, tmp_path, caplog):
    files = tiny_imagenet()
    offer("tiny_imagenet", zipped(files))
    loaded = data.load("tiny_imagenet", tmp_path)
    assert loaded.classes == ("n01443537", "n01629819") and loaded.shape == (3, 64, 64)
    assert [len(loaded.splits[split]) for split in ("train", "validation", "test")] == [18, 2, 3]
    images, labels = loaded.split("test")
    assert labels.tolist() == [0, 1, 1]  # by the annotations; the fourth names no class
    expected = pixels(files["tiny-imagenet-200/val/images/val_1.JPEG"])
    np.testing.assert_array_equal(images[0].permute(1, 2, 0), expected)
    assert not caplog.records  # nothing scaled
    assert len(data.load_ood("tiny_imagenet", LIKE, tmp_path).images) == 3
    assert not list(tmp_path.rglob("out"))


def test_sets_that_only_the_user_has(tmp_path, caplog):
    for name, what in (
        ("isun", "iSUN's images"),
        ("imagenet", "your own copy, train/ and val/"),
        ("imagenet_resize", "images of ImageNet resized to 32 x 32"),
        ("imagenet_crop", "images of ImageNet cropped to 32 x 32"),
    ):
        sentence = f"{name} cannot be downloaded; put {what}.* into .*{name}$"
        with pytest.raises(FileNotFoundError, match=sentence):
            data.load_ood(name, LIKE, tmp_path)
    for path, count in (
        ("isun/a", 2),
        ("imagenet_resize/images", 3),
        ("imagenet/train/n01", 10),
        ("imagenet/train/n02", 10),
        ("imagenet/val/n01", 2),
        ("imagenet/val/n02", 1),
    ):
        (tmp_path / path).mkdir(parents=True)
        for i in range(count):
            (tmp_path / path / f"{i}.JPEG").write_bytes(picture("JPEG", (320, 270)))
    assert len(data.load_ood("isun", LIKE, tmp_path).images) == 2
    assert len(data.load_ood("imagenet_resize", LIKE, tmp_path).images) == 3
    caplog.clear()
    imagenet = data.load("imagenet", tmp_path)
    assert imagenet.shape == (3, 256, 256) and len(imagenet.splits["test"]) == 3
    assert "scaled and cropped to 256 x 256 from 320 x 270" in caplog.text
    assert data.load_ood("imagenet", LIKE, tmp_path).images.shape == (3, 3, 32, 32)
    assert data.ood_names("imagenet")[0] == "imagenet_o"


def test_the_table_names_every_set():
    """The papers' sets are here, archives with an address and an MD5, and none is its own OOD set."""
    archives = {name for name, row in data.SETS.items() if isinstance(row.source, Archive)}
    assert archives == {*ODIN, "imagenet_o", "tiny_imagenet"}
    for name in archives:
        source = data.SETS[name].source
        assert source.url.startswith("http") and len(bytes.fromhex(source.md5)) == 16
    assert {name for name, row in data.SETS.items() if isinstance(row.source, UserProvided)} == {
        *("isun", "imagenet", "imagenet_resize", "imagenet_crop")
    }
    assert imageset.IN_MEMORY == 2**31


# torchvision's sets


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
        assert f"MNIST/raw/{name}.gz" in data.SETS["mnist"].source.files
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    mnist = data.load("mnist", root=tmp_path)
    assert mnist.shape == (1, 28, 28) and mnist.num_classes == 10 and partition(mnist)
    assert split_sizes(mnist) == {"train": 36, "validation": 4, "test": 20}
    assert mnist.split("test")[1].tolist() == [i % 10 for i in range(20)]
    assert {path.name for path in tmp_path.iterdir()} == {"mnist", ".lock"}
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
    assert cifar.classes[3] == "class 3" and len(cifar.splits["test"]) == 10
    np.testing.assert_array_equal(cifar.split("test")[0].flatten(1), pixels["test_batch"])
    np.testing.assert_array_equal(cifar.images[:10].flatten(1), pixels["data_batch_1"])


def test_textures_are_cut_to_32_pixels(tmp_path, digits, caplog):
    folder = tmp_path / "textures" / "dtd" / "dtd"
    for name in ("banded", "woven"):
        write_images(folder / "images" / name, 9, size=(50, 40), mode="RGB", suffix=".jpg")
    (folder / "labels").mkdir()
    for i, split in enumerate(("train", "val", "test")):
        lines = [f"{name}/{j:03d}.jpg" for name in ("banded", "woven") for j in range(3 * i, 3 * i + 3)]
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(lines))
    textures = data.load("textures", root=tmp_path)
    assert textures.shape == (3, 32, 32) and textures.classes == ("banded", "woven")
    assert split_sizes(textures) == {"train": 10, "validation": 2, "test": 6}
    assert len(data.load_ood("textures", digits, root=tmp_path).images) == 6  # the test part alone
    assert "textures: scaled and cropped to 32 x 32 from 50 x 40" in caplog.text
    assert (
        "textures: scaled and cropped to 8 x 8 from" in caplog.text and "converted from 3x8x8 to 1x8x8" in caplog.text
    )


@pytest.mark.parametrize("name", ["cifar10", "svhn", "textures", "mnist", "places365"])
def test_a_download_that_breaks_says_what_to_put_where_and_leaves_nothing(name, tmp_path, no_network):
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, root=tmp_path / "data")
    message = str(caught.value)
    assert all(file in message for file in data.SETS[name].source.files)
    assert str(tmp_path / "data" / name) in message and "\n" not in message and not list(tmp_path.iterdir())


def test_a_broken_download_leaves_the_users_own_files(tmp_path, no_network):
    own = tmp_path / "cifar10" / "cifar-10-python.tar.gz"
    own.parent.mkdir()
    own.write_bytes(b"not the archive")
    with pytest.raises(FileNotFoundError):
        data.load("cifar10", root=tmp_path)
    assert own.read_bytes() == b"not the archive"
    assert {path.name for path in tmp_path.iterdir()} == {"cifar10", ".lock"}
