"""Datasets, loaders and tensors as image sets: the same images give the same name, others another one."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ood_helpers import Config, data, fit
from ood_helpers.data import torch_sets
from ood_helpers.losses import RECIPES

IMAGES = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(60) % 3


class Pictures(Dataset):
    """As torchvision's: PIL images, labels and class names."""

    classes = ("a", "b", "c")

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        return Image.fromarray(IMAGES[i, 0].numpy()), int(LABELS[i])


def test_tensors_floats_datasets_and_loaders_of_the_same_images_are_the_same_set(tmp_path):
    loader = DataLoader(TensorDataset(IMAGES / 255, LABELS), 7, shuffle=True)
    sources = [(IMAGES, LABELS), (IMAGES.numpy(), LABELS.tolist()), (IMAGES / 255, LABELS), loader, loader.dataset]
    names = {data.from_torch(source, name="mine", root=tmp_path) for source in sources}
    assert len(names) == 1 and names.pop().startswith("torch:mine-")


def test_pictures_with_class_names_keep_them_and_the_test_split(tmp_path):
    name = data.from_torch(Pictures(), (IMAGES[:9], LABELS[:9]), root=tmp_path)
    loaded = data.load(name, tmp_path)
    assert loaded.classes == ("a", "b", "c") and torch.equal(loaded.split("test")[0], IMAGES[:9])
    assert len(loaded.split("train")[0]) + len(loaded.split("validation")[0]) == 60


@pytest.mark.parametrize(
    "change", [lambda x, y: (x ^ (x == x.max()).byte(), y), lambda x, y: (x, y.flip(0)), lambda x, y: (x[3:], y[3:])]
)
def test_another_pixel_label_or_number_is_another_set(tmp_path, change):
    first = data.from_torch((IMAGES, LABELS), root=tmp_path)
    assert data.from_torch(change(IMAGES, LABELS), root=tmp_path) != first
    assert data.from_torch((IMAGES, LABELS), (IMAGES, LABELS), root=tmp_path) != first
    assert Config(data=first).folder("runs") != Config(data=first[:-1]).folder("runs")


def test_a_set_trains_and_its_run_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    config = Config(data=data.from_torch((IMAGES, LABELS), name="mine"), epochs=1, ood=("noise",))
    run = fit(config, tmp_path, "cpu", progress=False)
    assert run.logits["test"].shape == (12, 3) and "torch_mine" in run.path.name
    assert torch.equal(run.images("test"), run.dataset().split("test")[0])
    data.from_torch((IMAGES.flip(3), LABELS), name="mine")
    assert fit(config, tmp_path, "cpu", progress=False).path == run.path


@pytest.mark.parametrize("loss", RECIPES)
def test_every_loss_trains_on_it(loss, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path))
    config = Config(data=data.from_torch((IMAGES, LABELS), name="mine"), loss=loss, epochs=1, ood=("noise",))
    run = fit(config, tmp_path, "cpu", progress=False)
    assert run.logits["test"].shape == (12, 3) and np.isfinite(run.logits["test"]).all()


def test_a_set_is_checked_once_not_by_every_training(tmp_path, monkeypatch):
    name = data.from_torch((IMAGES, LABELS), name="once", root=tmp_path)
    data.load(name, tmp_path)
    monkeypatch.setattr(torch_sets, "_checksum", lambda arrays: pytest.fail("read again"))
    assert data.load(name, tmp_path).images.equal(IMAGES)


def test_a_missing_or_changed_file_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"make it with data\.from_torch first"):
        data.load("torch:mine-0123456789", tmp_path)
    name = data.from_torch((IMAGES, LABELS), root=tmp_path)
    (path,) = (tmp_path / "torch").iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged; delete it"):
        data.load(name, tmp_path)


@pytest.mark.parametrize(
    "train, sentence",
    [
        ((torch.randn(9, 1, 8, 8), LABELS[:9]), r"float images of train must be in 0\.\.1: leave Normalize out"),
        ((IMAGES.int(), LABELS), "must be uint8 or floats"),
        ((IMAGES, LABELS[:5]), "integer labels"),
        ((IMAGES, LABELS.float()), "integer labels"),
        ((IMAGES, LABELS - 1), r"labels must be in 0\.\.1, got -1\.\.1"),
        ((IMAGES[:, 0], LABELS), r"must be \(N, C, H, W\)"),
        ([(IMAGES[0], 0), (IMAGES[1, :, :5], 1)] * 5, "2 sizes, such as 1x5x8: resize them"),
    ],
)
def test_what_is_no_set_of_images_is_one_sentence(tmp_path, train, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.from_torch(train, root=tmp_path)
    with pytest.raises(ValueError, match="name may have letters"):
        data.from_torch((IMAGES, LABELS), name="../x", root=tmp_path)


def test_a_torchvision_dataset_is_a_set(tmp_path):
    for i in range(20):
        folder = tmp_path / "images" / "xy"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / f"{i}.png")
    dataset = torchvision.datasets.ImageFolder(tmp_path / "images", torchvision.transforms.ToTensor())
    loaded = data.load(data.from_torch(dataset, root=tmp_path), tmp_path)
    assert (
        loaded.classes == ("x", "y") and loaded.shape == (3, 8, 8) and loaded.images.unique().tolist() == [*range(20)]
    )
