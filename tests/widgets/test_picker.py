"""The picker: shipped pictures in a page without a kernel, a file of one's own with it."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import traitlets
from PIL import Image
from playwright.sync_api import expect
from waiting import wait_for

from ood_helpers.config import Config
from ood_helpers.papers.exported_runs import trained
from ood_helpers.training import fit
from ood_helpers.widgets import Picker, page
from ood_helpers.widgets.picker import OWN


@pytest.fixture(scope="module")
def run():
    return trained("cifar10", "softmax")


@pytest.fixture(scope="module")
def opened(run):
    picker = Picker([run, replace(run, config=replace(run.config, seed=1).resolved())])
    return picker, picker.current()


@pytest.fixture
def picker(opened):
    """The picker as it opens."""
    picker, state = opened
    for name, value in state.items():
        setattr(picker, name, value)
    return picker


def test_pictures_of_every_class_and_ood_set_come_with_it_and_are_answered_by_the_networks(picker, run):
    groups = [entry["group"] for entry in picker.meta["shipped"]]
    assert groups == ["known"] * 10 + [name for name in run.config.ood for _ in range(4)]
    for name in ("cat", "noise 1"):
        picker.picture = name
        k = picker.choices["picture"].index(name)
        shipped = np.frombuffer(base64.b64decode(picker.meta["shipped"][k]["pixels"]), np.uint8).reshape(32, 32, 3)
        np.testing.assert_array_equal(picker.image, shipped)
        logits = run.load_model()(picker.shipped[k][2][None])[0].detach().numpy()
        for z in picker.logits.values():
            np.testing.assert_allclose(z, logits, atol=1e-3)
    assert [row["name"] for row in picker.summary] == ["Softmax (CE), seed 0", "Softmax (CE), seed 1"]


def test_an_image_of_ones_own_is_answered(picker, run):
    image = run.images("test")[500].permute(1, 2, 0).numpy()
    picker._handle_custom_msg({"kind": "pixels"}, [memoryview(image.tobytes())])
    assert picker.picture == OWN and OWN in picker.finding()
    np.testing.assert_array_equal(picker.image, image)
    own = run.load_model()(run.images("test")[500:501])[0].detach().numpy()
    np.testing.assert_allclose(picker.logits["Softmax (CE), seed 0"], own, atol=1e-4)
    assert base64.b64decode(picker.own["pixels"]) == image.tobytes()
    with pytest.raises(traitlets.TraitError, match=r"image must be uint8 \(32, 32, 3\), got float64 \(8, 8\)"):
        picker.image = np.zeros((8, 8))
    with pytest.raises(traitlets.TraitError, match="unknown picture 'cow'"):
        picker.picture = "cow"


def test_grey_networks_are_refused_in_one_sentence(tmp_path):
    digits = fit(Config(epochs=1, limit=20, ood=("noise",)), tmp_path, "cpu", progress=False)
    with pytest.raises(ValueError, match="Picker needs networks trained on colour images, not on 1x8x8"):
        Picker(digits)


def test_a_page_shows_the_shipped_pictures_and_says_so(visit, picker):
    page = visit(picker, ready="[data-key=answer-0]:not(:empty)")
    assert "This page has no kernel" in page.locator("p[role=status]").text_content()
    assert not page.locator("input[type=file]").is_visible()
    for name in ("ship", "cifar100 1"):
        page.locator(f"[data-key='picture-{name}']").click()
        picker.picture = name
        expect(page.locator(".ood-sentence")).to_have_text(picker.finding())


HARNESS = """
const values = JSON.parse(document.getElementById("data").textContent);
const model = {
    get: (name) => values[name], set: (name, value) => { values[name] = value; }, save_changes() {}, on() {}, off() {},
    send: (message, callbacks, buffers) => { window.sent = Array.from(new Uint8Array(buffers[0])); },
};
renderPicker({ model, el: document.body });
"""


def test_a_chosen_file_is_cropped_and_reduced_to_the_training_images_size(chromium, picker, tmp_path):
    values = {"meta": picker.meta, "own": {}} | picker.current()
    content = json.dumps(values).replace("<", "\\u003c")
    script = page.bundle("picker") + HARNESS
    (tmp_path / "page.html").write_text(
        f'<meta charset="utf-8"><body><script type="application/json" id="data">{content}</script>'
        f'<script type="module">{script}</script>'
    )
    tab = chromium.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    tab.wait_for_selector("[data-key=answer-0]:not(:empty)")
    wide = np.zeros((64, 128, 3), np.uint8)  # its middle square is red on the left and blue on the right
    wide[:, 32:64, 0] = wide[:, 64:96, 2] = 255
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    tab.set_input_files("[data-key=file]", {"name": "x.png", "mimeType": "image/png", "buffer": buffer.getvalue()})

    def sent(left, right):
        pixels = np.array(tab.evaluate("window.sent ?? new Array(32 * 32 * 3).fill(-1)")).reshape(32, 32, 3)
        return (pixels[:, :15] == left).all() and (pixels[:, 17:] == right).all()

    wait_for(lambda: sent([255, 0, 0], [0, 0, 255]))
    tab.locator("[data-key=crop]").focus()
    for _ in range(8):  # half of the crop to the left
        tab.keyboard.press("ArrowLeft")
    wait_for(lambda: sent(0, [255, 0, 0]))
    tab.set_input_files("[data-key=file]", {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(tab.locator("p[role=status]")).to_contain_text("no picture that the browser")
    tab.close()
