"""The style of all figures, the settings of the notebooks, and saving figures together with their metadata.

Environment variables: ``DATA``, ``DEVICE`` and ``RUNS`` are the interface of the Makefile (see ``settings``),
``OOD_FIGURES`` is the folder of all figures, and ``OOD_NOTEBOOK`` is the notebook that is being executed.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import __version__
from .drawing import alt_text
from .drawing.layout import resize
from .engine.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERSIONS = ("torch", "torchvision", "numpy", "scikit-learn", "matplotlib", "seaborn")


class Settings(NamedTuple):
    """Settings of a notebook: its dataset, the device to train on, and the folder of runs."""

    data: str
    device: str
    runs: Path


def root() -> Path:
    """Return the nearest folder upwards with notebooks/ and pyproject.toml, or else the working directory."""
    here = Path.cwd()
    return next(
        (
            folder
            for folder in (here, *here.parents)
            if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file()
        ),
        here,
    )


def settings() -> Settings:
    """Read ``DATA``, ``DEVICE`` and ``RUNS`` from the environment.

    Returns
    -------
    Settings
        By default the digits, the GPU if there is one, and the repository's ``runs/``. The device is a name that
        torch knows.

    Raises
    ------
    ValueError
        If the device is unknown or not available.

    Examples
    --------
    >>> data, device, runs = settings()
    >>> runs.name
    'runs'
    """
    from .engine.device import pick_device

    device = str(pick_device(os.environ.get("DEVICE")))
    return Settings(_default_data(), device, Path(os.environ.get("RUNS") or root() / "runs"))


def _default_data() -> str:
    return os.environ.get("DATA", "digits")


def style() -> None:
    """Use the project's Matplotlib style from here on; importing the package does not change the style.

    Examples
    --------
    >>> import matplotlib
    >>> with matplotlib.rc_context():
    ...     style()
    ...     matplotlib.rcParams["pdf.fonttype"]
    42
    """
    import matplotlib.style

    matplotlib.style.use("ood_helpers.figures")


def folder(data: str | None = None) -> Path:
    """Return the folder of a dataset's figures, ``figures/<data>`` in ``OOD_FIGURES`` or else in the repository.

    Parameters
    ----------
    data : str, optional
        Name of the dataset, by default ``DATA`` of the environment.

    Examples
    --------
    >>> folder("folder:my images/cats").name
    'folder_cats'
    """
    kind, _, path = (data or _default_data()).partition(":")
    name = "_".join(filter(None, (kind, Path(path).name)))
    return Path(os.environ.get("OOD_FIGURES") or root() / "figures") / re.sub(r"[^\w.-]+", "_", name)


def save_figure(
    fig: Figure,
    name: str,
    data: str | None = None,
    configs: Iterable[Any] = (),
    width: str | float | None = None,
    **facts: Any,
) -> Path:
    """Write ``figures/<data>/<name>.pdf``, ``.png`` (150 dpi) and ``.json``.

    A figure of a notebook changes only when ``make figures`` runs that notebook. Where the same cell runs elsewhere, as
    in JupyterLab, the files are written to ``figures/<data>/drafts``.

    The JSON file holds the figure in words (``alt``), the configs with their hashes and seeds, the versions, the
    command that draws the figure again, and ``facts``. None of the files depends on the time of day: the same figure
    gives the same bytes, and files that would not change are not touched. In a notebook, the output that
    shows the figure has the metadata ``{"ood": {"figure": name}, "image/png": {"alt": alt}}``.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
    name : str
        Lower-case letters, digits and underscores.
    data : str, optional
        Name of the in-distribution dataset, which decides the folder. By default the dataset of ``configs``, and
        without configs ``DATA`` of the environment.
    configs : iterable of Config or Run
        What the figure was drawn from.
    width : {"column", "text", "page"} or float, optional
        Draw the figure 3.25, 5.5 or 6.75 inches (or a number of inches) wide, with text of at least 7 points; see
        ``layout.resize``. By default the figure has its own size.
    **facts
        Further entries of the JSON file; arrays are allowed.

    Returns
    -------
    pathlib.Path
        The PDF file.

    Raises
    ------
    ValueError
        If the name has other characters, or if ``configs`` have several datasets and ``data`` is not given.

    Examples
    --------
    >>> import tempfile, matplotlib.pyplot as plt
    >>> os.environ["OOD_FIGURES"] = tempfile.mkdtemp()
    >>> save_figure(plt.figure(), "empty", "digits", seeds=3).name
    'empty.pdf'
    >>> sorted(path.name for path in folder("digits").iterdir())
    ['empty.json', 'empty.pdf', 'empty.png']
    >>> del os.environ["OOD_FIGURES"]
    """
    configs, data = _resolve(configs, data)
    target = _target(name, data)
    if width is not None:
        resize(fig, width)
    for suffix, metadata in ((".pdf", {"CreationDate": None}), (".png", {"Software": None})):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=suffix[1:], dpi=150, metadata=metadata)
        write_if_changed(target.with_suffix(suffix), buffer.getvalue())
    alt = alt_text.describe(fig)
    _write_metadata(target, data, configs, {"alt": alt} | facts)
    output_metadata = {"ood": {"figure": name}, "image/png": {"alt": alt}}
    # A partial instead of a lambda, so that the figure can still be pickled.
    fig._repr_mimebundle_ = partial(_mime_bundle, output_metadata)  # type: ignore[attr-defined]
    return target.with_suffix(".pdf")


def save_page(name: str, *widgets: Any, title: str | None = None, configs: Iterable[Any] = ()) -> Path:
    """Write ``figures/<data>/<name>.html``, one page with the widgets, and its metadata ``<name>.json``.

    The page needs neither Python nor a network, and like a figure's files it has repeatable bytes.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and underscores.
    *widgets
        Explorers of ``ood_helpers.widgets``.
    title : str, optional
        Heading of the page.
    configs : iterable of Config or Run
        What the widgets show; their dataset decides the folder, as in ``save_figure``.

    Returns
    -------
    pathlib.Path
        The HTML file.

    Examples
    --------
    >>> import tempfile
    >>> from ood_helpers.widgets import NormExplorer
    >>> os.environ["OOD_FIGURES"] = tempfile.mkdtemp()
    >>> path = save_page("norm", NormExplorer(), title="Where the gradient goes")
    >>> path.name, "Where the gradient goes" in path.read_text(encoding="utf-8")
    ('norm.html', True)
    >>> del os.environ["OOD_FIGURES"]
    """
    configs, data = _resolve(configs)
    target = _target(name, data)
    with tempfile.TemporaryDirectory() as directory:
        page = widgets[0].to_html(Path(directory) / "page.html", *widgets[1:], title=title)
        write_if_changed(target.with_suffix(".html"), page.read_bytes())
    _write_metadata(target, data, configs, {})
    return target.with_suffix(".html")


def _resolve(configs: Iterable[Any], data: str | None = None) -> tuple[list[Any], str]:
    """Return the configs, some of which may be given as runs, and the name of their dataset."""
    configs = [getattr(config, "config", config) for config in configs]
    names = [data] if data else sorted({config.data for config in configs}) or [_default_data()]
    if len(names) > 1:
        raise ValueError(f"the configs have several datasets ({', '.join(names)}): choose the folder with data=")
    return configs, names[0]


def _target(name: str, data: str) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise ValueError(f"the name of a figure has lower-case letters, digits and underscores only, not {name!r}")
    target = folder(data) / name
    if "OOD_NOTEBOOK" not in os.environ and _metadata(target).get("notebook"):
        return target.parent / "drafts" / name
    return target


def _metadata(target: Path) -> dict[str, Any]:
    path = target.with_suffix(".json")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write_metadata(target: Path, data: str, configs: list[Any], facts: dict[str, Any]) -> None:
    # A notebook on digits also draws figures of photographs, whose networks come with the repository.
    lesson = _default_data() if "OOD_NOTEBOOK" in os.environ else data
    metadata = {
        "figure": target.name,
        "data": data,
        "notebook": os.environ.get("OOD_NOTEBOOK"),
        "command": "make figures" + ("" if lesson == "digits" else f" DATA={shlex.quote(lesson)}"),
        "configs": [{"name": config.name, "hash": config.hash} for config in configs],
        "seeds": sorted({config.seed for config in configs}),
        "versions": {"python": sys.version.split()[0], "ood_helpers": __version__}
        | {name: version(name) for name in VERSIONS},
    } | facts
    text = json.dumps(metadata, indent=1, sort_keys=True, default=lambda value: value.tolist())
    write_if_changed(target.with_suffix(".json"), f"{text}\n".encode())


def _mime_bundle(metadata: dict[str, Any], include: Any = None, exclude: Any = None) -> tuple[dict, dict[str, Any]]:
    """IPython adds this metadata to the picture of a displayed figure."""
    return {}, metadata


def write_if_changed(path: Path, content: bytes) -> None:
    """Write a file atomically; leave a file with the same content untouched."""
    if not path.exists() or path.read_bytes() != content:
        atomic_write(path, content)
