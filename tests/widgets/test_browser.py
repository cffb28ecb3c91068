"""The widgets as a reader meets them: exported pages in Chromium with the network off."""

import json
import os
import re
from datetime import datetime
from urllib.parse import parse_qsl

import numpy as np
import pytest
from explorers import make_explorer
from playwright.sync_api import expect
from waiting import address, open_state, settle

from ood_helpers.course import html
from ood_helpers.widgets import NormExplorer, Playground, link
from ood_helpers.widgets.explorer_state import from_score
from ood_helpers.widgets.formats import format_percent

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>$x^$"


@pytest.fixture(scope="module")
def playground():
    return Playground(reach=12.0)


def text(page, key):
    return page.locator(f"[data-key='{key}']").first.text_content()


def pixels(page, key="scores"):
    return page.evaluate("(k) => document.querySelector(`canvas[data-key=${k}]`).toDataURL()", key)


def test_readouts_equal_python(visit):
    explorer = make_explorer()
    page = visit(explorer)
    for change in (
        {},
        {"score": "energy"},
        {"ood": "far", "temperature": 2.5},
        {"positive": "ood"},
        {"epoch": 1},
        {"threshold": 1.75},
        {"threshold": None, "target": 0.8, "score": "msp"},
    ):
        for name, value in change.items():
            setattr(explorer, name, value)
        open_state(page, explorer.current())
        view = explorer.summary
        shown = view["metrics"] | {"accuracy": view["accuracy"]}
        shown["aupr"] = shown["aupr_in" if explorer.positive == "id" else "aupr_out"]
        for key in ("auroc", "aupr", "fpr95", "accuracy"):
            assert text(page, key) == format_percent(shown[key]), key
        cells = [int(text(page, key).split("%")[1]) for key in ("id_in", "id_out", "ood_in", "ood_out")]
        (a, b), (n, m) = view["accepted"], view["sizes"]
        assert cells == [a, n - a, b, m - b], change
    assert "positive" in page.locator("dt", has_text="FPR95").text_content()


def test_the_sentence_is_that_of_python_seen_with_the_picture_and_announced_later(visit, playground):
    for widget, control, changes in (
        (
            make_explorer(),
            "temperature",
            ({}, {"score": "energy", "ood": "far", "positive": "ood"}, {"threshold": -1.5}),
        ),
        (NormExplorer([3.0, 1.0, -1.0]), "norm", ({}, {"angle": 130.0}, {"loss": "logitnorm"}, {"loss": "meln"})),
        (playground, "x", ({}, {"loss": "isomaxplus", "x": -3.25, "y": 1.5})),
    ):
        page = visit(widget, reduced_motion="reduce")
        for change in changes:
            for name, value in change.items():
                setattr(widget, name, value)
            open_state(page, widget.current())
            assert page.locator(".ood-sentence").text_content() == widget.finding()
        before = page.locator(".ood-sentence").text_content()
        expect(page.locator("[aria-live]")).to_have_text(before)
        page.clock.install()
        page.clock.pause_at(datetime(2100, 1, 1))  # time stands still, except for what run_for lets pass
        page.locator(f"[data-key={control}]").focus()
        page.keyboard.press("ArrowRight")
        page.clock.run_for(50)
        seen = page.locator(".ood-sentence").text_content()
        assert seen != before and page.locator("[aria-live]").text_content() == before
        page.clock.run_for(400)
        assert page.locator("[aria-live]").text_content() == seen


def test_every_control_moves_the_picture_by_keyboard(visit):
    page = visit(make_explorer())
    for control, key in (
        ("threshold", "ArrowLeft"),
        ("target", "ArrowLeft"),
        ("temperature", "ArrowRight"),
        ("epoch", "ArrowLeft"),
        ("bin", "ArrowRight"),
        ("score", "ArrowDown"),
        ("ood", "ArrowDown"),
        ("log_scale", "Space"),
    ):
        before = pixels(page)
        page.locator(f"[data-key='{control}']").focus()
        page.keyboard.press(key)
        settle(page)
        assert pixels(page) != before, control
        assert f"{control}=" in address(page), control
    before = text(page, "fpr95")
    page.locator("[data-key=positive]").focus()
    page.keyboard.press("ArrowDown")
    settle(page)
    assert text(page, "fpr95") != before


