"""``from planner import explain, diff``: the documents of the command line, as typed objects."""

import pytest

import planner
from planner import PlannerError, Question, diff, estimate, explain
from planner.diff.document import diff as compared
from planner.diff.side import Side
from planner.explain.document import explain as explained

ASKED = dict(samples=1000, tokens_per_sample=300, gpu="l4", strategy=["lora"])


@pytest.fixture(scope="module")
def explanation():
    return explain("gpt2", **ASKED, changes=False)


def test_an_explanation_is_the_document(explanation):
    question = Question(model="gpt2", **ASKED)
    assert explanation == explained(question, changes=False) and planner.explain is explain
    assert explanation.typed.time.seconds == explanation["time"]["seconds"]
    assert explanation.changes == [] and explanation.to_pandas().empty
    assert repr(explanation).startswith("<Explanation gpt2: lora on NVIDIA L4, ")
    assert "lora" in explanation._repr_markdown_()


def test_its_changes_are_a_table():
    found = explain("gpt2", samples=200, tokens_per_sample=100, gpu="l4", strategy=["lora"])
    table = found.to_pandas()
    assert list(table.key) == [change.key for change in found.changes] and len(table) > 2
    assert list(table["saved.usd"]) == [change["saved"]["usd"] for change in found["changes"]]


@pytest.mark.parametrize("suffix", [".md", ".json", ".csv"])
def test_it_is_saved_by_its_suffix(explanation, tmp_path, suffix):
    explanation.save(tmp_path / f"step{suffix}")
    assert (tmp_path / f"step{suffix}").stat().st_size > 100
    with pytest.raises(PlannerError, match=r"is no format of this document. End it in \.html"):
        explanation.save(tmp_path / "step.pptx")


def test_a_difference_is_the_document(tmp_path):
    before = Question(model="gpt2", **ASKED)
    after = Question(model="gpt2", **ASKED, epochs=6)
    found = diff(before, after, max_increase_percent=10)
    wanted = compared(Side("a", before), Side("b", after), max_increase_percent=10)
    assert found == wanted and planner.diff is diff
    one, two = (estimate(question).best for question in (before, after))
    assert found.usd == pytest.approx(two.usd.p50 - one.usd.p50)
    assert found.hours == pytest.approx(two.hours.p50 - one.hours.p50)
    assert found["gate"]["broken"] and "<Difference a → b: +$" in repr(found)
    found.save(tmp_path / "diff.md")
    assert (tmp_path / "diff.md").read_text() == found._repr_markdown_()


def test_answers_and_project_files_are_sides(tmp_path):
    project = tmp_path / "project.yaml"
    project.write_text(
        "model: gpt2\nsamples: 1000\ntokens_per_sample: 300\ngpu: l4\nstrategy: [lora]\n"
    )
    found = diff(estimate("gpt2", **ASKED), project)
    assert found.usd == 0.0 and found.typed.a.kind == "answer"


@pytest.mark.parametrize(
    "side, said",
    [({}, "a: not an answer of this version"), ("none.yaml", "none.yaml"), ({"schema": 2}, "a: ")],
)
def test_a_side_that_is_none_is_one_line(side, said):
    with pytest.raises(PlannerError) as refused:
        diff(side, Question(model="gpt2", **ASKED))
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)
