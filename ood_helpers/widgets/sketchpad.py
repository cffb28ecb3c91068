"""The sketchpad: a drawing, and what networks of several losses say about it, computed in the browser."""

import numpy as np
import torch
import traitlets as t

from .. import data
from . import folded, static_figures, verdicts
from . import page as pages
from .base import Widget
from .score_explorer import SCORE_LABELS

SCRIBBLE = 3, 2, 0.3, 1.1  # waves across and down, and their phases


class Sketchpad(Widget):
    """A pad to draw on, and what networks of several losses say about the drawing.

    The pad has 32x32 cells, counted in blocks of 4x4 as scikit-learn's digits were, so that a drawing has the format
    of the training images. Every network answers every stroke in the browser, without a kernel: its probabilities, the
    norm of its logits, its score, and whether it accepts the drawing as known. Its threshold accepts 95 % of the ID
    images of the validation split.

    The state consists of traits that can be read and set: ``drawing`` (64 counts as digits of base 17), ``run`` (the
    network whose histogram is shown), ``ood`` (the OOD set in it), ``guess`` (whether it opens covered: guess, then
    look).

    Parameters
    ----------
    runs : Run or list of Run
        Networks ``cnn`` trained on images of 8x8 grey pixels, such as the digits, that share their data.
    image : integer array of shape (8, 8), optional
        The counts 0..16 to begin with. By default the stranger on which the networks disagree most.
    **state
        Traits to begin with.

    Attributes
    ----------
    image : array of shape (8, 8)
        The drawing as counts 0..16; setting it draws.
    logits : dict
        ``{name of the run: array (C,)}``, what each network says about it.

    Notes
    -----
    The weights are float16 with batch norm folded in, in Python and in the browser alike.

    Examples
    --------
    >>> import tempfile
    >>> from ood_helpers import Config, fit
    >>> config = Config(epochs=1, limit=40, ood=("letters",))
    >>> pad = Sketchpad(fit(config, tempfile.mkdtemp(), progress=False))
    >>> pad.image = np.pad(np.full((1, 4), 16), (3, 4))[:8, 1:9]
    >>> pad.drawing[24:32], pad.logits["Softmax (CE)"].shape
    ('00gggg00', (6,))
    """

    title, page, module, renderer = "Sketchpad", "sketchpad", "sketchpad", "renderSketchpad"
    _esm = pages.widget_module(module, renderer)
    state = ("drawing", "run", "ood", "guess")

    drawing = t.Unicode().tag(sync=True, pattern=f"[{folded.DIGITS}]{{64}}")
    run = t.Unicode().tag(sync=True)
    ood = t.Unicode().tag(sync=True)
    weights = t.Bytes().tag(sync=True)
    image = t.Instance(np.ndarray)
    logits = t.Dict()

    def __init__(self, runs, image=None, **state):
        runs = verdicts.check_runs("Sketchpad", runs)
        for run in runs:
            if run.config.model != "cnn" or tuple(run.shape) != folded.SHAPE:
                raise ValueError(
                    "Sketchpad needs networks cnn trained on images of 8x8 grey pixels, such as the digits, "
                    f"not {run.config.model} on {'x'.join(map(str, run.shape))}"
                )
        names, first = verdicts.run_names(runs), runs[0]
        self.networks = {name: folded.fold(run.load_model()) for name, run in zip(names, runs)}
        packed = [folded.pack(network) for network in self.networks.values()]
        entries = [verdicts.describe(run, name) | network for run, name, (network, _) in zip(runs, names, packed)]
        self.choices = {"run": names, "ood": list(first.config.ood)}
        meta = {
            "classes": list(first.classes),
            "networks": entries,
            "scores": SCORE_LABELS,
            "starts": _starts(first),
            "opening": _opening(runs) if image is None else {"drawing": folded.encode(image), "truth": ""},
        } | self.about_state()
        defaults = {"run": names[0], "ood": first.config.ood[0], "drawing": meta["opening"]["drawing"]}
        super().__init__(**defaults | state, meta=meta, weights=b"".join(blob for _, blob in packed))

    @t.validate("drawing")
    def _check_drawing(self, proposal):
        if len(proposal["value"]) != 64 or set(proposal["value"]) - set(folded.DIGITS):
            raise t.TraitError(f"a drawing is 64 digits of {folded.DIGITS}, got {proposal['value']!r}")
        return proposal["value"]

    @t.observe("drawing")
    def _answer(self, change):
        self.image = folded.decode(change["new"])
        pixels = torch.from_numpy(folded.pixel_image(self.image)).view(1, *folded.SHAPE)
        self.logits = {name: network(pixels)[0].numpy() for name, network in self.networks.items()}

    @t.observe("image")
    def _draw(self, change):
        self.drawing = folded.encode(change["new"])

    @property
    def summary(self) -> list[dict]:
        """Each network's answer, as ``verdicts.answers`` returns them."""
        return verdicts.answers(self.meta["networks"], self.logits, self.meta["classes"])

    def for_page(self) -> dict:
        return {"constants": {"meta": self.meta}, "buffers": {"weights": pages.to_base64(self.weights)}}

    def static(self):
        return static_figures.verdicts(self.image, self.summary, self.finding())

    def finding(self) -> str:
        return verdicts.sentence(self.summary, self.run, "the drawing" if self.image.any() else "the empty pad")


