"""Guided paths: numbered steps that set a widget's state and highlight the part that is meant."""

import re

import pytest
import traitlets
from explorers import make_explorer
from playwright.sync_api import expect
from waiting import address, settle

from ood_helpers.widgets import NormExplorer

STEPS = [
    ("Who is in this bar?", {"bin": 58}, "scores"),
    ("Energy has no upper bound.", {"score": "energy"}),
    ("Accept more.", {"threshold": 2.5}),
    ("<b>Another</b> set.", {"score": "msp", "ood": "far"}),
]


def test_steps_add_up_and_going_back_restores_what_a_step_has_set():
    explorer = make_explorer(temperature=2.0, steps=STEPS)
    assert explorer.bin == 58 and explorer.current()["step"] == 0
    explorer.temperature = 3.0  # which no step mentions
    states = []
    for explorer.step in (0, 1, 2, 3, 2, 0):
        states.append((explorer.score, explorer.threshold, explorer.ood, explorer.bin, explorer.temperature))
    assert states[1:4] == [
        ("energy", None, "near", None, 3.0),
        ("energy", 2.5, "near", None, 3.0),
        ("msp", None, "far", None, 3.0),  # a threshold and a bar end with their score
    ]
    assert states[4] == states[2] and states[5] == states[0]
    assert make_explorer(steps=STEPS, step=2).threshold == 2.5


def test_a_step_taken_in_the_browser_arrives_with_its_values():
    explorer = make_explorer(steps=STEPS)
    explorer.set_state({"step": 2, "score": "energy", "threshold": 2.25, "bin": None})
    assert (explorer.step, explorer.score, explorer.threshold) == (2, "energy", 2.25)


def test_bad_steps_get_one_clear_sentence():
    for steps, words in (
        ([("a", {"tau": 1})], "a step of NormExplorer cannot set 'tau'; known: loss, norm, angle, temperature, margin"),
        ([("a", {"loss": "sofmax"})], "unknown loss 'sofmax'"),
        ([("a", {"norm": "long"})], "norm"),
    ):
        with pytest.raises((ValueError, traitlets.TraitError), match=words):
            NormExplorer(steps=steps)
    with pytest.raises(traitlets.TraitError, match="below the number of steps, 1, got 1"):
        NormExplorer(steps=[("a", {})]).step = 1


def lit(page):
    settle(page)
    return page.locator(".ood-lit").evaluate_all(
        "all => all.map((n) => n.dataset.key ?? n.querySelector('[data-key]').dataset.key)"
    )


def test_a_path_is_followed_by_keyboard_and_screen_reader_and_is_in_the_address(visit):
    page = visit(make_explorer(steps=STEPS))
    assert lit(page) == ["scores"] and page.locator("h4").count() == 2  # the bar is open
    page.locator("[data-key=next]").focus()
    for _ in range(5):  # at the end it stays there, with the focus
        page.keyboard.press("Enter")
    expect(page.locator("[aria-live][data-key=step]")).to_have_text("4 of 4. <b>Another</b> set.")
    expect(page.locator("[aria-current=step]")).to_have_text("4")
    expect(page.locator("[data-key=ood]")).to_have_value("far")
    assert lit(page) == ["score", "ood"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # back
    expect(page.locator("[data-key=score]")).to_have_value("energy")
    assert lit(page) == ["threshold"]
    expect(page.locator("label:has([data-key=threshold]) output")).to_have_text("2.500")
    page.locator("[data-key=show]").press("Enter")
    expect(page.locator("[data-key=threshold]")).to_be_focused()
    focused = page.evaluate("[document.activeElement.dataset.key, document.activeElement.ariaDescription]")
    assert focused == ["threshold", "Accept more."]
    assert re.search(r"\bstep=2\b", address(page))
    other = visit(make_explorer(steps=STEPS), address="#step=2&temperature=3")
    assert other.locator(".ood-desk output:visible").all_text_contents()[::2] == ["2.500", "3.000", "none"]
    wrong = visit(make_explorer(steps=STEPS), address="#step=1.5")
    assert lit(wrong) == ["scores"]


def test_every_part_that_the_readme_names_is_in_its_widget(visit):
    names = {
        make_explorer: ("scores roc pr norms auroc aupr fpr95 accuracy id_in id_out ood_in ood_out", "score_explorer"),
        NormExplorer: ("dial logits probabilities gradient loss bound size radial", "norm_explorer"),
    }
    for make, (parts, _) in names.items():
        parts = parts.split()
        page = visit(make(steps=[("Look.", {}, part) for part in parts]))
        for k, part in enumerate(parts):
            page.evaluate(f"location.hash = '#step={k}'")
            expect(page.locator("[aria-current=step]")).to_have_text(str(k + 1))
            assert part in lit(page), part


def test_a_page_has_paths_that_its_address_chooses(visit, tmp_path):
    path = NormExplorer(steps=[("Longer.", {"norm": 9.0}), ("Shorter.", {"norm": 2.0}, "dial")]).saved_state()["steps"]
    NormExplorer().to_html(tmp_path / "page.html", paths={"two": path})
    page = visit(NormExplorer())
    assert page.locator("[aria-live][data-key=step]").count() == 0
    page.goto((tmp_path / "page.html").as_uri() + "#path=two&step=1")
    page.wait_for_selector("dd:not(:empty)")
    expect(page.locator("[aria-live][data-key=step]")).to_have_text("2 of 2. Shorter.")
    expect(page.locator("label:has([data-key=norm]) output")).to_have_text("2.0")
    page.locator("[data-key=back]").click()
    assert address(page) == "#path=two&norm=9"
