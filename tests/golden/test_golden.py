"""No figure moves unseen: the answers frozen in ``answers/`` come out as they were, every number
to ten digits."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import questions as golden  # noqa: E402

QUESTIONS = golden.questions()
CASES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in golden.slow_ones() else [])
    for name in QUESTIONS
]


@pytest.fixture(autouse=True)
def _the_day_and_the_width(monkeypatch):
    monkeypatch.setenv("PLANNER_TODAY", golden.TODAY)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_what_it_was(name):
    expected = (golden.ANSWERS / f"{name}.json").read_text(encoding="utf-8")
    answer = golden.frozen(golden.ask(QUESTIONS[name]))
    if answer != expected:
        assert json.loads(answer) == json.loads(expected)
    assert answer == expected


def test_every_strategy_device_and_command_is_among_them():
    asked = [part for arguments in QUESTIONS.values() for part in arguments]
    assert len(QUESTIONS) >= 60
    assert not [name for name in (*golden.STRATEGIES, *golden.GPUS) if name not in asked]
    commands = {arguments[0] for arguments in QUESTIONS.values()}
    assert commands >= {
        "estimate",
        "choose",
        "report",
        "prices",
        "models",
        "gpus",
        "schema",
        "validate",
    }
    frozen = {file.stem for file in golden.ANSWERS.glob("*.json")}
    assert frozen == set(QUESTIONS), "freeze them: python tests/golden/questions.py --write"
