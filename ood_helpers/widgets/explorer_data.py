"""The score explorer's data: logits of some networks for an ID set and OOD sets, small enough for a browser."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

BINS = 60  # bars of the histogram
PICKED = 12  # images that are shown of an opened bar


@dataclass
class Track:
    """One trained network through its epochs: ``logits[set][k]`` is (n, C) float16 at ``epochs[k]``."""

    name: str
    score: str  # the one it opens with
    epochs: list[int]
    logits: dict[str, list[np.ndarray]]
    loss: str = ""  # what it has in common with the networks that differ by their seed alone
    seed: str = ""


@dataclass
class Data:
    """Networks and the sets that all of them have seen; ``images(set)`` gives uint8 (n, channels, height, width).

    Where there are pictures of the first images of a set only, ``image_counts[set]`` is their number.
    """

    tracks: list[Track]
    id_name: str
    ood_names: list[str]
    classes: list[str]
    labels: np.ndarray | None = None  # (n,) of the ID set
    images: Callable[[str], np.ndarray] | None = None
    image_counts: dict[str, int] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(z.nbytes for track in self.tracks for epochs in track.logits.values() for z in epochs)

    def track(self, name: str) -> Track:
        """The network of this name, or else the first one."""
        return next((track for track in self.tracks if track.name == name), self.tracks[0])

    def tiles(self, name: str, indices: Iterable[int]) -> np.ndarray:
        """Images of a set as RGBA uint8 (n, height, width, 4), for a canvas."""
        pixels = np.asarray(self.images(name)[list(indices)]).transpose(0, 2, 3, 1)
        if pixels.shape[3] not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels, got {pixels.shape[3]}")
        opaque = np.full((*pixels.shape[:3], 1), 255, np.uint8)
        return np.concatenate([pixels] * (3 // pixels.shape[3]) + [opaque], 3)

    def thin(self, budget: int) -> int:
        """Keep every k-th image, so that the logits fit into ``budget`` bytes; returns k, 1 if they fit already."""
        k, images = -(-self.nbytes // budget), self.images
        if k > 1:
            for track in self.tracks:
                track.logits = {name: [z[::k] for z in epochs] for name, epochs in track.logits.items()}
            self.labels = None if self.labels is None else self.labels[::k]
            self.images = images and (lambda name: images(name)[::k])
            self.image_counts = {name: -(-count // k) for name, count in self.image_counts.items()}
        return k

    def _pictured(self) -> dict[str, dict[int, int]]:
        """For sets that have fewer pictures than logits: {set: {image: image}}, which the browser picks from."""
        sizes = {name: len(epochs[-1]) for name, epochs in self.tracks[0].logits.items()}
        few = {name: count for name, count in self.image_counts.items() if count < sizes[name]}
        return {name: {i: i for i in range(count)} for name, count in few.items()}

    def pack(self) -> tuple[dict, bytes]:
        """What the browser needs to know, as JSON, and all logits in one buffer."""
        runs, blob = [], bytearray()
        for track in self.tracks:
            sets = {name: [] for name in track.logits}
            for name, epochs in track.logits.items():
                for z in epochs:
                    sets[name].append([len(blob), len(z)])
                    blob += z.tobytes()
            runs.append({"epochs": track.epochs, "sets": sets})
            runs[-1] |= {"name": track.name, "loss": track.loss or track.name, "seed": track.seed}
        return {
            "runs": runs,
            "id_name": self.id_name,
            "ood_names": self.ood_names,
            "classes": self.classes,
            "labels": None if self.labels is None else self.labels.tolist(),
            "has_images": self.images is not None,
            **({"tiles": tiles} if (tiles := self._pictured()) else {}),
            "bins": BINS,
            "max_picked": PICKED,
        }, bytes(blob)


def to_float16(logits, what: str) -> np.ndarray:
    """Logits (N, C) as float16, checked. The 11 bits change AUROC by about 1e-5.

    LogitNorm does not bound the norm of its logits, and they can exceed float16: such a row is scaled until it fits.

    >>> to_float16([[131_008, -32_752]], "ID").tolist()
    [[65504.0, -16376.0]]
    """
    logits = np.asarray(logits.detach().cpu() if hasattr(logits, "detach") else logits)
    if logits.ndim != 2 or len(logits) == 0 or logits.shape[1] < 2:
        raise ValueError(f"{what} logits must be (N, C) with at least one row and two classes, got {logits.shape}")
    largest = np.abs(logits).max(1, keepdims=True)
    if not np.isfinite(largest).all():
        raise ValueError(f"{what} logits must be finite, but some are NaN or infinite")
    return (logits * np.minimum(1, float(np.finfo(np.float16).max) / np.maximum(largest, 1))).astype(np.float16)
