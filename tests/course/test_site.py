"""The static site in a real browser with the network off: pages, figures in words, explorers, slides."""

import html
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl

import nbformat
import numpy as np
import pytest
from accessibility import COLORS, audit, needs_axe
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import expect
from waiting import address, settle, wait_for

from ood_helpers import Config, fit, papers
from ood_helpers.course import explorers, front, notebooks
from ood_helpers.course import site as course
from ood_helpers.widgets import NormExplorer, Playground, ScoreExplorer, Sketchpad, link

ROOT = Path(__file__).parents[2]
STEMS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site of the committed notebooks, with explorers of made-up logits; nothing is trained."""
    random = np.random.default_rng(0)

    def scores(names):
        sets = {name: random.normal(0, 2, (60, 6)) for name in names}
        return ScoreExplorer.from_logits(random.normal(0, 4, (80, 6)), sets, name="Softmax (CE), seed 0")

    def pair(names):
        both = scores(names), scores(names)
        link(*both, *explorers.SHARED)
        return both

    digits, photographs = ("near", "letters", "patches", "noise"), papers.shipped("cifar10")["softmax"][0].config.ood
    configs = [Config(loss=loss, epochs=1, limit=60, ood=("letters",)) for loss in ("softmax", "logitnorm")]
    runs = [fit(config, tmp_path_factory.mktemp("runs"), progress=False) for config in configs]
    live = {
        "sketchpad": ("Draw", [Sketchpad(runs)]),
        "scores": ("Scores", [scores(digits)]),
        "scores_pair": ("Two losses", pair(digits)),
        "photographs": ("Photographs", [scores(photographs)]),
        "photographs_pair": ("Two losses on photographs", pair(photographs)),
        "norm": ("Norm", [NormExplorer()]),
        "playground": ("Plane", [Playground()]),
    }
    return course.site(tmp_path_factory.mktemp("site"), ROOT / "notebooks", live).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What `make course` writes."""
    target = tmp_path_factory.mktemp("course")
    course.course(target, ROOT / "notebooks")
    return target


