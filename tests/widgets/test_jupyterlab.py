"""The explorers in JupyterLab itself, as make lab starts it."""

import io
import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import psutil
from accessibility import AUDITED, audit
from PIL import Image
from playwright.sync_api import expect
from waiting import wait_for

from ood_helpers.widgets.formats import format_percent


def audit_widgets(page):
    """No violation in the widgets of a page, in JupyterLab's light and dark theme."""
    for theme in ("JupyterLab Light", "JupyterLab Dark") if AUDITED else ():
        page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
        page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
        assert audit(page, inside=".ood-widget") == [], theme


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
    wait_for(lambda: [p for p in server.children(True) if p.net_connections("tcp4")])  # the kernel has opened its ports
    listening = {
        process.pid: [c.laddr for c in process.net_connections("inet") if c.status in ("LISTEN", "NONE")]
        for process in (server, *server.children(recursive=True))
    }
    assert {port for _, port in listening[server.pid]} == {info["port"]}
    assert {address for places in listening.values() for address, _ in places} == {"127.0.0.1"}


def test_widgets_kernel_and_links_in_jupyterlab(lab, lab_page):
    (home, _), page = lab, lab_page

    def state():
        return json.loads((home / "state.json").read_text() or "[{}, {}, 0]")

    def moved(name, before):
        wait_for(lambda: state()[0].get(name, before) != before, why=lambda: f"{name} stayed {before}")

    # Real key presses reach Python, and the linked explorer moves with them.
    for control in ("temperature", "target"):
        before, second = state()[0][control], page.locator("canvas[data-key=scores]").nth(1)
        picture = second.evaluate("c => c.toDataURL()")
        page.locator(f"[data-key={control}]").first.focus()
        for _ in range(3):
            page.keyboard.press("ArrowLeft")
        moved(control, before)
        wait_for(lambda name=control: state()[0].get(name) == state()[1].get(name, ""))
        assert state()[0][control] < before
        wait_for(lambda canvas=second, old=picture: canvas.evaluate("c => c.toDataURL()") != old)
    before = state()[0]["score"]
    page.locator("[data-key=score]").first.focus()
    page.keyboard.press("ArrowDown")
    moved("score", before)
    assert state()[0]["score"] == "max_logit" and state()[1]["score"] == "msp"  # which was not linked

    # Python moves the picture, through another cell.
    page.evaluate("""async () => { const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        await kernel.requestExecute({ code: "a.score = 'msp'; b.temperature = 1.0" }).done; }""")
    expect(page.locator("[data-key=score]").first).to_have_value("msp")
    temperatures = page.locator("label:has([data-key=temperature]) output")
    for which in (0, 1):
        expect(temperatures.nth(which)).to_have_text("1.000")

    # Above the budget every second image is taken; the pixels of a bar come from the kernel.
    third = page.locator(".ood-explorer").nth(2)
    expect(third.locator(".ood-note")).to_contain_text("One image in 2")
    third.locator("figure canvas[height='8']").first.wait_for()
    threshold = third.locator("label:has([data-key=threshold]) output").text_content()
    third.locator("[data-key=temperature]").focus()
    page.keyboard.press("ArrowRight")
    expect(third.locator("label:has([data-key=threshold]) output")).not_to_have_text(threshold)
    wait_for(lambda: third.locator("[data-key=auroc]").text_content() == format_percent(state()[2]))
    audit_widgets(page)


def test_a_drawing_and_a_picture_reach_python_in_jupyterlab(lab, open_notebook):
    home, _ = lab
    page = open_notebook("drawing", ready=".ood-picker [data-key=answer-0]:not(:empty)")

    def state():
        """[image, logits, sentence] of the sketchpad and of the picker, as Python has them."""
        return [[np.array(a), np.array(z), text] for a, z, text in json.loads((home / "drawing.json").read_text())]

    def shows(widget, k):
        """The page says what Python does, once both have the last change."""
        norm, sentence = widget.locator("[data-key=norm-0]"), widget.locator(".ood-sentence")
        wait_for(lambda: sentence.text_content() == state()[k][2])
        wait_for(lambda: norm.text_content() == f"{np.linalg.norm(state()[k][1]):.1f}")

    # A line by the mouse, and one by keys that JupyterLab has its own use for.
    pad, picker = page.locator(".ood-sketchpad"), page.locator(".ood-picker")
    canvas = pad.locator("[data-key=pad]")
    pad.locator("[data-key=clear]").click()
    wait_for(lambda: state()[0][0].sum() == 0)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y, cell = box["x"] + box["width"] / 2, box["y"], box["width"] / 32
    page.mouse.move(x, y + 4 * cell)
    page.mouse.down()
    page.mouse.move(x, y + 28 * cell, steps=6)
    page.mouse.up()
    wait_for(lambda: state()[0][0][6:, 3:5].sum() > 10)
    assert state()[0][0][1:7, 3:5].min() >= 4 and state()[0][0][:, [0, 1, 6, 7]].sum() == 0
    shows(pad, 0)
    expect(pad.locator("[data-key=network-0]")).to_be_checked()  # the two tables are not one group of radio buttons
    expect(picker.locator("[data-key=network-0]")).to_be_checked()
    canvas.press("Delete")
    wait_for(lambda: state()[0][0].sum() == 0)
    for key in ("Space", *["Shift+ArrowLeft"] * 3, "Space"):
        page.keyboard.press(key)
    wait_for(lambda: state()[0][0][1:3, 1:5].min() > 0)
    assert state()[0][0][4:].sum() == 0
    shows(pad, 0)
    page.evaluate("""async () => { const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        await kernel.requestExecute({ code: "pad.drawing = 'g' * 64" }).done; }""")
    expect(pad.locator("[data-key=seen]")).to_have_attribute("aria-label", f"The drawing as 8 by 8 counts:{' 16' * 64}")

    # A file of one's own is cropped to its middle square, which is red.
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96, 0] = 255
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    file = {"name": "red.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    picker.locator("[data-key=file]").set_input_files(file)
    wait_for(lambda: (state()[1][0] == [255, 0, 0]).all())
    shows(picker, 1)
    assert "your own picture" in state()[1][2]
    picker.locator("[data-key=crop]").press("ArrowLeft")
    wait_for(lambda: (state()[1][0][:, 0] == 0).all())
    picker.locator("[data-key=picture-ship]").press("Enter")
    wait_for(lambda: "“ship”" in state()[1][2])
    shows(picker, 1)
    audit_widgets(page)