def _starts(run) -> list[dict]:
    """Drawings to start from: the most typical one of each known class, of each OOD set, and a scribble.

    {"group", "name", "drawing", "truth"}; the classes of "near" are all shown, of any other set the first one. The
    truth is a sentence about a stranger, and empty for known classes.
    """
    dataset = run.dataset()
    images, labels = dataset.split("test")
    starts = [
        {"group": "known", "name": name, "drawing": _typical(images[labels == k]), "truth": ""}
        for k, name in enumerate(dataset.classes)
    ]
    for group in run.config.ood:
        strangers = data.load_ood(group, dataset)
        for k, name in enumerate(strangers.classes if group == "near" else strangers.classes[:1]):
            drawing = _typical(strangers.images[strangers.labels == k])
            starts.append({"group": group, "name": name, "drawing": drawing, "truth": _truth(group, name)})
    drawing = folded.encode(_scribble())
    return [*starts, {"group": "scribble", "name": "scribble", "drawing": drawing, "truth": "It is a scribble."}]


def _truth(group: str, name: str) -> str:
    return f"It is a “{name}”, a class that was held out." if group == "near" else f"It is “{name}” from {group}."


def _typical(images) -> str:
    """The image (1, 8, 8) that is nearest to the mean of the images, as text."""
    pixels = images[:].double()
    nearest = (pixels - pixels.mean(0)).flatten(1).norm(dim=1).argmin()
    return folded.encode(folded.count_image(images[int(nearest)][0].numpy()))


def _scribble() -> np.ndarray:
    """Counts (8, 8) of a curve that winds over the pad."""
    from PIL import Image, ImageDraw

    canvas, (across, down, *phases) = Image.new("1", (32, 32)), SCRIBBLE
    angles = np.linspace(0, 2 * np.pi, 200)
    points = np.stack([np.sin(across * angles + phases[0]), np.sin(down * angles + phases[1])], 1)
    ImageDraw.Draw(canvas).line([tuple(point) for point in 16 + 13 * points], fill=1, width=4)
    return np.asarray(canvas, np.uint8).reshape(8, 4, 8, 4).sum((1, 3), dtype=np.uint8)


def _opening(runs) -> dict:
    """The most surprising image of the first OOD set on which the networks disagree, {"drawing", "truth"}."""
    for group in runs[0].config.ood:
        values = verdicts.surprise(runs, group)
        if values.max() > 0:
            break
    strangers, k = data.load_ood(group, runs[0].dataset()), int(values.argmax())
    counts = folded.count_image(strangers.images[k][0].numpy())
    return {"drawing": folded.encode(counts), "truth": _truth(group, strangers.classes[int(strangers.labels[k])])}
