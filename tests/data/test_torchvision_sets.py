"""torchvision's sets, from small files in their true layouts."""

import gzip
import hashlib
import pickle
import urllib.error

import numpy as np
import pytest
from imagesets import partition, split_sizes, write_images

from ood_helpers import data


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
