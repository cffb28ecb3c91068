"""One page that needs no Python and no network: widgets, their data and their script in a single file."""

import base64
import hashlib
import html
import io
import json
from pathlib import Path

import numpy as np

from . import explorer_state as summary

STATIC = Path(__file__).parent / "static"
IMAGE_BYTES = 950_000  # of JPEG in a page


def bundle(*names):
    """The modules static/NAME.js as one, in order, without their imports and exports."""
    lines = "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names).splitlines()
    return "\n".join(line.removeprefix("export ") for line in lines if not line.startswith("import ")) + "\n"


def text(data):
    return base64.b64encode(data).decode()


def _allowed(trait, choices):
    """What a page's address may set a trait to: a list, or [least, most] of a number."""
    if choices:
        return {"among": choices}
    if getattr(trait, "values", None):
        return {"among": list(trait.values)}
    if hasattr(trait, "min"):
        return {"between": [max(trait.min, -1e9), min(trait.max, 1e9)], "none": trait.allow_none}
    return {"among": [True, False]}


def _chosen(data, name, count):
    """Indices of `count` images of a set that leave no bar without one, whichever run is looked at."""
    first = np.full(len(data.tracks[0].logits[name][-1]), np.inf)
    for track in data.tracks:
        ranks = summary.rank(track.logits[name][-1], track.score, 1.0)
        extremes = summary.extremes(track, (data.id, *data.oods))
        low, high = summary.axis_range(track.score, len(data.classes), 1.0, extremes)
        bins = np.searchsorted(summary.edges_of(track.score, low, high), ranks, "right")
        order = np.argsort(bins, kind="stable")
        place = np.arange(len(bins)) - np.searchsorted(bins[order], bins[order])
        first[order] = np.minimum(first[order], place)
    return np.sort(np.argsort(first, kind="stable")[:count])


def sprites(data, budget=IMAGE_BYTES):
    """({set: where each image is}, {set: JPEG of them}): all images, or as many as fit into the budget."""
    from PIL import Image

    def jpeg(pixels, columns=32):
        n, height, width, _ = pixels.shape
        sheet = np.zeros((-(-n // columns) * height, columns * width, 3), np.uint8)
        for k, image in enumerate(pixels[..., :3]):
            y, x = k // columns * height, k % columns * width
            sheet[y : y + height, x : x + width] = image
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "JPEG", quality=80)
        return {"jpeg": buffer.getvalue(), "size": [width, height], "columns": columns}

    places, sheets, names = {}, {}, (data.id, *data.oods)
    for name in names:
        count = len(data.tracks[0].logits[name][-1])
        while name not in sheets or len(sheets[name]["jpeg"]) > budget / len(names):
            if name in sheets:
                count = int(count * min(0.9, 0.95 * budget / len(names) / len(sheets[name]["jpeg"])))
            indices = _chosen(data, name, max(1, count))
            sheets[name] = jpeg(data.tiles(name, indices))
            if count <= 1:
                break
        places[name] = {int(index): k for k, index in enumerate(indices)}
    return places, {name: sheet | {"jpeg": text(sheet["jpeg"])} for name, sheet in sheets.items()}


def hashed(code):
    """How a policy names the one script or style that it allows."""
    return f"'sha256-{text(hashlib.sha256(code.encode()).digest())}'"


def document(title, body, style, policy, kind):
    """The frame of every page: its policy, its style, light and dark."""
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


def page(widgets, title):
    """The page's HTML. Names enter it as JSON and reach the screen as text; the policy lets it fetch nothing."""
    entries = [
        {
            "renderer": widget._renderer,
            "traits": {name: getattr(widget, name) for name in widget.state},
            "allowed": {name: _allowed(widget.traits()[name], widget.choices.get(name)) for name in widget.state},
            "links": [[widgets.index(other), name] for other, name in widget.links if other in widgets],
        }
        | widget.for_page()
        for widget in widgets
    ]
    modules = dict.fromkeys(name for widget in widgets for name in widget._modules)
    renderers = ", ".join(dict.fromkeys(widget._renderer for widget in widgets))
    script = bundle(*modules, "page") + f"openPage({{ {renderers} }});\n"
    style = (STATIC / "widgets.css").read_text(encoding="utf-8")
    content = json.dumps(entries).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return document(
        title,
        f"""<main>
<h1>{html.escape(title)}</h1>
<div id="ood-widgets"></div>
<noscript>This page draws itself with JavaScript, which is switched off here.</noscript>
</main>
<script type="application/json" id="ood-data">{content}</script>
<script type="module">{script}</script>""",
        style,
        policy,
        "ood-page",
    )
