"""python -m ood_helpers.course figures|course|site."""

import os
import sys

from ..engine.device import raise_malloc_thresholds
from .notebooks import regenerate
from .site import course, site

COMMANDS = {
    "figures": lambda: regenerate(os.environ.get("DATA", "digits"), os.environ.get("DEVICE", "auto")),
    "course": course,
    "site": site,
}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit("usage: python -m ood_helpers.course figures|course|site")
    raise_malloc_thresholds()  # also in the notebooks' kernels, which this process starts
    try:
        COMMANDS[sys.argv[1]]()
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to continue")
