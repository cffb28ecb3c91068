"""The device, the precision, the random seed, the threads and the memory that a training runs with."""

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import torch


def pick_device(name: str | None = None) -> torch.device:
    """``torch.device`` by name; by default the GPU where there is one.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name in (None, "", "auto"):
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("a GPU was asked for, but torch sees none here; use device='cpu'")
    return device


def processor() -> str:
    """Name of this machine's processor."""
    with suppress(OSError, TypeError):  # Linux has the exact model
        return re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[1]  # type: ignore[index]
    return platform.processor() or platform.machine()


@contextmanager
def repeatable(seed: int, threads: int | None = None, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch and set its number of threads inside the block, and restore the caller's of both afterwards.

    The random state of a GPU is seeded and restored only where it is the ``device``.
    """
    before, gpus = torch.get_num_threads(), [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed all GPUs
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        try:
            torch.set_num_threads(threads or before)
            yield
        finally:
            torch.set_num_threads(before)


def precision(device: torch.device, name: str = "auto") -> AbstractContextManager:
    """A context for the network's products; heads and losses always compute in float32.

    "auto" is bfloat16 where this machine multiplies it fast (any recent GPU, AVX512-bf16, AMX), else float32.
    """
    fast = name == "bfloat16"
    if name == "auto" and device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    elif name == "auto" and device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()


def raise_malloc_thresholds(trim: int = 2**31 - 1) -> None:
    """Let glibc keep up to ``trim`` bytes of freed memory in this process and in those it starts.

    A step's activations are freed and asked for again; getting them from the system each time takes some 6 % of a
    step. This changes the process for good, so no library call does it: only the command line and ``make figures`` do.
    """
    mmap = 2**25  # the largest value that glibc accepts, so that tensors come from the heap
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": str(mmap), "MALLOC_TRIM_THRESHOLD_": str(trim)}
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        library = ctypes.CDLL(None)
        library.mallopt(-3, mmap)  # M_MMAP_THRESHOLD
        library.mallopt(-1, trim)  # M_TRIM_THRESHOLD
