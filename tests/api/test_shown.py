"""Answers in notebooks and tables: figures are the document's, strangers' words do nothing."""

import copy
import json
import math
import re
from html.parser import HTMLParser

import pytest

from planner import Answer, PlannerError, choose, estimate
from planner.api.rows import rows
from planner.report.words import percentiles, usd_text

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=y>|\x1b[31m\n[a](http://b)'


@pytest.fixture(scope="module")
def answer():
    return estimate(
        "gpt2",
        samples=1000,
        tokens_per_sample=300,
        gpu="l4",
        strategy=["lora", "fine_tune", "prompting"],
        requests_per_month=1000,
        output_tokens=100,
    )


class Read(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def test_the_notebooks_html_is_a_table_of_the_options(answer):
    page = Read(answer._repr_html_())
    assert page.tags.count("tr") == 1 + len(answer["options"])
    assert set(page.tags) <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "br"}
    assert {name for name, _ in page.attributes} <= {"style", "scope"}
    for option in answer["options"]:
        assert any(text.startswith(option["strategy"]) for text in page.texts)
        for words in percentiles(option["cost"]["usd"], usd_text):
            assert words in page.texts


def hostile(answer):
    changed = copy.deepcopy(answer.to_dict())
    changed["question"]["model"] = HOSTILE
    changed["recommended"]["why"] = HOSTILE
    for option in changed["options"]:
        option["variant"] = HOSTILE
        if option["gpu"]:
            option["gpu"] = HOSTILE
    changed["recommended"] |= {"gpu": changed["options"][0]["gpu"]}
    changed["recommended"].pop("variant", None)
    return Answer(changed)


def test_strangers_words_are_escaped(answer):
    bad = hostile(answer)
    page = Read(bad._repr_html_())
    assert not {"script", "img", "a"} & set(page.tags)
    assert {name for name, _ in page.attributes} <= {"style", "scope"}
    assert any("<script>" in text for text in page.texts)
    for shown in (bad._repr_html_(), bad._repr_markdown_(), repr(bad)):
        assert "\x1b" not in shown
    assert "\n" not in repr(bad)
    assert not re.search(r"(?<!\\)[<\[](?!br>)", bad._repr_markdown_())


def test_the_markdown_is_a_table_with_the_recommended_row_bold(answer):
    lines = [line for line in answer._repr_markdown_().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(answer["options"])
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    bold = [line for line in lines if line.startswith("| **")]
    assert len(bold) == 1 and answer["recommended"]["strategy"].replace("_", "\\_") in bold[0]


def test_many_options_are_cut_and_said(answer):
    many = answer.to_dict() | {"options": answer["options"] * 10}
    shown = Answer(many)._repr_html_()
    assert Read(shown).tags.count("tr") == 1 + 12
    assert f"{len(many['options']) - 12} more in answer.options." in shown


def test_the_short_form_is_one_line(answer):
    assert re.fullmatch(r"<Answer gpt2: \w+ on NVIDIA L4, .+, \$.+; \d+ options>", repr(answer))


def test_a_decision_shows_its_front():
    decision = choose("gpt2", samples=1000, tokens_per_sample=300, gpu="l4", strategy=["lora"])
    page = Read(decision._repr_html_())
    assert page.tags.count("tr") == 1 + len(decision.front)
    for way in decision["front"]["ways"]:
        assert all(words in page.texts for words in percentiles(way["usd"], usd_text))
    bold = [line for line in decision._repr_markdown_().splitlines() if line.startswith("| **")]
    assert len(bold) == 1 and decision["recommended"]["provider"] in bold[0]
    assert re.fullmatch(r"<Decision gpt2: lora on NVIDIA L4 at \w+, .+, \$.+>", repr(decision))


def test_rows_carry_the_documents_figures(answer):
    table = answer.to_pandas()
    assert list(table.strategy) == [option["strategy"] for option in answer["options"]]
    assert table.recommended.sum() == 1
    for row, option in zip(rows(answer), answer["options"], strict=True):
        assert row["usd_p90"] == option["cost"]["usd"]["p90"]
        if option["run"] is None:
            assert row["hours_p50"] is None and row["memory_gib_p50"] is None
        else:
            assert row["hours_p50"] == option["run"]["wall_hours"]["p50"]
            used = option["memory"]["device_used_bytes"]["p50"]
            assert math.isclose(row["memory_gib_p50"] * 2**30, used)


@pytest.mark.parametrize("suffix", [".html", ".md", ".json"])
def test_an_answer_is_saved_by_its_suffix(answer, tmp_path, suffix):
    file = tmp_path / f"budget{suffix}"
    answer.save(file)
    assert "gpt2" in file.read_text()
    if suffix == ".json":
        saved = json.loads(file.read_text())
        assert saved["options"] == answer["options"]
        assert saved["budget"]["headline"]["usd"]["p50"] == answer.best.usd.p50


def test_a_suffix_that_is_none_is_refused(answer, tmp_path):
    with pytest.raises(PlannerError, match="is no report format. End it in .*html"):
        answer.save(tmp_path / "budget.pptx")
    with pytest.raises(PlannerError, match="no such folder"):
        answer.save(tmp_path / "none" / "budget.md")
