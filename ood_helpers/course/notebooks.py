"""Execute the notebooks without a browser and save their outputs; notebooks that have not changed are skipped."""

import asyncio
import base64
import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ..figures import folder, root, write_if_changed
from .gallery import write_gallery

PACKAGE = Path(__file__).parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"


def regenerate(data: str = "digits", device: str = "auto", notebooks: Iterable[str | Path] | None = None) -> None:
    """Execute notebooks on a dataset, which writes their figures to ``figures/<data>``.

    On the digits, an executed notebook replaces the original file, so that its outputs can be read without running
    it; on any other dataset it is written next to the figures. A notebook is skipped if its text, the package and
    its figures are unchanged since its last run. ``figures/README.md`` shows all figures.

    Parameters
    ----------
    data : str
        Name of the in-distribution dataset, as in ``Config``.
    device : str
        Device to train on, as in ``fit``.
    notebooks : iterable of paths, optional
        By default every notebook in ``notebooks/``.

    Raises
    ------
    ValueError
        If there is no notebook, or if a cell fails; the notebook of that cell is left unchanged.
    """
    here, started = root(), time.monotonic()
    paths = [Path(path) for path in notebooks or sorted((here / "notebooks").glob("*.ipynb"))]
    if not paths:
        raise ValueError(f"there is no notebook in {here / 'notebooks'}")
    if data.startswith("folder:"):  # a kernel starts in its notebook's folder, where a relative path would not resolve
        data = f"folder:{Path(data[7:]).resolve()}"
    runs = Path(os.environ.get("RUNS") or here / "runs").resolve()
    target = folder(data).resolve()
    index_path = runs / f"figures-{target.name}.json"
    index = json.loads(index_path.read_text()) if index_path.exists() else {}  # each notebook's last run
    package = _package_digest()  # now: figures are of this code, also if it is edited while they are made
    stale = [path for path in paths if not _is_unchanged(path, package, target, index.get(path.stem))]
    if stale:
        _read_images(data)
        if sum(_trains_lesson(path) for path in stale) > 1:
            _train_lesson(data, device, runs)
        environment = _kernel_environment(data, device, runs, target, min(2, len(stale)))
        for path, executed in _execute_all(stale, environment):
            write_if_changed(path if data == "digits" else target / path.name, executed.encode())
            index[path.stem] = {"digest": _digest(path, package), "files": _files_of(target, path.stem)}
            write_if_changed(index_path, json.dumps(index, indent=1, sort_keys=True).encode())
        write_gallery(target.parent, here / "notebooks")
    n_figures = sum(name.endswith(".json") for path in paths for name in index[path.stem]["files"])
    print(
        f"{len(stale)} of {len(paths)} notebooks run in {time.monotonic() - started:.0f} s; "
        f"{n_figures} figures in {os.path.relpath(target)}"
    )


def _read_images(data: str) -> None:
    """Read the images, which downloads them: without a network this fails here, before processes are started."""
    from ..config import Config
    from ..data import load, load_ood

    if data != "digits" and not data.startswith("folder:"):
        config = Config(data=data).resolved()
        images = load(config.data, known=config.known)
        for name in config.ood or ():
            load_ood(name, images)


def _trains_lesson(path: Path) -> bool:
    """Whether the notebook's metadata say that it starts with the trainings that notebooks share."""
    import nbformat

    return nbformat.read(path, as_version=4).metadata.get("ood", {}).get("trains") == "lesson"


def _train_lesson(data: str, device: str, runs: Path) -> None:
    """Train the runs that several notebooks share on all cores, before each notebook asks for them one by one."""
    from ..config import Config
    from ..sweeps import compare_losses

    compare_losses(Config(data=data), seeds=5, runs=runs, device=device)