class Elements(HTMLParser):
    """All start tags of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def of(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


def pages_of(folder):
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.html"))}


# Without a browser


def test_the_start_page_leads_students_to_their_notebooks_and_teachers_to_theirs(made):
    links = re.findall(
        r"\]\(((?:student|teacher|slides)/[^)]+)\)", nbformat.read(made / "start.ipynb", 4).cells[0].source
    )
    assert len(links) == 3 * len(STEMS) and all((made / link).exists() for link in links)


@pytest.mark.parametrize("stem", STEMS)
def test_slides_show_the_question_the_rooms_questions_and_every_figure_and_no_solution(made, stem):
    page = (made / "slides" / f"{stem}.html").read_text(encoding="utf-8")
    cells = nbformat.read(ROOT / f"notebooks/{stem}.ipynb", 4).cells
    pictures = sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))
    assert page.count("<img ") == pictures and page.count("<section") > pictures
    assert "Question.</strong>" in page and "Questions for the room" in page
    assert "def " not in page and "A solution" not in page
    tasks = [cell.source.split("**")[1] for cell in cells if "task" in cell.metadata.get("tags", ())]
    assert tasks and all(f"<strong>{task}</strong>" in page for task in tasks)
    findings = re.findall(r"^\*\*Finding", "\n\n".join(c.source for c in cells if c.cell_type == "markdown"), re.M)
    assert page.count("<strong>Finding") == len(findings)  # conclusions are on slides


def test_every_notebook_has_its_page_and_its_slides_and_all_links_lead_somewhere(built):
    written = pages_of(built)
    assert {*STEMS, *(f"{stem}_slides" for stem in STEMS), "index"} <= set(written)
    for name, text in written.items():
        page = Elements(text)
        places = [a["href"] for a in page.of("a")] + [frame["src"] for frame in page.of("iframe")]
        local = [place.partition("#")[0] for place in places if not place.startswith(("http", "#"))]
        assert [place for place in local if not (built / place).is_file()] == [], name


def test_the_front_page_has_the_pad_the_path_and_a_picture_of_every_notebook(built):
    page = Elements((built / "index.html").read_text(encoding="utf-8"))
    (frame,) = page.of("iframe")
    assert frame["src"] == "sketchpad.html"
    assert sum((built / name).stat().st_size for name in ("index.html", "sketchpad.html")) < 1_000_000
    links = [a["href"] for a in page.of("a")]
    assert all(step.page + ".html" in {link.partition("#")[0] for link in links} for step in front.PATH)
    assert [link for link in links if link.removesuffix(".html") in STEMS] == [f"{stem}.html" for stem in STEMS]
    assert len(page.of("img")) == len(STEMS)


def test_the_contents_of_a_page_lead_to_its_sections(built):
    for stem in STEMS:
        page = Elements((built / f"{stem}.html").read_text(encoding="utf-8"))
        names = [heading["id"] for heading in page.of("h2")]
        assert len(names) > 2 and len(set(names)) == len(names), stem
        assert [a["href"] for a in page.of("a") if a["href"].startswith("#")][1:] >= [f"#{name}" for name in names]


def test_pages_load_nothing(built):
    for name, text in pages_of(built).items():
        page = Elements(text)
        loaded = [a.get("src") or a.get("href") for a in page.of("script", "link", "img", "source", "video")]
        assert all(place is None or place.startswith("data:") for place in loaded), name
        assert not re.search(r"url\(\s*['\"]?http|@import|https?://[^\"' ]+\.(js|css|woff2?)\b", text), name
        assert "default-src 'none'" in text


def test_every_picture_has_an_alternative_text_with_numbers_and_a_caption(built):
    for stem in STEMS:
        text = (built / f"{stem}.html").read_text(encoding="utf-8")
        pictures = Elements(text).of("img")
        assert pictures
        for each in pictures:
            assert len(each["alt"]) > 30 and re.search(r"\d", each["alt"]), each["alt"]
            assert "in the text below" not in each["alt"]  # save_figure described it
        captions_ = re.findall(r"<figcaption>(.*?)</figcaption>|The figure in words</summary><p>(.*?)</p>", text, re.S)
        captions_ = ["".join(each) for each in captions_]
        assert len(captions_) + text.count("<iframe") == text.count("<figure>") >= len(pictures)
        assert all(re.search(r"\d", caption) for caption in captions_)


def test_explorers_stand_where_the_notebooks_have_them_and_begin_in_their_state(built):
    frames = {stem: Elements((built / f"{stem}.html").read_text(encoding="utf-8")).of("iframe") for stem in STEMS}
    assert sum(map(len, frames.values())) >= 6 and all(frames[stem] for stem in STEMS[:6])
    for each in itertools.chain(*frames.values()):
        assert "=" in each["src"].partition("#")[2] and each["title"]


def test_formulas_are_mathml_and_none_is_left_as_source(built):
    for stem in STEMS:
        text = (built / f"{stem}.html").read_text(encoding="utf-8")
        plain = re.sub(r"<(pre|math|script|style|figure|code)\b.*?</\1>", "", text, flags=re.S)
        assert "oodformula" not in text and "$" not in plain, stem
        commands = re.findall(r"<m[ion][^>]*>\\\w+<", text)
        assert not commands, commands


def test_command_line_names_its_targets(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ood_helpers.course", "sites"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode and done.stderr.strip().endswith("figures|course|site. Did you mean site?")
    with pytest.raises(ValueError, match="there is no notebook in"):
        course.site(tmp_path / "site", tmp_path, {"scores": None})
    assert not (tmp_path / "site").exists()


RUNS = ["Softmax (CE), seed 0", "IsoMax", "MELN, T > 0"]


@pytest.mark.parametrize(
    "states, fragment",
    [
        (
            [{"run": "Softmax (CE)", "score": "energy", "threshold": None}],
            "run=Softmax+%28CE%29%2C+seed+0&score=energy",
        ),
        (
            [{"run": "IsoMax, seed 2", "log_scale": True}, {"run": "unknown", "ood": "far"}],
            "run=IsoMax&log_scale=true&1.ood=far",
        ),
    ],
)
def test_an_address_opens_a_page_in_a_saved_state(states, fragment):
    assert explorers.address([{"state": state} for state in states], RUNS) == fragment


def test_a_saved_explorer_opens_on_the_page_that_has_its_data():
    def scores(*names, **options):
        return ScoreExplorer.from_logits(np.eye(3), {name: np.eye(3) for name in names}, **options)

    digits, photographs = ("near", "noise"), ("svhn", "noise")
    live = {
        "digits": ("", [scores(*digits)]),
        "digits_pair": ("", [scores(*digits), scores(*digits)]),
        "photographs": ("", [scores(*photographs)]),
        "norm": ("", [NormExplorer()]),
    }

    def page(*widgets):
        return explorers.page_for([widget.saved_state() for widget in widgets], live)

    assert page(scores("noise", "near")) == page(scores("noise")) == "digits"
    assert page(scores(*photographs, ood="noise")) == "photographs"  # the set that is shown is in both
    assert page(scores(*digits), scores("noise")) == "digits_pair"
    assert page(NormExplorer()) == "norm"
    assert page(scores("strange")) is None and page(scores(*photographs), scores(*photographs)) is None
    old = {"page": "scores", "state": {"ood": "noise"}, "steps": [{"state": {"ood": "svhn"}}]}  # without "sets"
    assert explorers.page_for([old], live) == "photographs"


CELLS = (
    """import pandas, numpy as np, matplotlib.pyplot as plt
