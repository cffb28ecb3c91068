"""Two widgets in a row: alive as a row, and one picture of both where there is no kernel."""

import base64
import io

from PIL import Image

from ood_helpers.widgets import NormExplorer, Playground, SideBySide
from ood_helpers.widgets import static_figures as stills


def opened(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_a_row_shows_every_widget_with_and_without_a_kernel():
    first, second = NormExplorer(loss="meln"), Playground()
    row = SideBySide(first, second)
    assert row.children == (first, second)
    bundle = row._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and "text/html" not in bundle
    assert bundle["text/plain"] == f"{first.finding()}\n{second.finding()}"
    above, below = opened(stills.png(first.static())), opened(stills.png(second.static()))
    both = opened(base64.b64decode(bundle["image/png"]))
    assert both.size == (max(above.width, below.width), above.height + below.height)
    assert both.crop((0, 0, *above.size)).tobytes() == above.tobytes()
    assert both.crop((0, above.height, below.width, both.height)).tobytes() == below.tobytes()
