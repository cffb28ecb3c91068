"""What every widget shares: a script, a still picture for readers without a kernel, a page of its own, and `link`."""

import io
from pathlib import Path

import anywidget
import ipywidgets
import traitlets as t

from . import page as pages
from . import static_figures as stills

STATE_MIME = "application/vnd.ood.state+json"  # of a saved output: which page shows the widget, in which state


class Widget(anywidget.AnyWidget):
    """A widget whose state is its traits named in `state`, drawn by `_renderer` out of the modules static/*.js."""

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

    def saved_state(self):
        """The page that shows such a widget, and the state that it opens in, for a saved notebook.

        >>> from ood_helpers.widgets import NormExplorer
        >>> saved = NormExplorer([3.0, 1.0, -1.0], loss="logitnorm").saved_state()
        >>> saved["page"], saved["state"]["loss"], saved["state"]["norm"]
        ('norm', 'logitnorm', 3.31662479)
        """
        state = self.current().items()
        return {
            "page": self.page,
            # Nine digits, so that the last bit of another processor does not change a committed notebook.
            "state": {name: float(f"{value:.9g}") if isinstance(value, float) else value for name, value in state},
        }

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
        data |= {
            "image/png": pages.text(stills.png(self.static())),
            "text/plain": self.finding(),
            STATE_MIME: self.saved_state(),
        }
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
                # What comes from the browser is shared there already: an echo from here would fight the moving hand.
                if not change.owner._property_lock:
                    setattr(target, change.name, change.new)

            source.observe(follow, name)


class SideBySide(ipywidgets.HBox):
    """Widgets in one row, as far as the page is wide enough; without a kernel, their pictures one below the other.

    >>> from ood_helpers.widgets import NormExplorer
    >>> row = SideBySide(NormExplorer(), NormExplorer(loss="logitnorm"))
    >>> [line.split(",")[0] for line in row._repr_mimebundle_()["text/plain"].splitlines()]
    ['Softmax (CE)', 'LogitNorm']
    """

    def __init__(self, *widgets):
        for widget in widgets:
            widget.layout = ipywidgets.Layout(flex="1 1 400px", width="auto", min_width="0")
        super().__init__(widgets, layout=ipywidgets.Layout(flex_flow="row wrap", grid_gap="0 24px", width="100%"))

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        return bundle | {
            "image/png": pages.text(_stacked([stills.png(widget.static()) for widget in self.children])),
            "text/plain": "\n".join(widget.finding() for widget in self.children),
            STATE_MIME: [widget.saved_state() for widget in self.children],
        }


def _stacked(pictures):
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
