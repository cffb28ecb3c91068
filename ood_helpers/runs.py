"""A trained run on disk: named by its configuration, found again instead of trained again, believed only when whole."""

import hashlib
import io
import json
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from . import data, metrics, models, scores
from .config import Config

FORMAT = 2  # of a run's folder; in 1 a folder's classes came one after the other, so its parts were others
FILES = ("history.json", "weights.pt", "outputs.npz")
RECORD = {"config": (dict, str), "classes": (list, str), "shape": (list, int), "files": (dict, str)}  # of what


class DamagedRun(ValueError):
    """A run's folder that must not be used; its message names the file."""


@dataclass(frozen=True)
class Run:
    """One trained network and all it says about its validation part, its test part and its OOD sets.

    ``logits``, ``features`` and ``labels`` map a set's name ("validation", "test", then ``config.ood``) to arrays
    (N, C), (N, D) and (N,). ``history`` maps a quantity to its values per epoch (epoch 0 is before training);
    ``history["norm"][set]`` holds the 10 %, 50 % and 90 % quantiles of the logit norm. ``snapshots["epochs"]`` are the
    epochs at which ``snapshots[set]`` (E, n, C), float16 where it holds them, were taken on the set's first n images.
    """

    config: Config
    path: Path
    classes: tuple
    shape: tuple
    history: dict

    @cached_property
    def _arrays(self):
        with np.load(self.path / "outputs.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def _group(self, kind):
        return {key.partition("/")[2]: value for key, value in self._arrays.items() if key.startswith(kind + "/")}

    @cached_property
    def logits(self):
        return self._group("logits")

    @cached_property
    def features(self):
        return self._group("features")

    @cached_property
    def labels(self):
        return self._group("labels")

    @cached_property
    def snapshots(self):
        return self._group("snapshots")

    @property
    def label(self):
        return self.config.label

    @property
    def accuracy(self):
        """On the test part."""
        return metrics.accuracy(self.logits["test"], self.labels["test"])

    def load_model(self):
        """The trained network, in evaluation mode, on the CPU."""
        network = models.build(
            self.config.model,
            len(self.classes),
            self.shape,
            self.config.recipe.head,
            self.config.dropout,
            pretrained=False,
        )
        network.load_state_dict(torch.load(self.path / "weights.pt", weights_only=True, map_location="cpu"))
        return network.eval()

    def images(self, name):
        """The images (N, C, H, W) behind ``logits[name]``."""
        dataset = self.config.dataset()
        if name in dataset.splits:
            return dataset.split(name)[0]
        return data.load_ood(name, dataset).images[: self.config.limit]

    def scores(self, score=None, temperature=1.0):
        """Scores of every set from its logits over ``temperature``, higher = more in-distribution.

        ``score`` is a name from ``scores.SCORES``; by default the one the loss's authors use.
        """
        function = scores.score(score or self.config.recipe.score)
        return {name: function(logits.astype(np.float64) / temperature) for name, logits in self.logits.items()}

    def detection(self, score=None, positive="id"):
        """``metrics.detection`` of the test part against each OOD set: a dict of dicts."""
        values = self.scores(score)
        return {name: metrics.detection(values["test"], values[name], positive) for name in self.config.ood}

    def calibrated_temperature(self, part="validation"):
        """The temperature that the validation part asks for. The test part's would be a leak."""
        return metrics.fit_temperature(self.logits[part], self.labels[part])

    def ece(self, temperature=1.0):
        """Expected calibration error of the test part's probabilities, 15 bins, a fraction."""
        logits = torch.from_numpy(self.logits["test"]).double() / temperature
        return metrics.ece(logits.softmax(1), self.labels["test"])


def find(config, runs="runs"):
    """The run of this configuration, or None if it has not been trained; DamagedRun if its folder is not whole."""
    path = config.folder(runs)
    if not path.exists():
        return None
    run = read(path)
    if run.config != config:
        raise DamagedRun(f"{path / 'config.json'} is damaged: it tells of another configuration")
    return run


def read(path):
    """The run in a folder, every file checked against the checksum in its record before anything is used.

    Errors: DamagedRun, with the file's name and a way forward; ValueError when the run is whole, but of another format.
    """
    path = Path(path)
    record = _parsed(path / "config.json")
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {record.get('format')!r}, this is format {FORMAT}: read it with the "
            "version that wrote it, or delete the folder to train it again"
        )
    told = record.pop("checksum", None)
    if told != _checksum(json.dumps(record, sort_keys=True).encode()):
        raise DamagedRun(f"{path / 'config.json'} is damaged or was edited; delete the folder to train it again")
    for name, (kind, inner) in RECORD.items():
        if not isinstance(record.get(name), kind) or not all(isinstance(item, inner) for item in record[name]):
            raise DamagedRun(f"{path / 'config.json'} is damaged: {name} is {record.get(name)!r}")
    for name in FILES:
        try:
            found = _checksum((path / name).read_bytes())
        except OSError:
            found = None
        if found != record["files"].get(name):
            raise DamagedRun(f"{path / name} is missing or damaged; delete the folder to train it again")
    history = _parsed(path / "history.json")
    return Run(Config.from_dict(record["config"]), path, tuple(record["classes"]), tuple(record["shape"]), history)


