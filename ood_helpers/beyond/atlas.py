"""What does a loss see? Twelve losses under four changes of a network, by prediction and by measurement.

A loss sees a change if its value changes. What it does not see has no gradient, and nothing but weight decay and
chance decides what it becomes in training.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import losses
from ..config import Config
from ..engine.history import outputs
from ..runs import DamagedRun, Run

CHANGES = ("features times a", "classifier times a", "logits times a", "logits plus a")
# "above t", "below t": only where the norm of all logits is above, or below, LogitClip's threshold.
_CELLS = {
    "softmax": ("yes", "yes", "yes", "no"),
    "logitnorm": ("no", "no", "no", "yes"),
    "meln": ("no", "no", "no", "yes"),
    "isomax": ("yes", "yes", "yes", "no"),
    "isomaxplus": ("no", "no", "yes", "no"),
    "dismax": ("no", "no", "yes", "no"),
    "elogitnorm": ("no", "yes", "no", "no"),
    "t2fnorm": ("no", "yes", "yes", "no"),
    "logitclip": ("below t", "below t", "below t", "above t"),
    "mbls": ("yes", "yes", "yes", "no"),
    "label_smoothing": ("yes", "yes", "yes", "no"),
    "focal": ("yes", "yes", "yes", "no"),
}
LOSSES = tuple(_CELLS)
# LogitNorm's temperature was chosen on validation images of the digits; MELN's would become negative otherwise.
OPTIONS: dict[str, dict[str, Any]] = {"logitnorm": {"temperature": 0.3}, "meln": {"positive_temperature": True}}
UNSEEN = 1e-5  # a smaller relative change of the loss is that of rounding and of the losses' 1e-7


def configs(names: Sequence[str] = LOSSES, **changes: Any) -> list[Config]:
    """Trainings that differ in the loss only, with the losses' ``OPTIONS``; ``changes`` are fields of ``Config``.

    >>> [config.label for config in configs(["softmax", "logitnorm"], epochs=30)]
    ['Softmax (CE)', 'LogitNorm (τ 0.3)']
    """
    return [Config(loss=name, loss_options=OPTIONS.get(name, ()), **changes) for name in names]


def predicted() -> pd.DataFrame:
    """Which loss sees which change, by algebra, for a classifier without a bias: a row per loss, a column per change.

    >>> predicted().loc["ELogitNorm"].tolist()
    ['no', 'yes', 'no', 'no']
    """
    return _frame(_CELLS.values())


def _frame(rows: Iterable[Sequence[str]]) -> pd.DataFrame:
    labels = [losses.recipe(name).label for name in LOSSES]
    return pd.DataFrame(list(rows), index=pd.Index(labels, name="sees"), columns=list(CHANGES))


def changed_loss(
    loss: str, head: nn.Module, features: Tensor, labels: Tensor, change: str, amount: Any, **options: Any
) -> Tensor:
    """Loss of a changed network in training mode.

    Parameters
    ----------
    loss : str
        Name of a recipe.
    head : module
        The recipe's head; it is not modified.
    features : tensor of shape (B, D)
    labels : integer tensor of shape (B,)
    change : str
        One of ``CHANGES``. The classifier's weights or prototypes and its bias are changed.
    amount : float or tensor
        a.
    **options
        Of the criterion.

    Returns
    -------
    tensor
        A scalar.

    Examples
    --------
    >>> head, x, y = nn.Linear(4, 3), torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    >>> one, other = (changed_loss("softmax", head, x, y, "logits plus a", a) for a in (0.0, 9.0))
    >>> bool(torch.isclose(one, other))
    True
    """
    if change not in CHANGES:
        raise ValueError(f"unknown change {change!r}; known: {', '.join(CHANGES)}")
    head = copy.deepcopy(head).train()
    if change == "classifier times a":
        for name in {"weight", "bias", "prototypes"} & set(head._parameters):
            value = getattr(head, name).detach() * amount
            delattr(head, name)
            setattr(head, name, value)
    logits = head(features * amount if change == "features times a" else features)
    if change == "logits times a":
        logits = logits * amount
    if change == "logits plus a":
        logits = logits + amount
    return losses.recipe(loss).criterion(head, **options).to(logits.dtype)(logits, labels)


def sees(loss: str, head: nn.Module, features: Tensor, labels: Tensor, change: str, amount: float) -> bool:
    """Whether the loss changes by more than ``UNSEEN``, relatively, when the network is changed by ``amount``."""
    nothing = 0.0 if change == "logits plus a" else 1.0
    before, after = (changed_loss(loss, head, features, labels, change, a).item() for a in (nothing, amount))
    return abs(after - before) > UNSEEN * abs(before)


def random_network(loss: str, seed: int, classes: int = 5, width: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    """Head without a bias, features (B, width) and labels (B,) of a random network, in float64."""
    generator = torch.Generator().manual_seed(seed)
    head = losses.recipe(loss).head(width, classes).double()
    with torch.no_grad():
        for name, value in head.named_parameters():
            if name == "bias":
                value.zero_()
            elif value.dim() == 2:
                value.copy_(torch.randn(value.shape, generator=generator, dtype=value.dtype))
    features = torch.randn(4 * classes, width, generator=generator, dtype=torch.float64)
    return head, features, torch.arange(4 * classes) % classes


def measured(seed: int = 0, amount: float = 3.0) -> pd.DataFrame:
    """:func:`predicted`, measured on random networks, whose logits are above LogitClip's threshold."""
    rows = []
    for loss in LOSSES:
        head, x, y = random_network(loss, seed)
        x = 100 * x if loss == "logitclip" else x
        rows.append(["yes" if sees(loss, head, x, y, change, amount) else "no" for change in CHANGES])
    return _frame(rows)


