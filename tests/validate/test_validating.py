"""Measured runs against estimates: known errors are found, corrections judge only what did not
teach them, limits hold."""

from __future__ import annotations

import dataclasses
import math

import pytest
from measured_examples import SHIPPED, records, setup

from planner.errors import DataError, PlannerError, QuestionError
from planner.ledger.importers.found import Problems
from planner.ledger.record import RunRecord
from planner.uncertainty import corrections
from planner.validate import residuals
from planner.validate.cases import Case, Refused, to_csv
from planner.validate.correct import learn
from planner.validate.gathering import from_ledger, from_table, known_filters, table_path
from planner.validate.summaries import Comparison, by
from planner.validate.validate import Limits, by_model, validate


@pytest.fixture(autouse=True)
def own_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path / "devices"))


def cases_of(made):
    found = list(from_ledger(made))
    assert all(isinstance(c, Case) for c in found), found
    return found


def errors(comparisons, quantity="time"):
    return by((c for c in comparisons if c.quantity == quantity), "quantity")[(quantity,)]


def test_a_known_error_is_found_and_its_correction_judged_by_other_runs(tmp_path):
    found = validate(cases_of(records(tmp_path)))
    assert errors(found.plain).median == pytest.approx(1 - 1 / 1.3, abs=0.04)
    assert errors(found.plain).bias_percent == pytest.approx(100 * (1 / 1.3 - 1), abs=4)
    assert errors(found.left_out).median < 0.6 * errors(found.plain).median
    assert (
        errors(found.plain, "context").median == pytest.approx(1 / 3, abs=0.01)
        and found.in_force == ()
    )


def test_corrections_are_never_judged_by_the_runs_that_taught_them(tmp_path):
    made = records(tmp_path)
    taught, new = made[:4], made[4:]
    before = validate(cases_of(taught))
    learnt = learn(residuals.residuals(before.plain))
    assert {"time", "context"} <= {c.quantity for c in learnt}
    corrections.keep(learnt, [residuals.run_name(c.table, c.case_id) for c in before.plain])
    found = validate(cases_of(made))
    assert {c.case_id for c in found.in_force} == {r.id[:12] for r in new}
    known = {c.case_id for c in before.plain}
    first = next(c for c in found.plain if c.case_id in known)
    assert first.p50 == next(
        c.p50 for c in before.plain if (c.case_id, c.quantity) == (first.case_id, first.quantity)
    ), "the planner's own word does not move"
    own = [c for c in found.plain if c.case_id in {r.id[:12] for r in new}]
    for quantity in ("time", "context"):
        assert errors(found.in_force, quantity).median < 0.5 * errors(own, quantity).median
    assert found.today == "in_force"
    corrections.forget()
    assert validate(cases_of(new)).in_force == ()


def test_the_context_of_an_answer_moves_with_what_was_measured(tmp_path):
    made = records(tmp_path)
    before = validate(cases_of(made[:1])).plain
    corrections.keep(
        learn(residuals.residuals(validate(cases_of(made)).plain)), ["ledger:none of these"]
    )
    after = validate(cases_of(made[:1])).in_force
    old, new = (next(c for c in found if c.quantity == "context") for found in (before, after))
    assert 1.1 < new.p50 / old.p50 < 1.55
    grown = [next(c.p50 for c in found if c.quantity == "device") for found in (before, after)]
    assert grown[1] > grown[0]


def test_a_run_of_one_model_alone_is_left_as_it_is(tmp_path):
    (time,) = [
        c
        for c in validate(cases_of(records(tmp_path, runs=SHIPPED[:1]))).left_out
        if c.quantity == "time"
    ]
    (plain,) = [
        c
        for c in validate(cases_of(records(tmp_path, runs=SHIPPED[:1]))).plain
        if c.quantity == "time"
    ]
    assert time.p50 == pytest.approx(plain.p50) and time.p90 == pytest.approx(plain.p90)


