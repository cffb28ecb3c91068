"""The site's front page: the sketchpad, a path of six steps through the explorers, and a card for each notebook."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from markupsafe import Markup

from .editions import Book
from .html import document, outputs, static_file, template

TITLE = "Draw a stranger"
PICTURE = 560  # pixels, the width of a card's picture


@dataclass
class Step:
    """A step of the path: what to do, which page shows it in which state, and what is seen there."""

    title: str
    task: str
    page: str
    state: dict
    look: str

    @property
    def address(self) -> str:
        """The page in the step's state."""
        return f"{self.page}.html#{urlencode(self.state)}" if self.state else f"{self.page}.html"


PATH = [
    Step(
        "Draw",
        "Clear the pad and draw a 3. Then draw a letter, a face, anything that is no digit from 0 to 5.",
        "sketchpad",
        {},
        "Seven networks answer every stroke. They know six digits, and each was trained with another loss.",
    ),
    Step(
        "Be fooled",
        "Press *Make … surer* a few times: the pixels change until softmax is certain.",
        "sketchpad",
        {"run": "softmax"},
        "The top probability passes 99 %, and the drawing still is no digit. Confidence is no evidence.",
    ),
    Step(
        "See the norm grow",
        "Move *Norm ‖z‖* to the right. The direction of the arrow, and so the answer, does not change.",
        "norm",
        {"loss": "softmax"},
        "The longer the logit vector, the surer softmax. Training lengthens it as long as that lowers the loss.",
    ),
    Step(
        "Choose a loss",
        "Choose LogitNorm, watch it learn, and pull the point away from the data. Try the other losses.",
        "playground",
        {"loss": "logitnorm", "reach": 12},
        "Every loss answers the growing norm in its own way. None of them is unsure everywhere out there.",
    ),
    Step(
        "Set a threshold",
        "Drag the line: to its right images are accepted. How many strangers get in with 95 % of the digits?",
        "scores",
        {},
        "A detector is a score and a threshold. The threshold is fixed on digits alone, before any stranger comes.",
    ),
    Step(
        "Be fooled again",
        "Draw until a network says *known* to something that is none. Every loss can be fooled: by what?",
        "sketchpad",
        {},
        "A detector is good against the strangers it was tested on. The notebooks measure for which, and how well.",
    ),
]


def picture(book: Book) -> str:
    """The first figure of a notebook as a small WebP in base64, or the empty string."""
    from PIL import Image

    first = next((o for cell in book.cells if cell.cell_type == "code" for o in outputs(cell) if o.png), None)
    if first is None:
        return ""
    image = Image.open(io.BytesIO(base64.b64decode(first.png))).convert("RGB")
    image.thumbnail((PICTURE, 2 * PICTURE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=75)
    return base64.b64encode(buffer.getvalue()).decode()


def front(all_books: list[Book], titles: dict[str, str], runs: dict[str, str]) -> str:
    """Return the front page as HTML.

    Parameters
    ----------
    all_books : list of Book
        The notebooks, in order.
    titles : dict
        {name of an explorer's page: its title}.
    runs : dict
        {loss: name of its network on the sketchpad's page}, for the steps that choose one.
    """
    steps = [
        replace(step, state={name: runs.get(value, value) for name, value in step.state.items()})
        for step in PATH
        if step.page in titles
    ]
    pictures = {book.stem: picture(book) for book in all_books}
    body = template("front.html.j2").front(TITLE, steps, all_books, pictures, titles)
    script = static_file("frames.js") + static_file("front.js")
    return document(f"{TITLE}: out-of-distribution detection in the hand", Markup(body), script, "front")