from ood_helpers import save_figure
from ood_helpers.widgets import NormExplorer, ScoreExplorer, SideBySide
z = np.random.default_rng(0).normal(size=(40, 3))""",
    """fig, ax = plt.subplots()
ax.plot([1, 2, 3], label="norm")
save_figure(fig, "norms")
print("from 1 to 3")""",
    'display(NormExplorer(norm=3.0, loss="logitnorm", steps=[("Make it longer.", {"norm": 9.0}, "dial")]))',
    "display(SideBySide(*(ScoreExplorer.from_logits(z, z / 2, name=name) for name in ('IsoMax', 'MELN'))))",
    'pandas.DataFrame({"FPR95": [12.5]})',
)


def test_an_executed_notebook_becomes_a_page_with_its_figure_its_explorers_and_its_table(tmp_path, monkeypatch):
    for name in ("DATA", "DEVICE", "RUNS", "OOD_FIGURES", "OOD_NOTEBOOK"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    cells = [new_markdown_cell("# 1. A title\n\n**Question.** Why?"), *map(new_code_cell, CELLS)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks/01_title.ipynb")
    notebooks.regenerate("digits", "cpu")
    logits = np.zeros((4, 3))
    pair = [ScoreExplorer.from_logits(logits, logits, name="IsoMax, seed 0") for _ in range(2)]
    live = {"scores": ("Scores", pair[:1]), "scores_pair": ("Two", pair), "norm": ("Norm", [NormExplorer()])}
    text = (course.site(live=live).parent / "01_title.html").read_text(encoding="utf-8")
    page = Elements(text)
    saved = json.loads((tmp_path / "figures/digits/norms.json").read_text())
    assert [each["alt"] for each in page.of("img")] == [saved["alt"]]
    assert "<figcaption>from 1 to 3</figcaption>" in text and "12.5" in text and "dataframe" in text
    states = [dict(parse_qsl(frame["src"].partition("#")[2])) for frame in page.of("iframe")]
    assert [frame["src"].partition("#")[0] for frame in page.of("iframe")] == ["norm.html", "scores_pair.html"]
    assert (states[0]["loss"], states[0]["norm"], states[0]["path"]) == ("logitnorm", "9.0", "path1")
    live_page = (tmp_path / "site/norm.html").read_text()
    assert '"paths": {"path1": [' in live_page and '"sentence": "Make it longer."' in live_page
    assert (states[1]["run"], states[1]["1.score"], states[1]["log_scale"]) == ("IsoMax, seed 0", "msp", "false")


# In Chromium


@pytest.fixture
def visit(chromium, built):
    """Open a page of the site with the network off; a request for anything but files, or an error, fails."""
    contexts, trouble = [], []

    def open_page(name, **options):
        contexts.append(chromium.new_context(offline=True, **{"viewport": {"width": 1100, "height": 800}} | options))
        page = contexts[-1].new_page()
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or trouble.append(f"asked for {r.url}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
        page.goto((built / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


def test_from_the_index_through_all_notebooks_by_their_links(visit):
    page = visit("index")
    assert page.locator(".cards li").count() == len(STEMS)
    page.locator(".cards h3 a").first.click()
    for stem in STEMS:
        expect(page).to_have_url(re.compile(f"/{stem}.html$"))
        expect(page.locator("h1")).to_have_count(1)
        if stem != STEMS[-1]:
            page.locator("a[rel=next]").first.click()
    page.wait_for_load_state()
    assert page.locator("a[rel=next]").count() == 0
    page.locator("a[rel=prev]").first.click()
    page.get_by_role("link", name="Contents").first.click()
    expect(page).to_have_url(re.compile("/index.html$"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_fits_a_phone_and_follows_the_theme(visit, theme):
    page = visit("index", viewport={"width": 360, "height": 740}, color_scheme=theme, device_scale_factor=2)
    for stem in ("index", *STEMS):
        page.goto(page.url.rpartition("/")[0] + f"/{stem}.html")
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), stem
        assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('p')).fontSize)") >= 16
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(22, 23, 27)"
    assert dark == (theme == "dark")


def test_pictures_and_formulas_are_drawn(visit):
    page = visit(STEMS[2])
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 200)")
    sizes = [formula.bounding_box()["height"] for formula in page.locator("math[display=block]").all()]
    assert sizes and min(sizes) > 15


def test_an_embedded_explorer_is_alive_and_keeps_its_state_in_its_address(visit, built):
    page = visit(STEMS[0])
    frame = page.locator("iframe[src*='ood=']").first
    frame.scroll_into_view_if_needed()
    inside = frame.content_frame
    inside.locator("dd:not(:empty)").first.wait_for()
    state = html.unescape(frame.get_attribute("src")).partition("#")[2]
    expect(inside.locator("[data-key=ood]").first).to_have_value(re.search("ood=(\\w+)", state)[1])
    content = inside.locator("main").evaluate("(node) => Math.ceil(node.getBoundingClientRect().height)")
    wait_for(lambda: frame.evaluate("(node) => node.clientHeight") == content)
    inside.locator("[data-key=score]").first.select_option("entropy")
    inside.locator("[data-key=ood]").first.select_option("noise")
    written = address(inside.locator("main"))
    assert "score=entropy" in written and "ood=noise" in written
    again = visit("scores")
    again.goto((built / "scores.html").as_uri() + written)
    expect(again.locator("[data-key=ood]")).to_have_value("noise")


def test_solutions_are_folded_and_open_by_keyboard(visit):
    page = visit(STEMS[0])
    solution = page.locator("summary", has_text="A solution").first
    assert not page.get_by_text("a shift changes no softmax", exact=False).first.is_visible()
    solution.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("a shift changes no softmax", exact=False).first).to_be_visible()


def test_everything_that_can_be_used_is_reached_by_tab_and_shows_it(visit):
    page = visit(STEMS[6])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
        assert page.evaluate(
            "document.activeElement === document.body || "
            "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )
    assert {"A", "SUMMARY", "PRE"} <= reached


def wait_for_slide(page, place):
    slide = page.locator("section").nth(place - 1)
    wait_for(lambda: abs(slide.evaluate("(slide) => slide.getBoundingClientRect().top")) < 5)


def test_slides_move_by_keys_and_keep_their_place_in_the_address(visit):
    page = visit(f"{STEMS[2]}_slides")
    count = page.locator("section").count()
    assert count > 8
    for key, place in (("ArrowRight", 2), ("PageDown", 3), (" ", 4), ("ArrowLeft", 3), ("End", count), ("Home", 1)):
        page.keyboard.press(key)
        expect(page).to_have_url(re.compile(f"#{place}$"))
        wait_for_slide(page, place)
    assert "Questions for the room" in page.locator("section").nth(1).text_content()
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def resize(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    wait_for(lambda: page.evaluate("[innerWidth, innerHeight]") == [width, height])
    settle(page)


def test_slides_fill_the_screen_show_notes_and_have_large_type(visit):
    page = visit(f"{STEMS[0]}_slides")
    page.evaluate("document.documentElement.requestFullscreen = () => { document.title = 'full'; }")
    page.keyboard.press("f")
    expect(page).to_have_title("full")
    notes = page.locator(".notes").first
    expect(notes).to_be_hidden()
    page.keyboard.press("n")
    expect(notes).to_be_visible()
    expect(notes).to_contain_text("Answer.")
    page.keyboard.press("n")
    resize(page, 1280, 720)
    sizes = page.locator("section").evaluate_all(
        """all => all.flatMap((s) => [...s.querySelectorAll("p, li, figcaption, pre, td, a")])
        .map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert min(sizes) >= 18
    assert page.locator("section iframe").count() >= 2  # explorers are live


