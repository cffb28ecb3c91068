"""Run a model over folders of images, loaders and arrays."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from ..data.folders import COLOUR, GREY, bombs_as_errors, image_files, report_skipped, subfolders
from ..engine.inference import Outputs, run_model
from .wrap import wrap

BATCH_SIZE = 64  # image files that are in memory at a time


def collect(model: nn.Module, sets: Mapping[str, Any], progress: bool = True) -> dict[str, Outputs]:
    """Logits, features and labels of named sets.

    Parameters
    ----------
    model : nn.Module
        An image classifier; see :func:`wrap`, which is applied to it.
    sets : {name: folder, DataLoader, array or tensor}
        Image files of a folder (a path) and its subfolders are read in the model's own preprocessing; damaged files
        are skipped, with a warning. Batches of a loader and arrays go to the model as they are.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    dict of str to Outputs
        ``logits`` (N, C), ``features`` (N, D) and ``labels`` (N,) of every set. A folder has labels if it has as many
        subfolders as the model has classes, and no images beside them: their positions in alphabetical order.

    Raises
    ------
    FileNotFoundError
        If a folder does not exist.
    ValueError
        If :func:`wrap` finds no classifier, a set has no inputs, or the model's answers are not logits (B, C).

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    >>> sets = collect(model, {"a": torch.rand(4, 3, 2, 2), "b": torch.rand(5, 3, 2, 2)}, progress=False)
    >>> sets["a"].logits.shape, sets["b"].features.shape
    ((4, 3), (5, 12))
    """
    split, results = wrap(model), {}
    for name, data in sets.items():
        folder = _ImageFolder(Path(data).expanduser(), split.transform) if isinstance(data, (str, Path)) else None

        def bar(batches: Iterable, name: str = name) -> Iterable:
            total = len(batches) if isinstance(batches, Sized) else None
            return tqdm(batches, desc=name, total=total, unit="batch", delay=1, leave=False, disable=not progress)

        outputs = run_model(split, data if folder is None else folder, bar)
        if folder is not None and len(folder.classes) != outputs.logits.shape[1]:
            outputs = outputs._replace(labels=None)
        results[name] = outputs
    return results


class _ImageFolder:
    """Batches of the image files of a folder, with labels from the names of its subfolders."""

    def __init__(self, path: Path, transform: Callable[..., Any]):
        if not path.is_dir():
            raise FileNotFoundError(f"folder {str(path)!r} does not exist")
        self.path, self.transform = path, transform
        self.paths, self.classes = image_files(path), subfolders(path)

    def __len__(self) -> int:
        return -(-len(self.paths) // BATCH_SIZE)

    def __iter__(self) -> Iterator[Any]:
        decoded: list[int] = []
        for start in range(0, len(self.paths), BATCH_SIZE):
            with bombs_as_errors(), ThreadPoolExecutor() as pool:
                tensors = list(pool.map(self._read, self.paths[start : start + BATCH_SIZE]))
            positions = [start + i for i, tensor in enumerate(tensors) if tensor is not None]
            decoded += positions
            if positions:
                images = torch.stack([tensor for tensor in tensors if tensor is not None])
                labels = [self._label(self.paths[i]) for i in positions]
                yield images if None in labels else (images, torch.tensor(labels))
        report_skipped(self.paths, decoded, f"folder {str(self.path)!r}")

    def _label(self, path: str) -> int | None:
        first = Path(path).relative_to(self.path).parts[0]
        return self.classes.index(first) if first in self.classes else None

    def _read(self, path: str) -> torch.Tensor | None:
        """One file as the model takes it, or None if it is not a readable image."""
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as file:
                if file.mode not in GREY | COLOUR:
                    return None
                image = ImageOps.exif_transpose(file).convert("RGB")
        except Exception:  # a damaged or hostile file can make a decoder raise anything
            return None
        if hasattr(self.transform, "model_input_names"):  # Hugging Face
            return self.transform(image, return_tensors="pt")["pixel_values"][0]
        return self.transform(image)
