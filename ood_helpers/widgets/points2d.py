"""The playground's toy: three clouds of points in the plane, and a small network that learns them in a second."""

import time

import numpy as np
import torch
from torch import nn

from .. import losses
from ..device import repeatable
from ..training import parameter_groups

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


def fit_points(points, labels, loss="softmax", seed=0, steps=300, width=64, **options):
    """A small network on points of the plane: the same losses where the whole input space can be drawn.

    points (N, 2) floats of about unit scale, labels (N,); ``options`` go to the loss. Returns the network,
    (B, 2) -> logits (B, C), in evaluation mode; full-batch Adam, so that two seconds are enough.

    >>> corners = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> network = fit_points(corners, torch.tensor([0, 1]), steps=50)
    >>> network(corners).argmax(1)
    tensor([0, 1])
    """
    recipe = losses.recipe(loss)
    if loss == "dismax_fpr":
        raise ValueError("dismax_fpr mixes quadrants of images; points have none, use dismax")
    points, labels = torch.as_tensor(points, dtype=torch.float32), torch.as_tensor(labels).long()
    with repeatable(seed, threads=1), torch.enable_grad():
        layers = [nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        network = nn.Sequential(*layers, recipe.head(width, int(labels.max()) + 1))
        criterion = recipe.criterion(network[-1], **options)
        optimizer = torch.optim.Adam(parameter_groups(network, criterion, recipe), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(network(points), labels).backward()
            optimizer.step()
    return network.eval()


def train(loss, seed, inputs, labels):
    """(the trained module, its weights as plain lists for static/network.js); inputs (N, 2), labels (N,)."""
    started = time.perf_counter()
    model = fit_points(inputs, labels, loss, seed, STEPS, WIDTH)
    head = model[-1]

    def plain(tensor):
        return np.round(tensor.detach().double().numpy(), 6).tolist()

    kind = "linear" if isinstance(head, nn.Linear) else "dismax" if loss.startswith("dismax") else loss
    weights = head.weight if kind == "linear" else head.prototypes
    scale = getattr(head, "distance_scale", torch.ones(1)).abs()
    return model, {
        "layers": [{"weight": plain(layer.weight), "bias": plain(layer.bias)} for layer in (model[0], model[2])],
        "head": {
            "kind": kind,
            "weight": plain(weights),
            "scale": plain(scale)[0],
            "bias": plain(head.bias) if kind == "linear" else None,
        },
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 3),
    }