def test_the_parameters_of_a_score_are_shown_with_it_alone_and_move_it_by_keyboard(visit):
    explorer = make_explorer()
    page = visit(explorer)
    for score, names in (("energy", []), ("gen", ["gamma", "top"]), ("p_norm", ["p"])):
        explorer.score = score
        open_state(page, explorer.current())
        for name in ("gamma", "top", "p"):
            expect(page.locator(f"[data-key={name}]")).to_be_visible(visible=name in names)
        for name in names:
            before = pixels(page)
            page.locator(f"[data-key={name}]").focus()
            page.keyboard.press("ArrowLeft")
            settle(page)
            assert pixels(page) != before, name
            value = dict(parse_qsl(address(page)[1:]))[name]
            setattr(explorer, name, json.loads(value))
            expect(page.locator("[data-key=auroc]").first).to_have_text(
                format_percent(explorer.summary["metrics"]["auroc"])
            )
    assert explorer.top == 3 and explorer.gamma < 0.1 and explorer.p < 2  # three of four classes


def test_an_address_restores_the_state_and_a_bad_one_is_ignored(visit):
    explorer = make_explorer()
    page = visit(explorer, address="#score=entropy&temperature=3&bin=59&log_scale=true")
    assert page.locator("[data-key=score]").input_value() == "entropy" and page.locator("h4").count() == 2
    bad = visit(
        explorer, address="#score=mps&temperature=-1&bin=1e9&epoch=%22x%22&run=<b>&__proto__=1&7.score=msp&target="
    )
    assert text(bad, "auroc") == format_percent(explorer.summary["metrics"]["auroc"])
    assert bad.locator(".ood-desk label:not([hidden]) output").all_text_contents()[1:] == [
        "95.0 %",
        "1.000",
        "9",
        "none",
    ]


def place_of(page, share):
    """Where a share of the histogram's axis is on the page."""
    box = page.locator("canvas[data-key=scores]").bounding_box()
    return box["x"] + 52 + (box["width"] - 66) * share, box["y"] + 60


@pytest.mark.parametrize("away", [8.5, 0])  # bars from the threshold, which lies on the bar at 0
def test_a_clicked_bar_shows_its_images(visit, away):
    explorer = make_explorer(images=True)
    view = explorer.summary
    explorer.bin = int((view["limit"] - view["low"]) / (view["high"] - view["low"]) * 60 + away)
    picked, share = explorer.summary["picked"], (explorer.bin + 0.5) / 60
    assert min(len(part["items"]) for part in picked) > 1
    explorer.bin = None
    page = visit(explorer)
    page.mouse.click(*place_of(page, share))
    pictures = sum(len(part["items"]) for part in picked)
    expect(page.locator("figure canvas[height='8']")).to_have_count(pictures)
    for part in picked:
        frames = page.locator(f"figure[data-set='{part['set']}']")
        assert [int(i) for i in frames.evaluate_all("all => all.map((f) => f.dataset.index)")] == [
            item["index"] for item in part["items"]
        ]
        grey = frames.locator("canvas").evaluate_all(
            "all => all.map((c) => c.getContext('2d').getImageData(4, 4, 1, 1).data[0])"
        )
        assert np.abs(np.array(grey) - [item["index"] % 25 * 10 for item in part["items"]]).max() <= 3
        first = part["items"][0]
        caption = frames.first.text_content()
        assert f"{first['score']:.3f}" in caption and explorer.data.classes[first["prediction"]] in caption
    page.mouse.click(*place_of(page, share))  # again: closed
    page.wait_for_selector("figure", state="detached")


def test_the_threshold_line_can_be_dragged(visit):
    explorer = make_explorer()
    page = visit(explorer)
    view = explorer.summary

    def place(key):
        return place_of(page, (key - view["low"]) / (view["high"] - view["low"]))

    page.mouse.move(*place(view["limit"]))
    page.mouse.down()
    page.mouse.move(*place(from_score("msp", 0.8)), steps=4)
    page.mouse.up()
    explorer.threshold = float(re.search(r"threshold=([\d.]+)", address(page))[1])
    assert abs(explorer.threshold - 0.8) < 0.005
    assert [int(text(page, key).split("%")[1]) for key in ("id_in", "ood_in")] == explorer.summary["accepted"]
    assert page.locator("h4").count() == 0  # a drag opens no bar


