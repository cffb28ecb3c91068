"""Write trained runs into a folder that is small enough to commit: see :mod:`ood_helpers.papers.exported_runs`."""

import io
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import losses
from ..beyond.tables import aurocs_by_set
from ..config import Config
from ..data import synthetic
from ..engine.device import processor
from ..engine.files import atomic_write
from ..engine.history import outputs
from ..engine.options import OPTIONS
from ..engine.tensors import write_tensors
from ..runs import Run, check_images, checksum, load_run, with_checksum
from ..scores import compact_float_dtype
from .exported_runs import COLUMNS, FORMAT, evenly_spaced

ROUNDED = 4096  # tensors with more values are rounded to float16; statistics and whitening filters are not
PICTURES = {"test": 1000, "ood": 500}  # of each set
SNAPSHOT_ROWS = 1000
TRAINING_FIELDS = ("model", "epochs", "batch_size", "lr", "norm_bias_lr", "momentum", "nesterov", "weight_decay")
TRAINING_FIELDS += ("ema_decay", "schedule", "warmup", "augment", "head_lr")
TERMS = {
    "cifar10": "CIFAR-10 (Krizhevsky, 2009), published for research without a licence",
    "cifar100": "CIFAR-100 (Krizhevsky, 2009), published for research without a licence",
    "mnist": "MNIST (LeCun, Cortes and Burges), CC BY-SA 3.0",
    "tiny_imagenet": "Tiny ImageNet, from ImageNet (Deng et al., 2009): non-commercial research and education",
    "imagenet_resize": "ImageNet (Deng et al., 2009), resized as in ODIN: non-commercial research and education",
    "imagenet_crop": "ImageNet (Deng et al., 2009), cropped as in ODIN: non-commercial research and education",
}


def find_runs(runs: str | Path, data: str) -> list[Run]:
    """All finished runs on an ID set in a folder of runs, ordered by loss and seed."""
    folders = sorted(path.parent for path in Path(runs).glob("[!.]*/config.json"))
    found = [run for run in map(load_run, folders) if run.config.data == data]
    if not found:
        raise ValueError(f"{runs} holds no finished run on {data}")
    for run in found:
        check_images(run)
    order = [*losses.RECIPES, *losses.BEYOND]
    return sorted(found, key=lambda run: (order.index(run.config.loss), run.config.seed))


def export_runs(
    runs: Sequence[Run],
    folder: str | Path,
    rows: int | None = None,
    complete: bool = False,
    networks: Sequence[str] | None = None,
    **facts,
):
    """Write runs into ``folder``, without their features, and rounded to float16 where that fits.

    In a folder that exists, the files of its earlier export, which its ``runs.json`` lists, are replaced; all others,
    such as figures, stay as they are.

    Parameters
    ----------
    runs : list of Run
    folder : str or Path
    rows : int, optional
        At most so many evenly spaced images of every set but "test", whose images are all exported. By default all.
    complete : bool
        Whether to add a README and what needs the images: pictures, AUROC by every score, and of the first run of each
        loss the network and the snapshots. The runs must then share data and OOD sets.
    networks : list of str, optional
        The losses whose network is added to a complete export; by default all.
    **facts
        JSON values that describe how the runs were made.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    ValueError
        When runs of a complete export do not share their images, or no run has a loss of ``networks``; when ``folder``
        holds a file that would be written and that no earlier export wrote. Nothing is changed then.
    """
    names = dict.fromkeys(run.config.loss for run in runs)
    for name in networks or ():
        if name not in names:
            raise ValueError(f"networks names {name!r}, but the runs are of {', '.join(names)}")
    folder, contents, weights, records, pictured = Path(folder), {}, {}, [], {}
    earlier = _earlier_files(folder)
    if complete and len({(run.config.data, run.config.known, run.config.fold, run.config.ood) for run in runs}) > 1:
        raise ValueError("runs that are exported with pictures must share data, known classes, fold and OOD sets")
    if complete:
        contents["images.jpg"], pictured = _pictures(runs[0], rows)
    seen = set()
    for run in runs:
        stem = f"{run.config.loss}-seed{run.config.seed}"
        if f"{stem}.npz" in contents:
            stem += f"-{run.config.hash}"
        first = complete and run.config.loss not in seen
        seen.add(run.config.loss)
        contents[f"{stem}.npz"] = _arrays(run, rows, snapshots=first)
        record = {"stem": stem, "config": asdict(run.config), "classes": run.classes, "shape": run.shape}
        record |= {"sizes": {name: len(z) for name, z in run.logits.items()}, "accuracy": run.accuracy}
        record |= {"history": _rounded(run.history), "torch": _torch_version(run)}
        if complete:
            record["aurocs"] = _rounded(aurocs_by_set(run))
        if first and (networks is None or run.config.loss in networks):
            tensors, record["weights"] = _weights(run)
            weights[f"{stem}.safetensors"] = tensors
        records.append(record)
    facts = {"processor": processor(), "cores": os.cpu_count()} | facts
    index = {"format": FORMAT, "facts": facts, "pictures": pictured, "runs": records}
    if complete:
        contents["README.md"] = card(index).encode()
    for name in (*contents, *weights):
        if name not in earlier and (folder / name).exists():
            raise ValueError(f"{folder / name} is not of a finished export: move it away or choose another folder")
    for name in ("runs.json", *earlier):
        (folder / name).unlink(missing_ok=True)
    for name, content in contents.items():
        atomic_write(folder / name, content)
    for name, tensors in weights.items():
        write_tensors(folder / name, tensors)
    written = [folder / name for name in (*contents, *weights)]
    index["files"] = {file.name: checksum(file.read_bytes()) for file in written}
    atomic_write(folder / "runs.json", with_checksum(index, indent=None))  # last: without it, nothing is there
    return sum(file.stat().st_size for file in (*written, folder / "runs.json"))


