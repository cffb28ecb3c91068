"""Runs without their weights, small enough to be committed: what a network said, and how it got there."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..config import Config
from ..runs import Run
from ..scores import smallest_float


def keep(runs, folder, **facts):
    """Write folder/logits.npz (float16; float32 where they are too large for it) and folder/runs.json: configurations,
    histories, ``facts`` about the making.

    Only what ``kept`` needs to give the runs back: weights and features stay where they were trained.
    """
    arrays, records = {}, []
    for number, run in enumerate(runs):
        arrays |= {f"{number}/logits/{name}": z.astype(smallest_float(z)) for name, z in run.logits.items()}
        arrays |= {f"{number}/labels/{name}": y.astype(np.uint16) for name, y in run.labels.items()}
        told = json.loads((run.path / "config.json").read_bytes())
        records.append(
            {
                "config": asdict(run.config),
                "classes": run.classes,
                "shape": run.shape,
                "history": _short(run.history),
                "torch": told["torch"],
            }
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "logits.npz", **arrays)
    (folder / "runs.json").write_text(json.dumps({"facts": facts, "runs": records}) + "\n")


def kept(folder):
    """(runs, facts) as ``keep`` wrote them."""
    folder = Path(folder)
    told = json.loads((folder / "runs.json").read_bytes())
    return [
        KeptRun(
            Config.from_dict(record["config"]),
            folder,
            tuple(record["classes"]),
            tuple(record["shape"]),
            record["history"],
            number,
            record["torch"],
        )
        for number, record in enumerate(told["runs"])
    ], told["facts"]


@dataclass(frozen=True)
class KeptRun(Run):
    """One of the kept: logits, labels and history; no network, no features, no images."""

    number: int
    torch: str  # the version

    @cached_property
    def _arrays(self):
        start = f"{self.number}/"
        with np.load(self.path / "logits.npz", allow_pickle=False) as file:
            return {
                key.removeprefix(start): file[key].astype(np.float32 if "/logits/" in key else np.int64)
                for key in file.files
                if key.startswith(start)
            }


def _short(value):
    """Numbers to five digits, which no curve shows the lack of."""
    if isinstance(value, dict):
        return {name: _short(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
