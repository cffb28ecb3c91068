"""Image data sets: by name, from a folder, downloaded, or synthetic."""

from .folders import write_folder
from .sets import SETS, ImageSet, folds, load, load_ood, ood_names
from .synthetic import outliers

__all__ = ["SETS", "ImageSet", "folds", "load", "load_ood", "ood_names", "outliers", "write_folder"]