def test_no_slide_is_larger_than_the_screen(visit):
    page = visit("index")
    for stem in STEMS:
        page.goto(page.url.rpartition("/")[0] + f"/{stem}_slides.html")
        page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
        for width, height in ((1280, 720), (1024, 768)):
            resize(page, width, height)
            sizes = page.locator("section").evaluate_all(
                "all => all.map((s) => [s.getBoundingClientRect().height, s.scrollHeight, s.scrollWidth])"
            )
            assert (np.max(sizes, axis=0) <= (height, height, width)).all(), stem
            pictures = page.locator("section img").evaluate_all("all => all.map((image) => image.clientHeight)")
            assert min(pictures) > height / 4, stem


def test_from_a_slide_to_its_live_explorer_and_back(visit):
    page = visit(f"{STEMS[0]}_slides")
    link = page.locator("section a", has_text="Open it alone").first
    place = link.evaluate("(a) => [...document.querySelectorAll('section')].indexOf(a.closest('section')) + 1")
    page.evaluate("(place) => { location.hash = place; }", place)
    link.click()
    page.wait_for_selector("dd:not(:empty)")
    page.go_back()
    wait_for_slide(page, place)


def test_an_address_opens_its_slide_also_behind_pictures(visit):
    page = visit(f"{STEMS[2]}_slides")
    for place in (12, 5):
        page.evaluate("(place) => { location.hash = place; }", place)
        wait_for_slide(page, place)
        page.reload()
        wait_for_slide(page, place)


