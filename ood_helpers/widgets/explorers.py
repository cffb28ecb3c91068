"""Widgets: the score explorer, the norm explorer and the playground, alive in a notebook and in a page without Python.

Each keeps its state in traits, draws itself in the browser (static/*.js) and can leave the notebook:
`to_html(path)` writes one self-contained page, `static()` gives a Matplotlib figure of the state it is in,
`finding()` says in a sentence what is seen.
"""

import numpy as np
import torch
import traitlets as t

from .. import losses, metrics, scores
from . import page as pages
from . import points2d as toys
from . import static_figures as stills
from .base import Widget, link
from .explorer_state import BINS, Data, Track, compute, half, said

__all__ = ["NormExplorer", "Playground", "ScoreExplorer", "link"]

NAMES = {
    "msp": "MSP (top probability)",
    "max_logit": "Max logit",
    "energy": "Energy",
    "entropy": "Negative entropy",
    "min_distance": "Minimum distance",
    "mmls": "MMLS",
    "mmles": "MMLES",
    "mmleps": "MMLEPS",
}  # as they are shown
BUDGET = 8_000_000  # bytes of float16 logits that are sent to the browser; above it the kernel sends summaries


class ScoreExplorer(Widget):
    """ID and OOD histograms of a score, ROC, precision-recall and a threshold to move.

    `ScoreExplorer(run)` or `ScoreExplorer([run, run, ...])` of one data set; anybody's logits with `from_logits`.
    State, readable and settable: run, score, temperature, ood, epoch, threshold (None follows the target), positive
    (which FPR95: "id" or "ood"), target (share of the positive class on its own side), log_scale, bin (0..59).
    A new run or score drops the threshold, which was in the unit of the old one.
    Scores are those of logits / temperature; energy has its own T. `summary` holds the numbers that are shown; they
    come from logits in float16, so that AUROC can differ from a table's by 1e-5 and FPR95 by an image.

    >>> explorer = ScoreExplorer.from_logits([[4.0, 0.0], [0.0, 3.0]], {"far": [[1.0, 0.5]]})
    >>> explorer.summary["metrics"]["auroc"], explorer.score
    (1.0, 'msp')
    """

    _modules, _renderer, title = ("core", "view", "explorer"), "renderExplorer", "Score explorer"
    page = "scores"
    state = ("run", "score", "temperature", "ood", "epoch", "threshold", "positive", "log_scale", "target", "bin")

    run, score, ood = (t.Unicode().tag(sync=True) for _ in range(3))
    temperature = t.Float(1.0, min=1e-3, max=1e4).tag(sync=True)
    epoch = t.Int(0, min=0, max=10**6).tag(sync=True)
    threshold = t.Float(None, allow_none=True).tag(sync=True)
    positive = t.Enum(metrics.POSITIVES, "id").tag(sync=True)
    target = t.Float(0.95, min=0.0, max=1.0).tag(sync=True)
    log_scale = t.Bool(False).tag(sync=True)
    bin = t.Int(None, allow_none=True, min=0, max=BINS - 1).tag(sync=True)
    meta = t.Dict().tag(sync=True)
    logits = t.Bytes().tag(sync=True)
    picture = t.Dict().tag(sync=True)  # the summary, where the logits stay in the kernel

    def __init__(self, runs, **state):
        runs = list(runs) if isinstance(runs, (list, tuple)) else [runs]
        self._open(_of_runs(runs), state)

    @classmethod
    def from_logits(
        cls,
        id_logits,
        ood_logits,
        labels=None,
        classes=None,
        images=None,
        snapshots=None,
        name="model",
        id_name="ID",
        score="msp",
        **state,
    ):
        """An explorer of any model's logits (N, C): of ID images, and of OOD ones as an array or {name: array}.

        labels (N,) of the ID images; classes, C names; images {set: uint8 (N, ch, H, W)} of every set; snapshots
        {"epochs": (E,), set: (E, n, C)} of the first n images, to scrub through. Sets are `id_name` and the OOD names.
        """
        oods = dict(ood_logits) if isinstance(ood_logits, dict) else {"OOD": ood_logits}
        track = _track(name, score, {id_name: id_logits} | oods, snapshots)
        rows, count = track.logits[id_name][-1].shape
        classes = [str(c) for c in (range(count) if classes is None else classes)]
        labels = None if labels is None else np.asarray(labels)
        if len(classes) != count or (labels is not None and labels.shape != (rows,)):
            raise ValueError(f"logits {rows, count} need {count} class names and {rows} labels")
        for set_name, parts in track.logits.items():
            if images is not None and len(images.get(set_name, ())) != len(parts[-1]):
                raise ValueError(f"images[{set_name!r}] must be {len(parts[-1])} images, one for each row of logits")
        self = cls.__new__(cls)
        self._open(Data([track], id_name, list(oods), classes, labels, images and images.get), state)
        return self

    def _open(self, data, state):
        self.data, first = data, data.tracks[0]
        self.choices = {"run": [track.name for track in data.tracks], "score": list(scores.SCORES), "ood": data.oods}
        meta, blob = data.pack()
        meta |= {"scores": NAMES, "in_kernel": (in_kernel := data.bytes > BUDGET)}
        defaults = {"run": first.name, "score": first.score, "ood": data.oods[0], "epoch": first.epochs[-1]}
        Widget.__init__(self, **defaults | state, meta=meta, logits=b"" if in_kernel else blob)
        self.on_msg(self._answer)
        self.observe(self._follow_target, ("run", "score"))
        if in_kernel:
            self.observe(self._send_picture, self.state)
            self._send_picture()

    @property
    def summary(self):
        """The numbers of the current state; see `summary.compute`."""
        return compute(self.current(), self.data)

    def _follow_target(self, _):
        self.threshold = None  # a threshold is in its score's unit

    def _send_picture(self, _=None):
        self.picture = self.summary

    def _answer(self, _, message, buffers):
        asked = [(name, indices) for name, indices in message["sets"] if name in (self.data.id, *self.data.oods)]
        pixels = [self.data.tiles(name, indices) for name, indices in asked]
        self.send(
            {
                "kind": "images",
                "sets": [[name, indices, [p.shape[2], p.shape[1]]] for (name, indices), p in zip(asked, pixels)],
            },
            [p.tobytes() for p in pixels],
        )

    def for_page(self):
        k, data = self.data.thinned(BUDGET)
        meta, blob = data.pack()
        meta["scores"], sprites = NAMES, {}
        if data.images:
            meta["tiles"], sprites = pages.sprites(data)
        if k > 1:
            meta["note"] = f"This page carries one image in {k}, to stay small."
        return {"constants": {"meta": meta}, "buffers": {"logits": pages.text(blob)}, "sprites": sprites}

    def static(self):
        """A Matplotlib figure of the current state."""
        return stills.explorer(self.current(), self.data, NAMES[self.score], self.finding())

    def finding(self):
        """What is seen, in one sentence."""
        view = self.summary
        accepted = [f"{100 * a / n:.1f} %" for a, n in zip(view["accepted"], view["sizes"])]
        return (
            f"{self.run}, {NAMES[self.score]}: at threshold {said(view['threshold'])}, {accepted[0]} of ID and "
            f"{accepted[1]} of {self.ood} are accepted; AUROC {view['metrics']['auroc']:.3f}, "
            f"FPR95 ({self.positive.upper()} positive) {100 * view['metrics']['fpr95']:.1f} %."
        )


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


