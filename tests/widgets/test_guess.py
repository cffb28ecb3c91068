"""Guess, then look: widgets that open covered, and the guesses of a session as text."""

import pytest
from explorers import make_explorer
from playwright.sync_api import expect
from waiting import settle

from ood_helpers.papers.exported_runs import trained
from ood_helpers.widgets import NormExplorer, Picker, Playground, Sketchpad
from ood_helpers.widgets.formats import format_confidence, format_percent

COVERED = "[data-key=auroc], [data-key=roc], [data-key=threshold], [data-key=cost], [data-key=ood_in]"


def rows(page):
    settle(page)
    return [row.locator("td").all_text_contents() for row in page.locator(".ood-guess tbody tr").all()]


def copied(page):
    page.locator("[data-key=copy]").click()
    page.locator(".ood-guess [role=status]:not(:empty)").wait_for(state="attached")
    return page.locator(".ood-guess textarea").input_value().splitlines()


@pytest.mark.parametrize("options, address", [({"guess": True}, ""), ({}, "#guess=1")], ids=["argument", "address"])
def test_bars_threshold_and_auroc_are_guessed_before_they_are_shown(visit, options, address):
    explorer = make_explorer(**options)
    page, view = visit(explorer, address=address), make_explorer().summary
    assert not any(part.is_visible() for part in page.locator(COVERED).all())
    assert "AUROC" not in page.locator(".ood-sentence").text_content()
    box = page.locator("canvas[data-key=scores]").bounding_box()
    left, width = box["x"] + 52, box["width"] - 66
    page.mouse.move(left + 5, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(left + width * 0.2, box["y"] + 100, steps=5)
    page.mouse.up()
    page.locator("summary", has_text="sliders").click()
    expect(page.locator("[data-key=guess_2]")).not_to_have_attribute("aria-valuetext", "0 %")  # drawn with the mouse
    page.locator("[data-key=guess_11]").press("ArrowRight")  # and by keyboard
    page.locator("[data-key=guess_threshold]").press("Home")
    page.locator("input[type=number]").fill("80.5")
    page.locator("[data-key=reveal]").press("Enter")
    bars, threshold, auroc = rows(page)
    assert bars[2].startswith("overlap ") and 5 < float(bars[2].split()[1]) < 100
    assert threshold[2] == "accepts 100.0 % of ID"
    truth = format_percent(view["metrics"]["auroc"])
    assert auroc[:2] == ["80.5 %", truth] and auroc[2].endswith(" points")
    expect(page.locator("dd[data-key=auroc]")).to_have_text(truth)
    assert all(part.is_visible() for part in page.locator(COVERED.replace(", [data-key=cost]", "")).all())
    page.locator("[data-key=again]").click()
    page.locator("dd[data-key=auroc]").wait_for(state="hidden")
    expect(page.locator("[type=number]")).to_have_value("")


def test_the_guesses_of_a_session_are_copied_as_text(visit):
    page = visit(NormExplorer([4.0, 0.0, -1.0], guess=True))
    assert not page.locator("dd[data-key=loss]").is_visible()
    page.locator("input[type=number]").fill("50")
    page.locator(".ood-guess select").select_option("longer")
    page.locator("[data-key=reveal]").click()
    probability, step = rows(page)
    assert probability[0] == "50.0 %" and probability[1] == format_percent(
        NormExplorer([4.0, 0.0, -1.0]).summary["probabilities"][0]
    )
    assert step == ["longer", "longer", "right"]
    page.locator("[data-key=again]").click()
    page.locator("[data-key=loss]").first.select_option("logitnorm")
    page.locator(".ood-guess select").select_option("longer")
    page.locator("[data-key=reveal]").click()
    assert rows(page) == [["longer", "neither", "wrong"]]
    header, *lines = copied(page)
    assert header.split("\t") == ["shown", "question", "guess", "truth", "gap"]
    assert len(lines) == 3 and lines[2].split("\t")[2:] == ["longer", "neither", "wrong"]
    assert lines[0].startswith("Softmax (CE), norm ") and lines[2].startswith("LogitNorm, norm ")


VERDICTS = "[data-key=answer-0], [data-key=verdict-0], [data-key=norm-0], [data-key=where]"
READY = "[data-key=answer-0]:not(:empty)"


@pytest.mark.parametrize("widget", ["sketchpad", "picker"])
def test_verdicts_on_an_image_are_guessed_before_they_are_shown(visit, widget, run):
    if widget == "sketchpad":
        pad, address, truth = Sketchpad(run), f"#guess=1&drawing={'0' * 40 + 'g' * 24}", "drawing 000"
        pad.drawing = "0" * 40 + "g" * 24
    else:
        pad, address, truth = Picker(trained("cifar10", "softmax")), "#guess=1&picture=ship", "ship"
        pad.picture = "ship"
    page = visit(pad, address=address, ready=READY)
    [row] = pad.summary
    assert not any(part.is_visible() for part in page.locator(f"{VERDICTS}, .ood-surprise").all())
    assert page.locator(".ood-sentence").text_content() == "Covered: guess before you look."
    page.locator(".ood-guess select").select_option("stranger")
    page.locator("input[type=number]").fill("50")
    page.locator("[data-key=reveal]").click()
    verdict, confidence = rows(page)
    assert verdict == ["stranger", *(["known", "wrong"] if row["known"] else ["stranger", "right"])]
    assert confidence[:2] == ["50.0 %", format_confidence(row["confidence"])]
    expect(page.locator(".ood-sentence")).to_have_text(pad.finding())
    assert all(part.is_visible() for part in page.locator(VERDICTS).all())
    assert f", {truth}" in copied(page)[1].split("\t")[0]


def test_a_prediction_in_the_plane_is_guessed_before_the_map_is_shown(visit):
    playground = Playground(x=9.0, y=-6.0, guess=True)
    page = visit(playground, reduced_motion="reduce")
    covered = page.locator("dd[data-key=top], dd[data-key=best], [data-key=ray], [data-key=classes]")
    assert not any(part.is_visible() for part in covered.all())
    hidden = page.locator("[data-key=plane]").evaluate("(canvas) => canvas.toDataURL()")
    best = playground.meta["classes"][playground.answer["best"]]
    page.locator(".ood-guess select").select_option(best)
    page.locator("input[type=number]").fill("50")
    page.locator("[data-key=reveal]").click()
    top = format_percent(playground.answer["top"])
    assert [row[:2] for row in rows(page)] == [[best, best], ["50.0 %", top]]
    expect(page.locator(".ood-sentence")).to_have_text(playground.finding())
    assert page.locator("[data-key=plane]").evaluate("(canvas) => canvas.toDataURL()") != hidden
    assert all(part.is_visible() for part in covered.all())
