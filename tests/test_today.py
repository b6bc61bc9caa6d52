"""On which day a question is answered: the system's, the one that ``PLANNER_TODAY`` names, and days
long after the shipped prices."""

import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import time_machine

from planner import today
from planner.cli.main import run
from planner.cost.prices.offers import STALE_DAYS, offers
from planner.cost.prices.tables import price_rows
from planner.errors import QuestionError
from planner.ledger.record import RunRecord
from planner.plan.limits import hours_allowed
from planner.question import Question

ASKED = ["gpt2", "--samples", "5000", "--tokens-per-sample", "200", "--strategy", "lora"]
AHEAD = Path(__file__).parent / "ahead"
NEWEST = max(
    datetime.date.fromisoformat(row["captured_date"])
    for row in price_rows()
    if row["captured_date"] and not row["unusable"]
)


def noon(day: datetime.date) -> datetime.datetime:
    """A moment that lies on the day in the local zone, whichever that is."""
    return datetime.datetime.combine(day, datetime.time(12)).astimezone()


def test_the_day_of_the_tests_knows_every_shipped_price():
    assert datetime.date.fromisoformat(os.environ["PLANNER_TODAY"]) >= NEWEST, (
        "move DAY in tests/conftest.py: prices of a later day are shipped"
    )


@pytest.mark.parametrize("days", [400, 2000])
def test_prices_of_long_ago_still_answer_and_say_how_old_they_are(days, the_system_day, capsys):
    with time_machine.travel(noon(NEWEST + datetime.timedelta(days=days)), tick=True):
        assert run(["choose", *ASKED]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert run(["choose", *ASKED, "--json"]) == 0
        best = json.loads(capsys.readouterr().out)["recommended"]
        assert run(["estimate", *ASKED, "--gpu", "h100-sxm"]) == 0
        estimated = " ".join(capsys.readouterr().out.split())
    assert (
        best["price_stale"]
        and best["price_age_days"] >= days
        and f"{best['price_age_days']} days old" in shown
    )
    ages = [int(age.replace(",", "")) for age in re.findall(r"([\d,]+) days old", estimated)]
    assert ages and min(ages) >= days


def test_the_command_answers_as_of_the_day_that_is_named(monkeypatch, capsys):
    seen = {}
    for day in ("2026-07-20", "2032-01-31"):
        monkeypatch.setenv("PLANNER_TODAY", day)
        assert run(["prices", "--gpu", "h100-sxm", "--json"]) == 0
        seen[day] = json.loads(capsys.readouterr().out)["prices"]
    for day, prices in seen.items():
        until = datetime.date.fromisoformat(day)
        ages = [
            ((until - datetime.date.fromisoformat(one["captured_date"])).days, one["age_days"])
            for one in prices
        ]
        assert ages and all(wanted == said >= 0 for wanted, said in ages)
    assert all(one["stale"] for one in seen["2032-01-31"]) and not all(
        one["stale"] for one in seen["2026-07-20"]
    )


def test_a_day_named_gives_the_answer_of_the_system_on_that_day(monkeypatch):
    day = NEWEST + datetime.timedelta(days=STALE_DAYS)
    monkeypatch.setenv("PLANNER_TODAY", day.isoformat())
    named = offers("h100-sxm")
    monkeypatch.delenv("PLANNER_TODAY")
    with time_machine.travel(noon(day)):
        assert offers("h100-sxm") == named and named
    with time_machine.travel(noon(day + datetime.timedelta(days=1))):
        assert offers("h100-sxm") != named


@pytest.mark.parametrize(
    "command", [["estimate", *ASKED], ["choose", *ASKED], ["gpus"], ["prices", "--gpu", "h100-sxm"]]
)
@pytest.mark.parametrize("text", ["soon", "2026-11-31", "28.11.2026", "2026-11-28T10:00"])
def test_a_day_that_is_none_is_refused_in_one_line(command, text, monkeypatch, capsys):
    monkeypatch.setenv("PLANNER_TODAY", text)
    assert run(command) == 2
    shown = capsys.readouterr()
    assert (
        shown.err
        == f"planner: PLANNER_TODAY: {text!r} is not a date. Give YYYY-MM-DD, or unset it\n"
        and not shown.out
    )
    with pytest.raises(QuestionError, match="PLANNER_TODAY"):
        today.as_of()


def test_without_a_name_it_is_the_systems_day_and_moment(the_system_day, monkeypatch):
    moment = datetime.datetime(2031, 3, 4, 5, 6, tzinfo=datetime.UTC)
    with time_machine.travel(moment, tick=False):
        assert (
            today.as_of() == today.now() == moment
            and today.today() == today.system_date() == moment.astimezone().date()
        )
        monkeypatch.setenv("PLANNER_TODAY", "")
        assert today.today() == today.system_date()


def test_deadlines_count_from_the_day_that_is_named(monkeypatch):
    question = Question(model="gpt2", samples=10, tokens_per_sample=10, deadline="2027-02-03T06:00")
    monkeypatch.setenv("PLANNER_TODAY", "2027-02-02")
    assert hours_allowed(question) == pytest.approx(30)
    monkeypatch.delenv("PLANNER_TODAY")
    with time_machine.travel(datetime.datetime(2027, 2, 3, 4, 30).astimezone(), tick=False):
        assert hours_allowed(question) == pytest.approx(1.5)


def test_a_run_is_dated_by_the_system_whatever_day_is_named(monkeypatch):
    monkeypatch.setenv("PLANNER_TODAY", "2001-02-03")
    moment = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    with time_machine.travel(moment, tick=False):
        run_of_now = RunRecord.new(
            "recorded", "a test", {"model": "gpt2", "strategy": "lora"}, {"step_seconds": 0.1}
        )
    assert datetime.datetime.fromisoformat(run_of_now.created) == moment


def days_ahead(of_the_clock: float, tmp_path: Path) -> float:
    """Days between a clock and the one that dates files, which no test moves."""
    (tmp_path / "now").touch()
    return (of_the_clock - (tmp_path / "now").stat().st_mtime) / 86400


def test_these_tests_run_on_the_day_that_was_asked_for(tmp_path):
    wanted = int(os.environ.get("PLANNER_TEST_DAYS_AHEAD") or 0)
    command = [sys.executable, "-c", "from planner.today import now; print(now().timestamp())"]
    started = subprocess.run(command, check=True, capture_output=True, text=True)
    for clock in (today.now().timestamp(), float(started.stdout)):
        assert days_ahead(clock, tmp_path) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("days", [0, 400, 2000])
def test_commands_that_are_started_live_on_the_day_ahead(days, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(AHEAD), "PLANNER_TEST_DAYS_AHEAD": str(days)}
    command = [
        sys.executable,
        "-c",
        "import datetime, time; print(time.time(), datetime.date.today() == "
        "datetime.date.fromtimestamp(time.time()))",
    ]
    clock, agree = subprocess.run(
        command, check=True, capture_output=True, text=True, env=env
    ).stdout.split()
    assert days_ahead(float(clock), tmp_path) == pytest.approx(days, abs=0.05) and agree == "True"
