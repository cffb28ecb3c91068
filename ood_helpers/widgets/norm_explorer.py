"""The norm explorer: one logit vector under a loss, with its norm and its direction as two handles."""

from typing import ClassVar

import numpy as np
import torch
import traitlets as t

from .. import losses
from . import page as pages
from . import points2d, static_figures
from .base import Widget
from .formats import format_fixed, format_percent, format_signed

# Losses that are functions of one vector of logits. ELogitNorm needs the classifier's weights, T2FNorm and the distance
# losses the features, and outlier exposure images of its own.
LOSSES = {
    "The papers": ["softmax", "logitnorm", "meln"],
    "Other losses": ["logitclip", "mbls", "label_smoothing", "focal"],
}


class NormExplorer(Widget):
    """One logit vector: its norm and direction can be moved, softmax, loss and gradient respond.

    The state consists of traits that can be read and set: ``loss``, ``norm``, ``angle`` (degrees from the direction
    that favours the class ``target`` alone), ``temperature`` (tau of LogitNorm, T of MELN), ``margin`` (of MELN),
    ``guess`` (whether it opens covered: guess, then look). Other losses have the constants of their recipes.

    Parameters
    ----------
    logits : (C,) floats
        The vector to begin with.
    target : int
        Index of the true class.
    classes : C names, optional
    **state
        Traits to begin with.

    Examples
    --------
    >>> NormExplorer([3.0, 1.0, 0.0], loss="logitnorm", temperature=0.5).summary["radial"] < 1e-6
    True
    >>> without, large = (NormExplorer(loss="meln", margin=m).summary["loss"] for m in (0.0, 5.0))
    >>> round(without - large, 9)
    0.0
    """

    title, page, module, renderer = "Norm explorer", "norm", "norm_explorer", "renderNormExplorer"
    _esm = pages.widget_module(module, renderer)
    state = ("loss", "norm", "angle", "temperature", "margin", "guess")
    choices: ClassVar = {"loss": [name for names in LOSSES.values() for name in names]}

    loss = t.Unicode("softmax").tag(sync=True)
    norm = t.Float(5.0, min=0.1, max=20.0).tag(sync=True)
    angle = t.Float(0.0, min=0.0, max=180.0).tag(sync=True)
    temperature = t.Float(0.3, min=0.02, max=2.0).tag(sync=True)
    margin = t.Float(0.1, min=0.0, max=5.0).tag(sync=True)

    def __init__(self, logits=(4.0, 2.0, 1.0, -1.0, -2.0), target: int = 0, classes=None, **state):
        z = np.asarray(logits, np.float64)
        if z.ndim != 1 or len(z) < 2 or not np.isfinite(z).all() or not 0 <= target < len(z):
            raise ValueError("logits must be a vector of two or more finite numbers, and target an index into it")
        classes = [f"class {k}" for k in range(len(z))] if classes is None else [str(c) for c in classes]
        if len(classes) != len(z):
            raise ValueError(f"{len(z)} logits need {len(z)} class names, got {len(classes)}")
        aligned, across = _plane_of(z, target)
        angle = float(np.degrees(np.arctan2(max(z @ across, 0), z @ aligned)))
        trait = type(self).norm
        norm = float(np.clip(np.linalg.norm(z), trait.min, trait.max))
        meta = {"classes": classes, "target": int(target), "aligned": aligned.tolist(), "across": across.tolist()}
        groups = [[name, losses.recipe(name).label, group] for group, names in LOSSES.items() for name in names]
        meta |= {"losses": groups, "constants": points2d.constants()} | self.about_state()
        super().__init__(**{"angle": angle, "norm": norm} | state, meta=meta)

    @property
    def summary(self) -> dict:
        """z, softmax probabilities, loss, gradient in z and its component along z, by autograd of the loss itself."""
        angle, aligned, across = np.radians(self.angle), np.array(self.meta["aligned"]), np.array(self.meta["across"])
        z = torch.tensor(self.norm * (np.cos(angle) * aligned + np.sin(angle) * across), requires_grad=True)
        criterion = losses.recipe(self.loss).criterion(None).double()
        for name in ("temperature", "margin") if self.loss in LOSSES["The papers"] else ():
            if isinstance(getattr(criterion, name, None), torch.nn.Parameter):
                getattr(criterion, name).data.fill_(getattr(self, name))
            elif hasattr(criterion, name):
                setattr(criterion, name, getattr(self, name))
        loss = criterion(z[None], torch.tensor([self.meta["target"]]))
        loss.backward()
        return {
            "z": z.tolist(),
            "probabilities": z.softmax(0).tolist(),
            "loss": loss.item(),
            "gradient": z.grad.tolist(),
            "radial": float(z.grad @ z.detach() / z.detach().norm()),
        }

    def static(self):
        return static_figures.norm_explorer(self.summary, self.meta["classes"], self.meta["target"], self.finding())

    def finding(self) -> str:
        view, target = self.summary, self.meta["target"]
        name, pull = f"“{self.meta['classes'][target]}”", format_signed(-view["radial"])
        if lower := {"+": "longer", "−": "shorter"}.get(pull[0]):
            effect = f"pulls the norm by {pull}: {lower} logits lower it"
        else:
            effect = f"depends on the direction alone: its pull on the norm is {pull}"
        margin = " The margin shifts every logit alike and changes nothing." if self.loss == "meln" else ""
        return (
            f"{losses.recipe(self.loss).label}, norm {format_fixed(self.norm, 1)}, {format_fixed(self.angle, 0)}° from "
            f"{name}: softmax gives {name} {format_percent(view['probabilities'][target])}. "
            f"The loss, {format_fixed(view['loss'])}, {effect}.{margin}"
        )


def _plane_of(z, target):
    """Two orthonormal directions that span the plane of the dial: towards the target class alone, and across it."""

    def favour(k):
        return np.eye(len(z))[k] - 1 / len(z)

    aligned = favour(target) / np.linalg.norm(favour(target))
    rest = z - (z @ aligned) * aligned
    if np.linalg.norm(rest) < 1e-9:  # z has the target's direction already: the next class is the rival
        rest = favour((target + 1) % len(z))
        rest -= (rest @ aligned) * aligned
    return aligned, rest / np.linalg.norm(rest)
