"""The playground: a small network on points of the plane, trained while one watches, and its predictions far away."""

from typing import ClassVar

import matplotlib
import numpy as np
import traitlets as t

from ..config import Config
from ..losses import RECIPES
from . import page as pages
from . import points2d, static_figures
from .base import Widget
from .formats import format_fixed, format_percent

SHOWN = {"confidence": "Top probability", "norm": "Norm of the logits"}
LABELS = {name: Config(loss=loss, loss_options=options).label for name, (loss, options) in points2d.LOSSES.items()}


class Playground(Widget):
    """A small network on 2-D points, trained in the browser for the chosen loss, and its predictions far from the data.

    The state consists of traits that can be read and set: ``loss``, ``seed``, ``lr`` (learning rate), ``temperature``
    (tau of LogitNorm and T2FNorm, the first T of MELN), ``warmup`` (whether the learning rate rises from 0 over the
    first fifth of the steps), ``show`` ("confidence" or "norm"), ``reach`` (half the height of the view), ``x`` and
    ``y`` (the point whose prediction is shown), ``guess`` (whether it opens covered: guess, then look). A change of the
    first five trains another network: in the browser, where the widget is displayed; in Python, where a number of it is
    asked for. Both compute the same network.

    Examples
    --------
    >>> playground = Playground(loss="softmax", x=30.0, y=0.0)
    >>> playground.answer["top"] > 0.99  # far from every point, and confident
    True
    """

    title, page, module, renderer = "Playground", "playground", "playground", "renderPlayground"
    _esm = pages.widget_module(module, renderer)
    state = ("loss", "seed", "lr", "temperature", "warmup", "show", "reach", "x", "y", "guess")
    choices: ClassVar = {"loss": list(points2d.LOSSES)}

    loss = t.Unicode("softmax").tag(sync=True)
    seed = t.Int(0, min=0, max=2**31).tag(sync=True)
    lr = t.Float(0.1, min=0.01, max=1.0).tag(sync=True)
    temperature = t.Float(0.3, min=0.01, max=2.0).tag(sync=True)
    warmup = t.Bool(True).tag(sync=True)
    show = t.Enum(tuple(SHOWN), "confidence").tag(sync=True)
    reach = t.Float(6.0, min=2.0, max=60.0).tag(sync=True)
    x = t.Float(2.5, min=-100.0, max=100.0).tag(sync=True)
    y = t.Float(4.0, min=-100.0, max=100.0).tag(sync=True)
    networks = t.Dict().tag(sync=True)  # {loss: the last training of that loss}, in Python or in the browser

    def __init__(self, **state):
        self.points, self.labels = points2d.points()
        shades = matplotlib.colormaps[static_figures.SHADES](np.linspace(0, 1, 5))[:, :3]
        meta = {
            "points": self.points.tolist(),
            "labels": self.labels.tolist(),
            "classes": ["A", "B", "C"],
            "losses": [(name, label, _group(name)) for name, label in LABELS.items()],
            "shown": list(SHOWN.items()),
            "shades": np.rint(255 * shades).astype(int).tolist(),
            "colors": [[face, edge] for _, face, edge in static_figures.CLASS_MARKERS],
            "training": points2d.RULES
            | {"own_lr": RECIPES["meln"].loss_lr, "classes": 3}
            | {"constants": points2d.constants()},
        }
        super().__init__(**state, meta=meta | self.about_state())

    def _trained(self) -> dict:
        """The training of the current settings, computed here unless the browser has sent it."""
        settings = {name: getattr(self, name) for name in ("seed", "temperature", "lr", "warmup")}
        if self.networks.get(self.loss, {}).get("settings") != settings:
            trained = points2d.train(self.loss, self.points, self.labels, **settings)
            self.networks = self.networks | {self.loss: trained}
        return self.networks[self.loss]

    def logits(self, points) -> np.ndarray:
        """Logits (N, 3) of points (N, 2) by the network of the current settings."""
        return points2d.logits(self.loss, self._trained()["weights"], points, self.temperature).numpy()

    @property
    def answer(self) -> dict:
        """The prediction at the point: top (probability), best (class index), norm of the logits."""
        z = self.logits([[self.x, self.y]])[0]
        return {"top": _softmax(z).max().item(), "best": int(z.argmax()), "norm": np.linalg.norm(z).item()}

    @property
    def accuracy(self) -> float:
        """Share of the training points that the network has right."""
        return float((self.logits(self.points).argmax(1) == self.labels).mean())

    def for_page(self) -> dict:
        return {"constants": {"meta": self.meta, "networks": {self.loss: self._trained()}}}

    def static(self):
        x, y = (np.linspace(-k * self.reach, k * self.reach, 121) for k in (4 / 3, 1))
        z = self.logits(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)).reshape(121, 121, -1)
        if self.show == "norm":
            values, limits = np.linalg.norm(z, axis=2), (0, None)
        else:
            values, limits = _softmax(z).max(2), (1 / z.shape[2], 1)
        clouds = {name: self.points[self.labels == k] for k, name in enumerate(self.meta["classes"])}
        return static_figures.playground(
            (x, y, values), SHOWN[self.show], limits, clouds, (self.x, self.y), self.finding()
        )

    def finding(self) -> str:
        answer, distance = self.answer, np.linalg.norm(self.points - [self.x, self.y], axis=1).min()
        failed = (
            f" The training failed: {format_percent(self.accuracy)} of the training points are right."
            if self.accuracy < 0.9
            else ""
        )
        return (
            f"{LABELS[self.loss]}: at ({format_fixed(self.x, 1)}, {format_fixed(self.y, 1)}), "
            f"{format_fixed(distance, 1)} away from the nearest training point, the network predicts "
            f"{self.meta['classes'][answer['best']]} with {format_percent(answer['top'])}.{failed}"
        )


def _group(name):
    return "The papers" if points2d.LOSSES[name][0] in RECIPES else "Other losses"


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
