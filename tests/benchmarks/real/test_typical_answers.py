"""What was added to a typical answer, by hand and as it is asked."""

import pytest

from benchmarks import typical_answers
from benchmarks.typical_answers import Added, added

OPTION = {
    "run": {
        "steps": 360,
        "epochs": 3.0,
        "breakdown_hours": {
            "preparation": 0.1,
            "start_up": 0.05,
            "training": 1.1,
            "evaluation": 0.2,
            "saving": 0.05,
        },
        "wall_hours": {"p10": 1.0, "p50": 1.5, "p90": 2.5},
    },
    "step": {"seconds": {"p50": 10.0}},
    "cost": {"usd": {"p50": 3.0}},
}


def test_what_is_around_the_steps_is_told_apart():
    row = added("a run", OPTION)
    assert row.bare == pytest.approx(60.0)  # 360 steps of 10 s
    assert row.phases[typical_answers.AROUND] == pytest.approx(6.0)  # 1.1 h of training
    assert row.total == pytest.approx(90.0)
    assert row.added_share == pytest.approx(1 / 3)
    assert row.added_usd == pytest.approx(1.0)
    assert typical_answers.table([row]).splitlines()[-1] == (
        "| a run | 360 | 60.0 | 6.0 | 3.0 | 12.0 | 3.0 | 6.0 | 90.0 (60.0 to 150) | 33% | 3.00 "
        "| 1.00 |"
    )


def test_figures_are_read_as_they_were_written():
    row = Added("a run", 3.0, 10, 60.0, {"saving": 2.5}, None, (1.0, 2.0))
    read = typical_answers.read(typical_answers.figures([row]))
    assert read == {
        ("a run", "bare steps"): 60.0,
        ("a run", "saving"): 2.5,
        ("a run", "whole run"): 62.5,
    }
    (line,) = typical_answers.since([row], read | {("a run", "saving"): 1.0}).splitlines()[2:]
    assert line == "| a run | 60.0 → 60.0 | 1.0 → 2.5 | 62.5 → 62.5 |"
    assert len(typical_answers.since([row], {}).splitlines()) == 2


def test_a_typical_question_is_answered(tmp_path, capsys):
    out = tmp_path / "answers.md"
    assert typical_answers.main(["--only", "BERT", "--write", str(out)]) == 0
    text = out.read_text()
    assert "BERT-base on 20,000 e-mails, T4" in text and "## Before and now" in text
    assert "fine_tune" in text and capsys.readouterr().out.count("\n") == 3
