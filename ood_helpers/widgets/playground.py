"""The playground: a small network on points of the plane, and its predictions far from the data."""

from typing import ClassVar

import matplotlib
import numpy as np
import torch
import traitlets as t

from .. import losses
from . import page as pages
from . import points2d, static_figures
from .base import Widget
from .formats import format_fixed, format_percent

SHOWN = {"confidence": "Top probability", "norm": "Norm of the logits"}


class Playground(Widget):
    """A small network on 2-D points, trained in the kernel for the chosen loss, and its predictions far from the data.

    The state consists of traits that can be read and set: ``loss``, ``seed``, ``show`` ("confidence" or "norm"),
    ``reach`` (half the height of the view), ``x`` and ``y`` (the point whose prediction is shown).

    Examples
    --------
    >>> playground = Playground(loss="softmax", x=30.0, y=0.0)
    >>> playground.answer["top"] > 0.99  # far from every point, and confident
    True
    """

    title, page, module, renderer = "Playground", "playground", "playground", "renderPlayground"
    _esm = pages.widget_module(module, renderer)
    state = ("loss", "seed", "show", "reach", "x", "y")
    choices: ClassVar = {"loss": [n for n in (*losses.RECIPES, *losses.BEYOND) if n not in losses.NEED_IMAGES]}

    loss = t.Unicode("softmax").tag(sync=True)
    seed = t.Int(0, min=0, max=2**31).tag(sync=True)
    show = t.Enum(tuple(SHOWN), "confidence").tag(sync=True)
    reach = t.Float(6.0, min=2.0, max=60.0).tag(sync=True)
    x = t.Float(2.5, min=-100.0, max=100.0).tag(sync=True)
    y = t.Float(4.0, min=-100.0, max=100.0).tag(sync=True)
    networks = t.Dict().tag(sync=True)

    def __init__(self, **state):
        self.models = {}
        self.points, self.labels = points2d.points()
        shades = matplotlib.colormaps[static_figures.SHADES](np.linspace(0, 1, 5))[:, :3]
        meta = {
            "points": self.points.round(4).tolist(),
            "labels": self.labels.tolist(),
            "classes": ["A", "B", "C"],
            "losses": [[name, losses.recipe(name).label] for name in self.choices["loss"]],
            "shown": list(SHOWN.items()),
            "shades": np.rint(255 * shades).astype(int).tolist(),
            "colors": [[face, edge] for _, face, edge in static_figures.CLASS_MARKERS],
            "trains": True,
        }
        super().__init__(**state, meta=meta | self.about_state())
        self.observe(lambda _: self._train(self.loss), ("loss", "seed"))
        self._train(self.loss)
        self.on_msg(self._train_again)

    def _train(self, *names):
        trained = dict(self.networks)
        for name in names:
            if trained.get(name, {}).get("seed") != self.seed:
                self.models[name], trained[name] = points2d.train(name, self.seed, self.points, self.labels)
        self.networks = trained

    def _train_again(self, _, message, buffers):
        self.seed = int(message["seed"])

    @property
    def answer(self) -> dict:
        """The prediction at the point: top (probability), best (class index), norm of the logits."""
        with torch.no_grad():
            z = self.models[self.loss](torch.tensor([[self.x, self.y]]))[0]
        return {"top": z.softmax(0).max().item(), "best": int(z.argmax()), "norm": z.norm().item()}

    def for_page(self) -> dict:
        self._train(*self.choices["loss"])  # a page cannot train, so it contains all networks
        return {"constants": {"meta": self.meta | {"trains": False}, "networks": self.networks}}

    def static(self):
        x, y = (np.linspace(-k * self.reach, k * self.reach, 121) for k in (4 / 3, 1))
        plane = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        with torch.no_grad():
            z = self.models[self.loss](torch.tensor(plane, dtype=torch.float32)).reshape(121, 121, -1)
        if self.show == "norm":
            values, limits = z.norm(dim=2), (0, None)
        else:
            values, limits = z.softmax(2).amax(2), (1 / z.shape[2], 1)
        clouds = {name: self.points[self.labels == k] for k, name in enumerate(self.meta["classes"])}
        return static_figures.playground(
            (x, y, values.numpy()), SHOWN[self.show], limits, clouds, (self.x, self.y), self.finding()
        )

    def finding(self) -> str:
        answer, distance = self.answer, np.linalg.norm(self.points - [self.x, self.y], axis=1).min()
        return (
            f"{losses.recipe(self.loss).label}: at ({format_fixed(self.x, 1)}, {format_fixed(self.y, 1)}), "
            f"{format_fixed(distance, 1)} away from the nearest training point, the network predicts "
            f"{self.meta['classes'][answer['best']]} with {format_percent(answer['top'])}."
        )
