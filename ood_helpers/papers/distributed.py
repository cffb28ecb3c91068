"""One training over several processes, as torchrun starts them: the same batches and weights as in one process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .. import training
from ..config import Config, ResolvedConfig
from ..data import ImageSet
from ..engine.device import pick_device
from ..runs import Run


def fit(config: Config, runs: str | Path = "runs", device: str | None = None, progress: bool = True) -> Run:
    """``training.fit`` in each of the processes that torchrun started: they share each batch."""
    with process_group(pick_device(device)):
        return training.fit(config, runs, device, progress, DistributedTrainer)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started."""
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        dist.barrier()  # no process closes its connections while another still uses them
    finally:
        dist.destroy_process_group()


class DistributedTrainer(training.Trainer):
    """A ``Trainer`` in each process; every batch is split over them, and process 0 writes.

    The loss is that of the complete batch, in every process: MELN's parameters and DisMax's mixed images need it.
    """

    def __init__(self, config: ResolvedConfig, dataset: ImageSet, device: torch.device):
        super().__init__(config, dataset, device)
        size = dist.get_world_size()
        if size > len(self.images):
            raise ValueError(
                f"{size} processes are more than there are training images, {len(self.images)}; start fewer"
            )
        if self.batch_size % size:
            raise ValueError(f"batches of {self.batch_size} cannot be shared evenly by {size} processes")
        in_network = {id(p) for p in self.network.parameters()}
        self.own_parameters = [p for p in self.criterion.parameters() if id(p) not in in_network]
        torch.manual_seed(config.seed + 7919 * self.rank())  # other dropout in each process
        _use_global_batch_norms(self.network)
        if self.rank() > 0 and getattr(self.criterion, "head", None) is self.network.classifier:
            # Where a loss uses the head's weights itself, that gradient is complete in every process: one counts it.
            self.criterion.head = SimpleNamespace(weight=self.network.classifier.weight.detach())
        # averages the gradients of the network's parameters
        self.model = nn.parallel.DistributedDataParallel(self.network)

    @staticmethod
    def rank() -> int:
        """Number of this process."""
        return dist.get_rank()

    @staticmethod
    def broadcast(value):
        """The value of process 0."""
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    @staticmethod
    def all_gather_objects(value) -> list:
        """The values of all processes."""
        values = [None] * dist.get_world_size()
        dist.all_gather_object(values, value)
        return values

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of the complete batch; gradients flow to this process's shard only."""
        logits = self.model(images.chunk(dist.get_world_size())[self.rank()])
        shards = [torch.empty_like(logits) for _ in range(dist.get_world_size())]
        dist.all_gather(shards, logits.detach().contiguous())
        shards[self.rank()] = logits
        return torch.cat(shards)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the complete batch's loss: summed over the shards for the network, as they are for the loss."""
        size = dist.get_world_size()
        (loss * size).backward()  # DistributedDataParallel averages where it should add
        for p in self.own_parameters:
            p.grad /= size

    def evaluate(self, loss: float | None, seconds: float) -> None:
        """As ``Trainer.evaluate``, in process 0."""
        if self.rank() == 0:
            super().evaluate(loss, seconds)


class AllReduceSum(torch.autograd.Function):
    """Sum over the processes; the gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """The sum of ``x``."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        """The sum of ``grad``."""
        return AllReduceSum.forward(ctx, grad.contiguous())


class GlobalBatchNorm(nn.BatchNorm2d):
    """Batch norm with the statistics of the complete batch, on a CPU, where ``nn.SyncBatchNorm`` does not run."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if not self.training:
            return super().forward(x)
        x32 = x.float()
        moments = torch.stack([x32.mean((0, 2, 3)), x32.square().mean((0, 2, 3))])
        mean, square = AllReduceSum.apply(moments) / dist.get_world_size()
        variance = (square - mean.square()).clamp_min(0)
        with torch.no_grad():
            count = x.numel() // x.shape[1] * dist.get_world_size()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (x32 * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def _use_global_batch_norms(network: nn.Module) -> None:
    if next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm  # the same parameters and buffers, another forward
