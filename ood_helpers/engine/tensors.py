"""Tensors in safetensors files, which hold numbers and text only: reading one runs no code."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import files


def write_tensors(path: str | Path, tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Write tensors or arrays by name, and metadata, as one safetensors file.

    Parameters
    ----------
    path : str or Path
    tensors : dict of str to tensor or array
    metadata : dict of str to str, optional
        ``"format": "pt"`` is added, which libraries that load networks ask for.

    Raises
    ------
    OSError
        When the file cannot be written; an existing file stays as it was.
    """
    from safetensors.torch import save

    contiguous = {name: torch.as_tensor(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}
    files.atomic_write(path, save(contiguous, {"format": "pt"} | (metadata or {})))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors by name and the metadata of a safetensors file.

    Raises
    ------
    ValueError
        If it is not a safetensors file or is damaged.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_tensors(f"{folder}/weights.safetensors", {"bias": [1.0, 2.0]}, {"classes": "two"})
    ...     tensors, metadata = read_tensors(f"{folder}/weights.safetensors")
    >>> tensors, metadata["classes"]
    ({'bias': tensor([1., 2.])}, 'two')
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or it is damaged: {error}") from None


def fingerprint(model: Any) -> str | None:
    """A checksum of a module's weights; None for other callables."""
    if not isinstance(model, nn.Module):
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
