"""First screens at every width: nothing is wider than the screen or cut, forty lines at most, what
was not understood comes first, and what is left out is named."""

import copy
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.answer.limits import recommended_option
from planner.choose.decisive import decisive
from planner.choose.runner_up import runner_up
from planner.report.formats.terminal import show, show_choice
from planner.report.formats.terminal.layout import fitting, table_lines, wrapped
from planner.report.formats.terminal.screen import screen_lines
from planner.report.views.summary import estimate as estimate_summary
from planner.report.views.summary.columns import Column, Columns, aligned, dollars, hours

HERE = Path(__file__).parent
SAMPLE = json.loads((HERE / "sample_answer.json").read_text(encoding="utf-8"))
CHOICE = json.loads((HERE / "sample_choice.json").read_text(encoding="utf-8"))
WIDTHS = (60, 80, 100, 140)


def screen(answer, width, monkeypatch, **kwargs):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    show(answer, stream, **kwargs)
    return stream.getvalue().splitlines()


def warned(*topics):
    answer = copy.deepcopy(SAMPLE)
    answer["first_lines"] = [
        {"topic": topic, "text": f"about {topic} number {n} of many", "warning": True}
        for n, topic in enumerate(topics)
    ]
    return answer


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("whole", [False, True])
def test_no_line_is_wider_than_the_screen(width, whole, monkeypatch):
    lines = screen(SAMPLE, width, monkeypatch, whole=whole)
    assert max(map(len, lines)) <= width and (whole or len(lines) <= 40)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_screen_of_a_choice(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    show_choice(CHOICE, stream)
    lines = stream.getvalue().splitlines()
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width and len(lines) <= 40
    assert "Recommended: lora on" in text and "--max-usd" in text and "--details:" in text
    assert all(row["strategy"] in text for row in CHOICE["strategies"])
    if width >= 80:
        assert "what more dollars buy" in text and "In which order to go" in text
        assert "Spent by then" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_every_name_and_median_is_whole(width, monkeypatch):
    """Of what a decision needs no column is left out at any width."""
    text = " ".join(" ".join(screen(SAMPLE, width, monkeypatch)).split())
    for option in SAMPLE["options"]:
        assert option["strategy"] in text
        if option["cost"]:
            assert f"{option['cost']['usd']['p50']:.2f}" in text
    assert re.search(r"\$", text) and re.search(r"\bh\b", text)


def test_wider_screens_show_no_less(monkeypatch):
    headers = []
    for width in WIDTHS:
        lines = screen(SAMPLE, width, monkeypatch)
        headers.append(len(next(x for x in lines if x.startswith("  Strategy")).split()))
    assert headers == sorted(headers) and headers[-1] > headers[0]


def test_the_recommended_row_is_marked_once(monkeypatch):
    lines = screen(SAMPLE, 80, monkeypatch)
    assert [line.split()[1] for line in lines if line.startswith("> ")] == ["lora"]


def test_what_was_not_understood_comes_before_all_other_warnings(monkeypatch):
    answer = warned("run", "recipe", "stack", "run", "data", "left_out", "model")
    found = decisive(answer, recommended_option(answer))
    assert [line.text.split()[1] for line in found[:3]] == ["data", "left_out", "model"]
    lines = screen(answer, 80, monkeypatch)
    shown = [line.split()[2] for line in lines if line.startswith("! ")]
    assert shown[:3] == ["data", "left_out", "model"] and len(shown) == 5
    warnings = sum(line.warning for line in found)
    assert warnings > 7 and f"--details: {warnings - 5} warnings" in lines[-1]


def test_every_warning_is_shown_or_counted():
    answer = copy.deepcopy(SAMPLE)
    for number, option in enumerate(answer["options"]):
        option["warnings"] = [f"own warning {number}"]
    answer["warnings"] = ["of all"]
    chosen = recommended_option(answer)
    texts = [line.text for line in decisive(answer, chosen)]
    assert texts[:2] == [chosen["warnings"][0], "of all"]
    assert len([text for text in texts if "own warning" in text]) == len(answer["options"])


def test_a_warning_of_the_input_stays_on_a_full_screen(monkeypatch):
    answer = warned("left_out")
    answer["first_lines"][0]["text"] = "the column that counts is left out " * 9
    answer["options"] = answer["options"] * 4
    lines = screen(answer, 60, monkeypatch)
    assert any(line.startswith("! the column") for line in lines)


def test_what_has_no_room_is_counted():
    answer = copy.deepcopy(SAMPLE)
    answer["first_lines"] = [
        {"topic": "recipe", "text": f"assumption {n} " + "that is long " * 40, "warning": False}
        for n in range(5)
    ]
    made = estimate_summary.screen(answer)
    text = "\n".join(line.plain for line in screen_lines(made, 80))
    kept = len(re.findall(r"- assumption \d", text))
    assert kept < 5 and re.search(rf"\b{5 - kept} notes?\b", text)


def test_the_runner_up_fits_and_is_another_strategy():
    second = runner_up(SAMPLE)
    assert second is not None
    option = SAMPLE["options"][second.option]
    assert option["fits"] is not False and option["strategy"] != "lora"
    answer = copy.deepcopy(SAMPLE)
    for option in answer["options"]:
        option["limits"] = [{"kept": option["strategy"] == "qlora"}]
    assert runner_up(answer) is None  # what stands in for lora is no other way
    answer["recommended"] = None
    assert runner_up(answer) is None


def test_limits_that_are_broken_stand_on_the_screen(monkeypatch):
    answer = copy.deepcopy(SAMPLE)
    answer["question"]["max_usd"] = 1.0
    lines = screen(answer, 80, monkeypatch)
    assert any(line.startswith("Limit: max_usd $1.00 is broken") for line in lines)


def test_one_unit_a_column():
    spans = [{"p10": low, "p50": low * 2, "p90": low * 3} for low in (0.01, 0.5, 30.0)]
    middle, span = hours("Time", spans)
    assert (middle.unit, span.unit) == ("min", "min")
    assert [cell.strip() for cell in middle.cells] == ["1.20", "60.0", "3,600"]
    assert dollars("Cost", [None, spans[0]])[0].cells == ("   –", "0.02")
    assert aligned(["0.0036", "12.50", None]) == (" 0.0036", "12.50  ", "      –")


def test_a_figure_without_spread_has_no_range():
    (_, span) = dollars("Cost", [{"p10": 2.0, "p50": 2.0, "p90": 2.0}])
    assert span.cells == ("–",)


TEXTS = st.text(alphabet="abcdefgh- ×.日本", min_size=1, max_size=30)


@given(st.lists(TEXTS, min_size=1, max_size=5), st.integers(20, 140))
@settings(max_examples=60, deadline=None)
def test_wrapping_loses_no_word_and_keeps_the_width(texts, width):
    from rich.cells import cell_len

    text = " ".join(texts)
    lines = wrapped(text, width, 2)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(
    st.lists(st.tuples(TEXTS, st.floats(1e-4, 1e6)), min_size=1, max_size=6),
    st.integers(24, 140),
)
@settings(max_examples=60, deadline=None)
def test_tables_keep_the_width_and_cut_no_number(rows, width):
    from rich.cells import cell_len

    figures = [{"p10": value / 2, "p50": value, "p90": value * 2} for _, value in rows]
    columns = (
        Column("Name", tuple(text for text, _ in rows)),
        *dollars("Cost", figures, drop_range=30),
        *hours("Time", figures, drop=40, drop_range=50),
    )
    lines = [line for line, _ in table_lines(Columns(columns, marked=0), width)]
    assert all(cell_len(line) <= width for line in lines)
    assert lines[-1] == lines[-1].rstrip()
    shown = fitting(columns, width - 2)
    kept = shown[0] if shown else columns
    together = " ".join(lines)
    for column in kept:
        if column.number:
            numbers = [part for cell in column.cells for part in re.split(r"(?<=–)|\s+", cell)]
            assert all(part in together for part in numbers)


@pytest.mark.parametrize("brief", [False, True])
def test_a_choice_without_any_way_is_said(brief, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    document = {
        "first_lines": [],
        "question": {"model": "m", "task": "causal_lm", "requests_per_month": None},
        "model": {"name": "m", "parameters": None, "task": "causal_lm"},
        "dataset": None,
        "licence": None,
        "recommended": None,
        "strategies": [
            {"strategy": name, "way": None, "why_not": "fits no device"} for name in ("a", "b")
        ],
        "front": {"strategy": None, "ways": [], "of": 0},
        "stages": [],
        "assumptions": [],
        "warnings": [],
    }
    stream = io.StringIO()
    show_choice(document, stream, brief=brief)
    assert "Recommended: nothing: no way keeps the limits" in stream.getvalue()
    assert "Not: a, b: fits no device" in stream.getvalue()


def test_training_from_nothing_is_no_second_choice():
    answer = copy.deepcopy(SAMPLE)
    others = [one for one in answer["options"] if one is not recommended_option(answer)]
    for option in others:
        option |= {"fits": True, "limits": [], "scratch": {"source": "a rule"}}
    assert runner_up(answer) is None
