"""The norm explorer: one logit vector under a loss, its norm and its direction as two handles."""

import numpy as np
import torch
import traitlets as t

from .. import losses
from . import static_figures as stills
from .base import Widget


class NormExplorer(Widget):
    """One logit vector: its norm and its direction as two handles, softmax and the loss's gradient answering.

    `logits` (C,) give the direction at the start; `angle` is measured in degrees from the direction that favours the
    class `target` alone. loss: "softmax", "logitnorm" (temperature is tau) or "meln" (temperature T and margin m).

    >>> NormExplorer([3.0, 1.0, 0.0], loss="logitnorm", temperature=0.5).summary["radial"] < 1e-6
    True
    >>> without, much = (NormExplorer(loss="meln", margin=m).summary["loss"] for m in (0.0, 5.0))
    >>> round(without - much, 9)
    0.0
    """

    _modules, _renderer, title = ("view", "logits", "norm"), "renderNorm", "Norm explorer"
    page = "norm"
    state = ("loss", "norm", "angle", "temperature", "margin")
    choices = {"loss": ["softmax", "logitnorm", "meln"]}

    loss = t.Unicode("softmax").tag(sync=True)
    norm = t.Float(5.0, min=0.1, max=20.0).tag(sync=True)
    angle = t.Float(0.0, min=0.0, max=180.0).tag(sync=True)
    temperature = t.Float(0.3, min=0.02, max=2.0).tag(sync=True)
    margin = t.Float(0.1, min=0.0, max=5.0).tag(sync=True)
    meta = t.Dict().tag(sync=True)

    def __init__(self, logits=(4.0, 2.0, 1.0, -1.0, -2.0), target=0, classes=None, **state):
        z = np.asarray(logits, np.float64)
        if z.ndim != 1 or len(z) < 2 or not np.isfinite(z).all() or not 0 <= target < len(z):
            raise ValueError("logits must be a vector of two or more finite numbers, and target one of its places")
        classes = [f"class {k}" for k in range(len(z))] if classes is None else [str(c) for c in classes]
        if len(classes) != len(z):
            raise ValueError(f"{len(z)} logits need {len(z)} class names, got {len(classes)}")
        aligned = np.eye(len(z))[target] - 1 / len(z)
        aligned /= np.linalg.norm(aligned)
        rest = z - (z @ aligned) * aligned
        if np.linalg.norm(rest) < 1e-9:  # the vector is aligned already: the next class is the rival
            rest = np.eye(len(z))[(target + 1) % len(z)]
            rest -= (rest @ aligned) * aligned
        across = rest / np.linalg.norm(rest)
        angle = float(np.degrees(np.arctan2(max(z @ across, 0), z @ aligned)))
        norm = float(np.clip(np.linalg.norm(z), 0.1, 20))
        super().__init__(
            **{"angle": angle, "norm": norm} | state,
            meta={"classes": classes, "target": int(target), "aligned": aligned.tolist(), "across": across.tolist()},
        )

    @property
    def summary(self):
        """z, softmax probabilities, loss, gradient in z and its part along z, by autograd through the losses."""
        turn, kind = np.radians(self.angle), losses.recipe(self.loss)
        z = torch.tensor(
            self.norm * (np.cos(turn) * np.array(self.meta["aligned"]) + np.sin(turn) * np.array(self.meta["across"])),
            requires_grad=True,
        )
        criterion = kind.criterion(None).double()
        for name in ("temperature", "margin"):
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

    def for_page(self):
        return {"constants": {"meta": self.meta}}

    def static(self):
        """A Matplotlib figure of the current state."""
        return stills.norm(self.summary, self.meta["classes"], self.meta["target"], self.finding())

    def finding(self):
        """What is seen, in one sentence."""
        view, name = self.summary, f"“{self.meta['classes'][self.meta['target']]}”"
        return (
            f"{losses.recipe(self.loss).label}, norm {self.norm:.1f}, {self.angle:.0f}° from {name}: softmax "
            f"gives {name} {100 * view['probabilities'][self.meta['target']]:.1f} %, the loss is {view['loss']:.3f} and "
            f"pulls the norm by {0.0 if abs(view['radial']) < 5e-7 else -view['radial']:+.2g}."
        )
