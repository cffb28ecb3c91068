"""Checks and conversions of arguments that losses and scores share."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def promote_to_float32(x: Tensor) -> Tensor:
    """Convert half-precision tensors to float32; return others unchanged.

    >>> promote_to_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_positive(name: str, value: Any) -> Any:
    """Return ``value``; raise ValueError unless it is a positive number."""
    if not hasattr(value, "__float__") or not value > 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return value


def check_batch(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logits in float32 or float64; raise ValueError if shapes or labels do not fit."""
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or logits.numel() == 0:
        raise ValueError(f"logits must be (B, C) and labels (B,), got {(*logits.shape,)} and {(*labels.shape,)}")
    # Reading labels from a GPU would force a synchronisation; there the CUDA kernel's assertion checks them.
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = labels.min().item(), labels.max().item()
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(f"labels must be in 0..{logits.shape[1] - 1}, got {low}..{high}")
    return promote_to_float32(logits)


def check_features(*arrays: Any) -> list[Tensor]:
    """Return arrays of features (N, D) as tensors; raise ValueError unless D is the same and all are finite."""
    tensors = [torch.as_tensor(array) for array in arrays]
    shapes = [tuple(x.shape) for x in tensors]
    if any(len(shape) != 2 for shape in shapes) or len({shape[1] for shape in shapes}) > 1:
        raise ValueError(f"features must have the shape (N, D), with the same D, got {' and '.join(map(str, shapes))}")
    if not all(x.isfinite().all() for x in tensors):
        raise ValueError("features must be finite, but some are NaN or infinite")
    return tensors


def score_of_logits(formula: Callable[..., Tensor]) -> Callable[..., Any]:
    """Let a formula for float32 or float64 tensors (N, C) also take NumPy arrays and half precision."""

    @functools.wraps(formula)
    def score(logits, **options):
        z = torch.as_tensor(logits)
        if z.dim() != 2 or z.shape[1] == 0:
            raise ValueError(f"logits must have the shape (N, C), got {tuple(z.shape)}")
        result = formula(promote_to_float32(z), **options)
        return result.numpy() if isinstance(logits, np.ndarray) else result

    return score
