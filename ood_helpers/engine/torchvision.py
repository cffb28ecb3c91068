"""torchvision, with an error that helps where it was built for another torch."""

from importlib import import_module
from types import ModuleType


def import_torchvision() -> ModuleType:
    """Import torchvision, when it is first needed; raise ImportError, in one sentence, where it does not fit torch.

    A CPU-only torch with the package index's torchvision installs without complaint and fails on import with "operator
    torchvision::nms does not exist", which does not say what to do.
    """
    try:
        return import_module("torchvision")
    except (RuntimeError, ImportError, OSError) as error:
        raise ImportError(
            "torchvision does not fit the installed torch: a CPU-only torch cannot be mixed with the default "
            "torchvision; install both from one source, as `make setup` does in a new .venv "
            f"({str(error).splitlines()[0]})"
        ) from error
