"""python -m ood_helpers.course figures|course|site."""

import os
import sys

from .notebooks import regenerate
from .site import course, site


def figures() -> None:
    """Execute the notebooks with DATA and DEVICE of the environment."""
    try:
        regenerate(os.environ.get("DATA", "digits"), os.environ.get("DEVICE", "auto"))
    except ValueError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; make figures continues with the first notebook that is not finished")


if __name__ == "__main__":
    commands = {"figures": figures, "course": course, "site": site}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: python -m ood_helpers.course figures|course|site")
    commands[sys.argv[1]]()
