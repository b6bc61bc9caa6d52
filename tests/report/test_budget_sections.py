"""The budget as sections: every figure of it shows, none is invented, one page decides."""

import copy
import re
from html.parser import HTMLParser

import pytest
from made_budget import sample_answer, with_budget

from planner.report import words
from planner.report.formats.html import html
from planner.report.formats.markdown import markdown
from planner.report.views.budget import first_page
from planner.report.views.budget.sections import sections
from planner.units import format_usd_per_unit

#: Indices and what no format shows: places, whether a dot lies on the front.
HIDDEN = {"option", "usd_more", "hours_more", "headline"}
NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?")


@pytest.fixture(scope="module")
def document():
    asked = with_budget(sample_answer())
    asked["question"]["max_usd"] = 12.5
    return asked


def texts(document):
    """Everything that the sections say."""
    found = []
    for section in sections(document):
        found += [section.title, section.teaser, *section.paragraphs, *section.notes]
        found += [line.text for line in section.lines]
        found += [part for fact in section.facts for part in (fact.label, fact.value, fact.detail)]
        found += [text for pair in section.code for text in pair]
        for table in section.tables:
            found += [table.caption, *table.headers, *(cell for row in table.rows for cell in row)]
    return found


def leaves(part, path=()):
    """(path, number) of a document."""
    items = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*path, key))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield (*path, key), value


def changed(document, path):
    """The document with one figure three times as large and more."""
    copied = copy.deepcopy(document)
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = holder[path[-1]] * 3 + 7
    return copied


def test_a_changed_figure_of_the_budget_changes_the_report(document):
    before = texts(document)
    shown = [path for path, _ in leaves(document["budget"]) if not HIDDEN & set(path)]
    assert len(shown) > 60
    for path in shown:
        assert texts(changed(document, ("budget", *path))) != before, path


def test_a_changed_sum_changes_the_first_page(document):
    at = document["budget"]["headline"]["option"]
    for part, figure in (("cost", "usd"), ("run", "wall_hours"), ("run", "gpu_hours")):
        for end in ("p10", "p50", "p90"):
            other = changed(document, ("options", at, part, figure, end))
            assert first_page.summary(other) != first_page.summary(document), (part, figure, end)


class Text(HTMLParser):
    """The text of a page, without its scripts and style."""

    def __init__(self):
        super().__init__()
        self.inside, self.text = None, []

    def handle_starttag(self, tag, attrs):
        self.inside = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside is None:
            self.text.append(data)


def told(document):
    """Numbers that may stand in a report: those of the document's texts, its figures as they are
    worded, and those of our own sentences."""
    numbers = {"8", "10", "30", "1"}
    worded = [words.usd_text, words.hours_text, words.seconds_text, words.bytes_text]
    worded += [
        words.count_text,
        words.share_text,
        words.chance_text,
        words.kwh_text,
        words.kg_text,
        words.flop_text,
    ]
    worded += [format_usd_per_unit, "{:,}".format, "{:.0f}".format, "{:g}".format, "{:,.0f}".format]
    for _, value in leaves(document):
        for word in worded:
            numbers |= set(NUMBER.findall(word(value)))
    for figure in figures(document):
        for end in figure.values():
            for word in (words.hours_text, words.seconds_text):
                numbers |= set(NUMBER.findall(word(end, like=figure["p50"])))
    for text in strings(document):
        numbers |= set(NUMBER.findall(text.replace("_", " ")))
    return numbers


def figures(part):
    if words.is_figure(part):
        yield part
    elif isinstance(part, (dict, list)):
        for value in part.values() if isinstance(part, dict) else part:
            yield from figures(value)


def strings(part):
    if isinstance(part, (dict, list)):
        for value in part.values() if isinstance(part, dict) else part:
            yield from strings(value)
        yield from (str(key) for key in part if isinstance(part, dict))
    elif isinstance(part, str):
        yield part


def test_no_number_is_invented(document):
    """Each number of HTML and Markdown is one of the document's, worded."""
    page = Text()
    page.feed(html(document))
    lists = {str(at) for at in range(1, 20)}  # "sources.1.what": places in lists
    lengths = {str(len(document["budget"]["offers"]))}
    known = told(document) | lists | lengths
    plain = re.sub(r"\\(.)", r"\1", markdown(document))
    for text in (" ".join(page.text), plain):
        strange = set(NUMBER.findall(text)) - known
        assert not strange, sorted(strange)[:20]


def test_the_first_page_is_a_page(document):
    for asked in (document, sample_answer(), with_budget(sample_answer(), at=None)):
        lines = markdown(asked).splitlines()
        first = next(at for at, line in enumerate(lines) if line.startswith("<details"))
        assert first <= 60 and "<!--" not in markdown(asked)
        assert lines.count("</details>") == sum(line.startswith("<details") for line in lines)


def test_every_section_is_in_both_formats(document):
    page, plain = html(document), markdown(document)
    shown = sections(document)
    assert len({section.key for section in shown}) == len(shown)
    for section in shown:
        title = section.title.replace("'", "&#39;")
        assert title in page, title
    assert plain.count("<details>") == sum(not section.first for section in shown)


