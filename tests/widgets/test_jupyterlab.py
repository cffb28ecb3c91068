"""The explorers in JupyterLab itself, as make lab starts it."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
from playwright.sync_api import expect
from waiting import wait_for

from ood_helpers.widgets.formats import format_percent


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
