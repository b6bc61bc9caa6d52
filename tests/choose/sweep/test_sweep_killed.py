"""A sweep that is killed, interrupted or cut short goes on where it stood, and ends in the same
file."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeping import GRID, rows, written

from planner.choose.sweep import journal as journals
from planner.choose.sweep import local, work
from planner.choose.sweep.asked import questions_of
from planner.choose.sweep.grid import read_grid
from planner.choose.sweep.journal import SUFFIX, Journal
from planner.choose.sweep.sweep import Interrupted, Where, exit_code, sweep
from planner.choose.sweep.work import answered, unpacked
from planner.errors import PlannerError, QuestionError

ROOT = Path(__file__).parents[3]
HERE = Where(processes=1)
LONGER = GRID.replace("[64, 200]", "[64, 96, 128, 160, 200]")


@pytest.fixture
def questions(tmp_path):
    return questions_of(read_grid(written(tmp_path, GRID)))[0]


def kept(path: Path) -> int:
    """Whole answers of a journal that nobody writes to any more."""
    found = 0
    for number, (_, packed) in enumerate(journals._members(path.open("rb"))):
        found += number > 0 and unpacked(packed)[0]["status"] == "answered"
    return found


def started(folder: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "planner.cli.main", "sweep", str(folder / "grid.yaml")]
    command += ["-o", str(folder / "answers.jsonl"), "--processes", "2", *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a child of a shell's background job would ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(journal: Path, size: int, process: subprocess.Popen) -> None:
    for _ in range(1200):
        if journal.exists() and journal.stat().st_size > size:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("nothing was answered")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_what_was_ended_goes_on_and_gives_the_same_file(tmp_path, how):
    written(tmp_path, LONGER)
    journal = tmp_path / f"answers.jsonl{SUFFIX}"
    process = started(tmp_path)
    wait_for(journal, 12_000, process)
    # Ctrl-C reaches every process of the terminal
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    if how == signal.SIGINT:
        assert "answers are kept in" in said and "goes on from there" in said
        assert said.count("\n") == 1
    assert not (tmp_path / "answers.jsonl").exists()
    before = kept(journal)
    assert 0 < before < 40
    summary = sweep(tmp_path / "grid.yaml", tmp_path / "answers.jsonl", where=HERE)
    assert summary["kept"] == before and summary["answered"] == summary["questions"] == 40
    sweep(tmp_path / "grid.yaml", tmp_path / "at_once.jsonl", where=HERE)
    assert (tmp_path / "answers.jsonl").read_bytes() == (tmp_path / "at_once.jsonl").read_bytes()
    assert not journal.exists() and not list(tmp_path.glob("*.lock"))


def test_an_answer_that_was_cut_off_is_asked_again(tmp_path, questions):
    output = tmp_path / "answers.jsonl"
    with Journal(output, questions) as journal:
        for one in questions[:3]:
            journal.add(answered(one))
    whole = journal.path.read_bytes()
    for cut in (1, 40, 1500):
        journal.path.write_bytes(whole[:-cut])
        with Journal(output, questions) as again:
            assert [one.id in again for one in questions[:4]] == [True, True, False, False]
            again.add(answered(questions[2]))
            assert again.of(questions[2].id)[0]["status"] == "answered"
        assert journal.path.read_bytes() == whole
    # what is no member of the file at all
    journal.path.write_bytes(whole + b"\0" * 50)
    with Journal(output, questions) as again:
        assert len(again) == 3
    assert journal.path.read_bytes() == whole


def test_a_grid_that_grew_asks_only_what_is_new(tmp_path):
    output = tmp_path / "answers.jsonl"
    first = questions_of(read_grid(written(tmp_path, GRID)))[0]
    with Journal(output, first) as journal:
        for one in first:
            journal.add(answered(one))
    summary = sweep(written(tmp_path, LONGER), output, where=HERE)
    assert (summary["kept"], summary["questions"]) == (16, 40)


def test_answers_of_another_version_are_not_mixed(tmp_path, questions, monkeypatch):
    output = tmp_path / "answers.jsonl"
    monkeypatch.setattr(journals, "__version__", "0.0.9")
    with Journal(output, questions) as journal:
        journal.add(answered(questions[0]))
    monkeypatch.undo()
    with pytest.raises(QuestionError, match="stand on planner 0.0.9.*--anew"):
        sweep(tmp_path / "grid.yaml", output, where=HERE)
    assert sweep(tmp_path / "grid.yaml", output, where=HERE, anew=True)["kept"] == 0


def test_a_file_that_changed_meanwhile_is_noticed(tmp_path):
    data = tmp_path / "tickets.jsonl"
    data.write_text('{"text": "a few words"}\n' * 50)
    text = "model: gpt2\ndata: tickets.jsonl\ngpu: [l4, t4]\nstrategy: lora\n"
    asked, _ = questions_of(read_grid(written(tmp_path, text)))
    with Journal(tmp_path / "answers.csv", asked) as journal:
        journal.add(answered(asked[0]))
    data.write_text('{"text": "other words than before"}\n' * 60)
    with pytest.raises(QuestionError, match="files that have changed since"):
        sweep(tmp_path / "grid.yaml", tmp_path / "answers.csv", where=HERE)


def test_two_sweeps_do_not_write_to_one_journal(tmp_path, questions):
    with Journal(tmp_path / "answers.jsonl", questions):
        with pytest.raises(QuestionError, match="another sweep writes to it"):
            sweep(tmp_path / "grid.yaml", tmp_path / "answers.jsonl", where=HERE)


FOREIGN_FILES = {
    "nothing": b"",
    "text": b"something else",
    "another gzip": gzip.compress(b"[1]\n"),
}


@pytest.mark.parametrize("held", FOREIGN_FILES.values(), ids=FOREIGN_FILES)
def test_a_file_that_is_no_journal_is_not_written_over(tmp_path, questions, held):
    output = tmp_path / "answers.jsonl"
    (tmp_path / f"answers.jsonl{SUFFIX}").write_bytes(held)
    if not held:  # killed before a word was written
        assert sweep(tmp_path / "grid.yaml", output, where=HERE)["answered"] == 16
        return
    with pytest.raises(PlannerError, match="is no journal of a sweep"):
        sweep(tmp_path / "grid.yaml", output, where=HERE)
    assert (tmp_path / f"answers.jsonl{SUFFIX}").read_bytes() == held


def test_what_the_machine_failed_is_kept_for_the_next_call(tmp_path, monkeypatch):
    def full(asked):
        broken = asked.given["gpu"] == "l4"
        return work.without(asked, "failed", "disk full") if broken else answered(asked)

    monkeypatch.setattr(local, "answered", full)
    output = tmp_path / "answers.jsonl"
    summary = sweep(written(tmp_path), output, where=HERE)
    assert (summary["failed"], exit_code(summary)) == (8, 3)
    assert [row["error"] for row in rows(output) if row["status"] == "failed"] == ["disk full"] * 8
    monkeypatch.undo()
    summary = sweep(tmp_path / "grid.yaml", output, where=HERE)
    assert (summary["kept"], summary["failed"], summary["answered"]) == (8, 0, 16)
    assert summary["journal"] is None and not list(tmp_path.glob("*.journal"))


def test_an_interrupt_in_this_process_says_what_is_kept(tmp_path, monkeypatch):
    done = []

    def ended(asked):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(asked)
        return answered(asked)

    monkeypatch.setattr(local, "answered", ended)
    with pytest.raises(Interrupted, match="5 of 16 answers are kept in .*answers.jsonl.journal"):
        sweep(written(tmp_path), tmp_path / "answers.jsonl", where=HERE)


DYING = """\
import os

def model():
    os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_a_process_that_dies_takes_no_other_question_with_it(tmp_path):
    (tmp_path / "dying.py").write_text(DYING)
    text = "model: [gpt2, 'dying:model', bert-base-uncased]\nsamples: 10\ntokens_per_sample: 5\n"
    written(tmp_path, text + "strategy: fine_tune\ngpu: [l4, h100-sxm]\ntask: [null]\n")
    shutil.copy(tmp_path / "grid.yaml", tmp_path / "same.yaml")
    command = [sys.executable, "-m", "planner.cli.main", "sweep", "grid.yaml"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(
        [*command, "-o", "answers.jsonl", "--processes", "2"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    found = {(row["model"], row["gpu"]): row for row in rows(tmp_path / "answers.jsonl")}
    assert len(found) == 6
    for (model, _), row in found.items():
        if model == "dying:model":
            assert "died of signal SIGKILL" in row["error"] and row["status"] == "failed"
        else:
            assert row["status"] == "answered"
    assert "the same command asks what failed again" in done.stdout
