"""The style of all figures, the settings of the notebooks, and saving figures with their metadata."""

import io
import json
import os
import re
import shlex
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from . import __version__
from . import alt_text as captions

VERSIONS = ("torch", "torchvision", "numpy", "scikit-learn", "matplotlib", "seaborn")


class Settings(NamedTuple):
    """What a notebook is told from outside: its data, the device to train on, the folder of runs."""

    data: str
    device: str
    runs: Path


def root():
    """The repository: the nearest folder from here upwards with notebooks/ and pyproject.toml; else here."""
    here = Path.cwd()
    return next(
        (
            folder
            for folder in (here, *here.parents)
            if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file()
        ),
        here,
    )


def settings():
    """DATA, DEVICE and RUNS from the environment; without them digits, "auto" and the repository's runs/.

    The device comes back as torch's own name for it: "auto" takes the GPU where there is one.

    >>> data, device, runs = settings()
    >>> runs.name
    'runs'
    """
    import torch

    data, device = os.environ.get("DATA", "digits"), os.environ.get("DEVICE", "auto")
    gpu = torch.cuda.is_available()
    kind = device.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise ValueError(f"unknown device {device!r}; known: auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda" and not gpu:
        raise ValueError(f"DEVICE={device}, but torch finds no GPU here; DEVICE=auto takes what there is")
    if device == "auto":
        device = "cuda" if gpu else "cpu"
    return Settings(data, device, Path(os.environ.get("RUNS") or root() / "runs"))


def style():
    """Use the project's style from here on. It is a visible call, never an import's side effect.

    >>> import matplotlib
    >>> with matplotlib.rc_context():
    ...     style()
    ...     matplotlib.rcParams["pdf.fonttype"]
    42
    """
    import matplotlib.style

    matplotlib.style.use("ood_helpers.figures")


def folder(data=None):
    """figures/<data>, below OOD_FIGURES where that is set and below the repository otherwise.

    >>> folder("folder:my images/cats").name
    'folder_cats'
    """
    kind, _, path = (data or os.environ.get("DATA", "digits")).partition(":")
    name = "_".join(filter(None, (kind, Path(path).name)))
    return Path(os.environ.get("OOD_FIGURES") or root() / "figures") / re.sub(r"[^\w.-]+", "_", name)


def save_figure(fig, name, data=None, configs=(), **facts):
    """Write figures/<data>/<name>.pdf, .png (150 dpi) and .json, and return the PDF's path.

    The JSON is the figure's passport: the figure in words ("alt"), the configs (or runs) it was drawn from with
    their hashes and seeds, the versions, the command that draws it again, and any `facts`. Nothing in the three
    files depends on the time of day, so the same figure gives the same bytes; files that would not change are
    left untouched. `data` is the name of the in-distribution set, by default the environment's DATA.

    >>> import tempfile, matplotlib.pyplot as plt
    >>> os.environ["OOD_FIGURES"] = tempfile.mkdtemp()
    >>> save_figure(plt.figure(), "empty", "digits", seeds=3).name
    'empty.pdf'
    >>> sorted(path.name for path in folder("digits").iterdir())
    ['empty.json', 'empty.pdf', 'empty.png']
    >>> del os.environ["OOD_FIGURES"]
    """
    target = _target(name, data)
    for suffix, metadata in ((".pdf", {"CreationDate": None}), (".png", {"Software": None})):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=suffix[1:], dpi=150, metadata=metadata)
        write_if_changed(target.with_suffix(suffix), buffer.getvalue())
    _write_passport(target, data, configs, {"alt": captions.describe(fig)} | facts)
    return target.with_suffix(".pdf")


def save_page(name, *widgets, title=None, configs=()):
    """Write figures/<data>/<name>.html, one page with the widgets that needs no Python and no network; its path.

    Its passport <name>.json is that of a figure, and so are its repeatable bytes.

    >>> import tempfile
    >>> from ood_helpers.widgets import NormExplorer
    >>> os.environ["OOD_FIGURES"] = tempfile.mkdtemp()
    >>> path = save_page("norm", NormExplorer(), title="Where the gradient goes")
    >>> path.name, "Where the gradient goes" in path.read_text(encoding="utf-8")
    ('norm.html', True)
    >>> del os.environ["OOD_FIGURES"]
    """
    target = _target(name)
    with tempfile.TemporaryDirectory() as place:
        page = widgets[0].to_html(Path(place) / "page.html", *widgets[1:], title=title)
        write_if_changed(target.with_suffix(".html"), page.read_bytes())
    _write_passport(target, None, configs, {})
    return target.with_suffix(".html")


def _target(name, data=None):
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise ValueError(f"a figure's name has small letters, digits and underscores only, not {name!r}")
    return folder(data) / name


def _write_passport(target, data, configs, facts):
    data = data or os.environ.get("DATA", "digits")
    configs = [getattr(config, "config", config) for config in configs]
    passport = {
        "figure": target.name,
        "data": data,
        "notebook": os.environ.get("OOD_NOTEBOOK"),
        "command": "make figures" + ("" if data == "digits" else f" DATA={shlex.quote(data)}"),
        "configs": [{"name": config.name, "hash": config.hash} for config in configs],
        "seeds": sorted({config.seed for config in configs}),
        "versions": {"python": sys.version.split()[0], "ood_helpers": __version__}
        | {name: version(name) for name in VERSIONS},
    } | facts
    text = json.dumps(passport, indent=1, sort_keys=True, default=lambda value: value.tolist())
    write_if_changed(target.with_suffix(".json"), f"{text}\n".encode())


def write_if_changed(path, content):
    """Write through a temporary file and a rename, so that nobody reads half a file; leave an equal file untouched."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
