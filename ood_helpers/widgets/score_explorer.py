"""The score explorer: histograms of a score on ID and OOD images, its curves, and a threshold to move."""

from typing import ClassVar

import numpy as np
import traitlets as t

from .. import metrics, scores
from ..beyond import logit_scores
from . import page as pages
from . import static_figures, verdicts
from .base import Widget
from .explorer_data import BINS, Data, Track, to_float16
from .explorer_state import OPTIONS, compute
from .formats import format_percent, format_score

SCORE_LABELS = {
    "msp": "MSP (top probability)",
    "max_logit": "Max logit",
    "energy": "Energy",
    "entropy": "Negative entropy",
    "min_distance": "Minimum distance",
    "mmls": "MMLS",
    "mmles": "MMLES",
    "mmleps": "MMLEPS",
    "gen": "GEN",
    "p_norm": "Max logit over p-norm",
}
BUDGET = 8_000_000  # bytes of float16 logits in the browser; above it, every k-th image is taken


class ScoreExplorer(Widget):
    """Histograms of a score on ID and OOD images, ROC and precision-recall curves, and a threshold to move.

    The state consists of traits that can be read and set: ``run``, ``score``, ``temperature``, ``ood``, ``epoch``,
    ``threshold`` (in units of the score; None: follows ``target``), ``positive`` ("id" or "ood": the positive class of
    FPR95 and AUPR), ``target`` (fraction of the positive class that is classified rightly), ``log_scale``, ``bin`` (the
    opened bar, 0 to 59, or None), ``price`` and ``ood_share`` (see ``metrics.expected_cost``), ``guess`` (whether it
    opens covered: guess, then look), ``gamma`` and ``top`` (GEN's exponent and number of classes M) and ``p`` (of the
    p-norm). A new run or score resets the threshold, which was in units of the old one.

    Parameters
    ----------
    runs : Run or list of Run
        Trained networks that share data, known classes, fold and OOD sets.
    **state
        Traits to begin with.

    Notes
    -----
    Scores are those of logits / temperature; energy takes the temperature as its own. The logits are float16, so that
    AUROC can differ by 1e-5 from that of the run. If they exceed 8 MB, every k-th image is taken, and a note says so.

    Examples
    --------
    >>> explorer = ScoreExplorer.from_logits([[4.0, 0.0], [0.0, 3.0]], {"far": [[1.0, 0.5]]})
    >>> explorer.summary["metrics"]["auroc"], explorer.score
    (1.0, 'msp')
    """

    title, page, module, renderer = "Score explorer", "scores", "score_explorer", "renderScoreExplorer"
    _esm = pages.widget_module(module, renderer)
    state = (
        *("run", "score", "temperature", "ood", "epoch", "threshold", "positive", "log_scale", "target", "bin"),
        *("price", "ood_share", "guess", "gamma", "top", "p"),
    )

    resets: ClassVar = {"run": ("threshold", "bin"), "score": ("threshold", "bin")}

    run = t.Unicode().tag(sync=True)
    score = t.Unicode().tag(sync=True)
    ood = t.Unicode().tag(sync=True)
    temperature = t.Float(1.0, min=1e-3, max=1e4).tag(sync=True)
    epoch = t.Int(0, min=0, max=10**6).tag(sync=True)
    threshold = t.Float(None, allow_none=True).tag(sync=True)
    positive = t.Enum(metrics.POSITIVES, "id").tag(sync=True)
    target = t.Float(0.95, min=0.0, max=1.0).tag(sync=True)
    log_scale = t.Bool(False).tag(sync=True)
    bin = t.Int(None, allow_none=True, min=0, max=BINS - 1).tag(sync=True)
    price = t.Float(1.0, min=1e-3, max=1e3).tag(sync=True)
    ood_share = t.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    gamma = t.Float(logit_scores.GAMMA, min=0.01, max=10.0).tag(sync=True)
    top = t.Int(logit_scores.TOP, min=1, max=10**4).tag(sync=True)
    p = t.Float(logit_scores.P, min=0.1, max=100.0).tag(sync=True)
    logits = t.Bytes().tag(sync=True)

    def __init__(self, runs, *others, **state):
        runs = list(runs) if isinstance(runs, (list, tuple)) else [runs]
        if others or not runs or not all(hasattr(run, "config") and hasattr(run, "logits") for run in runs):
            raise TypeError(
                "ScoreExplorer takes a trained run or a list of them; "
                "for arrays of logits call ScoreExplorer.from_logits(id_logits, ood_logits)"
            )
        self._open(_data_of_runs(verdicts.check_runs("ScoreExplorer", runs)), state)

    @classmethod
    def from_logits(
        cls,
        id_logits,
        ood_logits,
        labels=None,
        classes=None,
        images=None,
        snapshots=None,
        name: str = "model",
        id_name: str = "ID",
        score: str = "msp",
        **state,
    ) -> "ScoreExplorer":
        """An explorer of the logits of any model.

        Parameters
        ----------
        id_logits : (N, C) array or tensor
        ood_logits : (M, C) array or tensor, or {name: array} of several OOD sets
        labels : (N,) class indices of the ID images, for the accuracy
        classes : C names
        images : {set: uint8 (N, channels, height, width)} of every set, to be seen when a bar is opened
        snapshots : {"epochs": (E,), set: (E, n, C)}, logits of the first n images of every set during training
        name : of the model
        id_name : of the ID set in ``images`` and ``snapshots``; a single OOD set is called "OOD"
        score : to begin with, a key of ``scores.SCORES`` or ``scores.BEYOND``
        **state : other traits to begin with

        Raises
        ------
        ValueError
            If shapes or names do not fit together, or logits are not finite.
        """
        oods = dict(ood_logits) if isinstance(ood_logits, dict) else {"OOD": ood_logits}
        if not oods or id_name in oods:
            raise ValueError(f"ood_logits needs at least one OOD set, and none named as the ID set, {id_name!r}")
        track = _track(name, score, {id_name: id_logits} | oods, snapshots)
        rows, count = track.logits[id_name][-1].shape
        classes = [str(c) for c in (range(count) if classes is None else classes)]
        labels = None if labels is None else np.asarray(labels)
        if len(classes) != count or (labels is not None and labels.shape != (rows,)):
            raise ValueError(f"logits {rows, count} need {count} class names and {rows} labels")
        for set_name, epochs in track.logits.items():
            if images is not None and len(images.get(set_name, ())) != len(epochs[-1]):
                raise ValueError(f"images[{set_name!r}] must be {len(epochs[-1])} images, one for each row of logits")
        self = cls.__new__(cls)
        self._open(Data([track], id_name, list(oods), classes, labels, images and images.get), state)
        return self

    def _open(self, data, state):
        self.data, first = data, data.tracks[0]
        self.choices = {
            "run": [track.name for track in data.tracks],
            "score": [*scores.SCORES, *scores.BEYOND],
            "ood": data.ood_names,
        }
        k = data.thin(BUDGET)
        meta, blob = data.pack()
        meta |= {"scores": SCORE_LABELS, "options": OPTIONS} | self.about_state()
        if k > 1:
            meta["note"] = f"One image in {k} is taken, so that the browser can hold the logits."
        defaults = {"run": first.name, "score": first.score, "ood": data.ood_names[0], "epoch": first.epochs[-1]}
        super().__init__(**defaults | state, meta=meta, logits=blob)
        self.on_msg(self._send_images)
        self.observe(self._follow_target, ("run", "score"))

    @property
    def summary(self) -> dict:
        """The numbers of the current state; see ``explorer_state.compute``."""
        return compute(self.current(), self.data)

    def _follow_target(self, _):
        if "threshold" not in self.receiving:
            self.threshold = None  # it was in units of the old score

    def _send_images(self, _, message, buffers):
        known = {self.data.id_name, *self.data.ood_names}
        requested = [(name, indices) for name, indices in message["sets"] if name in known]
        pixels = [self.data.tiles(name, indices) for name, indices in requested]
        sets = [[name, indices, [p.shape[2], p.shape[1]]] for (name, indices), p in zip(requested, pixels)]
        self.send({"kind": "images", "sets": sets}, [p.tobytes() for p in pixels])

    def for_page(self) -> dict:
        meta, sheets = self.meta, {}
        if self.data.images:
            places, sheets = pages.sprites(self.data)
            meta = meta | {"tiles": places}
        buffers = {"logits": pages.to_base64(self.logits)}
        return {"constants": {"meta": meta}, "buffers": buffers, "sprites": sheets}

    def static(self):
        peak = max((each.summary["peak"] for each in self.row if isinstance(each, ScoreExplorer)), default=0)
        return static_figures.score_explorer(self.current(), self.data, SCORE_LABELS[self.score], self.finding(), peak)

    def finding(self) -> str:
        view = self.summary
        id_share, ood_share = (format_percent(a / n) for a, n in zip(view["accepted"], view["sizes"]))
        return (
            f"{self.run}, {SCORE_LABELS[self.score]}: at threshold {format_score(view['threshold'])}, {id_share} of ID "
            f"and {ood_share} of {self.ood} are accepted; AUROC {format_percent(view['metrics']['auroc'])}, "
            f"FPR95 ({self.positive.upper()} positive) {format_percent(view['metrics']['fpr95'])}."
        )


