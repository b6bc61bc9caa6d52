"""Which measurements count when something else slowed the machine for a part of a session: by a
clock that only measuring moves."""

import math
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_fakes import Backend, Timing, World

from planner.calibrate import journal, load
from planner.calibrate.fitting import profile_from
from planner.calibrate.priors import prior
from planner.calibrate.session import Plan, measure, recording
from planner.devices import profile
from planner.errors import ProfileError

LEAST, MEAN = 1e-3, 1.1e-3


def session():
    device = {"name": "Fake 9000", "kind": "mps", "torch": "2.13.0"}
    return {"record": "session", "device": device}


def visit(slowdown=1.0, least=1.0, **more):
    return {
        "record": "reference",
        "of": "device",
        "mean": MEAN * slowdown,
        "least": LEAST * least,
        **more,
    }


def operation(one, seconds, samples=(), repeats=None):
    from planner.operations.cases import as_dict

    return {
        "record": "operation",
        "key": one.key,
        "case": as_dict(one),
        "seconds": seconds,
        "samples": list(samples),
        "repeats": repeats or len(samples),
    }


ADDS = World(6).cases


def counted(*records):
    return [r for r in load.judged([session(), *records]) if r["record"] == "operation"]


def test_what_stands_between_quiet_visits_counts_as_it_is():
    one = operation(ADDS[0], 2e-3, [2e-3] * 5)
    assert counted(visit(), one, visit()) == [one]


def test_records_that_nothing_stands_beside_count_as_they_are():
    one = operation(ADDS[0], 2e-3, [2e-3] * 5)
    assert counted(one) == [one] and load.quiet_keys([one]) == {one["key"]}


@pytest.mark.parametrize("before, after", [(1.0, 4.0), (4.0, 1.0), (4.0, 4.0)])
def test_short_samples_beside_a_slow_visit_count_by_the_least(before, after):
    one = operation(ADDS[0], 4e-4, [1e-4] + [4e-4] * 12)
    (found,) = counted(visit(), visit(before), one, visit(after))
    assert found["seconds"] == 1e-4 and found["doubt"] == pytest.approx(
        prior("least_doubt_share") * math.log(4.0), rel=0.01
    )


@pytest.mark.parametrize(
    "one, least",
    [
        (operation(ADDS[0], 0.2, [0.19] * 20), 1.0),  # samples longer than a turn
        (operation(ADDS[0], 4e-4, [1e-4] * 20), 2.0),  # not even one undisturbed pass
        (operation(ADDS[0], 4e-4, [1e-4] * 5), 1.0),  # too few to have one
        (operation(ADDS[0], 4e-4, []), 1.0),
        (operation(ADDS[0], 1e-4, [1e-4] * 20, repeats=2000), 1.0),  # a hundred calls a sample
    ],
)
def test_what_no_sample_saves_is_left_out(one, least):
    records = [session(), visit(), visit(4.0, least), one, visit(4.0, least)]
    found = load.judged(records)
    assert not [r for r in found if r["record"] == "operation"]
    (out,) = [r for r in found if r["record"] == "left_out"]
    assert out["key"] == one["key"] and out["doubt"] == pytest.approx(math.log(4.0), rel=0.01)


def test_a_quiet_measurement_makes_those_under_load_go():
    slow, quiet = operation(ADDS[0], 0.2, [0.2]), operation(ADDS[0], 0.1, [0.1])
    assert counted(visit(4.0), slow, visit(4.0), visit(), quiet, visit()) == [quiet]
    assert counted(visit(), quiet, visit(), visit(4.0), slow, visit(4.0)) == [quiet]


def test_host_costs_and_rates_are_left_out_and_bytes_are_not():
    host = {"record": "host", "name": "forward_seconds", "value": 5e-6}
    rate = {"record": "fact", "name": "memory_bytes_per_s", "value": 1e9, "unit": "B/s"}
    size = {"record": "fact", "name": "context_bytes", "value": 3e8, "unit": "B"}
    found = load.judged([session(), visit(), visit(4.0), host, rate, size, visit(4.0)])
    assert size in found and host not in found and rate not in found
    assert {r.get("name") for r in found if r["record"] == "left_out"} == {
        "forward_seconds",
        "memory_bytes_per_s",
    }


def test_a_load_that_lasts_is_seen_by_the_best_pass():
    """No visit is quiet in the mean, yet single passes fall between two turns."""
    one = operation(ADDS[0], 0.2, [0.2])
    assert not counted(*[visit(5.0) for _ in range(20)], one, visit(5.0))


def test_clocks_of_the_device_itself_are_no_load():
    one = operation(ADDS[0], 2e-3, [2e-3])
    capped = visit(1.6, clock_mhz=1000.0), one, visit(1.6, clock_mhz=1000.0)
    assert counted(visit(clock_mhz=1700.0), *capped) == [one]
    slow = visit(1.6, 2.0, clock_mhz=1700.0), one, visit(1.6, 2.0, clock_mhz=1700.0)
    assert not counted(visit(clock_mhz=1700.0), *slow)


def test_sessions_do_not_stand_beside_each_other():
    one = operation(ADDS[0], 0.2, [0.2])
    records = [session(), visit(), visit(5.0), session(), one]
    assert one in load.judged(records)