def test_running_out_of_memory_is_judged(tmp_path):
    run = RunRecord.new(
        "measured", "a test", setup("Llama-3.2-1B", "fine_tune", 4, 512), {"out_of_memory": True}
    )
    (verdict,) = validate(cases_of([run])).verdicts
    assert verdict.ran_out and verdict.fits is True, (
        "1B in bf16 on 80 GB fits, so this is a false fit that must be shown"
    )


def test_what_cannot_be_asked_has_its_reason(tmp_path):
    runs = [
        RunRecord.new(
            "recorded",
            "s",
            {
                "model": "gpt2",
                "strategy": "lora",
                "gpu": "t4",
                "micro_batch": 1,
                "precision": "fp32",
            },
            {"step_seconds": 1.0},
        ),
        RunRecord.new(
            "recorded", "s", {"model": "gpt2", "strategy": "fine_tune"}, {"step_seconds": 1.0}
        ),
        RunRecord.new("recorded", "s", setup("gpt2", "fine_tune", 8, 256), {"steps": 3}),
        RunRecord.new(
            "recorded",
            "s",
            setup("gpt2", "fine_tune", 8, 256, gpu="nothing-9000"),
            {"step_seconds": 1.0},
        ),
    ]
    found = list(from_ledger(runs))
    assert [f.reason for f in found[:3]] == [
        "lora_rank not known",
        "gpu and micro_batch and precision not known",
        "neither time nor memory was measured",
    ]
    (refused,) = validate([found[3]]).refused
    assert "nothing-9000" in refused.reason


def test_what_a_run_leaves_open_is_said():
    bare = {
        name: value
        for name, value in setup("gpt2", "fine_tune", 8, 256).items()
        if name not in ("optimizer", "attention")
    }
    (case,) = from_ledger([RunRecord.new("recorded", "s", bare, {"step_seconds": 1.0})])
    assert case.optimizer == "adamw" and case.assumed == "optimizer adamw, attention sdpa assumed"


def test_exact_and_unknown_bases():
    with pytest.raises(QuestionError, match="unknown basis 'guess'"):
        validate([], bases=("guess",))


def test_a_basis_that_a_device_lacks_is_refused_by_name(tmp_path):
    found = validate(
        cases_of(records(tmp_path, runs=SHIPPED[:1])), bases=("datasheet", "calibrated")
    )
    assert "not calibrated" in found.refused[0].reason and {c.basis for c in found.plain} == {
        "datasheet"
    }


def figure(measured, p50, quantity="time", spread=1.1):
    return Comparison(
        "c",
        "t",
        quantity,
        "datasheet",
        "lora",
        "t4",
        "gpt",
        "text",
        "fit",
        measured,
        p50 / spread,
        p50,
        p50 * spread,
    )


def test_limits_name_what_breaks_them():
    figures = [figure(1.0, 1.2), figure(1.0, 1.05), figure(1.0, 1.3), figure(1.0, 5.0, "forward")]
    assert Limits(0.25, 0.5, 0.3).broken(figures) == []
    broken = Limits(0.1, 0.25, 0.5).broken(figures)
    assert (
        [line.partition(":")[0] for line in broken] == ["time"] * 3
        and "20.0% is above 10.0%" in broken[0]
        and "cover 33.3%, below 50.0%" in broken[2]
    )
    assert Limits(0.1, quantities=("forward",)).broken(figures) == [
        "forward: median error 400.0% is above 10.0%"
    ]
    assert not Limits().any and Limits(coverage=0.0).any


def test_residuals_have_the_sign_of_what_was_measured():
    one = residuals.residual(figure(1.2, 1.0))
    assert one.log_ratio == pytest.approx(math.log(1.2)) and one.family == "text"
    assert residuals.residuals([figure(1.0, 1.0, "forward"), figure(1.0, 1.0, "hours")]) == []