def _track(name, score, logits, snapshots=None):
    """A Track of snapshots and the final logits; the last snapshot is that of the final network itself."""
    final = {key: to_float16(values, key) for key, values in logits.items()}
    if len({z.shape[1] for z in final.values()}) > 1:
        raise ValueError(f"all sets need as many classes: { {key: z.shape[1] for key, z in final.items()} }")
    if not snapshots or len(snapshots["epochs"]) == 0:
        return Track(name, score, [0], {key: [z] for key, z in final.items()})
    early = {key: [to_float16(z, key) for z in snapshots[key][:-1]] for key in final}
    return Track(name, score, [int(e) for e in snapshots["epochs"]], {key: [*early[key], final[key]] for key in final})


def _data_of_runs(runs):
    first, oods = runs[0], list(runs[0].config.ood)
    tracks, images = [], {}
    for run, name in zip(runs, verdicts.run_names(runs)):
        logits = {key: run.logits[key] for key in ("test", *oods)}
        track = _track(name, run.config.recipe.score, logits, run.snapshots)
        only = name == run.label
        track.loss, track.seed = run.label, f"seed {run.config.seed}" if only else name.removeprefix(f"{run.label}, ")
        tracks.append(track)

    def images_of(name):
        if name not in images:
            images[name] = first.images(name)
        return images[name]

    counts = {name: count for name, count in getattr(first, "image_counts", {}).items() if name in ("test", *oods)}
    return Data(tracks, "test", oods, list(first.classes), first.labels["test"], images_of, counts)
