"""The page of ``planner explain`` in a real headless Chromium: charts are drawn, nothing is fetched
or complained of, it fits phones and desks, light and dark, and axe finds no fault."""

import shutil
from pathlib import Path

import pytest

from planner.explain.document import explain
from planner.question import Question
from planner.report.formats.parts.explained import render

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
HOSTILE = "<img src=x onerror=window.hit=1>'\"</script><script>window.hit=1</script>"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        BROWSER is None, reason="NO CHROMIUM: the page of planner explain was not opened"
    ),
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    pytest.importorskip("vl_convert")
    document = explain(
        Question(
            model="Llama-3.2-1B", samples=20_000, tokens_per_sample=400, gpu="h100",
            strategy=["fine_tune"],
        ),
        changes=False,
    )  # fmt: skip
    document["option"]["model"] = document["time"]["tree"][0]["name"] = HOSTILE
    document["memory"]["tree"][0]["name"] = document["memory"]["tree"][0]["path"] = HOSTILE
    file = tmp_path_factory.mktemp("page") / "explain.html"
    file.write_text(render(document, ".html"), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (1280, "dark"), (390, "dark")])
def test_it_draws_and_says_nothing(page_file, browser, width, scheme):
    said, asked = [], []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    for key in ("time", "memory", "timeline"):
        page.wait_for_selector(f"#chart-{key} svg path", state="attached")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hit") is None
    boxes = page.eval_on_selector_all("#chart-time svg path", "found => found.length")
    assert boxes > 10
    axe = pytest.importorskip("axe_core_python")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []
    page.close()


def test_pointing_at_a_box_tells_its_figures(page_file, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(page_file.as_uri())
    page.wait_for_selector("#chart-time svg path", state="attached")
    page.locator("#chart-time svg").hover(position={"x": 60, "y": 120})
    page.wait_for_selector("#vg-tooltip-element.visible")
    told = page.inner_text("#vg-tooltip-element")
    assert "Module" in told and "Share" in told and " ms" in told
    page.close()
