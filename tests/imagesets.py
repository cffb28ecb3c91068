"""Small image sets and folders for the tests."""

import numpy as np
import torch
from PIL import Image

from ood_helpers import data


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
    return sorted(torch.cat(list(imageset.splits.values())).tolist()) == list(range(len(imageset.images)))


def split_sizes(imageset):
    return {split: len(index) for split, index in imageset.splits.items()}


LIKE = make_set([0, 1], (3, 32, 32), "like")