@given(
    st.lists(
        st.one_of(
            st.builds(visit, st.floats(1, 20), st.floats(1, 3)),
            st.builds(
                operation,
                st.sampled_from(ADDS),
                st.floats(1e-5, 1),
                st.lists(st.floats(1e-5, 1), max_size=16),
            ),
        ),
        max_size=30,
    )
)
def test_every_operation_counts_once_or_is_left_out(records):
    records = [session(), *records]
    found = load.judged(records)
    timed = {r["key"] for r in records if r["record"] == "operation"}
    counts = {r["key"] for r in found if r["record"] == "operation"}
    out = {r["key"] for r in found if r["record"] == "left_out"}
    assert counts | out == timed and not counts & out
    assert load.quiet_keys(records) <= counts
    for record in (r for r in found if r.get("doubt")):
        assert record["doubt"] > 0 and record["slowdown"] > prior("reference_slower")
    # what is judged once stays as it is
    again = load.judged([r for r in records if r["record"] != "operation"])
    assert not [r for r in again if r["record"] in ("operation", "left_out")]


# ---- a session


class Loaded(World):
    """A machine that is slower by ``slowdown`` from second ``begins`` to ``ends``: what is timed
    meanwhile takes so much longer, but for a sample in ``free``."""

    def __init__(self, *, begins=0.0, ends=0.0, slowdown=8.0, free=True, seconds=1e-3, **more):
        super().__init__(**more)
        self.begins, self.ends, self.slowdown, self.free = begins, ends, slowdown, free
        self.start, self.paused, self.each = self.now, 0, seconds
        self.behaviour = self._timing

    @property
    def factor(self):
        return self.slowdown if self.begins <= self.now - self.start < self.ends else 1.0

    def _timing(self, one):
        quiet = self.each * one.sizes[0] / 1024
        slow = quiet * self.factor
        least = quiet if self.free else slow
        return Timing(slow, least, slow, (least,) + (slow,) * 14, 15)

    def host(self, _backend, *, budget_seconds):
        self.now += min(self.host_seconds, budget_seconds)
        value = 5e-6 * self.factor
        yield {"record": "host", "name": "forward_seconds", "value": value}

    def reference(self, _backend):
        def look(_part):
            self.now += 0.01
            least = LEAST if self.free else LEAST * self.factor
            return {"mean": MEAN * self.factor, "least": least, "clock_mhz": None}

        return look

    def pause(self, seconds):
        self.now += seconds
        self.paused += 1

    def tools(self):
        from dataclasses import replace

        return replace(super().tools(), reference=self.reference, pause=self.pause)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def call(world, seconds=20.0, **plan):
        monkeypatch.setattr(recording, "time", world.clock())
        world.start = world.now
        plan = Plan(seconds=seconds, started=world.now, **plan)
        return measure(Backend(), tmp_path / "fake.json", plan, using=world.tools())

    def fit(world):
        def fitted(records, search=True):
            world.now += 0.05
            return profile_from(records, search)

        world.fit = fitted
        return world

    call.fit = fit
    return call


def _seconds(path):
    (curve,) = profile.load(path).curves.values()
    return {p.features[0]: p.seconds for p in curve.points}


def test_a_load_at_the_beginning_leaves_no_trace_once_it_is_over(run):
    quiet = run.fit(Loaded(cases=12, seconds=1e-2))
    expected = _seconds(run(quiet, again=True).path)
    world = run.fit(Loaded(cases=12, seconds=1e-2, ends=3.0))
    done = run(world, again=True)
    saved = profile.load(done.path)
    assert _seconds(done.path) == expected
    assert saved.load.share == 0 and saved.load.doubt_log == 0 and done.left == 0
    assert saved.host == {"forward_seconds": 5e-6}
    retaken = {key for key in world.timed if world.timed.count(key) > 1}
    assert retaken and not any("other programs slowed" in what for what, _ in saved.doubts)


def test_a_load_in_the_middle_is_waited_out(run):
    """All cases are there, the last ones under load: the session waits for a quiet moment."""
    world = run.fit(Loaded(cases=6, seconds=1e-2, begins=0.0, ends=6.0, host_seconds=0.1))
    done = run(world, seconds=30.0)
    assert world.paused and profile.load(done.path).load.share == 0
    assert max(world.timed.count(key) for key in world.timed) <= prior("most_visits") + 1


def test_a_load_that_never_ends_leaves_the_least_samples_and_a_doubt(run):
    world = run.fit(Loaded(cases=12, ends=1e9))
    done = run(world)
    saved = profile.load(done.path)
    # samples of the first three are shorter than a scheduler's turn
    assert sorted(_seconds(done.path).values()) == pytest.approx([1e-3, 2e-3, 3e-3])
    assert saved.load.share == 1 and saved.load.doubt_log > prior("most_doubt_log")
    assert saved.load.slowdown == pytest.approx(8.0, rel=0.2) and not saved.host
    assert any("other programs slowed" in what for what, _ in saved.doubts)
    spent = world.now - world.start
    assert spent <= 1.1 * 20 + 0.5  # waiting ends with the seconds


def test_a_load_that_leaves_nothing_says_so(run, tmp_path):
    world = run.fit(Loaded(cases=6, ends=1e9, seconds=1.0))
    with pytest.raises(ProfileError, match="while the machine was quiet.*calibrate again"):
        run(world)
    kept = journal.read(journal.journal_file(tmp_path / "fake.json")).records
    assert [r for r in kept if r["record"] == "operation"]


def test_the_next_run_on_a_quiet_machine_mends_it(run):
    world = run.fit(Loaded(cases=12, ends=1e9, host_seconds=0.5))
    run(world)
    world.ends = 0.0
    done = run(world)
    saved = profile.load(done.path)
    assert saved.load.share == 0 and saved.host == {"forward_seconds": 5e-6}
    assert saved.exact == pytest.approx({c.key: 1e-3 * (c.sizes[0] / 1024) for c in world.cases})


def test_without_a_reference_nothing_is_said_of_load(run):
    from dataclasses import replace

    world = run.fit(Loaded(cases=6, ends=1e9))
    plain = replace(world.tools(), reference=None)
    world.tools = lambda: plain
    assert profile.load(run(world).path).load is None
