"""The score explorer: ID and OOD histograms of a score, its curves and a threshold to move."""

import numpy as np
import traitlets as t

from .. import metrics, scores
from . import page as pages
from . import static_figures as stills
from .base import Widget
from .explorer_state import BINS, Data, Track, compute, half, said

SCORE_LABELS = {
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
        meta |= {"scores": SCORE_LABELS, "in_kernel": (in_kernel := data.bytes > BUDGET)}
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
        meta["scores"], sprites = SCORE_LABELS, {}
        if data.images:
            meta["tiles"], sprites = pages.sprites(data)
        if k > 1:
            meta["note"] = f"This page carries one image in {k}, to stay small."
        return {"constants": {"meta": meta}, "buffers": {"logits": pages.text(blob)}, "sprites": sprites}

    def static(self):
        """A Matplotlib figure of the current state."""
        return stills.explorer(self.current(), self.data, SCORE_LABELS[self.score], self.finding())

    def finding(self):
        """What is seen, in one sentence."""
        view = self.summary
        accepted = [f"{100 * a / n:.1f} %" for a, n in zip(view["accepted"], view["sizes"])]
        return (
            f"{self.run}, {SCORE_LABELS[self.score]}: at threshold {said(view['threshold'])}, {accepted[0]} of ID and "
            f"{accepted[1]} of {self.ood} are accepted; AUROC {view['metrics']['auroc']:.3f}, "
            f"FPR95 ({self.positive.upper()} positive) {100 * view['metrics']['fpr95']:.1f} %."
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
