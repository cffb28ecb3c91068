"""One training over several processes, as torchrun starts them; alone, all of it does nothing."""

import os
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn


class Team:
    """The processes of one training, of which this is number ``rank`` of ``size``."""

    rank, size = 0, 1

    @classmethod
    @contextmanager
    def assemble(cls, device):
        """Join the others that torchrun started, if it did."""
        team = cls()
        team.size = int(os.environ.get("WORLD_SIZE", 1))
        if team.size == 1:
            yield team
            return
        mine = not dist.is_initialized()
        if mine:
            if device.type == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        team.rank = dist.get_rank()
        try:
            yield team
            dist.barrier()  # nobody's connections close while another still talks
        finally:
            if mine:
                dist.destroy_process_group()

    def wrap(self, network):
        """The network with its gradients averaged over the processes and its batch norms over the whole batch."""
        if self.size == 1:
            return network
        _whole_batch_norms(network)
        return nn.parallel.DistributedDataParallel(network)

    def share(self, batch):
        """This process's part of a batch."""
        return batch if self.size == 1 else batch.chunk(self.size)[self.rank]

    def whole(self, logits):
        """Everybody's logits (B, C) from each one's part; the gradient flows to one's own.

        So the loss is that of the whole batch, whatever it makes of its order, and is the same everywhere.
        """
        if self.size == 1:
            return logits
        parts = [torch.empty_like(logits) for _ in range(self.size)]
        dist.all_gather(parts, logits.detach().contiguous())
        parts[self.rank] = logits
        return torch.cat(parts)

    def told(self, value):
        """The first process's value, for all."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def everybodys(self, value):
        """A list of each process's value."""
        if self.size == 1:
            return [value]
        box = [None] * self.size
        dist.all_gather_object(box, value)
        return box


class _Sum(torch.autograd.Function):
    """Over the processes; each one's gradient is the sum of everybody's."""

    @staticmethod
    def forward(ctx, x):
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad):
        return _Sum.forward(ctx, grad.contiguous())


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm by the statistics of all processes' parts; torch's own SyncBatchNorm needs a GPU."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        x32 = x.float()
        moments = torch.stack([x32.mean((0, 2, 3)), x32.square().mean((0, 2, 3))])
        mean, square = _Sum.apply(moments) / dist.get_world_size()
        variance = (square - mean.square()).clamp_min(0)
        with torch.no_grad():
            count = x.numel() // x.shape[1] * dist.get_world_size()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (x32 * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def _whole_batch_norms(network):
    if next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm  # the same parameters and buffers, another forward
