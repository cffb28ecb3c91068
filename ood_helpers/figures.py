"""One style, one place for figures, and every notebook run from top to bottom without a browser."""

import base64
import hashlib
import io
import json
import os
import re
import shlex
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from . import __version__
from . import alt_text as captions

PACKAGE = Path(__file__).parent
VERSIONS = ("torch", "torchvision", "numpy", "scikit-learn", "matplotlib", "seaborn")
WIDGET = "application/vnd.jupyter.widget-view+json"


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
        _write(target.with_suffix(suffix), buffer.getvalue())
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
        _write(target.with_suffix(".html"), page.read_bytes())
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
    _write(target.with_suffix(".json"), f"{text}\n".encode())


def regenerate(data="digits", device="auto", notebooks=None):
    """Run the notebooks (all of notebooks/, or the given paths) on `data` and so draw figures/<data>.

    On digits a notebook is written back where it was, so that its outputs can be read without running it;
    on any other set it goes beside the figures. A notebook whose text, package and figures are unchanged
    since its last run is not run again. A cell that fails raises ValueError, in one sentence, and leaves its
    notebook as it was.
    """
    from joblib import cpu_count

    here, started = root(), time.monotonic()
    notebooks = [Path(path) for path in notebooks or sorted((here / "notebooks").glob("*.ipynb"))]
    if not notebooks:
        raise ValueError(f"there is no notebook in {here / 'notebooks'}")
    if data.startswith("folder:"):  # a notebook runs in its own folder, where a relative path misleads
        data = f"folder:{Path(data[7:]).resolve()}"
    runs = Path(os.environ.get("RUNS") or here / "runs").resolve()
    target = folder(data).resolve()
    ledger_path = runs / f"figures-{target.name}.json"  # what each notebook was like when it last ran
    ledger = json.loads(ledger_path.read_text()) if ledger_path.exists() else {}
    stale = [path for path in notebooks if not _unchanged(path, target, ledger.get(path.stem))]
    if stale:
        if sum("lesson(" in path.read_text() for path in stale) > 1:
            _train_lesson(data, device, runs)
        share = str(max(1, cpu_count() // min(2, len(stale))))  # threads that wait for a core keep it from the others
        environment = (
            {"OMP_NUM_THREADS": share, "LOKY_MAX_CPU_COUNT": share}
            | {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
            | {
                "DATA": data,
                "DEVICE": device,
                "RUNS": str(runs),
                "OOD_FIGURES": str(target.parent),
                "OOD_DATA": os.environ.get("OOD_DATA") or str(here / "data"),
            }
        )
        for path, executed in _execute(stale, environment):
            _write(path if data == "digits" else target / path.name, executed.encode())
            ledger[path.stem] = {"digest": _digest(path), "files": _drawn(target, path.stem)}
            _write(ledger_path, json.dumps(ledger, indent=1, sort_keys=True).encode())
    drawn = sum(name.endswith(".json") for path in notebooks for name in ledger[path.stem]["files"])
    print(
        f"{len(stale)} of {len(notebooks)} notebooks run in {time.monotonic() - started:.0f} s; "
        f"{drawn} figures in {os.path.relpath(target)}"
    )


def _train_lesson(data, device, runs):
    """Train what the notebooks share, all cores at it, before they ask for it one by one."""
    from .config import Config
    from .sweeps import lesson

    lesson(Config(data=data), seeds=3, runs=runs, device=device)


def _execute(paths, environment):
    """Yield each path with its executed notebook as text, as they finish: two at a time, as there is mostly one core's
    work in each. What two of them train they train once; see `runs.Checkpoint.alone`."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    import nbformat
    from tqdm.auto import tqdm

    loaded = [(path, nbformat.read(path, as_version=4)) for path in paths]
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for _, book in loaded for cell in book.cells)
    with tqdm(total=total, unit="cell", mininterval=0.5) as bar, ThreadPoolExecutor(2) as pool:
        found = [pool.submit(_run, path, book, environment, bar) for path, book in loaded]
        try:
            for future in as_completed(found):
                found.remove(future)
                yield future.result()
        except ValueError:
            pool.shutdown(cancel_futures=True)  # what has not begun is left; what ran beside the failed one is kept
            yield from (future.result() for future in found if not future.cancelled() and not future.exception())
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _run(path, book, environment, bar):
    import asyncio

    import nbclient

    running, started = [], time.monotonic()
    client = nbclient.NotebookClient(
        book,
        timeout=None,
        kernel_name="python3",
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],  # else a warning that loopback is not encrypted
        on_cell_execute=lambda cell, cell_index: running.append(cell),
        on_cell_executed=lambda cell, cell_index, execute_reply: bar.update(),
    )
    try:
        asyncio.run(client.async_execute(env=environment | {"OOD_NOTEBOOK": path.stem}))
    except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.DeadKernelError) as error:
        reason = (
            f"{error.ename}: {error.evalue}"
            if hasattr(error, "ename")
            else "its Python process died, perhaps for want of memory"
        )
        start = running[-1].source.strip().splitlines()[0]
        raise ValueError(f"{path.name}, cell [{len(running)}] ({start}): {reason}") from None
    bar.write(f"{path.stem}: {time.monotonic() - started:.0f} s")
    return path, _tidy(book)


def _tidy(book):
    """The notebook as text, without what changes from run to run or means nothing without a kernel."""
    import nbformat

    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream":  # a progress bar ends in [elapsed<left, rate]
                output.text = re.sub(r"(?m)^.*\[\d+:\d\d[<,:].*\]\n?", "", output.text)
                kept += [output] if output.text else []
                continue
            widget = output.data.pop(WIDGET, None)
            if "image/png" in output.data:
                output.data["image/png"] = _fewer_colors(output.data["image/png"])
            if not widget or list(output.data) != ["text/plain"]:  # a widget without a picture is only a name
                kept.append(output)
        cell.outputs = kept
    return nbformat.writes(book) + "\n"


def _fewer_colors(picture):
    """An opaque picture in 256 colours, a third of the size and no worse to look at; figures/ has it in all."""
    from PIL import Image

    image, buffer = Image.open(io.BytesIO(base64.b64decode(picture))), io.BytesIO()
    if image.convert("RGBA").getextrema()[3][0] < 255:
        return picture
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _digest(path):
    """Of everything a notebook's figures depend on: itself, the package, the versions it asks for."""
    sources = [path, root() / "pyproject.toml", *sorted(p for p in PACKAGE.rglob("*") if p.is_file())]
    digest = hashlib.sha256()
    for source in sources:
        if source.exists() and source.suffix != ".pyc":
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _drawn(target, notebook):
    """Names of the files that a notebook wrote: those beside the passports that name it."""
    return sorted(
        path.name
        for passport in target.glob("*.json")
        if json.loads(passport.read_text()).get("notebook") == notebook
        for path in target.glob(f"{passport.stem}.*")
    )


def _unchanged(path, target, entry):
    return (
        entry is not None
        and entry["digest"] == _digest(path)
        and all((target / name).exists() for name in entry["files"])
    )


def _write(path, content):
    """Write beside and rename, so that a reader never meets half a file; leave equal files alone."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    os.replace(beside, path)


if __name__ == "__main__":
    try:
        regenerate(os.environ.get("DATA", "digits"), os.environ.get("DEVICE", "auto"))
    except ValueError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; make figures goes on with the first notebook that is not finished")
