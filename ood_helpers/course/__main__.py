"""python -m ood_helpers.course figures|course|site."""

import os
import sys

from ..engine.options import did_you_mean

COMMANDS = ("figures", "course", "site")


def main(command: str) -> None:
    """Run a command; torch and nbconvert are imported here, when its name is known to be right."""
    from ..engine.device import raise_malloc_thresholds
    from . import site
    from .notebooks import regenerate

    raise_malloc_thresholds()  # also in the notebooks' kernels, which this process starts
    if command == "figures":
        regenerate(os.environ.get("DATA", "digits"), os.environ.get("DEVICE", "auto"))
    else:
        getattr(site, command)()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        question = did_you_mean(sys.argv[1], COMMANDS) if len(sys.argv) == 2 else ""
        sys.exit(f"usage: python -m ood_helpers.course {'|'.join(COMMANDS)}{question and '.'}{question}")
    try:
        main(sys.argv[1])
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to continue")
