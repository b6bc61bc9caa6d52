"""Charts as specifications: the document's figures inside, nothing else of it; drawn as
pictures."""

import copy
import json
import re
from xml.etree import ElementTree

import pytest
from made_budget import HOSTILE, sample_answer, with_budget

from planner.errors import MissingExtraError
from planner.report.charts import draw, marks
from planner.report.charts.registry import CHARTS, drawn
from planner.report.charts.theme import config
from planner.report.look import DARK, LIGHT
from planner.report.views.budget.sections import sections

FOR_AN_ANSWER = {"costs", "memory", "phases", "kinds"}


@pytest.fixture(scope="module")
def document():
    return with_budget(sample_answer())


def specs(document):
    return {key: chart.spec(document) for key, chart in CHARTS.items()}


def without_data(spec):
    """A specification without its data."""
    if isinstance(spec, dict):
        return {key: without_data(value) for key, value in spec.items() if key != "data"}
    return [without_data(value) for value in spec] if isinstance(spec, list) else spec


def rows(spec):
    return spec["data"]["values"]


def test_every_chart_stands_in_a_section_and_every_key_is_one(document):
    placed = [key for section in sections(document) for key in section.charts]
    assert sorted(placed) == sorted(CHARTS)


def test_a_spec_is_a_pure_function_of_the_document(document):
    before = copy.deepcopy(document)
    first, second = specs(document), specs(document)
    assert document == before and first == second
    assert json.loads(json.dumps(first)) == first
    assert {key for key, spec in first.items() if spec} >= FOR_AN_ANSWER | {
        "around",
        "offers",
        "sensitivity",
        "chances",
    }


def test_specs_name_no_colour(document):
    for key, spec in specs(document).items():
        assert not re.search(r"#[0-9a-fA-F]{6}", json.dumps(without_data(spec))), key


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_a_document_are_data_alone(document, text):
    """Expressions, titles, fields of the specification are the same whatever names are called."""
    poisoned = specs(with_budget(sample_answer(), hostile=text))
    for key, spec in specs(document).items():
        assert without_data(poisoned[key]) == without_data(spec), key
        if poisoned[key]:
            values = [value for row in rows(poisoned[key]) for value in row.values()]
            shown = [value for value in values if isinstance(value, str)]
            assert all(value.isprintable() for value in shown)


def test_an_answer_alone_draws_what_it_holds():
    assert {key for key, spec in specs(sample_answer()).items() if spec} == FOR_AN_ANSWER


def test_figures_are_the_documents(document):
    made, budget = specs(document), document["budget"]
    priced = [option for option in document["options"] if option.get("cost")]
    assert [row["p50"] for row in rows(made["costs"])] == [
        option["cost"]["usd"]["p50"] for option in priced
    ]
    assert [row["usd"] for row in rows(made["chances"])] == [p["usd"] for p in budget["chances"]]
    assert [row["usd_high"] for row in rows(made["sensitivity"])] == [
        each["usd_high"] for each in budget["sensitivity"]
    ]
    assert {row["base"] for row in rows(made["sensitivity"])} == {budget["headline"]["usd"]["p50"]}
    assert [row["hours"] for row in rows(made["offers"])] == [
        offer["wall_hours"]["p50"] for offer in budget["offers"]
    ]
    assert rows(made["around"])[-1]["high"] == budget["project"]["high_usd"]
    assert [row["hours"] for row in rows(made["phases"])] == [
        part["hours"] for part in budget["time"] if part["part"] is None and part["hours"]
    ]


def test_memory_is_stacked_to_what_is_used(document):
    held = [option["memory"] for option in document["options"] if option.get("memory")]
    made = rows(specs(document)["memory"])
    for at, memory in enumerate(held):
        mine = [row for row in made if row["row"] == at]
        assert sum(row["bytes"] for row in mine) == pytest.approx(
            memory["device_used_bytes"]["p50"], rel=1e-6
        )
        assert {row["total"] for row in mine} == {memory["device_total_bytes"]}


@pytest.mark.parametrize(
    "figures, kind",
    [
        ([1, 29], "linear"),
        ([1, 31], "log"),
        ([0, 31], "linear"),
        ([], "linear"),
        ([None], "linear"),
    ],
)
def test_a_scale_is_logarithmic_where_figures_lie_far_apart(figures, kind):
    assert marks.scale(figures)["type"] == kind


@pytest.mark.parametrize(
    "hours, unit", [(0.01, "seconds"), (1, "minutes"), (9, "hours"), (99, "days")]
)
def test_an_axis_of_hours_takes_the_unit_of_words(hours, unit):
    name, per_unit = marks.hours_unit(hours)
    assert name == unit and 0.5 < hours / per_unit < 200


