"""The playground's toy: three clouds of points in the plane, and a small network that learns them in a second."""
import time

import numpy as np
import torch
from torch import nn

from . import losses

WIDTH, STEPS = 24, 300


def points(count=50, seed=0):
    """Points (3 * count, 2) around the corners of a triangle, and their labels.

    >>> points(2)[1].tolist()
    [0, 0, 1, 1, 2, 2]
    """
    random = np.random.default_rng(seed)
    turn = np.radians([90, 210, 330])
    centres = 1.2 * np.stack([np.cos(turn), np.sin(turn)], 1)
    labels = np.repeat(np.arange(3), count)
    return centres[labels] + 0.35 * random.standard_normal((3 * count, 2)), labels


def train(loss, seed, inputs, labels):
    """(the trained module, its weights as plain lists for static/network.js); inputs (N, 2), labels (N,)."""
    started, recipe = time.perf_counter(), losses.recipe(loss)
    x, y = torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        head = recipe.head(WIDTH, int(y.max()) + 1)
    model, criterion = nn.Sequential(body, head), recipe.criterion(head)
    groups = [{"params": list(model.parameters()), "lr": 0.01}]
    if own := [p for p in criterion.parameters() if p.requires_grad]:
        groups.append({"params": own, "lr": recipe.loss_lr})
    optimiser, threads = torch.optim.Adam(groups), torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other on matrices this small cost seconds on a busy machine
    try:
        for _ in range(STEPS):
            optimiser.zero_grad()
            criterion(model(x), y).backward()
            optimiser.step()
    finally:
        torch.set_num_threads(threads)
    model.eval()

    def plain(tensor):
        return np.round(tensor.detach().double().numpy(), 6).tolist()

    kind = "linear" if isinstance(head, nn.Linear) else "dismax" if loss.startswith("dismax") else loss
    weights = head.weight if kind == "linear" else head.prototypes
    scale = getattr(head, "distance_scale", torch.ones(1)).abs()
    return model, {
        "layers": [{"weight": plain(layer.weight), "bias": plain(layer.bias)} for layer in (body[0], body[2])],
        "head": {"kind": kind, "weight": plain(weights), "scale": plain(scale)[0],
                 "bias": plain(head.bias) if kind == "linear" else None},
        "seed": seed, "seconds": round(time.perf_counter() - started, 3)}