def _track(name, score, logits, snapshots=None):
    """A Track of final logits and of earlier snapshots, the last of which is the final network itself."""
    final = {key: half(values, key) for key, values in logits.items()}
    if len({values.shape[1] for values in final.values()}) > 1:
        raise ValueError(f"all sets need as many classes: { ({key: v.shape[1] for key, v in final.items()}) }")
    if not snapshots or len(snapshots["epochs"]) == 0:
        return Track(name, score, [0], {key: [values] for key, values in final.items()})
    epochs = [int(e) for e in snapshots["epochs"]]
    return Track(
        name,
        score,
        epochs,
        {key: [*(half(part, key) for part in snapshots[key][:-1]), values] for key, values in final.items()},
    )


def _of_runs(runs):
    first, names = runs[0], ("test", *runs[0].config.ood)
    if len({(r.config.data, r.config.known, r.config.fold, r.config.ood) for r in runs}) > 1:
        raise ValueError("the runs of one explorer must share data, known classes, fold and OOD sets")
    labels = [run.label for run in runs]
    labels = [
        label if labels.count(label) == 1 else f"{label}, seed {run.config.seed}" for label, run in zip(labels, runs)
    ]
    tracks = [
        _track(label, run.config.recipe.score, {name: run.logits[name] for name in names}, run.snapshots)
        for label, run in zip(labels, runs)
    ]
    images = {}

    def of_set(name):
        if name not in images:
            images[name] = first.images(name)
        return images[name]

    return Data(tracks, "test", list(names[1:]), list(first.classes), first.labels["test"], of_set)
