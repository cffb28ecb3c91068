"""The figure of the strangers that were drawn."""

import json

import torch

from ood_helpers.config import Config
from ood_helpers.course import strangers
from ood_helpers.training import fit
from ood_helpers.widgets.folded import decode, pixel_image


def test_every_drawing_has_each_networks_answer(tmp_path):
    losses = ("softmax", "isomax")
    runs = [
        fit(Config(loss=loss, epochs=1, limit=60, ood=("noise",)), tmp_path, "cpu", progress=False) for loss in losses
    ]
    texts = [text.get_text() for text in strangers.strangers_drawn(runs).axes[0].texts]
    drawings = json.loads(strangers.DRAWINGS.read_text())
    assert len(texts) == 3 * len(drawings) and set(drawings) <= set(texts)
    for k, counts in enumerate(map(decode, drawings.values())):
        z = runs[1].load_model()(torch.from_numpy(pixel_image(counts)).view(1, 1, 8, 8))
        assert texts[3 * k + 2].startswith(f"{runs[1].classes[int(z.argmax())]}: ")