def _parsed(path):
    """A JSON file's object."""
    with suppress(OSError, ValueError, RecursionError):
        if isinstance(found := json.loads(path.read_bytes()), dict):
            return found
    raise DamagedRun(f"{path} is missing or damaged; delete the folder to train it again")


def save(config, runs, network, history, outputs, classes, shape, **facts):
    """Write a run's folder beside its place and move it there whole, so that no half run is ever found."""
    place = config.folder(runs)
    weights, arrays = io.BytesIO(), io.BytesIO()
    torch.save(network.state_dict(), weights)
    np.savez(arrays, **{f"{kind}/{name}": array for kind, group in outputs.items() for name, array in group.items()})
    contents = dict(zip(FILES, (json.dumps(history).encode(), weights.getvalue(), arrays.getvalue())))
    record = {
        "format": FORMAT,
        "config": asdict(config),
        "classes": list(classes),
        "shape": list(shape),
        **facts,
        "files": {name: _checksum(content) for name, content in contents.items()},
    }
    record = json.loads(json.dumps(record))  # tuples become lists, so that the checksum is of what will be read
    record["checksum"] = _checksum(json.dumps(record, sort_keys=True).encode())
    contents["config.json"] = json.dumps(record, indent=1).encode()
    with _says_where(place):
        beside = place.with_name(f".{place.name}")
        shutil.rmtree(beside, ignore_errors=True)  # of a process killed while it wrote
        beside.mkdir(parents=True)
        try:
            for name, content in contents.items():
                _write(beside / name, content)
            _to_disk(beside)
            shutil.rmtree(place, ignore_errors=True)
            _move(beside, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return find(config, runs)


def _checksum(content):
    return hashlib.sha256(content).hexdigest()


def _write(path, content):
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # or else the power may fail when the new name is on the disk and the content is not


def _move(beside, place):
    os.replace(beside, place)
    _to_disk(place.parent)


def _to_disk(folder):
    """What is in a folder under which name; not every system can be told to."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextmanager
def _says_where(path):
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{path} cannot be written: {error.strerror or error}; make room or choose another folder, and "
            "the training goes on from its last checkpoint"
        ) from None


class Checkpoint:
    """A training's state on disk, until it is done: written beside and renamed, read only when its checksum agrees."""

    def __init__(self, config, runs):
        self.folder = Path(runs) / ".training"
        self.path = self.folder / f"{config.folder(runs).name}.pt"

    def write(self, state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        with _says_where(self.path):
            beside = self.path.with_suffix(f".{os.getpid()}")
            try:
                _write(beside, _checksum(content).encode() + content)
                _move(beside, self.path)
            finally:
                beside.unlink(missing_ok=True)

    def read(self):
        """The state, or None where there is none to be trusted."""
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        if content[:64] != _checksum(content[64:]).encode():
            print(f"{self.path} is damaged; the training starts anew")
            return None
        return torch.load(io.BytesIO(content[64:]), weights_only=True, map_location="cpu")

    def remove(self):
        self.path.unlink(missing_ok=True)

    @contextmanager
    def alone(self):
        """Hold this training's lock; whoever comes second waits and says so. A dead process holds no lock."""
        from filelock import FileLock, Timeout
        from tqdm.auto import tqdm

        lock = FileLock(self.path.with_suffix(".lock"))
        with _says_where(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                text = f"waiting for another process, which trains {self.path.stem} [{{elapsed}}<?]"
                with tqdm(bar_format=text, leave=False) as bar:
                    while not lock.is_locked:
                        with suppress(Timeout):
                            lock.acquire(timeout=1)
                        bar.refresh()
        try:
            for left in self.folder.glob(f"{self.path.stem}.[0-9]*"):  # of a process killed while it wrote
                left.unlink(missing_ok=True)
            yield
        finally:
            lock.release()
