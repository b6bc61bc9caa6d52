"""An answer that was given today is given again; another day, hour or question is asked anew."""

from planner.serve.work import remembered
from planner.serve.work.job import Answered, Job
from planner.serve.work.remembered import LARGEST_BYTES, MOST, Remembered

ASKED = Job("estimate", {"model": "gpt2", "samples": 10})


def test_the_same_question_is_known_whatever_its_order(monkeypatch):
    known = Remembered()
    known.put(ASKED, Answered(b"1"))
    assert known.get(Job("estimate", {"samples": 10, "model": "gpt2"})) == Answered(b"1")
    assert known.get(Job("estimate", {"samples": 11, "model": "gpt2"})) is None
    assert known.get(Job("choose", ASKED.fields)) is None
    monkeypatch.setenv("PLANNER_TODAY", "2031-01-01")
    assert known.get(ASKED) is None


def test_what_depends_on_the_hour_or_is_large_is_not_kept():
    known = Remembered()
    for job, body in (
        (Job("estimate", {**ASKED.fields, "deadline": "2031-01-01"}), b"1"),
        (Job("choose", ASKED.fields), b"1"),
        (ASKED, b"1" * (LARGEST_BYTES + 1)),
    ):
        known.put(job, Answered(body))
        assert known.get(job) is None


def test_the_oldest_make_room(monkeypatch):
    known = Remembered()
    jobs = [Job("estimate", {"samples": number}) for number in range(MOST + 1)]
    for job in jobs:
        known.put(job, Answered(b"1"))
        known.get(jobs[0])
    assert known.get(jobs[0]) is not None and known.get(jobs[1]) is None
    assert len(known._answers) == remembered.MOST