def ratios(trained: Sequence[Run], amount: float = 2.0) -> pd.DataFrame:
    """Loss of changed networks over that of the networks as they were trained, on validation images.

    Parameters
    ----------
    trained : sequence of Run
    amount : float
        a of every change.

    Returns
    -------
    DataFrame
        A row per run, a column per change; 1 where the loss sees nothing. Biases, which features times a do not
        scale, make it differ from 1 a little.
    """
    rows = {}
    for run in trained:
        head, options = run.load_model().classifier.double(), dict(run.config.loss_options)
        if run.config.loss == "meln":  # its temperature is learned
            options["initial_temperature"] = run.history["temperature"][-1]
        features, labels = (torch.from_numpy(group["validation"]) for group in (run.features, run.labels))
        values = [
            changed_loss(run.config.loss, head, features.double(), labels, change, a, **options).item()
            for change in CHANGES
            for a in (0.0 if change == "logits plus a" else 1.0, amount)
        ]
        rows[run.label] = [after / before for before, after in zip(values[::2], values[1::2])]
    return pd.DataFrame(rows, index=list(CHANGES)).T.rename_axis(columns=f"loss after / before, a = {amount:g}")


def norms(trained: Sequence[Run], images: int = 100) -> pd.DataFrame:
    """Norms at the end of trainings: of the features and logits of test images, medians, and of the classifier.

    Parameters
    ----------
    trained : sequence of Run
    images : int
        Number of test images that the networks are run over; the logits are those of the whole test split.

    Returns
    -------
    DataFrame
        A row per run; ``features`` and ``classifier`` are NaN where a run comes without its network.

    Raises
    ------
    DamagedRun
        When a file of a run is missing or damaged.
    """
    rows = {}
    for run in trained:
        row = {"logits": np.median(np.linalg.norm(run.logits["test"].astype(np.float64), axis=1))}
        try:
            network = run.load_model()
        except DamagedRun:
            raise
        except ValueError:
            pass  # exported without its network
        else:
            features, _ = outputs(network, torch.as_tensor(run.images("test")[:images]))
            weight = next(p for p in network.classifier.parameters() if p.dim() == 2)
            row |= {"features": features.norm(dim=1).median().item(), "classifier": weight.norm().item()}
        rows[run.label] = row
    table = pd.DataFrame(rows, index=["features", "classifier", "logits"]).T
    return table.rename_axis(columns="norm")
