"""The page in a real browser: change the model, move sliders, and the figures are those of the
command line; wrong and slow input; narrow, wide, light and dark; nothing comes from elsewhere."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from planner import Question, estimate  # noqa: E402
from planner.units import format_usd  # noqa: E402

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
QUERY = "?model=gpt2&samples=1000&tokens_per_sample=100&gpu=t4&strategy=fine_tune,lora"
BASE = {
    "model": "gpt2",
    "samples": 1000,
    "tokens_per_sample": 100,
    "gpu": "t4",
    "strategy": ["fine_tune", "lora"],
    "offline": True,
}

#: What the server says of a step that is being recorded.
RECORDING = {"job": "1", "what": "tracing gpt2", "done": 1, "total": 4}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="NO CHROMIUM: the page was not opened in a browser"),
]


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-m", "planner.cli.main", "serve", "--port", "0", "--workers", "1"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        yield re.search(r"http://\S+", line)[0]
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield found
        found.close()


class Opened:
    """A page and what it said and asked for meanwhile."""

    def __init__(self, browser, address, query=QUERY, width=1280, scheme="light", **context):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **context
        )
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address + query)
        self.settled()

    def settled(self):
        """The figures belong to the question in the address."""
        self.until(
            "document.body.dataset.answered && document.body.dataset.answered === "
            "location.search.slice(1) && !document.body.classList.contains('stale')"
        )

    def fill(self, name, text):
        """Typed: it is asked for when the keys have rested."""
        self.page.fill(f"#{name}", text)
        self.until(f"new URLSearchParams(location.search).get('{name}') === '{text}'")
        self.settled()

    def until(self, condition, seconds=60):
        """Looked at again and again: the page's policy lets no waiting script be made of text."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, (condition, self.page.inner_text("main"))
            self.page.wait_for_timeout(20)

    def slide(self, name, value):
        """With the keyboard's and the mouse's event: ``input``."""
        self.page.eval_on_selector(
            f"#s-{name}",
            "(box, value) => { box.value = value; "
            "box.dispatchEvent(new Event('input', { bubbles: true })); }",
            str(value),
        )
        self.settled()

    @property
    def cost(self):
        return self.page.inner_text("#figures .big >> nth=0")

    def table(self):
        """The first line of every cell: the second holds the range."""
        return self.page.evaluate(
            "[...document.querySelectorAll('#rows tr')].map("
            "(row) => [...row.cells].map((cell) => cell.firstChild.textContent))"
        )


@pytest.fixture
def opened(browser, address):
    found = Opened(browser, address)
    yield found
    found.context.close()


def best(document):
    wanted = document["recommended"]["strategy"]
    return next(one for one in document["options"] if one["strategy"] == wanted)


def same(opened, **more):
    """The page's figures are those of ``planner estimate`` of the same question."""
    document = estimate(Question(**{**BASE, **more}))
    assert opened.cost == format_usd(best(document)["cost"]["usd"]["p50"])
    rows = opened.table()
    assert len(rows) == len(document["options"])
    for row, option in zip(rows, document["options"], strict=True):
        assert row[1] == format_usd(option["cost"]["usd"]["p50"])
        assert row[5] == option["memory"]["verdict"]
    return document


def test_the_figures_are_the_command_lines_and_follow_the_sliders(opened):
    same(opened)
    before = opened.cost
    places = [0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100]
    opened.slide("epochs", places.index(20))
    same(opened, epochs=20)
    assert opened.cost != before
    opened.slide("gpus", 1)
    same(opened, epochs=20, gpus=2)
    opened.slide("global_batch", 6)
    same(opened, epochs=20, gpus=2, global_batch=64)
    assert not opened.said


def test_every_slider_is_moved_by_the_keyboard(opened):
    opened.page.focus("#s-epochs")
    opened.page.keyboard.press("End")
    opened.settled()
    same(opened, epochs=100)
    opened.page.click(".slider button >> nth=0")
    opened.settled()
    same(opened)


def test_another_model_and_limits(opened):
    opened.fill("model", "distilgpt2")
    same(opened, model="distilgpt2")
    opened.fill("max_usd", "0.0001")
    document = estimate(Question(**{**BASE, "model": "distilgpt2", "max_usd": 0.0001}))
    told = [one["text"] for one in document["first_lines"] if one["topic"] == "limit"]
    assert told and opened.page.inner_text("#headline").endswith(": " + "; ".join(told))
    headings = opened.page.locator("h2:visible").all_inner_texts()
    assert "Where the hours of the recommended way go" not in headings and "Cost" in headings


def test_what_fits_nowhere_is_not_said_to_break_a_limit(browser, address):
    query = (
        "?model=Llama-3.1-8B&samples=1000&tokens_per_sample=200&gpu=t4&gpus=1&strategy=fine_tune"
    )
    found = Opened(browser, address, query)
    assert "nothing fits: fine_tune on Tesla T4" in found.page.inner_text("#headline")
    assert "limit" not in found.page.inner_text("#headline")
    found.context.close()


def test_price_project_and_budget_are_said_in_the_documents_words(opened):
    opened.fill("max_usd", "5")
    document = same(opened, max_usd=5)
    told = opened.page.inner_text("#money")
    assert best(document)["cost"]["price_date"] in told
    lines = [one for one in document["first_lines"] if one["topic"] in ("limit", "cost")]
    assert len(lines) == 2 and all(one["text"] in told for one in lines)
    assert "(default)" in opened.page.inner_text("#sliders")


