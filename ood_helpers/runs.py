"""Save and load trained runs: directories named by their configuration, with a checksum of every file."""

import hashlib
import io
import json
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import data, metrics, models, scores
from .config import Config, ResolvedConfig
from .data import folders
from .detector import Detector
from .engine import backbones, files

FORMAT = 2  # of a run's directory; before it, the classes of a folder of images followed each other
FILES = ("history.json", "weights.pt", "outputs.npz")
# Type of a field of config.json and of its items.
RECORD = {"config": (dict, str), "classes": (list, str), "shape": (list, int), "files": (dict, str)}


class DamagedRun(ValueError):
    """A run's directory that must not be used; the message names the file."""


def load_dataset(config: Config) -> data.ImageSet:
    """The images that a configuration is trained and tested on."""
    config, size = config.resolved(), None
    if config.model in backbones.LARGE:
        size = 256 if config.augment == "resized_crop" else 224  # crops are taken from images a little larger
    dataset = data.load(config.data, known=config.known, size=size)
    dataset = dataset if config.fold is None else data.folds(dataset)[config.fold]
    if config.limit is None:
        return dataset
    splits = dict(dataset.splits)
    for name, index in splits.items():
        if len(index) > config.limit:  # evenly spread
            splits[name] = index[[i * len(index) // config.limit for i in range(config.limit)]]
    return replace(dataset, splits=splits)


def load_sets(config: ResolvedConfig, dataset: data.ImageSet) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Images (N, C, H, W) of "train", "validation", "test" and the OOD sets by name, and labels (N,) of the splits."""
    splits = {name: dataset.split(name) for name in ("train", "validation", "test")}
    sets: dict[str, Any] = {name: images for name, (images, _) in splits.items()}
    sets |= {name: data.load_ood(name, dataset).images[: config.limit] for name in config.ood}
    return sets, {name: labels for name, (_, labels) in splits.items()}


def folder_digest(config: ResolvedConfig, sets: Mapping[str, Any], labels: Mapping[str, torch.Tensor]) -> int | None:
    """A checksum of the images and labels of ``load_sets`` where one of the sets is a folder, else None."""
    if not any(name.startswith(folders.PREFIX) for name in (config.data, *config.ood)):
        return None
    digest = zlib.crc32(torch.cat(list(labels.values())).numpy().data)
    for images in sets.values():
        for chunk in images.split(4096):
            digest = zlib.crc32(np.ascontiguousarray(chunk.numpy()).data, digest)
    return digest


@dataclass(frozen=True)
class Run:
    """A trained network with its logits and features on validation, test and OOD data.

    ``logits``, ``features`` and ``labels`` map a set's name ("validation", "test", then ``config.ood``) to arrays
    (N, C), (N, D) and (N,). ``history`` maps a quantity to its values per epoch (epoch 0 is before training);
    ``history["norm"][set]`` and ``history["feature_norm"][set]`` hold the 10 %, 50 % and 90 % quantiles of the norms of
    logits and features, ``nc1`` to ``nc3`` neural collapse, ``aurc`` and ``augrc`` the areas of risk-coverage by MSP;
    older runs have fewer of them. ``snapshots["epochs"]`` are the epochs at which ``snapshots[set]`` (E, n, C), float16
    where it holds them, were taken on the set's first n images. ``digest`` is the checksum of the images, if one of the
    sets is a folder; older runs have none.
    """

    config: ResolvedConfig
    path: Path
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    history: dict
    digest: int | None = field(default=None, kw_only=True, repr=False)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path / "outputs.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def _group(self, kind: str) -> dict[str, np.ndarray]:
        return {key.partition("/")[2]: value for key, value in self._arrays.items() if key.startswith(kind + "/")}

    @cached_property
    def logits(self) -> dict[str, np.ndarray]:
        """Logits (N, C) by set."""
        return self._group("logits")

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        """Features (N, D) by set."""
        return self._group("features")

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Labels (N,) of validation and test."""
        return self._group("labels")

    @cached_property
    def snapshots(self) -> dict[str, np.ndarray]:
        """Epochs (E,), and logits (E, n, C) by set."""
        return self._group("snapshots")

    @property
    def label(self) -> str:
        """The loss and its options, for a legend."""
        return self.config.label

    @property
    def accuracy(self) -> float:
        """Accuracy on the test split, a fraction."""
        return metrics.accuracy(self.logits["test"], self.labels["test"])

    def load_model(self) -> models.Network:
        """The trained network, in evaluation mode, on the CPU."""
        config, head = self.config, self.config.recipe.head
        network = models.build(config.model, len(self.classes), self.shape, head, config.dropout, pretrained=False)
        network.load_state_dict(torch.load(self.path / "weights.pt", weights_only=True, map_location="cpu"))
        return network.eval()

    def dataset(self) -> data.ImageSet:
        """The images that it was trained and tested on."""
        return load_dataset(self.config)

    def images(self, name: str) -> Any:
        """The images (N, C, H, W) behind ``logits[name]``."""
        dataset = self.dataset()
        if name in dataset.splits:
            return dataset.split(name)[0]
        return data.load_ood(name, dataset).images[: self.config.limit]

    def scores(self, score: str | None = None, temperature: float = 1.0) -> dict[str, np.ndarray]:
        """Scores (N,) of every set from its logits divided by ``temperature``, higher = more in-distribution.

        ``score`` is a name from ``scores.SCORES``; by default the one that the loss's authors use.
        """
        function = scores.score(score or self.config.recipe.score)
        return {name: function(logits.astype(np.float64) / temperature) for name, logits in self.logits.items()}

    def detection(self, score: str | None = None, positive: str = "id") -> dict[str, dict]:
        """``metrics.detection`` of the test split against each OOD set, by the set's name."""
        values = self.scores(score)
        return {name: metrics.detection(values["test"], values[name], positive) for name in self.config.ood}

    def calibrated_temperature(self, split: str = "validation") -> float:
        """The temperature with the lowest NLL on a split. On the test split it would be a leak."""
        return metrics.fit_temperature(self.logits[split], self.labels[split])

    def detector(self, score: str | None = None, acceptance: float = 0.95) -> Detector:
        """A detector with the trained network, its temperature and threshold fitted on the validation split.

        ``score`` is a name from ``scores.SCORES``; by default the one that the loss's authors use.
        """
        chosen, logits = score or self.config.recipe.score, self.logits["validation"]
        unfitted = Detector(self.load_model(), chosen, "fit", acceptance)
        return unfitted.fit(logits, self.labels["validation"], name=f"{self.config.data} validation")

    def ece(self, temperature: float = 1.0) -> float:
        """Expected calibration error on the test split, 15 bins, a fraction."""
        logits = torch.from_numpy(self.logits["test"]).double() / temperature
        return metrics.ece(logits.softmax(1), self.labels["test"])


def find_run(config: Config, runs: str | Path = "runs") -> Run | None:
    """The saved run of a configuration, or None if there is none.

    Raises
    ------
    DamagedRun
        When its directory is incomplete or was changed.
    ValueError
        When it was written by another version, in another format; when the images of a folder have changed since.
    """
    path = config.folder(runs)
    if not path.exists():
        return None
    run = load_run(path)
    if run.config != config:
        raise DamagedRun(f"{path / 'config.json'} is damaged: it does not match the requested configuration")
    check_images(run)
    return run


def check_images(run: Run) -> None:
    """Raise ValueError if a run's folders of images have changed since it was trained."""
    if run.digest is None:
        return
    with suppress(FileNotFoundError):  # a run is of use where its images are not
        if folder_digest(run.config, *load_sets(run.config, run.dataset())) != run.digest:
            names = " or ".join(name for name in (run.config.data, *run.config.ood) if name.startswith(folders.PREFIX))
            raise ValueError(
                f"the images of {names} have changed since {run.path} was trained; "
                "delete it or choose another folder of runs"
            )


def load_if_intact(config: Config, runs: str | Path = "runs") -> Run | None:
    """The saved run of a configuration, or None if there is none or, with a warning, if it is damaged."""
    try:
        return find_run(config, runs)
    except DamagedRun as error:
        warnings.warn(f"{error}; training it again", stacklevel=2)
        return None


def load_run(path: str | Path) -> Run:
    """Load a run from its directory, after every file has been checked against the checksum in its record.

    Raises
    ------
    DamagedRun
        When a file is missing or damaged; the message names it.
    ValueError
        When the run has another format.
    """
    path = Path(path)
    record = _read_json(path / "config.json")
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {record.get('format')!r}, this is format {FORMAT}: read it with the "
            "version that wrote it, or delete the folder to train it again"
        )
    if not is_intact(record):
        raise DamagedRun(f"{path / 'config.json'} is damaged or was edited; delete the folder to train it again")
    for name, (kind, inner) in RECORD.items():
        if not isinstance(record.get(name), kind) or not all(isinstance(item, inner) for item in record[name]):
            raise DamagedRun(f"{path / 'config.json'} is damaged: {name} is {record.get(name)!r}")
    for name in FILES:
        found = None
        with suppress(OSError):
            found = checksum((path / name).read_bytes())
        if found != record["files"].get(name):
            raise DamagedRun(f"{path / name} is missing or damaged; delete the folder to train it again")
    history = _read_json(path / "history.json")
    config, classes, shape = Config.from_dict(record["config"]).resolved(), record["classes"], record["shape"]
    return Run(config, path, tuple(classes), tuple(shape), history, digest=record.get("digest"))


def save_run(
    config: Config,
    runs: str | Path,
    network: models.Network,
    history: dict,
    arrays: dict[str, dict[str, Any]],
    dataset: data.ImageSet,
    **facts,
) -> Run:
    """Write a run's directory at once, so that no incomplete run is ever found, and load it.

    ``arrays`` holds "logits", "features", "labels" and "snapshots" as in ``Run``; ``facts`` enter its record.
    """
    path = config.folder(runs)
    weights, outputs = io.BytesIO(), io.BytesIO()
    torch.save(network.state_dict(), weights)
    np.savez(outputs, **{f"{kind}/{name}": array for kind, group in arrays.items() for name, array in group.items()})
    contents = dict(zip(FILES, (json.dumps(history).encode(), weights.getvalue(), outputs.getvalue())))
    record = {
        "format": FORMAT,
        "config": asdict(config.resolved()),
        "classes": dataset.classes,
        "shape": dataset.shape,
        **facts,
        "files": {name: checksum(content) for name, content in contents.items()},
    }
    contents["config.json"] = with_checksum(record)
    with files.atomic_directory(path) as staging:
        for name, content in contents.items():
            (staging / name).write_bytes(content)
    return load_run(path)


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def with_checksum(record: dict, indent: int | None = 1) -> bytes:
    """A record as JSON, with the checksum of its other entries."""
    record = json.loads(json.dumps(record))  # tuples become lists, so that the checksum is of what will be read
    record["checksum"] = checksum(json.dumps(record, sort_keys=True).encode())
    return json.dumps(record, indent=indent).encode()


def is_intact(record: dict) -> bool:
    """Whether a record read from JSON has the checksum of its other entries, which is removed from it."""
    return record.pop("checksum", None) == checksum(json.dumps(record, sort_keys=True).encode())


def _read_json(path: Path) -> dict:
    with suppress(OSError, ValueError, RecursionError):
        if isinstance(content := json.loads(path.read_bytes()), dict):
            return content
    raise DamagedRun(f"{path} is missing or damaged; delete the folder to train it again")
