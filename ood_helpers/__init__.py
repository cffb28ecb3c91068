"""Out-of-distribution detection for teaching: six losses, their scores, and honest numbers.

>>> from ood_helpers import losses
>>> losses.LogitNormLoss(temperature=0.3).temperature
0.3

What needs more than torch (pandas, Matplotlib, widgets) loads when it is first used.
"""

from importlib import import_module

from . import config, data, files, losses, metrics, models, runs, scores, training
from ._torchvision import import_torchvision
from .config import Config
from .losses import RECIPES
from .metrics import detection
from .runs import Run
from .training import fit

__version__ = "0.1.0"

_LAZY_MODULES = ("bench", "course", "figures", "papers", "plots", "sweeps", "widgets")
_LAZY_NAMES = {
    "fit_all": "sweeps",
    "save_figure": "figures",
    "settings": "figures",
    "ScoreExplorer": "widgets",
    "NormExplorer": "widgets",
    "Playground": "widgets",
}

__all__ = [
    "RECIPES",
    "Config",
    "Run",
    "config",
    "data",
    "detection",
    "files",
    "fit",
    "import_torchvision",
    "losses",
    "metrics",
    "models",
    "runs",
    "scores",
    "training",
    *_LAZY_MODULES,
    *_LAZY_NAMES,
]


def __getattr__(name):
    if name in _LAZY_MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _LAZY_NAMES:
        return getattr(import_module(f"{__name__}.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
