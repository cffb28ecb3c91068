"""Image data sets: by name, from a folder, downloaded, or synthetic."""

from .imageset import ImageSet, LazySubset, write_folder
from .sets import SETS, folds, load, load_ood, ood_names, split_parts
from .synthetic import outliers
from .torch_sets import from_torch

__all__ = [
    "SETS",
    "ImageSet",
    "LazySubset",
    "folds",
    "from_torch",
    "load",
    "load_ood",
    "ood_names",
    "outliers",
    "split_parts",
    "write_folder",
]
