"""Three clouds of points in the plane, and a small network that learns them in a second."""

import time

import numpy as np
import torch
from torch import nn

from .. import losses
from ..config import Config
from ..engine.device import repeatable
from ..engine.optimization import parameter_groups

WIDTH, STEPS = 24, 300  # of the playground's network and its training


def points(count: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points (3 * count, 2) around the corners of a triangle, and their labels.

    >>> points(2)[1].tolist()
    [0, 0, 1, 1, 2, 2]
    """
    rng = np.random.default_rng(seed)
    angles = np.radians([90, 210, 330])
    centres = 1.2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    labels = np.repeat(np.arange(3), count)
    return centres[labels] + 0.35 * rng.standard_normal((3 * count, 2)), labels


def fit_points(
    points, labels, loss: str = "softmax", seed: int = 0, steps: int = 300, width: int = 64, **options
) -> nn.Sequential:
    """Train a small network on points of the plane, where the network can be drawn on its entire input space.

    Parameters
    ----------
    points : (N, 2) floats of about unit scale
    labels : (N,) class indices
    loss : name of a recipe, none of ``losses.NEED_IMAGES``
    seed : of the weights
    steps : of Adam, each on all points
    width : of the two hidden layers
    **options : of the loss

    Returns
    -------
    torch.nn.Sequential
        The network, (B, 2) -> logits (B, C), in evaluation mode.

    Examples
    --------
    >>> corners = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> network = fit_points(corners, torch.tensor([0, 1]), steps=50)
    >>> network(corners).argmax(1)
    tensor([0, 1])
    """
    recipe = losses.recipe(loss)
    if loss in losses.NEED_IMAGES:
        raise ValueError(f"{loss} changes the images of a batch; points have no pixels, use another loss")
    points, labels = torch.as_tensor(points, dtype=torch.float32), torch.as_tensor(labels).long()
    with repeatable(seed, threads=1), torch.enable_grad():
        layers = [nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        network = nn.Sequential(*layers, recipe.head(width, int(labels.max()) + 1))
        criterion = recipe.criterion(network[-1], **options)
        optimizer = torch.optim.Adam(parameter_groups(network, criterion, Config(loss=loss).resolved()), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(network(points), labels).backward()
            optimizer.step()
    return network.eval()


def train(loss: str, seed: int, points, labels) -> tuple[nn.Sequential, dict]:
    """The playground's network, and its weights as lists for static/network.js."""
    start = time.perf_counter()
    network = fit_points(points, labels, loss, seed, STEPS, WIDTH)
    head = network[-1]

    def as_list(tensor):
        return np.round(tensor.detach().double().numpy(), 6).tolist()

    linear = isinstance(head, nn.Linear)
    kind = "linear" if linear else "dismax" if loss.startswith("dismax") else loss
    return network, {
        "layers": [
            {"weight": as_list(layer.weight), "bias": as_list(layer.bias)} for layer in (network[0], network[2])
        ],
        "head": {
            "kind": kind,
            "weight": as_list(head.weight / getattr(head, "temperature", 1.0) if linear else head.prototypes),
            "scale": as_list(getattr(head, "distance_scale", torch.ones(1)).abs())[0],
            "bias": as_list(head.bias) if linear else None,
        },
        "seed": seed,
        "seconds": round(time.perf_counter() - start, 3),
    }
