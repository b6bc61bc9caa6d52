"""Reports of the sample answer: golden texts, every figure present, hostile strings harmless, valid
HTML."""

import copy
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from planner.answer.schema import Answer
from planner.report import words
from planner.report.formats.html import html
from planner.report.formats.markdown import markdown
from planner.report.formats.terminal import show
from planner.report.views import option as option_view

HERE = Path(__file__).parent
HOSTILE = [
    "[red]x[/red]",
    "[/]",
    "<img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    "a|b",
    "\x1b[31mx",
    "**x** _y_ `z`",
    "{{ 7*7 }}",
    "\udcff",
    "[l](javascript:alert(1))",
    "line\nbreak",
    "\"'><b>",
]


@pytest.fixture
def answer():
    return json.loads((HERE / "sample_answer.json").read_text(encoding="utf-8"))


def terminal(answer, **kwargs):
    stream = io.StringIO()
    show(answer, stream, **kwargs)
    return stream.getvalue()


def golden(name, text):
    """Compare with the stored text; PLANNER_GOLDEN=write stores it anew, for a reviewer to read as
    a diff."""
    path = HERE / name
    if os.environ.get("PLANNER_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_sample_keeps_the_contract(answer):
    Answer.model_validate(answer)


@pytest.mark.parametrize(
    "damage, complaint",
    [
        (lambda a: a["options"][0]["memory"]["breakdown"].update(weights=1.0), "breakdown sums"),
        (lambda a: a["options"][0]["cost"]["breakdown"].update(api=7.0), "breakdown sums"),
        (lambda a: a["options"][0]["run"]["gpu_hours"].update(p10=1e9), "out of order"),
        (lambda a: a["options"][0]["step"]["seconds"].update(p90=float("nan")), "finite"),
        (lambda a: a["options"][0].pop("energy_kwh"), "energy_kwh"),
        (lambda a: a.update(schema=2), "schema"),
        (lambda a: a["options"][0]["model"].update(trainable_params=-1), "trainable_params"),
    ],
)
def test_the_contract_refuses_what_breaks_it(answer, damage, complaint):
    damage(answer)
    with pytest.raises(ValueError, match=complaint):
        Answer.model_validate(answer)


def test_terminal_golden(answer):
    golden("golden_terminal.txt", terminal(answer, whole=True))


def test_markdown_golden(answer):
    golden("golden_report.md", markdown(answer))


def test_terminal_stays_in_its_width(answer):
    for whole in (False, True):
        text = terminal(answer, whole=whole)
        assert max(len(line) for line in text.splitlines()) <= 100
        answer["options"][4]["gpu"] = "NVIDIA GeForce RTX 4090"  # a column for the GPU
        text = terminal(answer, whole=whole)
        assert max(len(line) for line in text.splitlines()) <= 100 and "4090" in text


def test_every_figure_of_every_option_is_in_the_reports(answer):
    page, plain = Page(), Page()
    page.feed(html(answer))
    plain.feed(MarkdownIt("commonmark").enable("table").render(markdown(answer)))
    in_page, in_plain = squeezed(page.text), squeezed(plain.text)
    for option in answer["options"]:
        for path, value in option_view.every_figure(option):
            assert squeezed(path + value) in in_page, (path, value)
            assert squeezed(path + value) in in_plain, (path, value)


def squeezed(text):
    """Without spaces and the signs that Markdown escapes."""
    return re.sub(r"[\s\\\\]", "", text)


def test_a_changed_figure_changes_every_report(answer):
    """Each number under an option must show: a report that drops one would not notice its
    change."""
    for path in _paths(answer["options"][4]):
        changed = copy.deepcopy(answer)
        holder = changed["options"][4]
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = holder[path[-1]] * 3 + 7
        assert option_view.every_figure(changed["options"][4]) != option_view.every_figure(
            answer["options"][4]
        ), path


def _paths(part, path=()):
    items = (
        part.items()
        if isinstance(part, dict)
        else enumerate(part)
        if isinstance(part, list)
        else ()
    )
    for key, value in items:
        yield from _paths(value, (*path, key))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield (*path, key)


def poisoned(answer, text):
    """The user's and the tables' strings replaced by a hostile one."""
    answer = copy.deepcopy(answer)
    for key in ("model", "data"):
        answer["question"][key] = text
    answer["model"]["name"] = answer["dataset"]["source"] = text
    answer["dataset"]["columns"] = {text: text}
    answer["assumptions"] = answer["warnings"] = [text]
    answer["recommended"].update(gpu=text, why=text)
    answer["sources"][0].update(what=text, source=text)
    for option in answer["options"]:
        option.update(variant=text, provider=text, warnings=[text], assumptions=[text])
        option["gpu"] = text if option["gpu"] else None
        if option["memory"]:
            option["memory"]["peak"]["module"] = text
        for fix in option["fixes"]:
            fix.update(change=text, gpu=text)
        if option["training"]:
            option["training"]["optimizer_states"] = text
    return answer


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_are_shown_not_obeyed(answer, text):
    answer = poisoned(answer, text)
    for plain in (terminal(answer), terminal(answer, whole=True)):
        assert "\x1b" not in plain
        assert text not in ("[red]x[/red]", "[/]", "a|b") or text in plain
    page = html(answer)
    checked = Page()
    checked.feed(page)
    assert "b" not in checked.tags and "onerror" not in checked.attributes and "\x1b" not in page
    assert checked.tags.count("script") == 3
    assert checked.tags.count("img") == checked.tags.count("figure") >= 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in checked.sources)
    assert "49" not in checked.text.partition("Recommendation")[0]
    page.encode("utf-8")
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown(answer))
    assert not re.search(r"<(script|img|b|a|em|code)[ >]", rendered)
    tables = (
        rendered.count("<tr>"),
        MarkdownIt("commonmark")
        .enable("table")
        .render(markdown(poisoned(answer, "plain")))
        .count("<tr>"),
    )
    assert tables[0] == tables[1]


