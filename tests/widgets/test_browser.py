"""The widgets as a reader meets them: an exported page in Chromium with the network off, and JupyterLab itself."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import nbformat
import numpy as np
import psutil
import pytest

from ood_helpers.bench import explorer_latency as latency
from ood_helpers.course import html
from ood_helpers.widgets import NormExplorer, Playground, ScoreExplorer, link

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>$x^$"


@pytest.fixture
def visit(chromium, tmp_path):
    """Open an exported page with the network off; anything it asks for, and any error in it, fails the test."""
    contexts, trouble = [], []

    def open_page(widget, *beside, address="", **options):
        path = widget.to_html(tmp_path / f"page{len(contexts)}.html", *beside, title=options.pop("title", None))
        contexts.append(chromium.new_context(offline=True, **{"viewport": {"width": 1100, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or trouble.append(f"asked for {r.url}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning")
                and "willReadFrequently" not in message.text
                and trouble.append(message.text)
            ),
        )  # the clock's reading of pixels is slow on purpose
        page.goto(path.as_uri() + address)
        page.wait_for_selector("dd:not(:empty)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


def made(seed=0, names=("near", "far"), images=False, **options):
    random = np.random.default_rng(seed)
    n, classes = 400, options.pop("classes", ["cat", "dog", "frog", "ship"])
    labels = random.integers(0, 4, n)
    logits = random.normal(0, 1, (n, 4))
    logits[np.arange(n), labels] += random.normal(4, 1.5, n)
    sets = {"ID": logits} | {name: random.normal(0, 1.8, (300, 4)) for name in names}
    pictures = (
        {
            name: np.broadcast_to((np.arange(len(z)) % 25 * 10)[:, None, None, None], (len(z), 1, 8, 8)).astype(
                np.uint8
            )
            for name, z in sets.items()
        }
        if images
        else None
    )
    snapshots = {name: np.stack([z[:90] * k for k in (0.1, 0.5, 1)]) for name, z in sets.items()} | {
        "epochs": [0, 1, 9]
    }
    return ScoreExplorer.from_logits(
        logits,
        {name: sets[name] for name in names},
        labels=labels,
        classes=classes,
        images=pictures,
        snapshots=snapshots,
        **options,
    )


@pytest.fixture(scope="module")
def playground():
    return Playground(reach=12.0)


def text(page, key):
    return page.locator(f"[data-key='{key}']").first.text_content()


def settle(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def address(page):
    page.wait_for_timeout(320)  # it is written a quarter of a second after the last change
    return page.evaluate("location.hash")


def pixels(page, key="scores"):
    return page.evaluate("(k) => document.querySelector(`canvas[data-key=${k}]`).toDataURL()", key)


def test_readouts_equal_python(visit):
    explorer = made()
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
        parts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in explorer.current().items()}
        page.evaluate("(s) => { location.hash = new URLSearchParams(s); }", parts)
        settle(page)
        view = explorer.summary
        assert text(page, "auroc") == f"{view['metrics']['auroc']:.4f}"
        assert text(page, "aupr") == f"{view['metrics']['aupr_in' if explorer.positive == 'id' else 'aupr_out']:.4f}"
        assert abs(float(text(page, "fpr95")[:-2]) - 100 * view["metrics"]["fpr95"]) < 0.00501
        assert abs(float(text(page, "accuracy")[:-2]) - 100 * view["accuracy"]) < 0.00501
        cells = [int(text(page, key).split("%")[1]) for key in ("id_in", "id_out", "ood_in", "ood_out")]
        (a, b), (n, m) = view["accepted"], view["sizes"]
        assert cells == [a, n - a, b, m - b], change
    assert "positive" in page.locator("dt", has_text="FPR95").text_content()


def test_every_control_moves_the_picture_by_keyboard(visit):
    page = visit(made())
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


def test_an_address_restores_the_state_and_a_bad_one_is_ignored(visit):
    explorer = made()
    page = visit(explorer, address="#score=entropy&temperature=3&bin=59&log_scale=true")
    assert page.locator("[data-key=score]").input_value() == "entropy" and page.locator("h4").count() == 2
    bad = visit(
        explorer, address="#score=mps&temperature=-1&bin=1e9&epoch=%22x%22&run=<b>&__proto__=1&7.score=msp&target="
    )
    assert text(bad, "auroc") == f"{explorer.summary['metrics']['auroc']:.4f}"
    assert bad.locator(".ood-sliders output").all_text_contents()[1:] == ["95.0 %", "1.000", "9", "none"]


def test_a_clicked_bar_shows_its_images(visit):
    explorer = made(images=True)
    explorer.bin = 57
    picked = explorer.summary["picked"]
    assert min(len(part["items"]) for part in picked) > 1
    explorer.bin = None
    page = visit(explorer)
    box = page.locator("canvas[data-key=scores]").bounding_box()
    page.mouse.click(box["x"] + 52 + (box["width"] - 66) * 57.5 / 60, box["y"] + 60)
    page.wait_for_selector("figure canvas[height='8']")
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
    page.mouse.click(box["x"] + 52 + (box["width"] - 66) * 57.5 / 60, box["y"] + 60)  # again: closed
    page.wait_for_selector("figure", state="detached")


def test_the_threshold_line_can_be_dragged(visit):
    explorer = made()
    page = visit(explorer)
    box, view = page.locator("canvas[data-key=scores]").bounding_box(), explorer.summary

    def place(value):
        return box["x"] + 52 + (box["width"] - 66) * (value - view["low"]) / (view["high"] - view["low"])

    page.mouse.move(place(view["threshold"]), box["y"] + 100)
    page.mouse.down()
    page.mouse.move(place(0.8), box["y"] + 120, steps=4)
    page.mouse.up()
    explorer.threshold = float(re.search(r"threshold=([\d.]+)", address(page))[1])
    assert abs(explorer.threshold - 0.8) < 0.005
    assert [int(text(page, key).split("%")[1]) for key in ("id_in", "ood_in")] == explorer.summary["accepted"]
    assert page.locator("h4").count() == 0  # a drag opens no bar


def test_linked_explorers_move_together_in_a_page(visit):
    a, b = made(0, name="softmax"), made(1, name="logitnorm")
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
    a, b = made(0), made(1, threshold=0.99983)
    link(a, b, "score")
    page = visit(a, b)
    line = page.locator("label:has([data-key=threshold]) output").nth(1)
    assert line.text_content() == "0.9998"  # not 1.000
    page.locator("[data-key=score]").first.select_option("entropy")
    settle(page)
    a.score = "entropy"
    assert page.locator("[data-key=score]").nth(1).input_value() == b.score == "entropy"
    assert line.text_content() == f"{b.summary['threshold']:.3f}".replace("-", "−")


def test_a_long_name_has_room_in_its_box(visit):
    explorer = made(names=("near", "patches of photographs, in grey and very far away from any digit"))
    page = visit(explorer)
    page.locator("[data-key=ood]").select_option(explorer.data.oods[1])
    settle(page)
    room, needed, title = page.locator("[data-key=ood]").evaluate("""(select) => {
        const pen = document.createElement("canvas").getContext("2d");
        pen.font = getComputedStyle(select).font;
        return [select.clientWidth, pen.measureText(select.value).width, select.title]; }""")
    assert room > needed + 20 and title == explorer.data.oods[1]  # 20 for the arrow
    phone = visit(explorer, viewport={"width": 360, "height": 740})
    assert phone.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_hostile_names_are_text(visit):
    explorer = made(names=(HOSTILE, "far"), classes=[HOSTILE, "b", "c", "d"], name=HOSTILE, images=True)
    explorer.bin = 40
    page = visit(explorer, title=HOSTILE)
    assert page.title() == HOSTILE and page.locator("h1").text_content() == HOSTILE
    assert HOSTILE in page.locator("table").text_content() and HOSTILE in page.locator(".ood-gallery").text_content()
    assert page.locator("main img, main script").count() == 0
    norm = visit(NormExplorer(classes=[HOSTILE, *"bcde"]))
    assert HOSTILE in norm.locator("label", has_text="Direction").text_content() and norm.title() == "Norm explorer"
    explorer.static().savefig(os.devnull, format="png")  # and no formula to Matplotlib


def test_the_page_is_small_and_says_what_it_may_do(tmp_path):
    random = np.random.default_rng(0)
    images = {
        name: random.integers(0, 256, (10000, 3, 4, 4), dtype=np.uint8).repeat(8, 2).repeat(8, 3)
        for name in ("ID", "OOD")
    }
    path = ScoreExplorer.from_logits(
        random.normal(0, 3, (10000, 10)), random.normal(0, 1, (10000, 10)), images=images
    ).to_html(tmp_path / "new" / "page.html")
    content = path.read_text()
    (entry,) = json.loads(re.search(r'json" id="ood-data">(.*?)</script>', content)[1])
    assert len(content) < 2_000_000 and set(entry["sprites"]) == {"ID", "OOD"}
    assert "default-src 'none'; script-src 'sha256-" in content and "unsafe" not in content


REACH_OUT = """async () => {
    const refused = [], away = "https://example.org/";
    document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
    fetch(away).catch(() => {});
    for (const [tag, at] of Object.entries({ img: "src", script: "src", iframe: "src", object: "data", link: "href" }))
        document.body.append(Object.assign(document.createElement(tag), { [at]: away, rel: "stylesheet" }));
    document.body.append(Object.assign(document.createElement("script"), { textContent: "document.title = 'taken'" }));
    await new Promise((done) => setTimeout(done, 300));
    return refused;
}"""


@pytest.mark.parametrize(
    "write",
    [
        lambda path: made().to_html(path),
        lambda path: path.write_text(
            html.document("A page", "<p>of the site</p>", "document.body.dataset.alive = 1")
        ),
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
    for widget in (made(), NormExplorer(), playground):
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
    for change in ({}, {"loss": "logitnorm"}, {"loss": "meln", "margin": 3.0, "temperature": 0.5}, {"margin": 0.0}):
        for name, value in change.items():
            setattr(widget, name, value)
        page.evaluate(
            "(s) => { location.hash = new URLSearchParams(s); }", {k: str(v) for k, v in widget.current().items()}
        )
        settle(page)
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


def test_playground_answers_for_every_loss_without_python(visit, playground):
    page, widget = visit(playground), playground
    assert page.locator("[data-key=retrain]").is_disabled()
    for loss in widget.choices["loss"]:
        widget.loss = loss
        page.locator("[data-key=loss]").select_option(loss)
        for x in (-8.04, 6.0):
            widget.x = x
            page.evaluate("(address) => { location.hash = address; }", f"x={x}&reach=12.0&loss={loss}")
            settle(page)
            assert abs(float(text(page, "top")[:-2]) - 100 * widget.answer["top"]) < 0.02, loss
    box, before = page.locator("canvas[data-key=plane]").bounding_box(), pixels(page, "plane")
    page.mouse.click(box["x"] + 100, box["y"] + 100)
    settle(page)
    assert pixels(page, "plane") != before


def frames_above(page, steps, controls=tuple(latency.ALLOWED)):
    """Frames above the null widget, at the median; the best of three tries, as a busy machine only ever adds."""
    best = {}
    for _ in range(3):
        times = latency.compare(page, steps, controls)
        print("\n" + latency.table(times))
        for name in controls:
            above = (np.median(times[name]) - np.median(times["null"])) / latency.FRAME
            best[name] = min(best.get(name, np.inf), above)
        if all(best[name] <= latency.ALLOWED[name] for name in controls):
            break
    return best


def test_a_key_press_is_answered_within_a_frame_or_two(visit):
    page = visit(latency.example(10_000))
    above = frames_above(page, 10)
    assert all(above[control] <= allowed for control, allowed in latency.ALLOWED.items()), above
    page.evaluate("""() => document.querySelector("[data-key=temperature]").addEventListener("input", () => {
        const end = performance.now() + 100; while (performance.now() < end); })""")
    assert frames_above(page, 4, ("temperature",))["temperature"] > 2  # a stall is noticed


NOTEBOOK = """
import json
from pathlib import Path
import numpy as np
from ipywidgets import HBox
from ood_helpers.widgets import score_explorer
from ood_helpers.bench import explorer_latency as latency
from ood_helpers.widgets import ScoreExplorer, link

