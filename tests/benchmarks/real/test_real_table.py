"""A plan beside a run, by hand."""

from pathlib import Path

import pytest

from benchmarks.real import outcome
from benchmarks.real.cases import CASES, LOOPS
from benchmarks.real.outcome import Outcome, Stamped
from benchmarks.real.plan import Planned, of_answer, question
from planner import Question

PLANNED = Planned(
    phases={
        "preparation": 1.0,
        "start_up": 5.0,
        "training": 90.0,
        "evaluation": 12.0,
        "saving": 0.5,
    },
    wall=(90.0, 108.5, 130.0),
    step=0.3,
    steps=300,
)
RUN = Stamped(
    {"preparation": 1.0, "start_up": 4.0, "training": 100.0, "evaluation": 10.0, "saving": 0.0},
    115.0,
    (0.2, 0.25, 0.9),
)
ONE = Outcome("bert", "trainer", PLANNED, RUN)


def test_errors_and_what_is_worth_judging():
    assert ONE.error == pytest.approx(108.5 / 115 - 1)
    assert ONE.inside
    assert ONE.phase_error("evaluation") == pytest.approx(0.2)
    assert ONE.phase_error("saving") is None
    # 2 % of 115 s are 2.3 s
    assert ONE.telling() == ["start_up", "training", "evaluation"]
    assert RUN.step == 0.25


def test_the_table():
    _, runs, _, phases, totals = outcome.table([ONE]).split("\n\n")
    assert runs.splitlines()[-1] == (
        "| bert | trainer | 108.5 (90.0 to 130.0) | 115.0 | -5.7% | yes | 300 | 250 | 3 |"
    )
    assert phases.splitlines()[-1] == (
        "| bert | trainer | 1.00 → 1.00 | 5.00 → 4.00 (+25%) | 90.00 → 100.00 (-10%) "
        "| 12.00 → 10.00 (+20%) | 0.50 → 0.00 |"
    )
    assert totals == (
        "Whole runs within 10%: 1 of 1, median error 5.7%, largest 5.7%; inside the range: 1 of 1. "
        "Phases of at least 2% of their run within 10%: 1 of 3."
    )
    assert outcome.totals([]) == "Nothing was run."


def test_the_end_of_the_process_belongs_to_what_surrounds_the_phases():
    document = {
        "began": 10.0,
        "until": 30.0,
        "seconds": dict.fromkeys(RUN.phases, 4.0),
        "steps": [1.0],
    }
    seen = outcome.stamped(document, 31.5)
    assert (seen.wall, seen.phases["start_up"]) == (21.5, 5.5)
    assert sum(seen.phases.values()) == seen.wall


def test_a_plan_is_read_from_the_answer():
    answer = {
        "first_lines": [{"text": "a line"}],
        "options": [
            {
                "run": {
                    "steps": 7,
                    "breakdown_hours": {"training": 0.5, "saving": 0.25},
                    "wall_hours": {"p10": 0.5, "p50": 0.75, "p90": 1.0},
                },
                "step": {
                    "seconds": {"p50": 0.1},
                    "sequence_length": 64,
                    "target_length": None,
                },
                "assumptions": ["an assumption"],
                "warnings": [],
            }
        ],
    }
    said = of_answer(answer)
    assert said.phases == {"training": 1800.0, "saving": 900.0}
    assert said.wall == (1800.0, 2700.0, 3600.0)
    assert (said.steps, said.lengths) == (7, (64, None))
    assert said.said == ("a line", "an assumption")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_question(name, loop):
    asked = Question(**question(CASES[name], loop, Path("model"), Path("data")))
    assert asked.stack == {"trainer": "trainer", "plain": "loop"}[loop]
    assert asked.evaluation_samples == CASES[name].held_out
    assert (asked.beams, asked.generated_tokens) == (CASES[name].beams, CASES[name].generated)
