"""The playground: a small network on points of the plane, and its predictions far from the data."""

import numpy as np
import torch
import traitlets as t

from .. import losses
from . import points2d as toys
from . import static_figures as stills
from .base import Widget


class Playground(Widget):
    """A small network on 2-D points, trained in the kernel for the chosen loss; what it says far from all data.

    State: loss, seed, show ("confidence" or "norm"), reach (how far the view goes), x and y (the point asked about).

    >>> playground = Playground(loss="softmax", x=30.0, y=0.0)
    >>> playground.answer["top"] > 0.99  # far from every point, and sure
    True
    """

    _modules, _renderer, title = ("view", "logits", "network", "playground"), "renderPlayground", "Playground"
    page = "playground"
    state = ("loss", "seed", "show", "reach", "x", "y")
    choices = {"loss": [name for name in losses.RECIPES if name != "dismax_fpr"]}  # which needs images

    loss = t.Unicode("softmax").tag(sync=True)
    seed = t.Int(0, min=0, max=2**31).tag(sync=True)
    show = t.Enum(("confidence", "norm"), "confidence").tag(sync=True)
    reach = t.Float(6.0, min=2.0, max=60.0).tag(sync=True)
    x = t.Float(2.5, min=-100.0, max=100.0).tag(sync=True)
    y = t.Float(4.0, min=-100.0, max=100.0).tag(sync=True)
    meta = t.Dict().tag(sync=True)
    networks = t.Dict().tag(sync=True)

    def __init__(self, **state):
        self.models = {}
        self.points, self.labels = toys.points()
        super().__init__(
            **state,
            meta={
                "points": self.points.round(4).tolist(),
                "labels": self.labels.tolist(),
                "classes": ["A", "B", "C"],
                "losses": [[name, losses.recipe(name).label] for name in self.choices["loss"]],
                "trains": True,
            },
        )
        self.observe(lambda _: self._train(self.loss), ("loss", "seed"))
        self._train(self.loss)
        self.on_msg(self._answer)

    def _train(self, *wanted):
        trained = dict(self.networks)
        for loss in wanted:
            if trained.get(loss, {}).get("seed") != self.seed:
                self.models[loss], trained[loss] = toys.train(loss, self.seed, self.points, self.labels)
        self.networks = trained

    def _answer(self, _, message, buffers):
        self.seed = int(message["seed"])

    @property
    def answer(self):
        """top (probability), best (class), norm of the logits at the point."""
        with torch.no_grad():
            z = self.models[self.loss](torch.tensor([[self.x, self.y]]))[0]
        return {"top": z.softmax(0).max().item(), "best": int(z.argmax()), "norm": z.norm().item()}

    def for_page(self):
        self._train(*self.choices["loss"])  # a page cannot, so it brings them all
        return {"constants": {"meta": self.meta | {"trains": False}, "networks": self.networks}}

    def static(self):
        """A Matplotlib figure of the current state."""
        across, up = (np.linspace(-k * self.reach, k * self.reach, 121) for k in (4 / 3, 1))
        plane = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
        with torch.no_grad():
            z = self.models[self.loss](torch.tensor(plane, dtype=torch.float32)).reshape(121, 121, -1)
        values, told, ends = (
            (z.norm(dim=2), "norm of the logits", (0, None))
            if self.show == "norm"
            else (z.softmax(2).amax(2), "top probability", (1 / z.shape[2], 1))
        )
        return stills.playground(
            across,
            up,
            values.numpy(),
            told,
            ends,
            self.points,
            self.labels,
            self.meta["classes"],
            (self.x, self.y),
            self.finding(),
        )

    def finding(self):
        """What is seen, in one sentence."""
        answer, away = self.answer, np.linalg.norm(self.points - [self.x, self.y], axis=1).min()
        return (
            f"{losses.recipe(self.loss).label}: at ({self.x:.1f}, {self.y:.1f}), {away:.1f} away from the nearest "
            f"training point, the network says {self.meta['classes'][answer['best']]} with "
            f"{100 * answer['top']:.1f} %."
        )
