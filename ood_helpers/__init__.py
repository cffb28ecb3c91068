"""Out-of-distribution detection for teaching: six losses, their scores, and honest numbers.

>>> from ood_helpers import losses
>>> losses.LogitNormLoss(temperature=0.3).temperature
0.3

Modules and names load when they are first used, so that ``--help`` and ``import ood_helpers`` do not wait for torch.
"""

from importlib import import_module

from .engine.torchvision import import_torchvision

__version__ = "0.1.0"

_MODULES = (
    *("config", "data", "figures", "losses", "metrics", "models", "plots", "runs", "scores", "sweeps", "training"),
    *("bench", "beyond", "bridges", "course", "detector", "papers", "widgets"),
)
_NAMES = {  # and their modules
    "Config": "config",
    "Detector": "detector",
    "collect": "bridges",
    "wrap": "bridges",
    "RECIPES": "losses",
    "Run": "runs",
    "detection": "metrics",
    "fit": "training",
    "fit_all": "sweeps",
    "save_figure": "figures",
    "settings": "figures",
    "trained": "papers.exported_runs",
    "ScoreExplorer": "widgets",
    "NormExplorer": "widgets",
    "Playground": "widgets",
    "Picker": "widgets",
    "Sketchpad": "widgets",
}

__all__ = [*_MODULES, *_NAMES, "import_torchvision"]


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
