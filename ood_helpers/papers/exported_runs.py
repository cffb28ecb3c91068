"""Export runs without their weights and features, small enough to commit, and load them again."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..config import Config
from ..runs import Run
from ..scores import compact_float_dtype


def export_runs(runs, folder, **facts):
    """Write the runs' logits and labels to ``folder/logits.npz`` and the rest to ``folder/runs.json``.

    Logits are rounded to float16, where they fit, and histories to five digits.

    Parameters
    ----------
    runs : list of Run
    folder : str or Path
    **facts
        JSON values that describe how the runs were made, such as the processor.
    """
    arrays, records = {}, []
    for number, run in enumerate(runs):
        arrays |= {f"{number}/logits/{name}": z.astype(compact_float_dtype(z)) for name, z in run.logits.items()}
        arrays |= {f"{number}/labels/{name}": y.astype(np.uint16) for name, y in run.labels.items()}
        record = {"config": asdict(run.config), "classes": run.classes, "shape": run.shape}
        record |= {"history": _rounded(run.history)}
        record |= {"torch": json.loads((run.path / "config.json").read_bytes())["torch"]}
        records.append(record)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "logits.npz", **arrays)
    (folder / "runs.json").write_text(json.dumps({"facts": facts, "runs": records}) + "\n")


def load_exported_runs(folder):
    """``(runs, facts)`` as given to :func:`export_runs`; runs is a list of :class:`ExportedRun`."""
    folder = Path(folder)
    content = json.loads((folder / "runs.json").read_bytes())
    runs = []
    for number, record in enumerate(content["runs"]):
        config, classes, shape = Config.from_dict(record["config"]), tuple(record["classes"]), tuple(record["shape"])
        runs.append(ExportedRun(config, folder, classes, shape, record["history"], number, record["torch"]))
    return runs, content["facts"]


@dataclass(frozen=True)
class ExportedRun(Run):
    """A run with logits, labels and history, but without network, features and images.

    ``number`` is its position in the folder, ``torch`` the version it was trained with.
    """

    number: int
    torch: str

    @cached_property
    def _arrays(self):
        start = f"{self.number}/"
        with np.load(self.path / "logits.npz", allow_pickle=False) as file:
            return {
                key.removeprefix(start): file[key].astype(np.float32 if "/logits/" in key else np.int64)
                for key in file.files
                if key.startswith(start)
            }


def _rounded(value):
    """Floats rounded to five digits, which no curve shows the lack of."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