a, b = latency.example(10_000), latency.example(500)
link(a, b, "temperature", "target")
def tell(change):
    Path("state.json").write_text(json.dumps([a.current(), b.current(), c.summary["metrics"]["auroc"]]))
score_explorer.BUDGET = 1000
random = np.random.default_rng(0)
c = ScoreExplorer.from_logits(random.normal(0, 3, (300, 4)), random.normal(0, 2, (200, 4)), bin=40,
                              images={name: np.zeros((n, 1, 8, 8), np.uint8) for name, n in (("ID", 300), ("OOD", 200))})
for widget in (a, b, c):
    widget.observe(tell)
tell(None)
display(HBox([a, b]), c)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as make lab starts it, with an empty home and a free port: (its folder, what it says of itself)."""
    home = tmp_path_factory.mktemp("lab")
    cell = nbformat.v4.new_code_cell(NOTEBOOK)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), home / "demo.ipynb")
    places = {f"JUPYTER_{name}_DIR": str(home / f"{name.lower()}") for name in ("CONFIG", "DATA", "RUNTIME")}
    paths = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(home / "ipython"), "HOME": str(home)}
    recipe = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = shlex.split(recipe.replace("\\\n", " ").rpartition(" -m jupyterlab ")[2])
    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                *options,
                "--no-browser",
                "--expose-app-in-browser",
                "--ServerApp.port=0",
                f"--ServerApp.root_dir={home}",
                "--LabApp.news_url=",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            cwd=home,
            env=os.environ | places | paths,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:

        def found():
            return next(iter((home / "runtime").glob("jpserver-*.json")), None)

        wait(found, 30, lambda: (home / "lab.log").read_text()[-2000:])
        wait(lambda: found().read_text().rstrip().endswith("}"))
        yield home, json.loads(found().read_text())
    finally:
        server.terminate()
        server.wait(20)


def wait(condition, seconds=15, why=lambda: ""):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.05)


def test_the_lab_asks_for_its_token_and_listens_on_the_loopback_alone(lab):
    info = lab[1]

    def ask(path, token=None, **options):
        headers = {"Authorization": f"token {token}"} if token else {}
        try:
            with urlopen(Request(f"{info['url']}{path}", headers=headers, **options)) as answer:
                return answer.status
        except HTTPError as refusal:
            return refusal.code

    assert len(info["token"]) >= 32
    for path in ("api/contents", "api/kernels", "api/terminals"):
        assert [ask(path), ask(path, "0" * 48), ask(path, info["token"])] == [403, 403, 200]
    assert ask("api/kernels", info["token"], method="POST", data=b"{}") == 201
    server = psutil.Process(info["pid"])
    wait(lambda: [p for p in server.children(True) if p.net_connections("tcp4")])  # the kernel has opened its ports
    listening = {
        process.pid: [c.laddr for c in process.net_connections("inet") if c.status in ("LISTEN", "NONE")]
        for process in (server, *server.children(recursive=True))
    }
    assert {port for _, port in listening[server.pid]} == {info["port"]}
    assert {address for places in listening.values() for address, _ in places} == {"127.0.0.1"}


def test_jupyterlab_end_to_end(chromium, lab):
    home, info = lab
    page = chromium.new_page(viewport={"width": 1500, "height": 1000})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{info['url']}lab/tree/demo.ipynb?reset&token={info['token']}")
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=60_000,
    )
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".ood-explorer >> nth=2", timeout=60_000)
    page.wait_for_selector("dd[data-key=auroc]:not(:empty) >> nth=2")
    told = lambda: json.loads((home / "state.json").read_text() or "[{}, {}, 0]")  # noqa: E731

    def moved(name, before):
        wait(lambda: told()[0].get(name, before) != before, why=lambda: f"{name} stayed {before}")

    # Real key presses reach Python, and the linked explorer moves with them.
    for control in ("temperature", "target"):
        before, second = told()[0][control], page.locator("canvas[data-key=scores]").nth(1)
        picture = second.evaluate("c => c.toDataURL()")
        page.locator(f"[data-key={control}]").first.focus()
        for _ in range(3):
            page.keyboard.press("ArrowLeft")
        moved(control, before)
        wait(lambda: told()[0].get(control) == told()[1].get(control, ""))
        assert told()[0][control] < before and second.evaluate("c => c.toDataURL()") != picture
    before = told()[0]["score"]
    page.locator("[data-key=score]").first.focus()
    page.keyboard.press("ArrowDown")
    moved("score", before)
    assert told()[0]["score"] == "max_logit" and told()[1]["score"] == "msp"  # which was not linked

    # Python moves the picture, through another cell.
    page.evaluate("""async () => { const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        await kernel.requestExecute({ code: "a.score = 'msp'; b.temperature = 1.0" }).done; }""")
    wait(lambda: page.locator("[data-key=score]").first.input_value() == "msp")
    wait(lambda: set(page.locator("label:has([data-key=temperature]) output").all_text_contents()[:2]) == {"1.000"})

    # Above the budget the kernel computes; the images come from it too.
    third = page.locator(".ood-explorer").nth(2)
    third.locator("figure canvas[height='8']").first.wait_for()
    threshold = third.locator("label:has([data-key=threshold]) output").text_content()
    third.locator("[data-key=temperature]").focus()
    page.keyboard.press("ArrowRight")
    wait(lambda: third.locator("label:has([data-key=threshold]) output").text_content() != threshold)
    wait(lambda: abs(float(third.locator("[data-key=auroc]").text_content()) - told()[2]) < 6e-5)

    above = frames_above(page, 8, ("threshold", "temperature"))
    assert all(above[control] <= latency.ALLOWED[control] for control in ("threshold", "temperature")), above
    assert not errors
    page.close()
