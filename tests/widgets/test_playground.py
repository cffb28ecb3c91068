"""The playground in Python: its networks, its picture."""

import pytest
from matplotlib.colors import to_hex

from ood_helpers.widgets import Playground


@pytest.fixture(scope="module")
def playground():
    return Playground()


def test_the_static_picture_has_the_colours_and_names_of_the_live_one(playground):
    for show, label in (("confidence", "top probability"), ("norm", "norm of the logits")):
        playground.show = show
        ax, bar = playground.static().axes
        assert [entry.get_text() for entry in ax.get_legend().get_texts()] == playground.meta["classes"]
        assert bar.get_ylabel() == label and ax.collections[0].get_cmap().name == "cividis"
        faces = [to_hex(line.get_markerfacecolor()) for line in ax.lines[:3]]
        assert faces == [face for face, _ in playground.meta["colors"]]
        ends = [to_hex(ax.collections[0].get_cmap()(end)) for end in (0.0, 1.0)]
        assert ends == ["#{:02x}{:02x}{:02x}".format(*playground.meta["shades"][k]) for k in (0, -1)]


def test_a_message_from_the_browser_trains_another_network(playground):
    before = playground.networks["softmax"]
    playground._handle_custom_msg({"kind": "train", "seed": 3}, [])
    assert playground.seed == 3 and playground.networks["softmax"]["seed"] == 3
    assert playground.networks["softmax"]["layers"] != before["layers"]
