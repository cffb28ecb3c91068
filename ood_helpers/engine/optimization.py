"""What the optimizer steps with: groups of parameters and a learning rate for every step."""

import torch
from torch import nn

from ..config import ResolvedConfig


def parameter_groups(network: nn.Module, criterion: nn.Module, config: ResolvedConfig) -> list[dict]:
    """Optimizer groups: backbone, head and norms' biases (if they have rates), the loss's parameters (no decay)."""
    network_parameters = list(network.parameters())
    head = list(network.get_submodule("classifier").parameters()) if config.head_lr else []
    biases = [m.bias for m in network.modules() if isinstance(m, nn.BatchNorm2d)] if config.norm_bias_lr else []
    separate, in_network = {id(p) for p in head + biases}, {id(p) for p in network_parameters}
    own = [p for p in criterion.parameters() if id(p) not in in_network]  # a criterion may hold the network's head
    groups: list[dict] = [{"params": [p for p in network_parameters if id(p) not in separate]}]
    # Groups with rates of their own keep the product of rate and decay.
    for parameters, lr in ((head, config.head_lr), (biases, config.norm_bias_lr)):
        if lr:
            decay = config.weight_decay * config.lr / lr
            groups.append({"params": parameters, "lr": lr, "weight_decay": decay})
    if own:
        groups.append({"params": own, "lr": config.recipe.loss_lr, "weight_decay": 0.0})
    return groups


def schedule(
    optimizer: torch.optim.Optimizer, config: ResolvedConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Learning rate per step: cosine to zero, linear up and down, or times 0.1 at milestones; ``steps`` per epoch."""
    if config.schedule == "triangular":
        total = steps * config.epochs
        peak = config.warmup * total
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / (peak + 1), (total - step) / (total - peak))
        )
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * config.epochs)
    milestones = [epoch * steps for epoch in config.milestones]
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
