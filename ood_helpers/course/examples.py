"""Two small folders of images, for a reader who has none at hand."""

import os
from itertools import cycle
from pathlib import Path

from .. import data
from ..figures import folder

# Proportions of the folder of the authors of MELN: 927 portraits in six classes, which is not public.
SIZES = (130, 163, 118, 136, 93, 102)


def example_folders(name: str, runs: str | Path) -> tuple[str, str]:
    """Write a folder of known classes and one of other classes; return their paths.

    Parameters
    ----------
    name : str
        Data set whose images are written, as in ``Config``.
    runs : path
        The folders are written into ``folders/`` there, once.
    """
    known = data.load(name, known=None if name.startswith("folder:") else 6)
    other = known.near or data.load_ood("letters", known)
    where = Path(os.path.relpath(runs)) / "folders" / folder(name).name
    sizes = [min(size, count) for size, count in zip(cycle(SIZES), known.labels.bincount().tolist())]
    mine = data.write_folder(known, where / "mine", sizes)
    return str(mine), str(data.write_folder(other, where / "other", [min(50, n) for n in other.labels.bincount()]))