def test_batches_of_one_model_stay_together():
    base = Case(
        id="a",
        table="t",
        citation="s",
        model="gpt2",
        task="causal_lm",
        strategy="lora",
        gpu="t4",
        micro_batch=1,
        precision="fp32",
        optimizer="adamw",
    )
    cases = [
        dataclasses.replace(base, id=str(i), model=m) for i, m in enumerate(("gpt2", "b", "gpt2"))
    ]
    seen = []
    assert by_model(
        cases, lambda batch: [c.id for c in batch], 1, lambda *told: seen.append(told)
    ) == ["1", "0", "2"]
    assert seen == [("asking", 1, 3), ("asking", 3, 3)]


# ---------------------------------------------------------------- tables from strangers

HEAD = (
    "id,model,task,strategy,gpu,micro_batch,sequence_length,precision,optimizer,step_seconds,"
    "peak_bytes,memory,architecture\n"
)
GOOD = "a,gpt2,causal_lm,fine_tune,h100-sxm,8,256,amp_bf16,adamw,0.05,,,\n"


def read(tmp_path, text, name="runs.csv", encoding="utf-8"):
    path, problems = tmp_path / name, Problems()
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return list(from_table(path, problems)), problems


@pytest.mark.parametrize(
    "row, reason",
    [
        ("=cmd|' /C calc'!A0,gpt2,causal_lm,lora,t4,8,256,fp32,adamw,1,,,", "formula"),
        ("b,+gpt2,causal_lm,lora,t4,8,256,fp32,adamw,1,,,", "formula"),
        (
            "b,gpt2,causal_lm,fine_tune,t4,1e300,256,fp32,adamw,1,,,",
            "micro_batch: '1e300' is not a finite number",
        ),
        ("b,gpt2,causal_lm,fine_tune,t4,99999999999,256,fp32,adamw,1,,,", "micro_batch"),
        (
            "b,gpt2,causal_lm,fine_tune,t4,8,256,fp32,adamw,NaN,,,",
            "step_seconds: 'NaN' is not a number",
        ),
        (
            "b,gpt2,causal_lm,fine_tune,t4,8,256,fp32,adamw,-3,,,",
            "step_seconds: '-3' is not above 0",
        ),
        ("b,gpt2,causal_lm,fine_tune,t4,8.5,256,fp32,adamw,1,,,", "micro_batch: '8.5'"),
        ("b,gpt2,causal_lm,fine_tune,t4,8,256,fp32,adamw,,1e9,heap,", "memory: 'heap' is none of"),
        (
            "b,os:abort,custom,fine_tune,t4,8,,fp32,adamw,1,,,",
            "names code, which is not run for a table",
        ),
        (
            'b,x,causal_lm,fine_tune,t4,8,256,fp32,adamw,1,,,"{""kind"": ""llama"", '
            '""num_hidden_layers"": 100000}"',
            "num_hidden_layers 100000 is more",
        ),
        ("b,x,causal_lm,fine_tune,t4,8,256,fp32,adamw,1,,,[[[[", "architecture: not JSON"),
        (
            "b,gpt2,causal_lm,fine_tune,t4,8,256,fp32,adamw,1,,,,,,,,",
            "does not have the header's columns",
        ),
    ],
)
def test_a_hostile_row_costs_itself_alone(tmp_path, row, reason):
    found, problems = read(tmp_path, HEAD + row + "\n" + GOOD)
    assert [c.id for c in found] == ["a"] and problems.rows == 1
    (line,) = problems.lines
    assert line.startswith("runs.csv row 2:") and reason in line and "\n" not in line


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_of_spreadsheets_are_read(tmp_path, encoding):
    assert [c.id for c in read(tmp_path, HEAD + GOOD, encoding=encoding)[0]] == ["a"]


