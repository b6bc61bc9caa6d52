"""The HTML report in a real headless Chromium: it draws, says nothing on the console, asks for
nothing, fits phones and desks, and is read by those who do not see it."""

import json
import re
import sys
from pathlib import Path

import pytest
from chromium import Visit, browser

from planner.report.formats.html import html
from planner.report.views.budget.sections import sections

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from made_budget import HOSTILE, sample_answer, with_budget  # noqa: E402

pytestmark = pytest.mark.browser
MARKUP = "</script><img src=x onerror=alert(1)><b onclick=alert(2)>{{7*7}}" + "x" * 200


@pytest.fixture(scope="module")
def opened():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def documents():
    several = with_budget(sample_answer())
    several["question"]["max_usd"] = 12.0
    several["options"][4]["gpu"] = "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"
    return {
        "budget": several,
        "answer": sample_answer(),
        "nothing": with_budget(sample_answer(), at=None),
        "hostile": with_budget(sample_answer(), hostile=MARKUP),
    }


@pytest.fixture(scope="module")
def pages(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, document in documents.items():
        (folder / f"{name}.html").write_text(html(document), encoding="utf-8")
    return folder


@pytest.fixture
def visit(opened, pages):
    """Opens a page; closed at the end."""
    visits = []

    def go(which, width=1280, scheme="light", **more):
        visits.append(Visit(opened, pages / f"{which}.html", width, scheme, **more))
        return visits[-1]

    yield go
    for each in visits:
        each.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("which", ["budget", "answer", "nothing", "hostile"])
def test_the_page_draws_fits_and_is_silent(visit, which, width, scheme):
    seen = visit(which, width, scheme)
    seen.wait_for_charts()
    assert seen.widths() == [width, width], "the page scrolls sideways"
    seen.open_all(appendix=True)
    page = seen.page
    assert seen.widths() == [width, width], "the opened page scrolls sideways"
    charts = page.evaluate(
        "[...document.querySelectorAll('figure.chart .live svg')].map(s => { const r = "
        "s.getBoundingClientRect(); return [r.width, r.height, s.querySelectorAll('path').length]"
        "})"
    )
    assert len(charts) == page.locator("figure.chart").count() >= 2
    room = page.locator("figure.chart").first.bounding_box()["width"]
    assert all(0.9 * room < wide <= room + 24 and high > 90 and n for wide, high, n in charts)
    assert seen.said == [] and seen.fetched == []
    page.evaluate("document.querySelectorAll('.appendix').forEach(d => { d.open = false })")
    assert seen.violations() == []
    assert page.evaluate("document.querySelectorAll('[onerror], [onclick]').length") == 0


def test_the_first_screen_decides(visit, documents):
    """Sum with its range, hours, GPU, model, data, budget, prices' date: above the fold."""
    seen = visit("budget")
    budget = documents["budget"]["budget"]
    facts = seen.page.locator(".facts")
    text = facts.inner_text()
    box = facts.bounding_box()
    assert box["y"] + box["height"] < 700
    summary = sections(documents["budget"])[0]
    for fact in summary.facts:
        assert fact.label in text and fact.value in text and fact.detail in text
    labels = [fact.label for fact in summary.facts]
    for wanted in ("This run", "Wall-clock and GPU time", "GPU and provider", "Model", "Data"):
        assert wanted in labels
    assert "Prices of" in labels and budget["headline"]["price_date"] in text
    shown = seen.page.locator(".recommendation").bounding_box()
    assert shown["y"] < 900


def test_a_phones_first_screen_holds_the_sum(visit):
    seen = visit("budget", 390)
    box = seen.page.locator(".fact.lead").first.bounding_box()
    assert box["y"] + box["height"] < 844


def test_charts_follow_the_scheme(visit):
    seen = visit("budget")
    seen.wait_for_charts()
    ink = "getComputedStyle(document.querySelector('.live .mark-text text')).fill"
    ground = "getComputedStyle(document.body).backgroundColor"
    light = [brightness(seen.page.evaluate(each)) for each in (ink, ground)]
    before = seen.page.evaluate(ink)
    seen.page.emulate_media(color_scheme="dark")
    # the old chart is gone for a moment before the new one stands
    there = "document.querySelector('.live .mark-text text')"
    until(seen.page, f"Boolean({there}) && {ink} !== {json.dumps(before)}")
    dark = [brightness(seen.page.evaluate(each)) for each in (ink, ground)]
    assert light[0] < 350 < 600 < light[1] and dark[1] < 200 < 480 < dark[0]
    assert seen.said == []


def until(page, condition, tries=100, pause_ms=50):
    """Asks from here: the page's own policy forbids what asks in a string inside of it."""
    for _ in range(tries):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(pause_ms)
    raise AssertionError(f"never came true: {condition}")


def brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def test_a_mark_tells_its_figures(visit, documents):
    """The tooltip of the first bar, text alone whatever it says."""
    for which in ("budget", "hostile"):
        seen = visit(which)
        seen.wait_for_charts()
        mark = seen.page.locator(
            ".strategies .live svg path[aria-roledescription='bar'], "
            ".strategies .live svg .mark-symbol path"
        ).first
        mark.hover(force=True)
        tip = seen.page.locator(".vg-tooltip.visible")
        tip.wait_for()
        assert "$" in tip.inner_text() and tip.locator("img, b, script").count() == 0
        assert seen.said == []


def test_folds_open_by_their_link(visit, pages):
    seen = visit("budget")
    seen.page.goto(seen.address + "#memory")
    until(seen.page, "document.getElementById('memory').open")
    seen.wait_for_charts()
    assert seen.page.locator("#memory .live svg").is_visible()


def test_it_can_be_read_without_scripts(visit):
    seen = visit("budget", java_script_enabled=False)
    still = seen.page.locator(".strategies .still").first
    assert still.is_visible() and seen.page.locator(".live svg").count() == 0
    assert still.bounding_box()["height"] > 100 and seen.said == []


def test_paper_holds_the_summary_first_and_everything_unfolded(visit, tmp_path):
    """Printed from closed folds: the first of few A4 pages decides, charts are pictures."""
    seen = visit("budget", scheme="dark")
    file = tmp_path / "budget.pdf"
    seen.page.pdf(path=str(file), prefer_css_page_size=True, print_background=True)
    pages = text_of(file)
    assert 5 <= len(pages) <= 18
    assert "This run" in pages[0] and "Recommendation".upper() in pages[0].upper()
    assert "All strategies" in pages[0] and "What the money goes to" not in pages[0]
    assert "Words in this report" in "".join(pages) and "One GPU rented" in "".join(pages)
    assert seen.page.evaluate("document.querySelector('details').open") is False
    seen.page.emulate_media(media="print")
    assert seen.page.locator(".strategies .live").first.is_visible() is False
    ground = seen.page.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()"
    )
    assert ground == "#ffffff"


def text_of(file):
    """The text of each page, by poppler."""
    import shutil
    import subprocess

    if shutil.which("pdftotext") is None:
        pytest.skip("NO PDFTOTEXT: the printed pages were not read")
    done = subprocess.run(
        ["pdftotext", "-layout", str(file), "-"], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\f")[:-1]


@pytest.mark.parametrize("text", HOSTILE[:8] + HOSTILE[14:])
def test_hostile_names_do_nothing(opened, tmp_path, text):
    file = tmp_path / "hostile.html"
    file.write_text(html(with_budget(sample_answer(), hostile=text)), encoding="utf-8")
    seen = Visit(opened, file, 800)
    seen.open_all()
    assert seen.said == [] and seen.fetched == []
    assert json.loads(seen.page.evaluate("document.getElementById('charts-data').textContent"))
    assert seen.page.title() and seen.page.locator("script").count() == 3
    seen.close()