def _earlier_files(folder: Path) -> list[str]:
    """Names of the files that the folder's earlier export wrote."""
    index = folder / "runs.json"
    if not index.exists():
        return []
    try:
        names = list(json.loads(index.read_bytes())["files"])
    except (KeyError, TypeError, ValueError):
        names = [""]
    if not all(isinstance(name, str) and name and Path(name).name == name != ".." for name in names):
        raise ValueError(f"{index} does not list the files of an earlier export: move it away or choose another folder")
    return names


def _arrays(run: Run, rows: int | None, snapshots: bool) -> bytes:
    """A run's logits, labels and snapshots as a compressed .npz."""
    arrays = {}
    for name, z in run.logits.items():
        index = _chosen(run, name, rows)
        arrays[f"logits/{name}"] = z[index].astype(compact_float_dtype(z))
        if name in run.labels:
            arrays[f"labels/{name}"] = run.labels[name][index].astype(np.uint16)
    for name, z in run.snapshots.items() if snapshots else ():
        if name == "epochs":
            arrays["snapshots/epochs"] = z
        else:  # of the first images of a set: those of them that are exported
            index = _chosen(run, name, rows) if name in run.logits else np.arange(z.shape[1])
            arrays[f"snapshots/{name}"] = z[:, index[index < min(z.shape[1], SNAPSHOT_ROWS)]]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _chosen(run: Run, name: str, rows: int | None) -> np.ndarray:
    size = len(run.logits[name])
    return evenly_spaced(size if rows is None or name == "test" else rows, size)


def _pictures(run: Run, rows: int | None) -> tuple[bytes, dict[str, list[int]]]:
    """One JPEG with the first exported images of the test set and of each OOD set that cannot be drawn again."""
    from PIL import Image

    tiles, places, start = [], {}, 0
    for name in ("test", *run.config.ood):
        if name in synthetic.FAR:
            continue
        index = _chosen(run, name, rows)[: PICTURES["test" if name == "test" else "ood"]]
        tiles.append(np.asarray(run.images(name)[torch.from_numpy(index)]))
        places[name] = [start, len(index)]
        start += len(index)
    images = np.concatenate(tiles)
    images = np.concatenate([images, np.zeros((-len(images) % COLUMNS, *images.shape[1:]), np.uint8)])
    _, channels, height, width = images.shape
    grid = images.reshape(-1, COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = (
        grid.reshape(-1, COLUMNS * width, channels).squeeze(2)
        if channels == 1
        else grid.reshape(-1, COLUMNS * width, 3)
    )
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=95, subsampling=0, optimize=True)
    return buffer.getvalue(), places


def _weights(run: Run) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The network's tensors, large ones in float16 if that changes the accuracy by no more than an image."""
    network, images, labels = run.load_model(), run.images("test"), run.labels["test"]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    rounded = {name: value.half() if value.numel() > ROUNDED else value for name, value in state.items()}
    network.load_state_dict({name: value.to(state[name].dtype) for name, value in rounded.items()})
    answers = outputs(network, images)[1].numpy().argmax(1)
    changed = int((answers == labels).sum()) - int((run.logits["test"].argmax(1) == labels).sum())
    fits = abs(changed) <= 1
    return rounded if fits else state, {
        "dtype": "float16" if fits else "float32",
        "right_answers_changed_by": changed if fits else 0,
    }


