"""What the ledger survives: processes killed while they write, a full disk, damaged files, two
merges at once."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from planner.errors import MachineError, PlannerError, ProfileError
from planner.ledger.database import PAGE_BYTES, DamagedLedger
from planner.ledger.record import RunRecord
from planner.ledger.rescue import carve, rescue
from planner.ledger.store import Ledger

PROCESSES, EACH, KILLS = 4, 50, 2
#: Appends runs forever-unique ids; says each id on standard output only after the append has
#: returned.
WRITER = """
import sys
from planner.ledger.record import RunRecord
from planner.ledger.store import Ledger
path, count = sys.argv[1], int(sys.argv[2])
with Ledger(path) as ledger:
    for number in range(count):
        run = RunRecord.new("recorded", "a writer", {"model": "m", "micro_batch": number + 1},
                            {"step_seconds": 0.5,
                             "step_samples": [0.5 + i * 1e-9 for i in range(400)]})
        ledger.append(run)
        sys.stdout.write(run.id + "\\n")
        sys.stdout.flush()
"""


def writer(path, count, **more) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def filled(path, count, samples=300) -> list[RunRecord]:
    """Runs that need several pages each."""
    runs = [
        RunRecord.new(
            "measured",
            "a test",
            {"model": f"model-{number}", "micro_batch": number + 1},
            {"step_seconds": 0.5, "step_samples": [0.1 + i * 1e-7 for i in range(samples)]},
        )
        for number in range(count)
    ]
    with Ledger(path) as ledger:
        ledger.append_new(iter(runs))
    return runs


def overwritten(path, pages, seed=1) -> None:
    data, chance = bytearray(path.read_bytes()), random.Random(seed)
    for page in pages:
        data[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = chance.randbytes(PAGE_BYTES)
    path.write_bytes(data)


def written_in_spite_of_kills(path, seed) -> tuple[list[str], int]:
    """One process after another until EACH appends have returned, the first KILLS of them killed:
    (the ids told, kills that struck)."""
    chance, told, struck = random.Random(seed), [], 0
    for attempt in range(KILLS + 1):
        process = writer(path, EACH - len(told))
        said = ""
        if attempt < KILLS:
            said = "".join(process.stdout.readline() for _ in range(chance.randrange(1, 15)))
            process.kill()
        said += process.stdout.read()
        errors = process.stderr.read()
        assert process.wait() in (0, -signal.SIGKILL), errors
        struck += process.returncode == -signal.SIGKILL
        told += [line.strip() for line in said.splitlines(keepends=True) if line.endswith("\n")]
        if len(told) == EACH:
            break
    return told, struck


def test_processes_killed_while_they_write_lose_no_run_that_was_written(tmp_path):
    path = tmp_path / "runs.sqlite"
    with ThreadPoolExecutor(PROCESSES) as pool:
        done = list(pool.map(lambda seed: written_in_spite_of_kills(path, seed), range(PROCESSES)))
    told, struck = (
        [identifier for ids, _ in done for identifier in ids],
        sum(count for _, count in done),
    )
    assert len(told) == len(set(told)) == PROCESSES * EACH and struck >= PROCESSES
    with Ledger(path, create=False) as ledger:
        kept = [run.id for run in ledger.records()]
    assert set(told) <= set(kept) and len(kept) == len(set(kept))
    # a run may be on the disk whose writer was killed before it could say so
    assert len(kept) - len(told) <= struck
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_log_left_by_a_killed_writer_is_read_and_carved(tmp_path):
    path = tmp_path / "runs.sqlite"
    process = writer(path, 10_000)
    told = [process.stdout.readline().strip() for _ in range(5)]
    process.kill()
    process.communicate()
    assert path.with_name("runs.sqlite-wal").stat().st_size > 0
    assert set(told) <= {run.id for run in carve(path)[0]}
    with Ledger(path, create=False) as ledger:
        assert set(told) <= {run.id for run in ledger.records()}


@pytest.mark.parametrize("room", [0, 5_000, 40_000, 120_000, 400_000])
def test_a_disk_without_room_is_one_line_and_nothing_is_half_written(tmp_path, room):
    """The limit on a file's size stands for the full disk: the kernel refuses the write in the
    middle of a page."""
    path = tmp_path / "runs.sqlite"
    process = writer(
        path, 200, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    )
    out, errors = process.communicate(timeout=60)
    told = out.split()
    assert process.returncode != 0 and len(told) < 200
    assert errors.rstrip().splitlines()[-1].startswith("planner.errors.MachineError: "), errors
    with Ledger(path) as ledger:
        assert [run.id for run in ledger.records()] == told
        ledger.append(RunRecord.new("recorded", "after room was made", {}, {}))
        assert len(ledger) == len(told) + 1


def test_a_full_database_says_so(tmp_path):
    path = tmp_path / "runs.sqlite"
    runs = filled(path, 2)
    with Ledger(path) as ledger:
        ledger._database.execute("PRAGMA max_page_count = 1")  # SQLite answers as it does on ENOSPC
        with pytest.raises(MachineError, match="disk is full") as caught:
            ledger.append(
                RunRecord.new("recorded", "x", {}, {"step_samples": [0.123456789] * 5000})
            )
        assert caught.value.exit_code == 3 and "\n" not in str(caught.value)
        assert list(ledger.records()) == sorted(runs, key=lambda run: run.created)


def test_the_rest_of_a_damaged_ledger_is_rescued_and_the_loss_said(tmp_path):
    path = tmp_path / "runs.sqlite"
    runs = filled(path, 40)
    pages = path.stat().st_size // PAGE_BYTES
    overwritten(path, range(pages // 2, pages // 2 + 6))
    spoilt = path.read_bytes()
    with pytest.raises(DamagedLedger, match="planner runs rescue"):
        Ledger(path)
    done = rescue(path)
    assert 25 < done.saved < 40 and done.saved + done.lost == 40
    assert done.kept.read_bytes() == spoilt
    with Ledger(path, create=False) as ledger:
        kept = list(ledger.records())
        assert len(kept) == done.saved and all(run in runs for run in kept)
        ledger.append(RunRecord.new("recorded", "goes on", {}, {}))
    assert (
        rescue(path).kept is None
        and len([f for f in os.listdir(tmp_path) if f.startswith(".")]) == 0
    )


def _holds_runs(path, page) -> bool:
    content = path.read_bytes()[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
    return content[0] == 0x0D and b'"kind":"measured"' in content


@pytest.mark.parametrize(
    "spoilt", ["first page", "cut short", "root page", "every page but one run's"]
)
def test_ledgers_without_their_structure_still_give_their_runs(tmp_path, spoilt):
    path = tmp_path / "runs.sqlite"
    filled(path, 30, samples=20)  # several runs a page, none across pages
    size = path.stat().st_size
    with sqlite3.connect(path) as database:
        root = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'runs'"
        ).fetchone()[0]
    if spoilt == "first page":
        overwritten(path, [0])
    elif spoilt == "cut short":
        os.truncate(path, size - 2 * PAGE_BYTES)
    elif spoilt == "root page":
        overwritten(path, [root - 1])
    else:
        leaf = next(page for page in range(1, size // PAGE_BYTES) if _holds_runs(path, page))
        overwritten(path, [page for page in range(size // PAGE_BYTES) if page != leaf])
    done = rescue(path)
    assert done.kept is not None and done.saved >= 1
    if spoilt in ("first page", "root page"):
        assert (done.saved, done.lost) == (30, 0)
    with Ledger(path, create=False) as ledger:
        assert len(list(ledger.records())) == done.saved


def test_a_changed_letter_is_noticed_and_never_read_as_data(tmp_path):
    path = tmp_path / "runs.sqlite"
    filled(path, 5, samples=3)
    path.write_bytes(path.read_bytes().replace(b'"model":"model-3"', b'"model":"model-9"'))
    with Ledger(path) as ledger, pytest.raises(DamagedLedger, match="checksum"):
        list(ledger.records())
    assert (rescue(path).saved, rescue(path).lost) == (4, 0)
    with Ledger(path) as ledger:
        assert [run.setup["model"] for run in ledger.records()] == [
            "model-0",
            "model-1",
            "model-2",
            "model-4",
        ]


@pytest.mark.parametrize("seed", range(12))
def test_no_damage_ends_in_anything_but_runs_or_one_line(tmp_path, seed):
    """Random bytes at random places: what is read is what was written, or the ledger says that it
    is damaged."""
    path, chance = tmp_path / "runs.sqlite", random.Random(seed)
    runs = {run.id: run for run in filled(path, 12, samples=60)}
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 10, 300])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data)
    try:
        with Ledger(path) as ledger:
            read = list(ledger.records())
    except PlannerError as error:
        assert "\n" not in str(error)
        try:
            rescue(path)
            with Ledger(path) as ledger:
                read = list(ledger.records())
        except ProfileError as refused:
            assert "newer planner" in str(refused) or "no run can be read" in str(refused)
            return
    assert all(runs[run.id] == run for run in read)


def test_what_holds_no_run_is_left_as_it_was(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(random.Random(0).randbytes(50_000))
    before = path.read_bytes()
    with pytest.raises(ProfileError, match="no run can be read"):
        rescue(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["notes.txt"]
    with pytest.raises(ProfileError, match="no ledger"):
        rescue(tmp_path / "missing")


def test_two_merges_at_once_take_each_run_once(tmp_path):
    mine, theirs = tmp_path / "mine.sqlite", tmp_path / "theirs.sqlite"
    filled(mine, 3)
    runs = filled(theirs, 40, samples=10)

    def merge(_):
        with Ledger(mine) as ledger:
            return ledger.merge(theirs)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(merge, range(4)))
    assert sum(added for added, _ in done) == len(runs) and all(
        added + present == len(runs) for added, present in done
    )
    with Ledger(mine) as ledger:
        assert len(list(ledger.records())) == 43


def test_a_damaged_ledger_is_not_merged_in_part(tmp_path):
    mine, theirs = tmp_path / "mine.sqlite", tmp_path / "theirs.sqlite"
    filled(mine, 2)
    filled(theirs, 6, samples=3)
    theirs.write_bytes(theirs.read_bytes().replace(b'"model":"model-5"', b'"model":"model-9"'))
    with Ledger(mine) as ledger:
        with pytest.raises(DamagedLedger, match="theirs.sqlite"):
            ledger.merge(theirs)
        assert len(ledger) == 2
