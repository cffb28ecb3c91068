"""Widgets: the score explorer, the norm explorer and the playground, alive in a notebook and in a page without Python.

Each keeps its state in traits, draws itself in the browser (static/*.js) and can leave the notebook:
`to_html(path)` writes one self-contained page, `static()` gives a Matplotlib figure of the state it is in,
`finding()` says in a sentence what is seen.
"""
from pathlib import Path

import anywidget
import numpy as np
import traitlets as t

from . import metrics, pages, scores, stills
from .summary import BINS, Data, Track, compute, half

BUDGET = 8_000_000  # bytes of float16 logits that are sent to the browser; above it the kernel sends summaries


class Widget(anywidget.AnyWidget):
    """What the three share: a script, a still picture for readers without a kernel, and a page of their own."""

    _css = (pages.STATIC / "widgets.css").read_text(encoding="utf-8")
    links = ()  # (other widget, trait), for pages
    choices = {}  # {trait: the names it can take}

    def __init_subclass__(cls, **options):
        if "_modules" in cls.__dict__:  # not for the class that traitlets makes when anywidget adds traits
            cls._esm = pages.bundle(*cls._modules) + f"export default {{ render: {cls._renderer} }};\n"
        super().__init_subclass__(**options)

    def __init__(self, **traits):
        super().__init__(**traits)
        self.layout.width = "100%"

    def current(self):
        """The state as a dict."""
        return {name: getattr(self, name) for name in self.state}

    @t.validate("run", "score", "ood", "loss")
    def _known(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        if value not in self.choices[name]:
            raise t.TraitError(f"unknown {name} {value!r}; known: {', '.join(self.choices[name])}")
        return value

    def _repr_mimebundle_(self, **options):
        # A reader who has not run or not trusted the notebook sees the picture. No text/html: it would win over the
        # picture there, and be emptied.
        content = super()._repr_mimebundle_(**options)
        data = content[0] if isinstance(content, tuple) else content
        data |= {"image/png": pages.text(stills.png(self.static())), "text/plain": self.finding()}
        return content

    def for_page(self):
        """What a page needs beside the state."""
        return {"constants": {}}

    def to_html(self, path, *beside, title=None):
        """Write one page with this widget, and those `beside` it, that needs no network and no Python.

        Widgets that `link` joined move together in it. The state is in the page's address. Returns the path.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages.page((self, *beside), title or self.title), encoding="utf-8")
        return path


def link(first, second, *names):
    """Let two widgets share traits: moving one moves the other, in the browser at once and in Python too.

    >>> a, b = (ScoreExplorer.from_logits([[4.0, 0.0], [0.0, 3.0]], [[1.0, 0.5]], name=name) for name in "ab")
    >>> link(a, b, "temperature")
    >>> a.temperature = 7.0
    >>> b.temperature
    7.0
    """
    import ipywidgets

    for name in names:
        for widget in (first, second):
            if name not in widget.state:
                raise ValueError(f"{type(widget).__name__} cannot share {name!r}; known: {', '.join(widget.state)}")
        ipywidgets.jslink((first, name), (second, name))
        first.links = (*first.links, (second, name))
        for source, target in ((first, second), (second, first)):
            def follow(change, target=target):
                # What comes from the browser is shared there already: an echo from here would fight the moving hand.
                if not change.owner._property_lock:
                    setattr(target, change.name, change.new)

            source.observe(follow, name)


class ScoreExplorer(Widget):
    """ID and OOD histograms of a score, ROC, precision-recall and a threshold to move.

    `ScoreExplorer(run)` or `ScoreExplorer([run, run, ...])` of one data set; anybody's logits with `from_logits`.
    State, readable and settable: run, score, temperature, ood, epoch, threshold (None follows the target), positive
    (which FPR95: "id" or "ood"), target (share of the positive class on its own side), log_scale, bin (0..59).
    Scores are those of logits / temperature; energy has its own T. `summary` holds the numbers that are shown.

    >>> explorer = ScoreExplorer.from_logits([[4.0, 0.0], [0.0, 3.0]], {"far": [[1.0, 0.5]]})
    >>> explorer.summary["metrics"]["auroc"], explorer.score
    (1.0, 'msp')
    """

    _modules, _renderer, title = ("core", "view", "explorer"), "renderExplorer", "Score explorer"
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
    picture = t.Dict(None, allow_none=True).tag(sync=True)  # the summary, where the logits stay in the kernel

    def __init__(self, runs, **state):
        runs = list(runs) if isinstance(runs, (list, tuple)) else [runs]
        self._open(_of_runs(runs), state)

    @classmethod
    def from_logits(cls, id_logits, ood_logits, labels=None, classes=None, images=None, snapshots=None, name="model",
                    id_name="ID", score="msp", **state):
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
        meta["in_kernel"] = in_kernel = data.bytes > BUDGET
        defaults = {"run": first.name, "score": first.score, "ood": data.oods[0], "epoch": first.epochs[-1]}
        Widget.__init__(self, **defaults | state, meta=meta, logits=b"" if in_kernel else blob)
        self.on_msg(self._answer)
        if in_kernel:
            self.observe(self._send_picture, self.state)
            self._send_picture()

    @property
    def summary(self):
        """The numbers of the current state; see `summary.compute`."""
        return compute(self.current(), self.data)

    def _send_picture(self, _=None):
        self.picture = self.summary

    def _answer(self, _, message, buffers):
        asked = [(name, indices) for name, indices in message["sets"] if name in (self.data.id, *self.data.oods)]
        pixels = [self.data.tiles(name, indices) for name, indices in asked]
        self.send({"kind": "images", "sets": [[name, indices, [p.shape[2], p.shape[1]]]
                                              for (name, indices), p in zip(asked, pixels)]},
                  [p.tobytes() for p in pixels])

    def for_page(self):
        k, data = self.data.thinned(BUDGET)
        meta, blob = data.pack()
        sprites = {}
        if data.images:
            meta["tiles"], sprites = pages.sprites(data)
        if k > 1:
            meta["note"] = f"This page carries every {k}th image only, to stay small."
        return {"constants": {"meta": meta}, "buffers": {"logits": pages.text(blob)}, "sprites": sprites}

    def static(self):
        """A Matplotlib figure of the current state."""
        return stills.explorer(self.current(), self.data, self.finding())

    def finding(self):
        """What is seen, in one sentence."""
        view = self.summary
        accepted = [f"{100 * a / n:.1f} %" for a, n in zip(view["accepted"], view["sizes"])]
        return (f"{self.run}, {self.score}: at threshold {view['threshold']:.3g}, {accepted[0]} of ID and {accepted[1]} "
                f"of {self.ood} are accepted; AUROC {view['metrics']['auroc']:.3f}, FPR95 ({self.positive.upper()} "
                f"positive) {100 * view['metrics']['fpr95']:.1f} %.")


def _track(name, score, logits, snapshots=None):
    """A Track of final logits and of earlier snapshots, the last of which is the final network itself."""
    final = {key: half(values, key) for key, values in logits.items()}
    if len({values.shape[1] for values in final.values()}) > 1:
        raise ValueError(f"all sets need as many classes: {({key: v.shape[1] for key, v in final.items()})}")
    if not snapshots or len(snapshots["epochs"]) == 0:
        return Track(name, score, [0], {key: [values] for key, values in final.items()})
    epochs = [int(e) for e in snapshots["epochs"]]
    return Track(name, score, epochs, {key: [*(half(part, key) for part in snapshots[key][:-1]), values]
                                       for key, values in final.items()})


def _of_runs(runs):
    first, names = runs[0], ("test", *runs[0].config.ood)
    if len({(r.config.data, r.config.known, r.config.fold, r.config.ood) for r in runs}) > 1:
        raise ValueError("the runs of one explorer must share data, known classes, fold and OOD sets")
    labels = [run.label for run in runs]
    labels = [label if labels.count(label) == 1 else f"{label}, seed {run.config.seed}"
              for label, run in zip(labels, runs)]
    tracks = [_track(label, run.config.recipe.score, {name: run.logits[name] for name in names}, run.snapshots)
              for label, run in zip(labels, runs)]
    images = {}

    def of_set(name):
        if name not in images:
            images[name] = first.images(name)
        return images[name]

    return Data(tracks, "test", list(names[1:]), list(first.classes), first.labels["test"], of_set)
