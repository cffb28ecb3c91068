"""The sketchpad: its networks in JavaScript, its traits in Python, and its page in Chromium."""

import json
from dataclasses import replace
from urllib.parse import parse_qs

import numpy as np
import pytest
import torch
from javascript import evaluate, needs_node
from playwright.sync_api import expect
from waiting import address, open_state, settle

from ood_helpers import losses, metrics, models, scores
from ood_helpers.config import Config
from ood_helpers.engine.history import outputs
from ood_helpers.training import fit
from ood_helpers.widgets import Sketchpad, folded, verdicts
from ood_helpers.widgets.explorer_state import sort_key

QUICK = Config(epochs=3, limit=200, ood=("near", "letters", "noise"))
# A 7, drawn in the lines between which the digits of the training set lie.
SEVEN = ["Space", *["Shift+ArrowRight"] * 5, *["ArrowDown", "Shift+ArrowDown", "ArrowLeft", "ArrowLeft"] * 5, "Space"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [fit(replace(QUICK, loss=loss), folder, "cpu", progress=False) for loss in losses.RECIPES]


@pytest.fixture(scope="module")
def opened(runs):
    pad = Sketchpad(runs)
    return pad, pad.current()


@pytest.fixture
def pad(opened):
    """The sketchpad as it opens."""
    pad, state = opened
    for name, value in state.items():
        setattr(pad, name, value)
    return pad


@pytest.fixture
def strangers(runs):
    """500 images of every kind, and single-colour ones, for which features may be alike."""
    images = torch.cat([runs[0].images(name)[:166] for name in ("test", "near", "letters")])
    return torch.cat([images, torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.full((1, 1, 8, 8), 255).byte()])


OPEN = """(() => {
    const [network] = openNetworks([c.entry], Uint8Array.from(c.weights).buffer, 6);
    return c.images.map((pixels) => Array.from(%s));
})()"""


def in_javascript(networks, images, expression):
    """The value of an expression of ``network`` and ``pixels`` for each network and image, as an array."""
    packed = [folded.pack(network) for network in networks]
    cases = [
        {"entry": entry | {"score": score}, "weights": list(weights), "images": images.flatten(1).tolist()}
        for (entry, weights), score in zip(packed, (recipe.score for recipe in losses.RECIPES.values()))
    ]
    return [np.array(value) for value in evaluate(["image_networks"], OPEN % expression, cases)]


@needs_node
def test_logits_in_the_browser_equal_pytorchs_for_every_loss(runs, strangers):
    networks = [folded.fold(run.load_model()) for run in runs]
    assert len(strangers) == 500
    for network, found in zip(networks, in_javascript(networks, strangers, "networkLogits(network, pixels)")):
        assert np.abs(found - network(strangers).numpy()).max() < 1e-4


@needs_node
@pytest.mark.parametrize("loss", losses.BEYOND)
def test_logits_in_the_browser_are_those_of_the_networks_of_other_losses(loss):
    torch.manual_seed(0)
    network = models.build("cnn", 6, folded.SHAPE, losses.BEYOND[loss].head).eval()
    images = torch.randint(256, (5, *folded.SHAPE), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(images).numpy()
    (found,) = in_javascript([folded.fold(network)], images, "networkLogits(network, pixels)")
    np.testing.assert_allclose(found, expected, atol=0.02)


@needs_node
def test_the_gradient_of_a_score_in_the_pixels_equals_autograds(runs, strangers):
    networks = [folded.fold(run.load_model()) for run in runs]
    images = strangers[::50]
    results = in_javascript(networks, images, "scoreGradient(network, pixels)")
    for run, network, found in zip(runs, networks, results):
        x = images.double().requires_grad_()
        z = network.double()(x)
        if run.config.recipe.score == "msp":  # its key is its log-odds
            log_p = z.log_softmax(1).amax(1)
            keys = log_p - torch.log1p(-log_p.exp())
        else:
            keys = scores.score(run.config.recipe.score)(z)
        (expected,) = torch.autograd.grad(keys.sum(), x)
        difference = np.abs(found - expected.flatten(1).numpy()).max(1)
        assert (difference < 1e-5 * np.abs(expected.flatten(1).numpy()).max(1)).all(), run.label


def test_folding_and_rounding_change_next_to_nothing(runs):
    for run in runs:
        _, logits = outputs(folded.fold(run.load_model()), run.images("test"))
        assert abs(metrics.accuracy(logits, run.labels["test"]) - run.accuracy) <= 1 / len(logits)
        np.testing.assert_allclose(logits, run.logits["test"], atol=0.02)


@needs_node
def test_drawings_are_counted_in_blocks_and_counts_become_drawings():
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 2, (20, 32, 32))
    counts = cells.reshape(20, 8, 4, 8, 4).sum((2, 4)).reshape(20, 64)
    assert evaluate(["drawing"], "countsOf(c)", cells.reshape(20, -1).tolist()) == counts.tolist()
    both = [{"counts": c.tolist(), "before": b.flatten().tolist()} for c, b in zip(counts, cells[::-1])]
    for expression in ("cellsOf(c.counts)", "cellsOf(c.counts, c.before)", "cellsOf(fromText(toText(c.counts)))"):
        assert evaluate(["drawing"], f"countsOf({expression})", both) == counts.tolist()
    # Blocks whose count does not change keep their cells.
    same = evaluate(["drawing"], "Array.from(cellsOf(countsOf(c), c))", cells.reshape(20, -1).tolist())
    assert same == cells.reshape(20, -1).tolist()
    assert evaluate(["drawing"], "pixelsOf(c)", [list(range(17))]) == [folded.pixel_image(np.arange(17)).tolist()]


def test_image_drawing_and_logits_follow_each_other(pad, runs):
    seen = []
    pad.observe(lambda change: seen.append(change["new"]), "logits")
    image = folded.count_image(runs[0].images("test")[5][0].numpy())
    pad.image = image
    assert pad.drawing[10] == f"{image.flat[10]:x}".replace("10", "g") and len(seen) == 1
    for run, (name, logits) in zip(runs, pad.logits.items()):
        assert name == run.label
        np.testing.assert_allclose(logits, run.logits["test"][5], atol=0.02)
    pad.drawing = "0" * 63 + "g"
    assert pad.image.sum() == pad.image[7, 7] == 16 and len(seen) == 2
    with pytest.raises(ValueError, match=r"image must be \(8, 8\) whole numbers of 0..16"):
        pad.image = np.full((8, 8), 17)


def test_summary_is_every_networks_score_and_its_threshold_from_validation(pad, runs):
    pad.image = folded.count_image(runs[0].images("near")[3][0].numpy())
    for run, row in zip(runs, pad.summary):
        score = run.config.recipe.score
        z = pad.logits[row["name"]].astype(np.float64)[None]
        assert row["score"] == pytest.approx(scores.score(score)(z)[0])
        validation = scores.score(score)(run.logits["validation"].astype(np.float64))
        assert row["threshold"] == pytest.approx(metrics.threshold(validation), abs=1e-6)
        assert row["known"] == (
            sort_key(z, score, 1.0)[0]
            >= sort_key(run.logits["validation"], score, 1.0)[
                np.argsort(validation)[np.searchsorted(np.sort(validation), row["threshold"] - 1e-9)]
            ]
        )
        assert row["norm"] == pytest.approx(np.linalg.norm(z))
        assert row["answer"] == run.classes[z.argmax()]


def test_it_opens_with_the_stranger_on_which_the_networks_disagree_most(runs):
    pad = Sketchpad(runs)
    known = [row["known"] for row in pad.summary]
    assert any(known) and not all(known)
    surprises = verdicts.surprise(runs, "near")
    counts = folded.count_image(runs[0].images("near")[int(surprises.argmax())][0].numpy())
    np.testing.assert_array_equal(pad.image, counts)
    assert "held out" in pad.meta["opening"]["truth"]


def test_wrong_runs_are_refused_in_one_sentence(runs):
    with pytest.raises(TypeError, match=r"Sketchpad takes a trained run or a list of them"):
        Sketchpad(np.zeros((8, 8)))
    other = replace(runs[0], shape=(3, 32, 32))
    with pytest.raises(
        ValueError, match="trained on images of 8x8 grey pixels, such as the digits, not cnn on 3x32x32"
    ):
        Sketchpad(other)
    mixed = replace(runs[1], config=replace(runs[1].config, ood=("noise",)).resolved())
    with pytest.raises(ValueError, match="must share data, known classes, fold and OOD sets"):
        Sketchpad([runs[0], mixed])


# In Chromium


def press(page, keys):
    for key in keys:
        page.keyboard.press(key)
    settle(page)


def shown(page, key):
    return page.locator(f"[data-key='{key}']").text_content()


def drawing_of(page):
    return parse_qs(address(page)[1:])["drawing"][0]


def assert_same_verdicts(page, pad):
    for k, row in enumerate(pad.summary):
        assert shown(page, f"answer-{k}") == row["answer"]
        assert shown(page, f"norm-{k}") == f"{row['norm']:.1f}"
        assert ("known" in shown(page, f"verdict-{k}")) == row["known"]
    assert page.locator(".ood-sentence").text_content() == pad.finding()


def test_a_session_by_keyboard_draws_a_7_and_reads_the_verdicts(visit, pad):
    page = visit(pad, ready="[data-key=answer-0]:not(:empty)")
    page.keyboard.press("Tab")  # the surprise
    page.keyboard.press("Tab")
    expect(page.locator("[data-key=pad]")).to_be_focused()
    press(page, ["Delete", *["ArrowLeft"] * 8, *["ArrowUp"] * 5, *SEVEN])
    pad.drawing = drawing_of(page)
    assert pad.image[0, 2:6].min() > 8 and pad.image[7, 4] > 8 and pad.image[5:, [0, 1, 2, 7]].sum() == 0
    assert_same_verdicts(page, pad)
    expect(page.locator("[aria-live]").first).to_have_text(pad.finding())
    press(page, ["u"])
    assert drawing_of(page) == "0" * 64
    for _ in range(5):  # the four tools and the first network
        page.keyboard.press("Tab")
    press(page, ["ArrowDown"])  # reads another network's row
    pad.drawing, pad.run = "0" * 64, pad.choices["run"][1]
    assert "the empty pad" in pad.finding()
    assert_same_verdicts(page, pad)


def test_a_finger_draws_on_a_phone(visit, pad):
    page = visit(pad, ready="[data-key=answer-0]:not(:empty)", viewport={"width": 390, "height": 844}, has_touch=True)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    cut = page.locator(".ood-network span").evaluate_all(
        "all => all.filter((s) => s.scrollWidth > s.clientWidth).length"
    )
    assert cut == 0  # LogitNorm (τ 0.3)
    page.locator("[data-key=clear]").tap()
    box = page.locator("[data-key=pad]").bounding_box()
    assert box["y"] + box["height"] < 844  # the pad is in the first screen
    session = page.context.new_cdp_session(page)
    cell = box["width"] / 32
    for kind, cells in (("touchStart", [16, 4]), ("touchMove", [16, 16]), ("touchMove", [16, 28]), ("touchEnd", None)):
        points = [{"x": box["x"] + cell * (cells[0] + 0.5), "y": box["y"] + cell * (cells[1] + 0.5)}] if cells else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    pad.drawing = drawing_of(page)
    assert pad.image[2:6, 3:5].sum() > 70 and pad.image[:, [0, 1, 6, 7]].sum() == 0
    assert_same_verdicts(page, pad)
    assert page.evaluate("scrollY") == 0  # the finger has not scrolled the page


def test_starting_points_morph_eraser_and_the_gradient_change_the_drawing(visit, pad):
    page = visit(pad, ready="[data-key=answer-0]:not(:empty)", reduced_motion="reduce")
    starts = pad.meta["starts"]
    assert [start["name"] for start in starts] == [*"0123456789", "A", "noise", "scribble"]
    for k in (0, 7, 12):
        page.locator(f"[data-key=start-{k}]").click()
        assert drawing_of(page) == starts[k]["drawing"]
    expect(page.locator(".ood-drawn button")).to_have_count(4)  # with the one that it opened with
    page.locator("[data-key=start-3]").click()
    page.locator("[data-key=target]").select_option("8")
    page.locator("[data-key=morph]").focus()
    press(page, ["End"])
    assert drawing_of(page) == starts[8]["drawing"]
    press(page, ["Home"])
    assert drawing_of(page) == starts[3]["drawing"]
    page.locator("[data-key=start-8]").click()
    for name in pad.choices["run"]:
        pad.run, pad.drawing = name, starts[8]["drawing"]
        before = next(row for row in pad.summary if row["name"] == name)
        open_state(page, {"run": name, "drawing": pad.drawing})
        page.locator("[data-key=surer]").click()
        pad.drawing = drawing_of(page)
        assert next(row for row in pad.summary if row["name"] == name)["score"] > before["score"], name


def test_a_strip_holds_the_last_twelve_and_the_sharpest_surprise_stands_on_top(visit, pad):
    page = visit(pad, ready="[data-key=answer-0]:not(:empty)")
    headline = page.locator(".ood-surprise")
    pad.drawing = pad.meta["opening"]["drawing"]
    surest = max((row for row in pad.summary if row["known"]), key=lambda row: row["confidence"])
    assert headline.text_content().startswith(f"{surest['name']} calls this a “{surest['answer']}” with ")
    assert pad.meta["opening"]["truth"] in headline.text_content()
    for k in range(13):
        page.locator(f"[data-key=start-{k}]").click()
    expect(page.locator(".ood-drawn button")).to_have_count(12)
    page.locator(".ood-drawn button").nth(3).click()
    assert drawing_of(page) == pad.meta["starts"][9]["drawing"]
    assert page.locator(".ood-drawn button").count() == 12  # a drawing that is recalled is not another one


def test_an_address_draws_and_a_bad_one_is_ignored(visit, pad):
    text = pad.meta["starts"][4]["drawing"]
    page = visit(pad, ready="[data-key=answer-0]:not(:empty)", address=f"#drawing={text}&ood=letters")
    pad.drawing, pad.run = text, pad.choices["run"][0]
    assert_same_verdicts(page, pad)
    assert page.locator("[data-key=ood]").input_value() == "letters"
    for bad in ("z" * 64, "0" * 63, "0" * 65, "<b>"):
        page = visit(pad, ready="[data-key=answer-0]:not(:empty)", address=f"#drawing={bad}")
        assert page.locator(".ood-sentence").text_content() == pad.finding()


def test_the_page_is_small_and_its_policy_that_of_the_others(pad, tmp_path):
    content = pad.to_html(tmp_path / "page.html").read_text()
    assert len(content.encode()) < 700_000
    assert "default-src 'none'; script-src 'sha256-" in content and "unsafe" not in content
    assert json.dumps(pad.meta["starts"][0]["drawing"]) in content
