"""Trained networks that come with the repository: exported runs, loaded without training and without a network."""

import io
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import models
from ..config import Config
from ..data import synthetic
from ..engine.history import outputs
from ..engine.tensors import read_tensors
from ..figures import root
from ..runs import DamagedRun, Run, checksum, is_intact

FORMAT = 1  # of an exported folder
REMEDY = "restore it, for example with git checkout"
COLUMNS = 50  # images in a row of the picture file


@dataclass(frozen=True)
class ExportedRun(Run):
    """A run with the logits of many images, the pictures of some of them, and perhaps its network.

    Logits, labels and snapshots are as in :class:`ood_helpers.runs.Run`, except that a set other than "test" may be
    represented by evenly spaced rows (see :meth:`rows`), that values are rounded to float16 where they fit, and that
    only one run of each loss has snapshots and a network. ``images(name)`` are the pictures of the first rows of
    ``logits[name]``, fewer than there are rows.

    Parameters
    ----------
    stem : name of its files
    record : what ``runs.json`` holds about it
    pictures : ``{set: [position of the first picture, number of pictures]}``
    checksums : SHA-256 of every file of the folder
    """

    stem: str
    record: dict = field(repr=False)
    pictures: dict[str, list[int]] = field(repr=False)
    checksums: dict[str, str] = field(repr=False)

    @property
    def torch(self) -> str:
        """The version of torch it was trained with."""
        return self.record["torch"]

    @property
    def image_counts(self) -> dict[str, int]:
        """Number of pictures by set: those of the first so many rows of ``logits``."""
        drawn = {name: len(self.logits[name]) for name in self.logits if name in synthetic.FAR}
        return drawn | {name: count for name, (_, count) in self.pictures.items()}

    @property
    def aurocs(self) -> dict[str, dict[str, float]]:
        """AUROC in percent by score and OOD set, as ``beyond.tables`` measured it at a complete export, or empty."""
        return self.record.get("aurocs", {})

    def rows(self, name: str) -> np.ndarray:
        """Positions (N,) of the rows of ``logits[name]`` in the complete set: evenly spaced."""
        return evenly_spaced(len(self.logits[name]), self.record["sizes"][name])

    def images(self, name: str) -> Tensor:
        """Pictures (n, C, H, W), uint8, of the first n rows of ``logits[name]``, as JPEG has preserved them.

        Those of synthetic sets are drawn again, exactly and for all rows.

        Raises
        ------
        ValueError
            For a set without pictures.
        """
        if name in synthetic.FAR and name in self.logits:
            return getattr(synthetic, name)(self.shape)[0][torch.from_numpy(self.rows(name))]
        if name not in self.pictures:
            known = ", ".join(self.image_counts) or "none"
            raise ValueError(f"there are no pictures of {name!r} in {self.path}; sets with pictures: {known}")
        start, count = self.pictures[name]
        content = read_verified(self.path / "images.jpg", self.checksums)
        return _tiles(content, self.shape)[start : start + count]

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        """Features (n, D) of ``images(name)`` by set, computed by the network when they are first asked for."""
        network = self.load_model()
        return {name: outputs(network, self.images(name))[0].numpy() for name in self.image_counts}

    def load_model(self) -> models.Network:
        """The trained network, in evaluation mode, on the CPU.

        Its large weights are rounded to float16, unless that changes the accuracy by more than one image.

        Raises
        ------
        ValueError
            For a run that was exported without its network; the message names one that has it.
        """
        file = self.path / f"{self.stem}.safetensors"
        if file.name not in self.checksums:
            others = ", ".join(name.removesuffix(".safetensors") for name in self.checksums if name.endswith("tensors"))
            raise ValueError(f"{self.stem} has no network in {self.path}; those with a network: {others or 'none'}")
        config, head = self.config, self.config.recipe.head
        network = models.build(config.model, len(self.classes), self.shape, head, config.dropout, pretrained=False)
        read_verified(file, self.checksums)
        state, own = read_tensors(file)[0], network.state_dict()
        network.load_state_dict({name: value.to(own[name].dtype) for name, value in state.items()})
        return network.eval()

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        content = io.BytesIO(read_verified(self.path / f"{self.stem}.npz", self.checksums))
        with np.load(content, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        kinds = {"logits": np.float32, "labels": np.int64}
        return {key: array.astype(kinds.get(key.partition("/")[0], array.dtype)) for key, array in arrays.items()}


def evenly_spaced(count: int, size: int) -> np.ndarray:
    """``count`` evenly spaced positions below ``size``; all, if there are no more.

    >>> evenly_spaced(4, 10).tolist(), evenly_spaced(3, 2).tolist()
    ([0, 2, 5, 7], [0, 1])
    """
    count = min(count, size)
    return np.arange(count) * size // count


def load_exported_runs(folder):
    """``(runs, facts)`` as given to :func:`export_runs`; runs is a list of :class:`ExportedRun`.

    Raises
    ------
    ood_helpers.runs.DamagedRun
        When a file is missing or does not have its checksum; the message names it.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / "runs.json").read_bytes())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or not is_intact(content) or content.get("format") != FORMAT:
        raise DamagedRun(f"{folder / 'runs.json'} is missing, damaged or of another format; {REMEDY}")
    for name in content["files"]:
        read_verified(folder / name, content["files"])
    runs = []
    for record in content["runs"]:
        config = Config.from_dict(record["config"]).resolved()
        classes, shape = tuple(record["classes"]), tuple(record["shape"])
        stored = record["stem"], record, content["pictures"], content["files"]
        runs.append(ExportedRun(config, folder, classes, shape, record["history"], *stored))
    return runs, content["facts"]


def shipped(data="cifar10", folder=None) -> dict[str, list[ExportedRun]]:
    """All networks that come with the repository, ``{loss: [run per seed]}``; nothing is trained or downloaded.

    Parameters
    ----------
    data : str
        The ID set.
    folder : path, optional
        Of the exported runs; by default ``figures/<data>`` of the repository that the working directory or the package
        lies in.

    Returns
    -------
    dict of str to list of ExportedRun
        In the order of the export; the seeds of a loss follow each other.

    Raises
    ------
    ValueError
        When there are none of that ID set; the message lists the sets that there are.
    FileNotFoundError
        Outside of a copy of the repository.
    ood_helpers.runs.DamagedRun
        When a file was changed; the message names it.
    """
    places = [Path(folder)] if folder else [place / "figures" / str(data) for place in _repositories()]
    place = next((place for place in places if (place / "runs.json").is_file()), None)
    if place is None:
        known = {file.parent.name for home in _repositories() for file in home.glob("figures/*/runs.json")}
        if known and not folder:
            raise ValueError(
                f"no trained networks of {data!r} come with the repository; those that do: {', '.join(sorted(known))}"
            )
        raise FileNotFoundError(
            f"there is no {places[0] / 'runs.json'}: the trained networks come with the repository, so work in a copy "
            "of it, or name the folder"
        )
    groups: dict[str, list[ExportedRun]] = {}
    for run in _load_once(place.resolve(), (place / "runs.json").stat().st_mtime_ns):
        groups.setdefault(run.config.loss, []).append(run)
    return groups


def trained(data="cifar10", loss="softmax", seed=0, folder=None) -> ExportedRun:
    """One of the networks of :func:`shipped`.

    Parameters
    ----------
    data, folder
        As for :func:`shipped`, with the same errors.
    loss : str
        A name of ``losses.RECIPES``.
    seed : int

    Raises
    ------
    ValueError
        When no such network is there; the message lists those that are.

    Examples
    --------
    >>> run = trained("cifar10", "softmax")
    >>> run.classes[:3], run.logits["test"].shape, run.images("test").shape[1:]
    (('airplane', 'automobile', 'bird'), (10000, 10), torch.Size([3, 32, 32]))
    """
    groups = shipped(data, folder)
    for run in groups.get(loss, []):
        if run.config.seed == seed:
            return run
    known = ", ".join(f"{name} (seed {' '.join(str(run.config.seed) for run in g)})" for name, g in groups.items())
    raise ValueError(
        f"no network of {data} trained with {loss!r} and seed {seed} comes with it; those that do: {known}"
    )


def read_verified(file: Path, checksums: dict[str, str]) -> bytes:
    """A file's content, after its checksum was compared."""
    content = file.read_bytes() if file.is_file() else b""
    if checksum(content) != checksums.get(file.name):
        raise DamagedRun(f"{file} is missing or damaged; {REMEDY}")
    return content


@cache
def _load_once(folder: Path, changed: int) -> list[ExportedRun]:
    return load_exported_runs(folder)[0]


def _repositories() -> list[Path]:
    """The repository around the working directory, and that around the package, if it is installed from one."""
    return [root(), Path(__file__).parents[2]]


def _tiles(content: bytes, shape: tuple[int, int, int]) -> Tensor:
    """Images (N, C, H, W) of a picture with COLUMNS of them in a row."""
    from PIL import Image

    channels, height, width = shape
    sheet = torch.from_numpy(np.array(Image.open(io.BytesIO(content)))).reshape(-1, height, COLUMNS, width, channels)
    return sheet.permute(0, 2, 4, 1, 3).reshape(-1, channels, height, width)