def _torch_version(run: Run) -> str:
    return getattr(run, "torch", None) or json.loads((run.path / "config.json").read_bytes())["torch"]


def _rounded(value: Any) -> Any:
    """Floats rounded to five significant digits, enough for every plot."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def card(index: dict) -> str:
    """A README of an exported folder: data, recipe, seeds, results, machine, terms of the data."""
    facts, records = index["facts"], index["runs"]
    config, groups = records[0]["config"], {}
    for record in records:
        groups.setdefault((record["config"]["loss"], str(dict(record["config"]["loss_options"]))), []).append(record)
    lines = [
        f"# Networks trained on {config['data']}",
        "",
        f"{len(records)} training{'s' * (len(records) > 1)}, with logits on the test split and on "
        f"{', '.join(config['ood'])}. `runs.json` has configurations, histories and the checksum of every file.",
        "",
        "```python",
        "from ood_helpers import trained",
        "",
        f'run = trained("{config["data"]}", "{config["loss"]}")',
        'run.logits["test"], run.labels["test"], run.detection(), run.images("test"), run.load_model()',
        "```",
        "",
        "| loss | options | seeds | test accuracy (%) | training accuracy (%) | minutes each | network |",
        "|---|---|---|---|---|---|---|",
    ]
    for (loss, options), group in groups.items():
        accuracy, fitted, minutes = (
            " ".join(f"{value(record):.{digits}f}" for record in group)
            for value, digits in (
                (lambda record: 100 * record["accuracy"], 2),
                (lambda record: 100 * record["history"]["accuracy"]["train"][-1], 1),
                (lambda record: sum(record["history"]["seconds"]) / 60, 0),
            )
        )
        seeds = " ".join(str(record["config"]["seed"]) for record in group)
        stored = next((record["weights"]["dtype"] for record in group if "weights" in record), "")
        options = "" if options == "{}" else options.strip("{}")
        lines.append(f"| {loss} | {options} | {seeds} | {accuracy} | {fitted} | {minutes} | {stored} |")
    recipe = ", ".join(f"{name} {config[name]}" for name in TRAINING_FIELDS if config.get(name) is not None)
    terms = "; ".join(TERMS[name] for name in (config["data"], *config["ood"]) if name in TERMS)
    lines += ["", f"**Recipe.** {recipe}.", ""]
    lines += [f"**Machine.** {facts['processor']}, {facts['cores']} cores, torch {records[0]['torch']}.", ""]
    lines += [
        f"**Data.** {terms}. The pictures are small JPEGs, for teaching." if terms else "**Data.** See the source.",
        "",
    ]
    lines += [f"**Note.** {facts['note']}"] if "note" in facts else []
    stored = dict.fromkeys(record["config"]["loss"] for record in records if "weights" in record)
    export = ["export", "RUNS", f"figures/{config['data']}", "--data", config["data"], "--networks", *stored]
    arguments = [*(_training_arguments(group[0]["config"]) for group in groups.values()), export]
    others = "; with `--seed`, also the other seeds of the table" if len(records) > len(groups) else ""
    lines += ["", f"**To make it again**, train into a folder RUNS and export it{others}:", "", "```sh"]
    lines += [shlex.join(["python", "-m", "ood_helpers", *each]) for each in arguments]
    return "\n".join([*lines, "```", ""])


def _training_arguments(record: dict[str, Any]) -> list[str]:
    """Arguments of the command line that train a configuration: what differs from the defaults of its set."""
    config, usual = Config.from_dict(record).resolved(), Config(record["data"]).resolved()
    # The other defaults depend on these two.
    changes = {name: v for name in ("model", "known") if (v := getattr(config, name)) != getattr(usual, name)}
    usual = Config(config.data, **changes).resolved()
    changes |= {name: v for name in OPTIONS if (v := getattr(config, name)) != getattr(usual, name)}
    arguments = ["train"]
    for name, value in ({"data": config.data, "loss": config.loss} | changes).items():
        values = value if isinstance(value, tuple) else (value,)
        arguments += [f"--{name.replace('_', '-')}"]
        arguments += [f"{v[0]}={v[1]}" if name == "loss_options" else str(v) for v in values]
    return [*arguments, "--runs", "RUNS"]
