"""What the widgets have in common: a script, a static picture, a page of their own, links, and rows of widgets."""

import io
from pathlib import Path
from typing import ClassVar

from ..engine.extras import needs
from . import page as pages
from . import static_figures

with needs("notebooks"):
    import anywidget
    import ipywidgets
    import traitlets as t

STATE_MIME = "application/vnd.ood.state+json"  # in a saved output: which page shows the widget, in which state


class Widget(anywidget.AnyWidget):
    """A widget whose state is the traits named in ``state`` and whose picture is drawn by a module of static/.

    A subclass sets the attributes below and ``_esm``, and defines ``static``, ``finding`` and ``for_page``.

    Parameters
    ----------
    steps : list of (sentence, state) or (sentence, state, *parts)
        A guided path above the widget, see README.md: each step sets the traits of the dict ``state`` and highlights
        ``parts``, which are ``data-key``s of the widget's controls, numbers and plots; by default the state's controls.
    **traits
        Traits to begin with; ``step`` is the index of the step.

    Raises
    ------
    ValueError
        If a step sets a trait that the widget does not have.
    """

    _css = pages.stylesheet()
    title = page = module = renderer = ""  # of its page; the site's page; its file in static/; the function in it
    state: tuple[str, ...] = ()
    choices: ClassVar[dict[str, list[str]]] = {}  # {trait: allowed values}, of traits that are strings
    resets: ClassVar[dict[str, tuple[str, ...]]] = {}  # {trait: traits that a step resets to None when it changes it}
    meta = t.Dict().tag(sync=True)  # what the script needs to know besides the state, with `about_state`
    step = t.Int(0, min=0).tag(sync=True)  # of the guided path; part of the state if there is one
    guess = t.Bool(False).tag(sync=True)  # opens covered: guess, then look

    def __init__(self, steps=(), **traits):
        self.links = ()  # (other widget, trait), for pages
        self.row = ()  # the widgets beside it, and itself
        self.receiving = frozenset()  # the traits of a change that comes from the browser
        self._length = len(steps)
        if steps:
            self.state = (*self.state, "step")
        super().__init__(**traits)
        self.layout.width = "100%"
        if steps:
            self.meta = self.meta | self.about_state() | {"steps": self._path(steps)}
            self.observe(self._take_step, "step")
            self._take_step()

    def _path(self, steps):
        """The steps for the script; the state of each has a value for every trait that any of the steps sets."""
        steps = [(str(sentence), dict(state), list(parts)) for sentence, state, *parts in steps]
        for _, changes, _ in steps:
            for name, value in changes.items():
                if name not in self.state or name == "step":
                    known = ", ".join(self.state[:-1])
                    raise ValueError(f"a step of {type(self).__name__} cannot set {name!r}; known: {known}")
                changes[name] = self.traits()[name]._validate(self, value)
        values = {name: getattr(self, name) for name in self.state if any(name in changes for _, changes, _ in steps)}
        path = []
        for sentence, changes, parts in steps:
            reset = {other for name in changes for other in self.resets.get(name, ())} & values.keys()
            values = values | dict.fromkeys(reset) | changes
            path.append({"sentence": sentence, "parts": parts or list(changes), "state": values})
        return path

    def _take_step(self, _=None):
        if "step" in self.receiving:  # the browser has set the step's values too
            return
        values = self.meta["steps"][self.step]["state"]
        for name in self.state:  # in this order, as a threshold comes after the score whose unit it has
            if name in values:
                setattr(self, name, values[name])

    @t.validate("step")
    def _check_step(self, proposal):
        if proposal["value"] >= max(self._length, 1):
            raise t.TraitError(f"step must be below the number of steps, {self._length}, got {proposal['value']}")
        return proposal["value"]

    def set_state(self, sync_data):
        """Take over the state that the browser sends; called by ipywidgets."""
        self.receiving = frozenset(sync_data)
        try:
            super().set_state(sync_data)
        finally:
            self.receiving = frozenset()

    @t.validate("run", "score", "ood", "loss")
    def _check_choice(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        if value not in self.choices[name]:
            raise t.TraitError(f"unknown {name} {value!r}; known: {', '.join(self.choices[name])}")
        return value

    def about_state(self) -> dict:
        """The names of the state's traits and the values they may take, for the script."""
        traits, choices = self.traits(), {"step": list(range(self._length))} if "step" in self.state else {}
        choices |= self.choices
        return {
            "state": list(self.state),
            "allowed": {name: _allowed(traits[name], choices.get(name)) for name in self.state},
        }

    def current(self) -> dict:
        """The state as a dict."""
        return {name: getattr(self, name) for name in self.state}

    def saved_state(self) -> dict:
        """The page that shows such a widget, the state that it opens in, and its OOD sets, for a saved notebook.

        >>> from ood_helpers.widgets import NormExplorer
        >>> saved = NormExplorer([3.0, 1.0, -1.0], loss="logitnorm").saved_state()
        >>> saved["page"], saved["state"]["loss"], saved["state"]["norm"]
        ('norm', 'logitnorm', 3.31662479)
        """
        state = self.current().items()
        saved = {
            "page": self.page,
            # Nine digits, so that the last bit of another processor does not change a committed notebook.
            "state": {name: float(f"{value:.9g}") if isinstance(value, float) else value for name, value in state},
        }
        if "ood" in self.choices:
            saved["sets"] = self.choices["ood"]
        return saved | ({"steps": self.meta["steps"]} if "steps" in self.meta else {})

    def static(self):
        """A Matplotlib figure of the current state."""
        raise NotImplementedError

    def finding(self) -> str:
        """The sentence under the widget: what the current state shows."""
        raise NotImplementedError

    def for_page(self) -> dict:
        """What a page contains besides the state: constants, and optionally buffers and sprites."""
        return {"constants": {"meta": self.meta}}

    def _repr_mimebundle_(self, **options):
        # Without a kernel, or in a notebook that is not trusted, the picture is shown. There is no text/html: it would
        # be preferred to the picture, and then be sanitised away.
        content = super()._repr_mimebundle_(**options)
        data = content[0] if isinstance(content, tuple) else content
        data["image/png"] = pages.to_base64(static_figures.png(self.static()))
        data |= {"text/plain": self.finding(), STATE_MIME: self.saved_state()}
        return content

    def to_html(self, path: str | Path, *others: "Widget", title: str | None = None, paths: dict | None = None) -> Path:
        """Write one page with this widget and ``others`` that needs neither a network nor Python.

        Widgets that ``link`` has joined move together in it. The state is in the page's address.

        Parameters
        ----------
        path : path of the page; its folder is made
        others : more widgets for the same page
        title : the page's heading, by default the widget's name
        paths : {name: steps as in ``saved_state``}, guided paths of which the address names one (``#path=name``)

        Returns
        -------
        pathlib.Path
        """
        return _write(path, pages.page((self, *others), title or self.title, paths or {}))

    def to_module(self, path: str | Path) -> Path:
        """Write this widget with its data as a JavaScript module for other people's pages; see README.md.

        Its default export has ``render({model, el})``, the interface of anywidget, and it needs neither a network nor
        Python. Traits in the host's ``model`` replace those of the saved state.

        Returns
        -------
        pathlib.Path
        """
        return _write(path, pages.module(self))


def _write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _allowed(trait, choices):
    """A trait's values for the script: {"among": [...]}, {"matching": regex} or {"between": [...], "none": bool}."""
    if choices or isinstance(trait, t.Enum):
        return {"among": list(choices or trait.values)}
    if pattern := trait.metadata.get("pattern"):
        return {"matching": f"^{pattern}$"}
    if isinstance(trait, t.Bool):
        return {"among": [True, False]}
    return {"between": [max(trait.min, -1e9), min(trait.max, 1e9)], "none": trait.allow_none}


def link(first: Widget, second: Widget, *names: str) -> None:
    """Let two widgets share traits: a change of one changes the other, in the browser at once and in Python too.

    >>> from ood_helpers.widgets import NormExplorer
    >>> a, b = NormExplorer(), NormExplorer(loss="logitnorm")
    >>> link(a, b, "norm")
    >>> a.norm = 7.0
    >>> b.norm
    7.0
    """
    for name in names:
        for widget in (first, second):
            if name not in widget.state:
                raise ValueError(f"{type(widget).__name__} cannot share {name!r}; known: {', '.join(widget.state)}")
        ipywidgets.jslink((first, name), (second, name))
        first.links = (*first.links, (second, name))
        for source, target in ((first, second), (second, first)):

            def follow(change, target=target):
                # A change from the browser is shared there already; sending it back would work against the user's hand.
                if not change.owner.receiving:
                    setattr(target, change.name, change.new)

            source.observe(follow, name)


class SideBySide(ipywidgets.HBox):
    """Widgets in one row if the page is wide enough; without a kernel, their pictures one below the other.

    >>> from ood_helpers.widgets import NormExplorer
    >>> row = SideBySide(NormExplorer(), NormExplorer(loss="logitnorm"))
    >>> [line.split(",")[0] for line in row._repr_mimebundle_()["text/plain"].splitlines()]
    ['Softmax (CE)', 'LogitNorm']
    """

    def __init__(self, *widgets: Widget):
        for widget in widgets:
            widget.row = widgets
            widget.layout = ipywidgets.Layout(flex="1 1 280px", width="auto", min_width="0")
        super().__init__(widgets, layout=ipywidgets.Layout(flex_flow="row wrap", grid_gap="0 20px", width="100%"))

    def _repr_mimebundle_(self, **options):
        pictures = [static_figures.png(widget.static()) for widget in self.children]
        return super()._repr_mimebundle_(**options) | {
            "image/png": pages.to_base64(_stack(pictures)),
            "text/plain": "\n".join(widget.finding() for widget in self.children),
            STATE_MIME: [widget.saved_state() for widget in self.children],
        }


def _stack(pictures: list[bytes]) -> bytes:
    """PNG pictures as one, each below the one before it."""
    from PIL import Image

    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    sheet = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)), "white")
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