def test_linked_explorers_move_together_in_a_page(visit):
    a, b = make_explorer(0, name="softmax"), make_explorer(1, name="logitnorm")
    link(a, b, "temperature")
    page = visit(a, b)
    before = pixels(page), page.locator("canvas[data-key=scores]").nth(1).evaluate("c => c.toDataURL()")
    page.locator("[data-key=temperature]").nth(1).focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    after = pixels(page), page.locator("canvas[data-key=scores]").nth(1).evaluate("c => c.toDataURL()")
    assert before[0] != after[0] and before[1] != after[1]
    values = page.locator("label:has([data-key=temperature]) output").all_text_contents()
    assert values[0] == values[1] != "1.000"


def test_a_linked_score_takes_no_threshold_along(visit):
    a, b = make_explorer(0), make_explorer(1, threshold=0.99983)
    link(a, b, "score")
    page = visit(a, b)
    line = page.locator("label:has([data-key=threshold]) output").nth(1)
    assert line.text_content() == "0.9998"  # not 1.000
    page.locator("[data-key=score]").first.select_option("entropy")
    settle(page)
    a.score = "entropy"
    assert page.locator("[data-key=score]").nth(1).input_value() == b.score == "entropy"
    assert line.text_content() == f"{b.summary['threshold']:.3f}".replace("-", "−")


def test_a_long_name_of_a_set_keeps_the_table_inside_its_explorer(visit):
    explorers = [make_explorer(seed, names=("imagenet_resized_and_cropped", "far")) for seed in (0, 1)]
    page = visit(*explorers)
    page.set_viewport_size({"width": 1118, "height": 900})
    settle(page)
    over = page.locator(".ood-explorer").evaluate_all(
        """all => all.map((each) => each.querySelector(".ood-table table").getBoundingClientRect().right
        - each.getBoundingClientRect().right)"""
    )
    assert len(over) == 2 and max(over) <= 1


def test_a_long_name_has_room_in_its_box(visit):
    explorer = make_explorer(names=("near", "patches of photographs, in grey and very far away from any digit"))
    page = visit(explorer)
    page.locator("[data-key=ood]").select_option(explorer.data.ood_names[1])
    settle(page)
    room, needed, title = page.locator("[data-key=ood]").evaluate("""(select) => {
        const pen = document.createElement("canvas").getContext("2d");
        pen.font = getComputedStyle(select).font;
        return [select.clientWidth, pen.measureText(select.value).width, select.title]; }""")
    assert room > needed + 20 and title == explorer.data.ood_names[1]  # 20 for the arrow
    phone = visit(explorer, viewport={"width": 360, "height": 740})
    assert phone.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_hostile_names_are_text(visit):
    explorer = make_explorer(names=(HOSTILE, "far"), classes=[HOSTILE, "b", "c", "d"], name=HOSTILE, images=True)
    explorer.bin = 40
    page = visit(explorer, title=HOSTILE)
    assert page.title() == HOSTILE and page.locator("h1").text_content() == HOSTILE
    assert (
        HOSTILE in page.locator(".ood-table").text_content() and HOSTILE in page.locator(".ood-gallery").text_content()
    )
    assert page.locator("main img, main script").count() == 0
    norm = visit(NormExplorer(classes=[HOSTILE, *"bcde"]))
    assert HOSTILE in norm.locator("label", has_text="Direction").text_content() and norm.title() == "Norm explorer"
    explorer.static().savefig(os.devnull, format="png")  # and no formula to Matplotlib


REACH_OUT = """async () => {
    const refused = [], away = "https://example.org/";
    document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
    fetch(away).catch(() => {});
    for (const [tag, at] of Object.entries({ img: "src", script: "src", iframe: "src", object: "data", link: "href" }))
        document.body.append(Object.assign(document.createElement(tag), { [at]: away, rel: "stylesheet" }));
    document.body.append(Object.assign(document.createElement("script"), { textContent: "document.title = 'taken'" }));
    const wait = () => new Promise((done) => setTimeout(done, 300));
    for (let k = 0; k < 100 && refused.length < 7; k++) await wait();
    await wait(); // for one too many
    return refused;
}"""


@pytest.mark.parametrize(
    "write",
    [
        lambda path: make_explorer().to_html(path),
        lambda path: path.write_text(html.document("A page", "<p>of the site</p>", "document.body.dataset.alive = 1")),
    ],
    ids=["explorer", "site"],
)
def test_the_policy_refuses_whatever_a_page_should_fetch_or_run(write, chromium, tmp_path):
    """With the network on, so that it is the policy which keeps it back."""
    write(tmp_path / "page.html")
    page, asked = chromium.new_page(), []
    page.route("http*://**", lambda route: (asked.append(route.request.url), route.abort()))
    page.goto((tmp_path / "page.html").as_uri())
    title = page.title()
    refused = page.evaluate(REACH_OUT)
    assert sorted(refused) == [
        "connect-src",
        "frame-src",
        "img-src",
        "object-src",
        "script-src-elem",
        "script-src-elem",
        "style-src-elem",
    ]
    assert not asked and page.title() == title
    assert page.locator("dd:not(:empty), [data-alive]").count()  # its own script has run
    page.close()