def test_another_encoding_is_said(tmp_path):
    found, problems = read(tmp_path, HEAD + GOOD.replace("a,", "Zürich,", 1), encoding="latin-1")
    assert found[0].id == "Zürich" and "not UTF-8" in problems.lines[0]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty"),
        (b"\x00\x01\x02\xff" * 50, ""),
        (b"a,b\n1,2\n", "no column 'model'"),
        (
            HEAD.replace("step_seconds", "x").replace("peak_bytes", "y").encode()
            + b"a"
            + b"," * 12
            + b"\n",
            "no measured column",
        ),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, content, reason):
    try:
        found, _ = read(tmp_path, content)
        assert found == []
    except DataError as error:
        assert "\n" not in str(error) and reason in str(error) and "runs.csv" in str(error)


def test_an_export_of_the_ledger_is_a_table(tmp_path):
    from planner.ledger.export import as_csv

    made = records(tmp_path, runs=SHIPPED[:2])
    found, problems = read(tmp_path, as_csv(made))
    assert problems.lines == []
    by_ledger = validate(cases_of(made)).plain
    assert [c.measured for c in validate(found).plain] == pytest.approx(
        [c.measured for c in by_ledger]
    )


def test_the_shipped_table_is_read_as_the_benchmarks_do():
    problems = Problems()
    found = list(from_table(table_path("published"), problems))
    from planner import tables
    from planner.validate.cases import from_rows

    plain = list(from_rows(tables.rows("measured", "published.csv")))
    assert (
        problems.lines == []
        and not [f for f in found if isinstance(f, Refused)]
        and to_csv(found) == to_csv(plain)
    )


def test_filters_and_names():
    base = Case(
        id="a",
        table="t",
        citation="s",
        model="gpt2",
        task="causal_lm",
        strategy="lora",
        gpu="t4",
        micro_batch=1,
        precision="fp32",
        optimizer="adamw",
    )
    assert known_filters("T4", "gpt", "lora", [base]) == [base]
    with pytest.raises(QuestionError, match="no run is like that"):
        known_filters("h100", None, None, [base])
    for name in ("publishd", "/nowhere/x.csv", "."):
        with pytest.raises(PlannerError) as caught:
            table_path(name)
        assert "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"optimizer": "nope"}, "optimizer 'nope' is not known"),
        ({"attention": "x"}, "attention 'x' is not known"),
        ({"strategy": "rag"}, "strategy 'rag' is not one whose steps are timed"),
    ],
)
def test_choices_that_no_recipe_knows_are_refused_by_name(change, reason):
    (found,) = from_ledger(
        [
            RunRecord.new(
                "recorded", "s", setup("gpt2", "fine_tune", 8, 256) | change, {"step_seconds": 1.0}
            )
        ]
    )
    assert isinstance(found, Refused) and found.reason == reason


def test_hours_and_dollars_of_whole_runs():
    from planner.answer.estimate import estimate
    from planner.question import Question
    from planner.validate.whole_runs import compared

    question = Question(
        model="gpt2", samples=2000, tokens_per_sample=200, gpu="a100-sxm-80", strategy=["lora"]
    )
    option = estimate(question)["options"][0]
    asked = question.model_dump(mode="json")
    ran = {"strategy": "lora", "micro_batch": option["step"]["micro_batch_size"]}
    seen = {
        "steps": option["run"]["steps"],
        "wall_seconds": 1.25 * 3600 * option["run"]["wall_hours"]["p50"],
        "usd": 0.5 * option["cost"]["usd"]["p50"],
    }
    whole = compared(
        [
            RunRecord.new("recorded", "s", ran, seen, question=asked),
            RunRecord.new("recorded", "s", ran, seen | {"steps": 3}, question=asked),
            RunRecord.new("recorded", "s", ran, seen),
            RunRecord.new("measured", "s", ran, seen, question=asked),
            RunRecord.new("recorded", "s", ran, seen, question={"model": "nothing/at-all"}),
        ]
    )
    assert [(c.quantity, round(c.relative_error, 3)) for c in whole.plain] == [
        ("hours", 0.2),
        ("usd", 1.0),
    ] and whole.in_force == ()
