"""Tables and series from files: models made for their columns, tasks by the target, windows."""

import csv
import json
import random

import pytest

from planner.errors import QuestionError
from planner.models.building.build import build
from planner.plan.inputs.problem import understand
from planner.question import Question


def written(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def people(tmp_path):
    random.seed(1)
    header = ["age", "gain", "work", "grade", "income"]
    rows = [
        [
            i % 60,
            round(random.random(), 3),
            random.choice("abc"),
            i % 4,
            random.choice(["no", "yes"]),
        ]
        for i in range(120)
    ]
    return written(tmp_path / "people.csv", header, rows)


def asked(model, data, **fields):
    return understand(Question(model=str(model), data=str(data), gpu="t4", **fields))


def texts(problem, *, warning=None):
    return [x.text for x in problem.first_lines if warning is None or x.warning == warning]


@pytest.mark.parametrize("name", ["tabular-mlp", "ft-transformer", "ft-transformer-large"])
def test_a_model_is_made_for_the_columns_and_the_target(people, name):
    problem = asked(f"own:{name}", people)
    facts = problem.facts
    assert facts.task == "tabular_classification" and problem.data.classes == 2
    assert facts.arguments == {"numbers": 3, "categories": (3,)}
    assert any("made for the data's 3 numbers and 1 categories" in t for t in texts(problem))
    module = build(facts, classes=2).module
    batch = build(facts, classes=2).make_batch(4, None, None)
    assert batch["numbers"].shape == (4, 3) and batch["categories"].shape == (4, 1)
    assert module(**batch).shape == ()


def test_a_measured_target_makes_a_regression(people):
    problem = asked("own:tabular-mlp", people, text_columns=["work", "gain"])
    assert problem.facts.task == "tabular_regression" and problem.data.classes is None
    assert problem.facts.arguments == {"numbers": 0, "categories": (3,)}
    assert any("'gain' is a measured number" in t for t in texts(problem))
    batch = build(problem.facts).make_batch(2, None, None)
    assert set(batch) == {"categories", "labels"}


def test_whole_numbers_as_classes_are_said_and_can_be_changed(people):
    problem = asked("own:ft-transformer", people, text_columns=["age", "grade"])
    assert problem.facts.task == "tabular_classification"
    assert any("each of the 4 whole numbers in 'grade'" in t for t in texts(problem, warning=True))
    other = asked(
        "own:ft-transformer", people, text_columns=["age", "grade"], task="tabular_regression"
    )
    assert other.facts.task == "tabular_regression"
    assert not any("whole numbers in 'grade'" in t for t in texts(other))


@pytest.mark.parametrize(
    ("task", "target", "says"),
    [
        ("tabular_regression", "income", "holds words, not measured numbers"),
        ("tabular_classification", "gain", "holds measured numbers, not classes"),
    ],
)
def test_a_target_of_another_task_is_one_line(people, task, target, says):
    with pytest.raises(QuestionError, match=says):
        asked("own:tabular-mlp", people, task=task, text_columns=[target])


def test_sizes_that_no_data_tells_are_as_before():
    facts = understand(Question(model="own:tabular-mlp", samples=1000, gpu="t4")).facts
    assert facts.arguments is None and facts.parameters == 151298
    assert any("6 numbers and 8 categories of 16" in line.text for line in facts.first_lines)


def test_a_factory_with_its_own_columns_says_so(people, tmp_path, monkeypatch):
    (tmp_path / "own_table_for_test.py").write_text("def make(classes=2):\n    ...\n")
    monkeypatch.chdir(tmp_path)
    problem = asked("own_table_for_test:make", people, task="tabular_classification")
    assert problem.facts.arguments is None
    assert any("takes no numbers and categories" in t for t in texts(problem, warning=True))


def series(path, lengths):
    rows = [
        [
            f"s{s}",
            f"2024-{1 + t // 600:02d}-{1 + t // 24 % 25:02d} {t % 24:02d}:00",
            (t * 7 + s) % 13,
        ]
        for s, n in enumerate(lengths)
        for t in range(n)
    ]
    return written(path, ["id", "timestamp", "value"], rows)


def test_windows_are_samples_and_short_series_are_said(tmp_path):
    problem = asked("own:deepar", series(tmp_path / "s.csv", [200, 250, 20]))
    assert problem.data.samples == (200 - 191) + (250 - 191)
    assert problem.facts.arguments == {"series": 3}
    assert any("1 of 3 series are shorter" in t for t in texts(problem, warning=True))
    with pytest.raises(QuestionError, match="reads 168 steps and forecasts 24.*has 50"):
        asked("own:deepar", series(tmp_path / "t.csv", [50, 20]))


def test_channels_follow_the_data(tmp_path):
    model = tmp_path / "model" / "config.json"
    model.parent.mkdir()
    model.write_text(json.dumps({"model_type": "patchtst", "context_length": 40}))
    rows = [[f"2024-01-{1 + t // 24:02d} {t % 24:02d}:00", t % 5, t % 7, t / 2] for t in range(100)]
    data = written(tmp_path / "w.csv", ["date", "a", "b", "c"], rows)
    problem = asked(model, data)
    assert problem.facts.config["num_input_channels"] == 3
    assert problem.data.samples == 100 - (40 + 24) + 1
    assert any("3 values a step, where its config has 1" in t for t in texts(problem))
    one = asked("own:deepar", written(tmp_path / "v.csv", ["date", "a", "b", "c"], rows * 3))
    assert one.data.samples == 3 * (300 - 191)
    assert any("come more than once" in t for t in texts(one, warning=True))
