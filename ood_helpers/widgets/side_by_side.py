"""Widgets side by side, with their still pictures for readers who have no kernel."""

import io

from ipywidgets import HBox, Layout

from . import page as pages
from . import static_figures as stills
from .base import STATE_MIME


class Beside(HBox):
    """Widgets in one row, as far as the page is wide enough; without a kernel, their pictures one below the other.

    >>> from ood_helpers.widgets import NormExplorer
    >>> row = Beside(NormExplorer(), NormExplorer(loss="logitnorm"))
    >>> [line.split(",")[0] for line in row._repr_mimebundle_()["text/plain"].splitlines()]
    ['Softmax (CE)', 'LogitNorm']
    """

    def __init__(self, *widgets):
        for widget in widgets:
            widget.layout = Layout(flex="1 1 400px", width="auto", min_width="0")
        super().__init__(widgets, layout=Layout(flex_flow="row wrap", grid_gap="0 24px", width="100%"))

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
