"""A device that needs no hardware: each operation takes the time it is told, on a clock that only
measuring moves."""

from dataclasses import dataclass
from types import SimpleNamespace

from planner.calibrate.tools import Tools
from planner.devices.profile import DeviceProfile
from planner.operations.cases import case

FACTS = {
    "name": "Fake 9000",
    "kind": "mps",
    "torch": "2.13.0",
    "threads": 2,
    "total_memory_bytes": 2**34,
}


class CannotRun(Exception):
    pass


@dataclass(frozen=True)
class Timing:
    seconds: float
    low_seconds: float
    high_seconds: float
    samples: tuple
    repeats: int = 3
    host_seconds: float = 1e-6
    joules: float | None = None


def adds(count):
    return [
        case(
            "aten.add.Tensor",
            [((1024 * (i + 1),), "float32")] * 2,
            [((1024 * (i + 1),), "float32")],
        )
        for i in range(count)
    ]


class Backend:
    kind, device = "mps", "fake:0"

    def __init__(self, **facts):
        self.alive, self._facts = True, {**FACTS, **facts}

    def synchronise(self):
        if not self.alive:
            raise RuntimeError(
                "CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"
            )

    def facts(self):
        return dict(self._facts)


class Monitor:
    def __init__(self, _backend):
        self.running = False

    def start(self):
        self.running = True

    def stop(self):
        self.running = False

    def readings(self):
        return {"watts": 250.0, "sm_clock_mhz": 1700, "temperature_c": 60}

    def doubts(self):
        return [("another process uses the device", "Stop it")]


class World:
    """The clock and the tools that move it. ``behaviour(case)`` returns a Timing or raises."""

    def __init__(self, cases=40, behaviour=None, case_seconds=None, host_seconds=1.0):
        self.now, self.cases, self.timed, self.fits, self.case_seconds, self.host_seconds = (
            100.0,
            adds(cases),
            [],
            0,
            case_seconds,
            host_seconds,
        )
        self.behaviour = behaviour or (
            lambda _case: Timing(1e-3, 1e-3, 1.01e-3, (1e-3, 1e-3, 1.01e-3))
        )

    def clock(self):
        return SimpleNamespace(
            monotonic=lambda: self.now,
            get_clock_info=lambda _: SimpleNamespace(implementation="fake", resolution=1e-9),
        )

    def time_case(self, one, _backend, *, budget_seconds):
        self.now += self.case_seconds or budget_seconds * 1.4
        self.timed.append(one.key)
        return self.behaviour(one)

    def host(self, _backend, *, budget_seconds):
        self.now += min(self.host_seconds, budget_seconds)
        yield {"record": "host", "name": "forward_seconds", "value": 5e-6}

    def facts(self, _backend, *, budget_seconds):
        yield {"record": "fact", "name": "context_bytes", "value": 3e8, "unit": "bytes"}

    def compiled(self, _backend):
        self.now += 3
        yield {"record": "fact", "name": "compile_host_share", "value": 0.4, "unit": "share"}

    def start_up(self, _backend, *, budget_seconds):
        self.now += min(1.0, budget_seconds)
        yield {"record": "fact", "name": "import_seconds.loop", "value": 3.0, "unit": "s"}

    def fit(self, records, search=True):
        self.fits += 1
        self.now += 0.5 if search else 0.05
        records = list(records)
        session = next(r for r in records if r["record"] == "session")
        operations = [r for r in records if r["record"] == "operation" and "seconds" in r]
        return DeviceProfile(
            device=session["device"],
            provenance={"torch": session["device"]["torch"]},
            curves={},
            facts={
                "operations": len(operations),
                **{r["name"]: r["value"] for r in records if r["record"] == "fact"},
            },
            host={r["name"]: r["value"] for r in records if r["record"] == "host"},
            doubts=tuple((r["what"], r["mend"]) for r in records if r["record"] == "trust"),
        )

    def tools(self):
        return Tools(
            lambda _backend: list(self.cases),
            self.time_case,
            CannotRun,
            self.host,
            self.facts,
            Monitor,
            lambda _timings: [],
            self.fit,
            self.compiled,
            self.start_up,
        )