def test_everything_is_named_for_those_who_do_not_see_it(visit, playground):
    for widget in (make_explorer(), NormExplorer(), playground):
        page = visit(widget)
        page.wait_for_selector("[aria-live]:not(:empty)")
        assert (
            page.locator("canvas").evaluate_all("all => all.filter((c) => !c.getAttribute('aria-label')).length") == 0
        )
        assert (
            page.locator("input, select").evaluate_all(
                "all => all.filter((c) => !c.labels?.[0]?.textContent || !c.dataset.lmSuppressShortcuts).length"
            )
            == 0
        )


def test_norm_explorer_equals_python_and_answers_its_handles(visit):
    widget = NormExplorer([3.0, 1.0, -1.0, 0.5], target=1, classes="abcd")
    page = visit(widget)
    for change in (
        {},
        {"loss": "logitnorm"},
        {"loss": "meln", "margin": 3.0, "temperature": 0.5},
        {"margin": 0.0},
        {"loss": "focal"},
        {"loss": "meln"},
    ):
        for name, value in change.items():
            setattr(widget, name, value)
        open_state(page, widget.current())
        view = widget.summary
        assert page.locator("dd[data-key=loss]").text_content() == f"{view['loss']:.4f}"
        assert text(page, "size") == f"{np.linalg.norm(view['gradient']):.4f}"
    before = page.locator("dd[data-key=loss]").text_content()
    page.locator("[data-key=margin]").focus()
    page.keyboard.press("End")  # the margin that does nothing
    settle(page)
    assert page.locator("label:has([data-key=margin]) output").text_content() == "5.00"
    assert page.locator("dd[data-key=loss]").text_content() == before and text(page, "radial") == "0"
    page.locator("[data-key=angle]").focus()
    page.keyboard.press("Home")
    settle(page)
    assert page.locator("dd[data-key=loss]").text_content() == text(page, "bound")


def test_playground_trains_every_loss_without_python(visit, playground):
    page, widget = visit(playground, reduced_motion="reduce"), playground
    groups = page.locator("select[data-key=loss] optgroup")
    assert groups.evaluate_all("all => all.map((g) => [g.label, g.children.length])") == [
        ["The papers", 7],
        ["Other losses", 6],
    ]
    for loss in widget.choices["loss"]:
        widget.loss = loss
        page.locator("select[data-key=loss]").select_option(loss)
        for x in (-8.04, 6.0):
            widget.x = x
            open_state(page, widget.current())
            assert text(page, "status").startswith("Step 300 of 300")
            assert abs(float(text(page, "top")[:-2]) - 100 * widget.answer["top"]) < 0.02, loss
    box, before = page.locator("canvas[data-key=plane]").bounding_box(), pixels(page, "plane")
    page.mouse.click(box["x"] + 100, box["y"] + 100)
    settle(page)
    assert pixels(page, "plane") != before


def test_a_training_is_watched_and_logitnorm_without_warm_up_is_seen_failing(visit):
    page = visit(Playground(loss="logitnorm", temperature=0.02, lr=1.0, seed=1))
    assert text(page, "accuracy") == "100.0 %"
    curve = page.locator("canvas[data-key=curve]")
    learned = curve.get_attribute("aria-label")
    page.clock.install()
    page.clock.pause_at(datetime(2100, 1, 1))  # frames come when run_for asks for them, however slow the machine is
    page.get_by_label("Warm-up").uncheck()
    steps = []
    for _ in range(4):
        page.clock.run_for(200)
        steps.append(int(text(page, "status").split()[1]))
    assert 0 < steps[0] < steps[1] < steps[2] < steps[3] < 300
    page.clock.run_for(1000)
    assert text(page, "status").startswith("Step 300 of 300")
    assert "The training failed" in page.locator(".ood-sentence").text_content()
    assert "in 300 steps" in learned and curve.get_attribute("aria-label") != learned
    assert "warmup=false" in page.evaluate("location.hash")
    page.locator("[data-key=retrain]").click()
    page.clock.run_for(300)
    assert "seed=2" in page.evaluate("location.hash")
