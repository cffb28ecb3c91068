"""Three clouds of points in the plane, and small networks that learn them in a second."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from .. import losses
from ..config import Config
from ..engine.device import repeatable
from ..engine.optimization import parameter_groups

# Of the playground's network and training, in Python and in static/training.js: `warmup` is the share of the steps in
# which the learning rate rises, `margin` MELN's, `scale` the entropic scale of the distance losses.
RULES = {"width": 24, "steps": 300, "momentum": 0.9, "warmup": 0.2, "margin": 0.1, "scale": 10.0}
# The playground's losses: (a recipe, its options). DisMax's regularisation and outlier exposure need images.
LOSSES: dict[str, tuple[str, dict]] = {
    "softmax": ("softmax", {}),
    "logitnorm": ("logitnorm", {}),
    "meln": ("meln", {}),
    "meln_positive": ("meln", {"positive_temperature": True}),
    "isomax": ("isomax", {}),
    "isomaxplus": ("isomaxplus", {}),
    "dismax": ("dismax", {}),
    "elogitnorm": ("elogitnorm", {}),
    "t2fnorm": ("t2fnorm", {}),
    "logitclip": ("logitclip", {}),
    "mbls": ("mbls", {}),
    "label_smoothing": ("label_smoothing", {}),
    "focal": ("focal", {}),
}
TEMPERATURE_OPTIONS = {"logitnorm": "temperature", "meln": "initial_temperature"}  # of the losses that have one
_CONSTANTS = {"logitclip": ["threshold"], "mbls": ["margin", "weight"], "label_smoothing": ["smoothing"]}
_CONSTANTS |= {"focal": ["gamma"]}


def constants() -> dict[str, dict[str, float]]:
    """Constants of losses in the browser: those of their recipes.

    >>> constants()["mbls"]
    {'margin': 10.0, 'weight': 0.1}
    """
    criteria = {loss: losses.recipe(loss).criterion(None) for loss in _CONSTANTS}
    return {loss: {name: getattr(criteria[loss], name) for name in names} for loss, names in _CONSTANTS.items()}


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


def _network(recipe: losses.Recipe, width: int, classes: int) -> nn.Sequential:
    layers = [nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, recipe.head(width, classes))


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
        network = _network(recipe, width, int(labels.max()) + 1)
        criterion = recipe.criterion(network[-1], **options)
        optimizer = torch.optim.Adam(parameter_groups(network, criterion, Config(loss=loss).resolved()), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(network(points), labels).backward()
            optimizer.step()
    return network.eval()


def uniform(seed: int, count: int) -> np.ndarray:
    """Numbers in [0, 1) by mulberry32, a generator that static/training.js repeats.

    >>> uniform(0, 2).round(6).tolist()
    [0.266429, 0.00033]
    """
    with np.errstate(over="ignore"):
        a = np.uint32(seed) + np.arange(1, count + 1, dtype=np.uint32) * np.uint32(0x6D2B79F5)
        t = (a ^ (a >> np.uint32(15))) * (a | np.uint32(1))
        t ^= t + (t ^ (t >> np.uint32(7))) * (t | np.uint32(61))
        return (t ^ (t >> np.uint32(14))) / 2.0**32


def initial(loss: str, seed: int, temperature: float, classes: int = 3) -> tuple[nn.Sequential, nn.Module]:
    """The playground's untrained network and its criterion, in float64; torch's default distributions."""
    name, options = LOSSES[loss]
    recipe = losses.recipe(name)
    if name in TEMPERATURE_OPTIONS:
        options = options | {TEMPERATURE_OPTIONS[name]: temperature}
    width, start = RULES["width"], 0
    with repeatable(seed):  # the caller's generator is left as it is
        network = _network(recipe, width, classes).double()
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            fan_in = 2 if parameter_name.startswith("0.") else width
            if parameter_name.endswith(("weight", "bias")):
                draws = (2 * uniform(seed, start + parameter.numel())[start:] - 1) / math.sqrt(fan_in)
            elif parameter_name.endswith("prototypes") and name != "isomax":  # IsoMax's start at 0
                u = uniform(seed, start + 2 * parameter.numel())[start:].reshape(2, -1)
                draws = np.sqrt(-2 * np.log(1 - u[0])) * np.cos(2 * np.pi * u[1])
            else:
                continue
            parameter.copy_(torch.from_numpy(draws).reshape(parameter.shape))
            start += parameter.numel()
    if name == "t2fnorm":  # its temperature is the head's
        network[-1].temperature = temperature
    return network, recipe.criterion(network[-1], **options).double()


def train(loss: str, points, labels, *, seed: int, temperature: float, lr: float, warmup: bool) -> dict:
    """Train the playground's network by SGD with Nesterov's momentum, as static/training.js does in the page.

    Parameters
    ----------
    loss : a key of ``LOSSES``
    points, labels : (N, 2) and (N,)
    seed : of the initial weights
    temperature : tau of LogitNorm and T2FNorm, the first T of MELN; other losses have none
    lr : learning rate; the loss's own parameters have that of its recipe
    warmup : whether the rates rise linearly from 0 over the first fifth of the steps

    Returns
    -------
    dict
        ``weights`` {name in the state dict: flat list}, ``curve`` (the loss before every step), ``temperature``
        (learned or given) and the settings.
    """
    network, criterion = initial(loss, seed, temperature)
    inputs, targets = torch.as_tensor(points, dtype=torch.float64), torch.as_tensor(labels).long()
    recipe = losses.recipe(LOSSES[loss][0])
    groups: list[dict] = [{"params": list(network.parameters())}]
    if own := list(criterion.parameters()):
        groups.append({"params": own, "lr": recipe.loss_lr})
    curve = []
    with repeatable(seed, threads=1), torch.enable_grad():
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=RULES["momentum"], nesterov=True)
        until = RULES["warmup"] * RULES["steps"] if warmup else 1
        rise = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / until))
        for _ in range(RULES["steps"]):
            optimizer.zero_grad()
            value = criterion(network(inputs), targets)
            value.backward()
            optimizer.step()
            rise.step()
            curve.append(value.item())
    return {
        "weights": {name: value.flatten().tolist() for name, value in network.named_parameters()},
        "curve": curve,
        "temperature": float(torch.as_tensor(getattr(criterion, "temperature", temperature)).detach()),
        "settings": {"seed": seed, "temperature": temperature, "lr": lr, "warmup": warmup},
    }


def logits(loss: str, weights: dict, points, temperature: float = 1.0) -> Tensor:
    """Logits (N, 3) of points (N, 2) by the weights that ``train`` returned, or the page's training.

    The temperature is that of the training; only T2FNorm's logits depend on it.
    """
    network = initial(loss, 0, temperature)[0].eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.tensor(weights[name], dtype=torch.float64).reshape(parameter.shape))
        return network(torch.as_tensor(points, dtype=torch.float64))