def _kernel_environment(data: str, device: str, runs: Path, target: Path, n_workers: int) -> dict[str, str]:
    """Environment variables of the kernels: the settings, and a share of the cores for each."""
    from joblib import cpu_count

    share = str(max(1, cpu_count() // n_workers))  # more threads than cores would wait for each other
    defaults = {"OMP_NUM_THREADS": share, "LOKY_MAX_CPU_COUNT": share}
    inherited = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    settings = {
        "DATA": data,
        "DEVICE": device,
        "RUNS": str(runs),
        "OOD_FIGURES": str(target.parent),
        "OOD_DATA": os.environ.get("OOD_DATA") or str(root() / "data"),
        "TQDM_DISABLE": "1",  # no progress bars in the saved outputs
    }
    return defaults | inherited | settings


def _execute_all(paths: list[Path], environment: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield each path with its executed notebook as text, in the order in which they finish.

    Two notebooks run at a time, as most of a notebook uses one core. A run that both of them need is trained once,
    because ``fit`` locks it.
    """
    import nbformat
    from tqdm.auto import tqdm

    loaded = [(path, nbformat.read(path, as_version=4)) for path in paths]
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for _, book in loaded for cell in book.cells)
    with tqdm(total=total, unit="cell", mininterval=0.5) as bar, ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(_execute, path, book, environment, bar) for path, book in loaded]
        try:
            for future in as_completed(pending):
                pending.remove(future)
                yield future.result()
        except ValueError:
            pool.shutdown(cancel_futures=True)  # finish and save what is already running, start nothing new
            yield from (future.result() for future in pending if not future.cancelled() and not future.exception())
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _execute(path: Path, book: Any, environment: dict[str, str], bar: Any) -> tuple[Path, str]:
    import nbclient

    running, started = [], time.monotonic()
    client = nbclient.NotebookClient(
        book,
        timeout=None,
        kernel_name="python3",
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],  # no warning about unencrypted loopback connections
        on_cell_execute=lambda cell, cell_index: running.append(cell),
        on_cell_executed=lambda cell, cell_index, execute_reply: bar.update(),
    )
    try:
        asyncio.run(client.async_execute(env=environment | {"OOD_NOTEBOOK": path.stem}))
    except nbclient.exceptions.CellExecutionError as error:
        raise _failure(path, running, f"{error.ename}: {error.evalue}") from None
    except nbclient.exceptions.DeadKernelError:
        raise _failure(path, running, "its Python process died, perhaps because memory ran out") from None
    bar.write(f"{path.stem}: {time.monotonic() - started:.0f} s")
    return path, _clean(book)


def _failure(path: Path, running: list[Any], reason: str) -> ValueError:
    first_line = running[-1].source.strip().splitlines()[0]
    return ValueError(f"{path.name}, cell [{len(running)}] ({first_line}): {reason}")


def _clean(book: Any) -> str:
    """Return the notebook as text, without outputs that differ from run to run or need a kernel."""
    import nbformat

    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    ours = {name: value for name, value in book.metadata.items() if name == "ood"}
    book.metadata = ours | {"kernelspec": kernel, "language_info": {"name": "python"}}
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if "solution" in cell.metadata.get("tags", ()):
            cell.metadata["jupyter"] = {"source_hidden": True}  # folded in JupyterLab
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_readable(output)]
    return nbformat.writes(book) + "\n"


def _is_readable(output: Any) -> bool:
    """Clean an output in place; False if nothing is left that can be read without a kernel."""
    if output.output_type == "stream":
        return True
    widget = output.data.pop(WIDGET, None)
    if "image/png" in output.data:
        output.data["image/png"] = _quantize(output.data["image/png"])
    return not widget or list(output.data) != ["text/plain"]


def _quantize(png: str) -> str:
    """Return an opaque picture (base64) in 256 colours, a third of the size; ``figures/`` has it in full colour."""
    from PIL import Image

    image, buffer = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if image.convert("RGBA").getchannel("A").histogram()[255] < image.width * image.height:
        return png
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _digest(path: Path, package: str) -> str:
    """SHA-256 of what a notebook's figures depend on: the notebook, and the package, given as its digest."""
    return hashlib.sha256(path.name.encode() + b"\0" + path.read_bytes() + package.encode()).hexdigest()


def _package_digest() -> str:
    """SHA-256 of the package and pyproject.toml."""
    sources = [root() / "pyproject.toml", *sorted(p for p in PACKAGE.rglob("*") if p.is_file())]
    digest = hashlib.sha256()
    for source in sources:
        if source.exists() and source.suffix != ".pyc":
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _files_of(target: Path, notebook: str) -> list[str]:
    """Names of the files that a notebook wrote: its metadata files and the figures next to them."""
    return sorted(
        path.name
        for metadata in target.glob("*.json")
        if json.loads(metadata.read_text()).get("notebook") == notebook
        for path in target.glob(f"{metadata.stem}.*")
    )


def _is_unchanged(path: Path, package: str, target: Path, entry: dict[str, Any] | None) -> bool:
    return (
        entry is not None
        and entry["digest"] == _digest(path, package)
        and all((target / name).exists() for name in entry["files"])
    )
