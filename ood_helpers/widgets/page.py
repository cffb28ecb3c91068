"""One HTML file that needs neither Python nor a network: widgets, their data, their script and their style."""

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path

import numpy as np

from . import explorer_state
from .explorer_data import Data

STATIC = Path(__file__).parent / "static"
IMAGE_BYTES = 950_000  # of JPEG in a page
COLUMNS = 32  # of images in a sprite

# The only form of import that `bundle` resolves; prettier may break it over several lines.
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)


def bundle(*names: str) -> str:
    """The modules static/NAME.js and those that they import, concatenated in the order of their imports.

    The modules share one scope: each top-level name may occur once in static/, which a test checks with Node.
    """
    sources = {}

    def add(name):
        if name not in sources:
            source = (STATIC / f"{name}.js").read_text(encoding="utf-8")
            for imported in _IMPORT.findall(source):
                add(imported)
            sources[name] = re.sub(r"^export ", "", _IMPORT.sub("", source), flags=re.MULTILINE)

    for name in names:
        add(name)
    return "\n".join(sources.values())


def widget_module(name: str, renderer: str) -> str:
    """The module static/NAME.js in the form that anywidget loads."""
    return bundle("steps", name) + f"export default {{ render: withSteps({renderer}) }};\n"


def stylesheet() -> str:
    """The style of all widgets: static/widgets.css, then what the other style sheets add to it."""
    paths = sorted(STATIC.glob("*.css"), key=lambda path: (path.stem != "widgets", path.stem))
    return "".join(path.read_text(encoding="utf-8") for path in paths)


def to_base64(data: bytes) -> str:
    """Encode bytes as base64 text."""
    return base64.b64encode(data).decode()


def _choose_images(data: Data, name: str, count: int) -> np.ndarray:
    """Indices of ``count`` images of a set: some of every bar of the histogram first, for each of the networks."""
    priority = np.full(len(data.tracks[0].logits[name][-1]), np.inf)
    for track in data.tracks:
        low, high = explorer_state.axis_range(track, (data.id_name, *data.ood_names), track.score)
        keys = explorer_state.sort_key(track.logits[name][-1], track.score, 1.0)
        bins = np.searchsorted(explorer_state.bin_edges(low, high), keys, "right")
        order = np.argsort(bins, kind="stable")
        place_in_bin = np.arange(len(bins)) - np.searchsorted(bins[order], bins[order])
        priority[order] = np.minimum(priority[order], place_in_bin)
    priority = priority[: data.image_counts.get(name)]  # those that have a picture
    return np.sort(np.argsort(priority, kind="stable")[:count])


def _jpeg(tiles: np.ndarray) -> bytes:
    """RGBA images (n, height, width, 4) as one JPEG with COLUMNS of them in a row."""
    from PIL import Image

    n, height, width, _ = tiles.shape
    sheet = np.zeros((-(-n // COLUMNS) * height, COLUMNS * width, 3), np.uint8)
    for k, tile in enumerate(tiles[..., :3]):
        y, x = k // COLUMNS * height, k % COLUMNS * width
        sheet[y : y + height, x : x + width] = tile
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def sprites(data: Data, budget: int = IMAGE_BYTES) -> tuple[dict, dict]:
    """As many images of each set as fit into the budget, in one JPEG a set.

    Returns
    -------
    places : dict
        {set: {index of the image: its place in the JPEG}}.
    sheets : dict
        {set: {"jpeg": base64, "size": [width, height] of an image, "columns": images in a row}}.
    """
    places, sheets, names = {}, {}, (data.id_name, *data.ood_names)
    share = budget / len(names)
    for name in names:
        count = len(data.tracks[0].logits[name][-1])
        while True:
            indices = _choose_images(data, name, count)
            tiles = data.tiles(name, indices)
            jpeg = _jpeg(tiles)
            if len(jpeg) <= share or count == 1:
                break
            count = max(1, int(count * min(0.9, 0.95 * share / len(jpeg))))
        places[name] = {int(index): k for k, index in enumerate(indices)}
        sheets[name] = {"jpeg": to_base64(jpeg), "size": [tiles.shape[2], tiles.shape[1]], "columns": COLUMNS}
    return places, sheets


def csp_hash(code: str) -> str:
    """The source expression by which a content security policy allows this one script or style."""
    return f"'sha256-{to_base64(hashlib.sha256(code.encode()).digest())}'"


def document(title: str, body: str, style: str, policy: str, kind: str) -> str:
    """A complete HTML document with a content security policy, in light and dark; ``kind`` is the body's class."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>{style}</style>
</head>
<body class="{kind}">
{body}
</body>
</html>
"""


def _entry(widget) -> dict:
    """What a widget's script needs without a kernel: the state, constants, and optionally buffers and sprites."""
    return {"traits": widget.current()} | widget.for_page()


def module(widget) -> str:
    """A JavaScript module with the widget and its data, whose default export has the ``render`` of anywidget."""
    arguments = f"{json.dumps(_entry(widget))}, {json.dumps(stylesheet())}, {widget.renderer}"
    return bundle("model", widget.module) + f"export default standalone({arguments});\n"


def page(widgets, title: str, paths: dict) -> str:
    """The HTML of some widgets. Names enter it as JSON and are displayed as text; the policy forbids any request."""
    entries = [
        _entry(widget)
        | {"renderer": widget.renderer}
        | {"links": [[widgets.index(other), name] for other, name in widget.links if other in widgets]}
        for widget in widgets
    ]
    for k, entry in enumerate(entries):  # what an earlier widget has too is named by its place: logits, images
        for part in ("constants", "buffers", "sprites"):
            same = next((j for j in range(k) if entry.get(part) and entry[part] == entries[j].get(part)), None)
            if same is not None:
                entry[part] = same
    if paths:
        entries[0]["paths"] = paths
    renderers = ", ".join(dict.fromkeys(widget.renderer for widget in widgets))
    script = bundle(*(widget.module for widget in widgets), "page") + f"openPage({{ {renderers} }});\n"
    style = stylesheet()
    content = json.dumps(entries).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src {csp_hash(script)}; style-src {csp_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    body = f"""<main>
<h1>{html.escape(title)}</h1>
<div id="ood-widgets"></div>
<noscript>This page needs JavaScript, which is switched off.</noscript>
</main>
<script type="application/json" id="ood-data">{content}</script>
<script type="module">{script}</script>"""
    return document(title, body, style, policy, "ood-page")
