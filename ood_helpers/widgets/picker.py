"""The picker: a photograph, what becomes of it at the size of the training images, and what networks say about it."""

import numpy as np
import torch
import traitlets as t

from . import page as pages
from . import static_figures, verdicts
from .base import Widget
from .score_explorer import SCORE_LABELS

OWN = "your own picture"
PER_SET = 4  # pictures of each OOD set, from the highest to the lowest score


class Picker(Widget):
    """A photograph of one's own or of the test data, and what networks of several losses say about it.

    A chosen file is cropped in the browser and reduced to the size of the training images; the kernel runs the
    networks. An exported page has no kernel: it shows the pictures that come with it, and says so.

    The state consists of traits that can be read and set: ``picture`` (the name of a picture that comes with the
    widget, or "your own picture"), ``run`` (the network whose histogram is shown), ``ood`` (the OOD set in it),
    ``guess`` (whether it opens covered: guess, then look).

    Parameters
    ----------
    runs : Run or list of Run
        Networks trained on colour images, such as CIFAR-10's, that share their data.
    **state
        Traits to begin with.

    Attributes
    ----------
    image : uint8 array of shape (H, W, 3)
        The picture as the networks see it; setting it asks them.
    logits : dict
        ``{name of the run: array (C,)}``, what each network says about it.

    Examples
    --------
    >>> from ood_helpers.papers.exported_runs import trained
    >>> picker = Picker(trained("cifar10", "softmax"))
    >>> picker.image = np.zeros((32, 32, 3), np.uint8)
    >>> picker.picture, picker.logits["Softmax (CE)"].shape
    ('your own picture', (10,))
    """

    title, page, module, renderer = "Picker", "picker", "picker", "renderPicker"
    _esm = pages.widget_module(module, renderer)
    state = ("picture", "run", "ood", "guess")

    picture = t.Unicode().tag(sync=True)
    run = t.Unicode().tag(sync=True)
    ood = t.Unicode().tag(sync=True)
    own = t.Dict().tag(sync=True)  # pixels as base64, and logits, a list for each network
    image = t.Instance(np.ndarray)
    logits = t.Dict()

    def __init__(self, runs, **state):
        runs = verdicts.check_runs("Picker", runs)
        shape = tuple(runs[0].shape)
        if shape[0] != 3:
            raise ValueError(f"Picker needs networks trained on colour images, not on {'x'.join(map(str, shape))}")
        names = verdicts.run_names(runs)
        self.networks = {name: run.load_model() for name, run in zip(names, runs)}
        self.shipped = _shipped(runs[0])
        images = torch.stack([image for _, _, image in self.shipped])
        with torch.no_grad():
            logits = np.stack([network(images).numpy() for network in self.networks.values()], 1)
        self.choices = {
            "run": names,
            "ood": list(runs[0].config.ood),
            "picture": [*(name for name, _, _ in self.shipped), OWN],
        }
        meta = {
            "classes": list(runs[0].classes),
            "networks": [verdicts.describe(run, name) for name, run in zip(names, runs)],
            "scores": SCORE_LABELS,
            "size": list(shape[1:]),
            "own": OWN,
            "shipped": [
                {"name": name, "group": group, "pixels": _as_text(image), "logits": z.tolist()}
                for (name, group, image), z in zip(self.shipped, logits)
            ],
        } | self.about_state()
        defaults = {"run": names[0], "ood": runs[0].config.ood[0], "picture": self.choices["picture"][0]}
        super().__init__(**defaults | state, meta=meta)
        self.on_msg(self._receive)

    @t.validate("picture")
    def _check_picture(self, proposal):
        return self._check_choice(proposal)

    @t.observe("picture")
    def _open(self, change):
        if change["new"] != OWN:
            k = self.choices["picture"].index(change["new"])
            self.logits = dict(zip(self.networks, map(np.array, self.meta["shipped"][k]["logits"])))
            self.image = self.shipped[k][2].permute(1, 2, 0).numpy()

    @t.observe("image")
    def _ask(self, change):
        pixels = torch.from_numpy(np.ascontiguousarray(change["new"])).permute(2, 0, 1)
        if self.picture != OWN and pixels.equal(self.shipped[self.choices["picture"].index(self.picture)][2]):
            return
        with torch.no_grad():
            self.logits = {name: network(pixels[None])[0].numpy() for name, network in self.networks.items()}
        self.own = {"pixels": _as_text(pixels), "logits": [z.tolist() for z in self.logits.values()]}
        self.picture = OWN

    @t.validate("image")
    def _check_image(self, proposal):
        image, (height, width) = proposal["value"], self.meta["size"]
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise t.TraitError(f"image must be uint8 ({height}, {width}, 3), got {image.dtype} {image.shape}")
        return image

    def _receive(self, _, message, buffers):
        """Take over the pixels that the browser has cropped."""
        self.image = np.frombuffer(buffers[0], np.uint8).reshape(*self.meta["size"], 3).copy()

    @property
    def summary(self) -> list[dict]:
        """Each network's answer, as ``verdicts.answers`` returns them."""
        return verdicts.answers(self.meta["networks"], self.logits, self.meta["classes"])

    def for_page(self) -> dict:
        return {"constants": {"meta": self.meta, "own": self.own}}

    def static(self):
        return static_figures.verdicts(self.image, self.summary, self.finding())

    def finding(self) -> str:
        return verdicts.sentence(
            self.summary, self.run, OWN if self.picture == OWN else f"the picture “{self.picture}”"
        )


def _shipped(run) -> list[tuple[str, str, torch.Tensor]]:
    """Pictures (name, group, uint8 (3, H, W)): one of each known class, and some of each OOD set."""
    images = run.images("test")
    labels = run.labels["test"][: len(images)]
    pictures = [
        (name, "known", images[int(np.flatnonzero(labels == k)[0])])
        for k, name in enumerate(run.classes)
        if (labels == k).any()
    ]
    for group in run.config.ood:
        images, scores = run.images(group), run.scores()[group]
        order = np.argsort(-scores[: len(images)], kind="stable")
        for place, k in enumerate(order[np.linspace(0, len(order) - 1, PER_SET).astype(int)]):
            pictures.append((f"{group} {place + 1}", group, images[int(k)]))
    return pictures


def _as_text(image: torch.Tensor) -> str:
    """Pixels of an image (3, H, W), row by row, as base64."""
    return pages.to_base64(image.permute(1, 2, 0).contiguous().numpy().tobytes())