def test_the_path_shows_its_steps_in_the_frame_and_keeps_them_in_the_address(visit):
    page = visit("index")
    frame, present = page.locator("iframe"), page.locator(".path a[aria-current=step]")
    page.get_by_role("button", name="Six steps").click()
    expect(page.locator(".place")).to_have_text("Step 1 of 6")
    expect(page.locator(".back")).to_be_hidden()
    for _ in range(3):
        page.get_by_role("button", name="Next step").click()
    expect(present).to_have_text("Choose a loss")
    expect(frame).to_have_attribute("src", re.compile("^playground.html#loss"))
    expect(page).to_have_url(re.compile("#step=4$"))
    page.frame_locator("iframe").locator("[data-key=status]", has_text="Step").wait_for()
    page.reload()
    expect(present).to_have_text("Choose a loss")
    page.locator(".path a", has_text="Set a threshold").click()
    expect(page.locator(".task")).to_have_text(re.compile("^Drag the line"))


def test_a_figure_is_enlarged_by_a_click_and_by_keyboard(visit):
    page = visit(STEMS[1])
    button, large = page.locator("button.enlarge").first, page.locator("dialog.large")
    button.click()
    expect(large).to_be_visible()
    assert large.locator("img").bounding_box()["width"] > button.bounding_box()["width"]
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    large.click(position={"x": 5, "y": 5})
    expect(large).to_be_hidden()


@needs_axe
def test_an_audit_finds_no_violation_on_any_page(visit, built):
    page = visit("index")
    for name in sorted(pages_of(built)):
        page.emulate_media(color_scheme="light")
        page.goto((built / f"{name}.html").as_uri())
        assert audit(page) == [], name
        page.emulate_media(color_scheme="dark")
        assert audit(page, rules=COLORS) == [], name
    page.evaluate("document.body.append(document.createElement('img'))")
    assert [rule for rule, _ in audit(page)] == ["image-alt"]
    page.evaluate("Object.assign(document.querySelector('main p').style, { color: '#888', background: '#777' })")
    assert [rule for rule, _ in audit(page, rules=COLORS)] == ["color-contrast"]


# In Firefox

FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
NODE_MODULES = ROOT / ".venv/node_modules"
needs_firefox = pytest.mark.skipif(
    not (FIREFOX and (NODE_MODULES / "puppeteer-core").is_dir()) and not os.environ.get("CI"),
    reason="needs Firefox, and puppeteer-core, which make test installs where npm is",
)


@needs_firefox
def test_the_front_page_and_the_explorers_work_in_firefox(built):
    script = Path(__file__).with_name("firefox.mjs")
    command = ["node", script, NODE_MODULES, FIREFOX or "firefox", built.as_uri(), STEMS[2]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["problems"] == []
    seen = found["seen"]
    assert len({seen["opened"], seen["cleared"], seen["drawn"]}) == 3
    for name, words in (("scores", "at threshold"), ("norm", "pulls the norm"), ("playground", "the network predicts")):
        assert all(words in sentence for sentence in seen[name]), name
    assert min(seen["pictures"]) > 200