def test_a_link_holds_the_question(browser, address, opened):
    opened.slide("epochs", 8)
    opened.page.click("summary >> nth=0")
    opened.page.select_option("#precision", "fp32")
    opened.settled()
    again = Opened(browser, address, opened.page.url.removeprefix(address))
    assert again.table() == opened.table()
    assert again.page.input_value("#precision") == "fp32"
    again.context.close()


def test_a_link_may_repeat_a_strategy(browser, address):
    query = QUERY.replace("fine_tune,lora", "fine_tune&strategy=lora") + "&spot=false"
    found = Opened(browser, address, query)
    same(found)
    command = found.page.inner_text("#command")
    assert "--strategy fine_tune --strategy lora" in command and "--no-spot" in command
    found.context.close()


def test_an_old_error_does_not_stand_beside_a_new_question(opened):
    page = opened.page
    page.fill("#samples", "-5")
    page.wait_for_selector("#error:not([hidden])")
    page.route("**/api/estimate*", lambda route: route.fulfill(status=202, json=RECORDING))
    page.route("**/api/jobs/*", lambda route: route.fulfill(status=202, json=RECORDING))
    page.fill("#samples", "1000")
    opened.until("document.getElementById('state').textContent.includes('Not seen before')")
    assert page.is_hidden("#error")
    assert page.locator("[aria-invalid]").count() == 0
    assert float(page.evaluate("getComputedStyle(document.getElementById('shown')).opacity")) < 1


def test_the_themes_button_says_what_it_brings(opened):
    page = opened.page
    for now, brings in (("light", "Dark theme"), ("dark", "Light theme"), ("light", "Dark theme")):
        assert page.evaluate("document.documentElement.dataset.theme") == now
        assert page.inner_text("#theme") == brings
        page.click("#theme")


def test_wrong_input_is_said_at_its_place_and_mended(opened):
    page = opened.page
    page.fill("#samples", "-5")
    page.wait_for_selector("#error:not([hidden])")
    assert "must be at least 1" in page.inner_text("#error")
    assert page.get_attribute("#samples", "aria-invalid") == "true"
    opened.fill("samples", "1000")
    assert page.is_hidden("#error")
    page.fill("#model", "/etc/passwd")
    page.wait_for_selector("#error:not([hidden])")
    assert "is a path" in page.inner_text("#error")


def test_a_hostile_name_is_text(browser, address):
    with_markup = "?model=%3Cimg+src=x+onerror=alert(1)%3E&samples=5&tokens_per_sample=5"
    context = browser.new_context()
    page = context.new_page()
    dialogs = []
    page.on("dialog", lambda dialog: dialogs.append(dialog) or dialog.dismiss())
    page.goto(address + with_markup)
    page.wait_for_selector("#error:not([hidden])")
    assert "<img" in page.inner_text("#error")
    assert not dialogs and not page.query_selector("#error img")
    context.close()


def test_slow_answers_come_in_order(opened):
    """An old answer never stands under a new question."""
    page = opened.page

    def slow(route):
        if json.loads(route.request.post_data)["epochs"] == 0.25:
            page.wait_for_timeout(600)
        route.continue_()

    page.route("**/api/estimate*", slow)
    for value in (0, 5, 9):
        page.eval_on_selector(
            "#s-epochs",
            "(b, v) => { b.value = v; b.dispatchEvent(new Event('input', { bubbles: true })); }",
            str(value),
        )
    opened.settled()
    same(opened, epochs=10)


def test_a_server_that_is_gone_is_said(opened):
    opened.page.route("**/api/estimate*", lambda route: route.abort())
    opened.page.fill("#samples", "77")
    opened.page.wait_for_selector("#error:not([hidden])")
    assert "does not answer" in opened.page.inner_text("#error")


def test_a_dropped_file_becomes_counts(opened, tmp_path):
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps({"text": "word " * n}) + "\n" for n in range(5, 60)))
    opened.page.set_input_files("#file", str(file))
    opened.until("document.getElementById('samples').value === '55'")
    opened.settled()
    assert "samples=55" in opened.page.url
    said = opened.page.inner_text("#counted")
    assert "mean and spread" in said and "planner estimate gpt2 chats.jsonl" in said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_phones_and_desks_and_is_accessible(browser, address, width, scheme):
    axe = pytest.importorskip("axe_core_python")
    # the page's own policy forbids the checker's script
    found = Opened(browser, address, width=width, scheme=scheme, bypass_csp=True)
    page = found.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = "document.querySelector('.scroll')"
    assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    script = (Path(axe.__path__[0]) / "axe.min.js").read_text(encoding="utf-8")
    page.evaluate(script + "; null")
    result = page.evaluate("axe.run()")
    assert [(each["id"], each["help"]) for each in result["violations"]] == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    found.context.close()


def test_nothing_is_asked_from_elsewhere_and_nothing_is_said(opened, address):
    opened.slide("price", 20)
    opened.page.goto(address + "api")
    opened.page.wait_for_selector("#paths td")
    assert opened.said == []
    assert all(url.startswith((address, "data:")) for url in opened.asked)
