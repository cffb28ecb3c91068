"""Out-of-distribution detection for teaching: six losses, their scores, and honest numbers.

>>> from ood_helpers import losses
>>> losses.LogitNormLoss(temperature=0.3).temperature
0.3

Submodules and the names below load when they are first used, so that `import ood_helpers` costs
next to nothing beside `import torch`.
"""

from importlib import import_module

__version__ = "0.1.0"

_SUBMODULES = (
    "bench",
    "config",
    "course",
    "data",
    "figures",
    "losses",
    "metrics",
    "models",
    "papers",
    "plots",
    "runs",
    "scores",
    "sweeps",
    "training",
    "widgets",
)
_NAMES = {
    "Config": "config",
    "Run": "runs",
    "fit": "training",
    "fit_all": "sweeps",
    "RECIPES": "losses",
    "detection": "metrics",
    "save_figure": "figures",
    "settings": "figures",
    "ScoreExplorer": "widgets",
    "NormExplorer": "widgets",
    "Playground": "widgets",
}

__all__ = [*_SUBMODULES, *_NAMES, "import_torchvision"]


def __getattr__(name):
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])


def import_torchvision():
    """torchvision, imported when first needed; ImportError in one sentence where it does not fit torch.

    A CPU-only torch beside the package index's torchvision installs without complaint and fails on import
    with "operator torchvision::nms does not exist", which tells nobody what to do.
    """
    try:
        return import_module("torchvision")
    except (RuntimeError, ImportError, OSError) as error:
        raise ImportError(
            "torchvision does not fit the installed torch: a CPU-only torch cannot be mixed with the default "
            "torchvision; install both from one source, as `make setup` does in a new .venv "
            f"({str(error).splitlines()[0]})"
        ) from error