def test_nothing_to_draw_is_none(document):
    empty = copy.deepcopy(document)
    empty["options"] = []
    for key in ("lines", "offers", "sensitivity", "chances", "time"):
        empty["budget"][key] = []
    empty["budget"].update(project=None)
    empty["budget"]["headline"].update(option=None, usd=None)
    assert not any(specs(empty).values())
    assert drawn(empty, tuple(CHARTS)) == []


def test_a_limit_is_drawn_where_one_is_set(document):
    asked = copy.deepcopy(document)
    asked["question"]["max_usd"] = 12.5
    plain, limited = specs(document)["chances"], specs(asked)["chances"]
    assert len(limited["layer"]) == len(plain["layer"]) + 2
    assert limited["layer"][-1]["data"]["values"][0]["usd"] == 12.5
    assert "limit $12.50" in draw.svg(limited)


def test_pictures_hold_the_words_and_the_theme(document):
    for key, spec in specs(document).items():
        if not spec:
            continue
        picture = draw.svg(spec, 500)
        root = ElementTree.fromstring(picture)
        assert abs(float(root.get("width")) - 500) <= 1, key
        assert LIGHT.ink in picture or LIGHT.soft in picture, key
        dark = draw.svg(spec, 500, DARK)
        assert DARK.ink in dark or DARK.soft in dark, key
    assert "LoRA ✓" in draw.svg(specs(document)["costs"])
    assert draw.png(specs(document)["chances"], 300).startswith(b"\x89PNG")


def test_strings_are_escaped_in_pictures(document):
    hostile = with_budget(sample_answer(), hostile="</text><script>alert(1)</script>&<b>")
    for spec in specs(hostile).values():
        if spec:
            tags = {
                element.tag.rpartition("}")[2]
                for element in ElementTree.fromstring(draw.svg(spec)).iter()
            }
            assert not tags & {"script", "b", "a", "image", "foreignObject"}


def test_what_a_chart_shows_is_told_in_one_breath():
    """The recommended one and the ends, whatever the number and the length of the rows."""
    document = with_budget(sample_answer())
    first = document["budget"]["offers"][0]
    document["budget"]["offers"] = [
        {**first, "gpu": f"GPU number {k} " + "x" * 90, "chosen": k == 7, "on_front": True}
        | {"usd": {"p10": k + 1.0, "p50": k + 2.0, "p90": k + 3.0}, "keeps_limits": True}
        for k in range(200)
    ]
    for chart in CHARTS.values():
        assert len(f"{chart.title}: {chart.alt(document)}") <= 400, chart.key
    told = CHARTS["offers"].alt(document)
    assert "200 in all" in told and "recommended: 1 × GPU number 7" in told
    assert "from 1 × GPU number 0" in told and "to 1 × GPU number 199" in told
    assert "$2.00" in told and "$201.00" in told


def test_few_rows_are_told_whole(document):
    told = CHARTS["phases"].alt(document)
    for row in rows(CHARTS["phases"].spec(document)):
        assert f"{row['name']}: {row['words']}" in told


def test_kinds_are_said_to_be_of_one_pass(document):
    """The document's seconds by kind are of one pass; a step makes several."""
    document = copy.deepcopy(document)
    chart = CHARTS["kinds"]
    assert "micro-batch" in chart.title and "micro-batch" in chart.caption
    for passes, said in ((1, "it is the whole step"), (8, "a step makes 8 such passes")):
        for option in document["options"]:
            (option["step"] or {})["gradient_accumulation"] = passes
        captions = [table.caption for part in sections(document) for table in part.tables]
        assert [words for words in captions if "micro-batch" in words and said in words]


def test_inks_are_read_on_their_papers():
    """WCAG 2.2 AA: a contrast of 4.5:1 for text."""
    for theme in (LIGHT, DARK):
        for ink in (theme.ink, theme.soft, theme.accent, theme.good, theme.warn, theme.bad):
            for ground in (theme.paper, theme.card, theme.tint):
                assert contrast(ink, ground) >= 4.5, (theme.name, ink, ground)
        assert len(set(theme.series)) == len(theme.series) >= 7
        assert config(theme)["range"]["category"] == list(theme.series)


def contrast(one, other):
    light, dark = sorted(map(luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


def test_without_the_library_one_line_names_the_extra(monkeypatch, document):
    from planner import libraries
    from planner.report.formats.html import html

    draw._library.cache_clear()
    real = libraries.importlib.util.find_spec
    monkeypatch.setattr(
        libraries.importlib.util,
        "find_spec",
        lambda name, *more: None if name == "vl_convert" else real(name, *more),
    )
    with pytest.raises(MissingExtraError, match="needs vl_convert") as told:
        html(document)
    assert "planner[report]" in str(told.value.mend) and "\n" not in str(told.value)
    draw._library.cache_clear()