class Page(HTMLParser):
    """Tags opened and closed in order, the text, and what would be fetched."""

    VOID = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self):
        super().__init__()
        self.stack, self.tags, self.fetched, self.text, self.ids = [], [], [], "", []
        self.attributes, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.sources += [value for name, value in attrs if name == "src"]
        self.fetched += [
            value
            for name, value in attrs
            if name in ("src", "href", "action", "data")
            and not (value or "").startswith(("data:", "#"))
        ]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.text += data


def test_html_is_well_formed_and_self_contained(answer):
    page = Page()
    text = html(answer)
    page.feed(text)
    assert text.startswith("<!DOCTYPE html>") and page.stack == [] and page.fetched == []
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import", style) and "http-equiv=refresh" not in text
    assert len(page.ids) == len(set(page.ids)) and page.tags.count("h1") == 1
    assert "style" not in page.attributes  # the policy lets no inline style pass
    assert 'lang="en"' in text and 'name="viewport"' in text


def test_an_answer_with_nothing_in_it_is_still_a_report(answer):
    answer.update(
        options=[],
        recommended=None,
        dataset=None,
        model=None,
        assumptions=[],
        warnings=[],
        sources=[],
    )
    Answer.model_validate(answer)
    shown = (terminal(answer), terminal(answer, whole=True), markdown(answer), html(answer))
    for text in shown:
        assert "No option can be recommended" in text


def test_unknown_is_said_as_unknown(answer):
    option = answer["options"][4]
    option.update(cost=None, energy_kwh=None)
    option["step"]["mfu"] = None
    Answer.model_validate(answer)
    assert "no price" in terminal(answer) and "no price" in terminal(answer, whole=True)
    assert "step › mfu | unknown" in markdown(answer)
    assert "$0" not in option_view.usd(option)[0]


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("peak_bytes", 2**30, "1.00 GiB"),
        ("wall_hours", 2.5, "2.50 h"),
        ("step_seconds", 0.0123, "12.3 ms"),
        ("usd", 3.14159, "$3.14"),
        ("tokens_per_second", 12345.6, "12.3k/s"),
        ("trainable_share", 0.00522, "0.522 %"),
        ("energy_kwh", 2.051, "2.05 kWh"),
        ("samples", 20000, "20,000"),
        ("parameters", 8030261248, "8.03B"),
        ("wall_hours", {"p10": 2.2, "p50": 2.5, "p90": 3.0}, "2.50 h (2.20–3.00 h)"),
        ("fits", True, "yes"),
        ("usd", None, "unknown"),
        ("targets", ["a", "b"], "a, b"),
    ],
)
def test_words(key, value, text):
    assert words.value_text(key, value) == text


def test_limits_are_judged_on_the_recommended_option(answer):
    from planner.answer.limits import broken_limits, recommended_option

    assert recommended_option(answer)["strategy"] == "lora" and broken_limits(answer) == []
    answer["question"]["max_usd"] = 9.0
    assert len(broken_limits(answer)) == 1 and "$9.90" in broken_limits(answer)[0]
    answer["recommended"] = None
    assert broken_limits(answer) == []  # another option keeps it
    answer["question"]["max_usd"] = 0.01
    assert len(broken_limits(answer)) == 1
    for option in answer["options"]:
        option["fits"] = False
    assert "no option fits" in broken_limits(answer)[0]