def test_the_recommended_row_is_marked_and_the_limit_judged(document):
    table = first_page.strategies(document).tables[0]
    (row,) = table.marked
    assert row == document["budget"]["headline"]["option"] and "✓" in table.rows[row][0]
    option = document["options"][row]
    for kept, said, tone in ((True, "kept", "good"), (False, "broken", "bad")):
        option["limits"] = [
            {
                "limit": "max_usd",
                "allowed": 12.5,
                "used": option["cost"]["usd"],
                "kept": kept,
                "left": 2.6,
                "chance_kept": 0.9,
                "runs": 1,
            }
        ]
        fact = next(f for f in first_page.summary(document).facts if f.label == "Budget")
        assert (fact.value, fact.tone) == (said, tone) and "$12.50" in fact.detail


def test_requests_put_the_whole_sum_first():
    """Training is a part of what is paid where requests are priced, never the first figure."""
    document = with_budget(sample_answer())
    option = document["options"][document["budget"]["headline"]["option"]]
    option["cost"]["project_usd"] = {"p10": 4000.0, "p50": 4293.0, "p90": 6600.0}
    document["question"]["horizon_months"] = 12.0
    first, second, *_ = first_page.summary(document).facts
    assert first.lead and first.value == "$4,293" and "12 months" in first.label
    assert second.label == "Training alone" and second.value == words.usd_text(
        option["cost"]["usd"]["p50"]
    )
    table = first_page.strategies(document).tables[0]
    assert table.headers[2:4] == ("Over 12 months", "To start")


@pytest.mark.parametrize(
    "usd, text",
    [
        (0.06091, "$0.06091"),
        (2.5, "$2.50"),
        (1234.5, "$1,234.50"),
        (1.2e-5, "$0.000012"),
        (0, "$0.00"),
    ],
)
def test_prices_of_units_keep_their_digits(usd, text):
    assert format_usd_per_unit(usd) == text


@pytest.mark.parametrize("suffix", [".pdf", ".docx", ".xlsx", ".md"])
def test_a_file_tells_how_it_itself_is_made_again(document, suffix):
    asked = copy.deepcopy(document)
    asked["budget"]["reproduce"]["command"] = "planner report gpt2 a.html -o budget.html"
    code = [pair for part in sections(asked, suffix=suffix) for pair in part.code]
    assert ("Command line", f"planner report gpt2 a.html -o budget{suffix}") in code


def facts_of(document):
    return {fact.label: fact for fact in first_page.summary(document).facts}


def test_the_sum_says_how_many_runs_it_pays(document):
    several = copy.deepcopy(document)
    option = several["options"][several["budget"]["headline"]["option"]]
    option["cost"]["project_range_usd"] = {"run": 0.99, "low": 20.0, "high": 90.0}
    assert facts_of(several)["This run"].lead and "one run" not in str(facts_of(several))
    several["question"]["trials"] = 10
    facts = facts_of(several)
    assert "This run" not in facts and "one run $0.99" in facts["All 10 trials"].detail
    assert facts["All 10 trials"].value == words.usd_text(option["cost"]["usd"]["p50"])
    assert any("of one run" in fact.detail for name, fact in facts.items() if "time" in name)
    several["question"] |= {"trials": 1, "failed_share": 0.2}
    assert "one run $0.99" in facts_of(several)["This run, failed ones too"].detail
    said = [text for text in texts(several) if text == "This run"]
    assert not said, "another sum is called this run"


def test_nothing_recommended_shows_what_comes_nearest(document):
    nothing = with_budget(sample_answer(), at=None)
    nothing["question"]["max_usd"] = 0.1
    over = {"limit": "max_usd", "allowed": 0.1, "used": 0.31, "over": 0.21}
    near = {"option": 0, "over": [over | {"words": "$0.21 over max_usd $0.10"}], "offer": None}
    nothing["budget"]["nearest"] = near
    facts = facts_of(nothing)
    assert facts["Nearest"].lead and facts["Nearest"].detail == "$0.21 over max_usd $0.10"
    usd = nothing["options"][0]["cost"]["usd"]["p50"]
    assert facts["It would cost"].value == words.usd_text(usd)
    assert "see what does not fit" not in " ".join(texts(nothing))
    said = " ".join(first_page.recommendation(nothing).paragraphs)
    assert "max_usd $0.10 is broken" in said and "No offer at any provider" in said
    nothing["budget"]["offers"] = copy.deepcopy(document["budget"]["offers"])
    nothing["budget"]["nearest"]["offer"] = 0
    offer = nothing["budget"]["offers"][0]
    assert offer["provider"] in facts_of(nothing)["Would keep the limits"].value


def test_memory_is_the_cause_only_where_it_is():
    nothing = with_budget(sample_answer(), at=None)
    for option in nothing["options"]:
        option["fits"] = False
    nothing["first_lines"] = []
    told = " ".join(first_page.recommendation(nothing).paragraphs)
    assert "no option fits the memory of its GPU" in told


def test_spot_and_whole_hosts_stand_beside_the_price(document):
    changed_one = copy.deepcopy(document)
    option = changed_one["options"][changed_one["budget"]["headline"]["option"]]
    option["cost"]["offer"] = {"spot": True, "unused_gpus": 7, "age_days": 3, "source": "x"} | {
        "instance_type": None,
        "region": None,
    }
    detail = facts_of(changed_one)["GPU and provider"].detail
    assert "whole host, 7 more GPUs unused" in detail and "spot" in detail
    assert first_page.recommendation(changed_one).paragraphs[0].endswith(", spot.")
