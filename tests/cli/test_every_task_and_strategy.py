"""``planner estimate`` over every task of which a model ships and every strategy: an answer whose
parts sum, or one line that says what is wrong and how to mend it; nothing is recorded for it. More
epochs and more samples are never cheaper, and memory knows of neither."""

import json
import math
import random

import pytest

from planner import tables
from planner.cli import main
from planner.question import ALL_STRATEGIES, PAID_STRATEGIES
from planner.tasks import tasks
from planner.trace.source import TraceSource, shipped_models

SEED, ORDERED = 20261129, 24
LITTLE, MUCH = 1e-9, 1 + 1e-9
#: Whose samples are texts that need a length; those whose targets do too.
WRITTEN = ("text", "image_text")
TWO_SIDES = ("seq2seq_lm",)
SERVED = ("--requests-per-month", "1000", "--output-tokens", "100", "--prompt-tokens", "400")
CORPUS = ("--corpus-tokens", "1M")


def smallest() -> dict[str, dict[str, str]]:
    """Task → the row of its smallest model that ships."""
    found: dict[str, dict[str, str]] = {}
    for row in tables.rows("models", "catalogue.csv"):
        if row["name"] in shipped_models():
            other = found.get(row["task"])
            if other is None or int(row["parameters"]) < int(other["parameters"]):
                found[row["task"]] = row
    return found


SMALLEST = smallest()
CASES = [(task, strategy) for task in sorted(SMALLEST) for strategy in ALL_STRATEGIES]
TRAINED = [case for case in CASES if case[1] not in PAID_STRATEGIES]


def arguments(task: str, strategy: str, samples: int = 4000) -> list[str]:
    asked = ["estimate", SMALLEST[task]["name"], "--samples", str(samples), "--gpu", "a100-sxm-80"]
    asked += ["--strategy", strategy, "--offline", "--max-usd", "500"]
    if tasks()[task].modality in WRITTEN and task != "contrastive":
        asked += ["--tokens-per-sample", "120"]
    if task in TWO_SIDES:
        asked += ["--target-tokens-per-sample", "40"]
    if strategy in PAID_STRATEGIES:
        asked += [*SERVED, *(CORPUS if strategy == "rag" else ())]
    return asked


@pytest.fixture
def ask(capsys, monkeypatch):
    """Arguments → (exit code, document or None, what the error stream holds); a trace that would be
    recorded is an error of the test."""

    def recorded(source, regime, _length):
        raise AssertionError(f"{source.facts.name} {source.recipe} {regime} does not ship")

    monkeypatch.setattr(TraceSource, "_record", recorded)

    def call(*asked):
        code = main.run([*asked, "--json", "--quiet"])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, json.loads(out) if out else None, err

    return call


def test_the_sample_is_of_most_tasks_and_of_every_strategy():
    assert len(SMALLEST) >= 12 and {strategy for _, strategy in CASES} == set(ALL_STRATEGIES)


@pytest.mark.parametrize(("task", "strategy"), CASES)
def test_an_answer_that_sums_or_one_line_that_mends(ask, task, strategy):
    code, document, err = ask(*arguments(task, strategy))
    if document is None:
        assert code == 2 and strategy != "fine_tune", err  # what every task is trained by
        assert err.startswith("planner: ") and err.count("\n") == 1, err
        assert len(err) > 30
        return
    assert code in (0, 1) and err == ""
    assert document["options"] and {o["strategy"] for o in document["options"]} == {strategy}
    broken = [limit for o in document["options"] for limit in o["limits"] if not limit["kept"]]
    assert code == 0 or broken or document["recommended"] is None
    for option in document["options"]:
        sums(option)


def sums(option):
    cost = option["cost"]
    assert math.isclose(sum(cost["breakdown"].values()), cost["usd"]["p50"], rel_tol=LITTLE)
    assert all(value >= 0 for value in cost["breakdown"].values())
    if option["memory"] is None:
        return
    memory, run = option["memory"], option["run"]
    used = memory["device_used_bytes"]["p50"]
    assert math.isclose(sum(memory["breakdown"].values()), used, rel_tol=LITTLE)
    hours = run["wall_hours"]["p50"]
    assert math.isclose(sum(run["breakdown_hours"].values()), hours, rel_tol=LITTLE)


def figures(document):
    """Of the one option, in the order of variants."""
    for option in document["options"]:
        run, cost, memory = option["run"], option["cost"], option["memory"]
        name = option["strategy"], option["variant"]
        yield name, run["gpu_hours"]["p50"], cost["usd"]["p50"], memory["device_used_bytes"]["p50"]


def drawn():
    return random.Random(SEED).sample(TRAINED, min(ORDERED, len(TRAINED)))


@pytest.mark.parametrize(("task", "strategy"), drawn())
def test_more_epochs_and_more_samples_are_never_cheaper(ask, task, strategy):
    fixed = ("--micro-batch", "2", "--global-batch", "16", "--price", "2")
    asked = [
        ask(*arguments(task, strategy, samples), "--epochs", epochs, *fixed)
        for samples, epochs in ((1000, "1"), (1000, "3"), (4000, "1"))
    ]
    assert len({code == 2 for code, _, _ in asked}) == 1
    if asked[0][0] == 2:
        return
    less, epochs, samples = (list(figures(document)) for _, document, _ in asked)
    for more in (epochs, samples):
        assert [one[0] for one in less] == [one[0] for one in more]
        for (_, hours, usd, _), (_, longer, dearer, _) in zip(less, more, strict=True):
            assert hours <= longer * MUCH and usd <= dearer * MUCH
    for (_, _, _, held), (_, _, _, again) in zip(less, epochs, strict=True):
        assert math.isclose(held, again, rel_tol=LITTLE)
