"""``planner.record``: the hours, memory and energy of a real run, into the ledger, from a loop that
somebody else wrote.

Between two marks stand one reading of the host's clock and, on CUDA, one event in the stream;
nothing waits for the device before the run is over. A ledger that cannot be written costs one line
of warning and nothing else.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.devices.telemetry.device_watch import DeviceWatch, StepEvents, versions
from planner.ledger.stopwatch import WARM_UP_STEPS, StepTimes
from planner.recording.run_record import dumped, forgiving, found_out, is_first_rank, understood

if TYPE_CHECKING:
    from planner.ledger.record import RunRecord
    from planner.question import Question

_log = logging.getLogger("planner")
#: What is done with the record of a run once it is written.
Then = Callable[["RunRecord"], object]


class BrokenOff(Exception):
    """A training that stopped without saying why."""


def record(
    question: Question | Mapping[str, Any] | None = None,
    ledger: Path | str | None = None,
    *,
    device: Any = None,
    with_estimate: bool = True,
    reset_peak: bool = True,
    then: Then | None = None,
    **known: Any,
) -> Recording:
    """Record a hand-written training loop::

        with planner.record(question, micro_batch=8) as run:
            for batch in loader:
                run.data()                      # optional: the batch is here
                loss = model(**batch).loss
                run.forward()                   # optional
                loss.backward()
                run.backward()                  # optional
                optimizer.step()
                run.step(samples=8, tokens=batch["input_ids"].numel())

    ``question``: a Question, a dict of its fields, or None; ``known``: what was run, by the names
    of a record's ``setup``. ``ledger``: its file, by default the user's own. ``with_estimate``: ask
    the planner afterwards, where the question is whole, and keep its estimate beside the
    measurement. ``reset_peak``: torch's peak counters start anew, so that the peak is the run's.
    ``then``: called with the record once it is written, such as ``planner.log_to_wandb``.
    The exceptions of the loop go on their way, out of memory is recorded as such; the recording
    itself raises nothing.
    """
    return Recording(
        question,
        ledger,
        device=device,
        with_estimate=with_estimate,
        reset_peak=reset_peak,
        then=then,
        known=known,
    )


class Recording:
    """One run while it runs. All marks return None and cost microseconds. Times in seconds."""

    def __init__(
        self,
        question: Any = None,
        ledger: Path | str | None = None,
        *,
        device: Any = None,
        with_estimate: bool = True,
        reset_peak: bool = True,
        then: Then | None = None,
        known: Mapping[str, Any] | None = None,
        source: str = "planner.record",
        clock: Any = time.perf_counter,
    ):
        self.question, self.ledger, self.source = question, ledger, source
        self.with_estimate, self.known, self.notes = with_estimate, dict(known or {}), []
        self.watch = DeviceWatch(device, reset_peak=reset_peak)
        self.record: RunRecord | None = None  # what was written, once it was
        self._then = then
        self._clock = clock
        self._times, self._events = StepTimes(), StepEvents()
        self._phases: dict[str, StepTimes] = {}
        self._waits = StepTimes()  # for data, a step
        # the marked stretches of the step that is running
        self._step: list[tuple[str | None, Any, Any]] = []
        self._passes = 0
        self._steps = self._samples = self._tokens = 0
        self._waited = self._paused_seconds = 0.0
        self._losses: list[float] = []
        self._on_host = True
        self._begin = self._mark = 0.0
        self._start: Any = None

    # ------------------------------------------------------------ marks

    def __enter__(self) -> Recording:
        self.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self.finish(error)

    def start(self) -> None:
        """The run begins now."""
        self._guarded(self.watch.begin)
        self._begin = self._clock()
        self._restart()

    def data(self) -> None:
        """The batch is here: since the last mark the loop waited for it."""
        now = self._clock()
        self._waited += now - self._mark
        self._restart(now)

    def forward(self) -> None:
        """A forward pass is enqueued."""
        self._passes += 1
        self._stretch("forward")

    def backward(self) -> None:
        """A backward pass is enqueued."""
        self._stretch("backward")

    def step(
        self, samples: int | None = None, tokens: int | None = None, loss: float | None = None
    ) -> None:
        """An optimizer step is enqueued. ``samples`` and ``tokens`` (padding included) of this step
        over all devices; ``loss`` a plain number, as reading one from a device would wait for it.
        """
        self._stretch("optimizer" if any(name == "backward" for name, _, _ in self._step) else None)
        self._close_step()
        self._steps += 1
        self.add(samples or 0, tokens or 0)
        if loss is not None:
            self.loss(loss)
        if self.watch.cuda is None and self._steps <= 2 * WARM_UP_STEPS:
            self._guarded(self.watch.find)
            self._restart()

    def add(self, samples: int = 0, tokens: int = 0) -> None:
        """Count samples and tokens, over all devices, apart from a step."""
        self._samples += samples
        self._tokens += tokens

    def loss(self, value: float) -> None:
        """The first and the last one are kept."""
        self._losses = [*self._losses[:1], float(value)]

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is no training: evaluation, saving. It counts in the wall-clock time and in no
        step."""
        self.skip()
        try:
            yield
        finally:
            self.skip(paused=True)

    def skip(self, *, paused: bool = False) -> None:
        """Whatever happened since the last mark belongs to no step; ``paused``: it was evaluation
        or saving."""
        now = self._clock()
        if paused:
            self._paused_seconds += now - self._mark
        self._restart(now)

    def set(self, **known: Any) -> None:
        """More of what is run, by the names of a record's ``setup``."""
        self.known.update(known)

    def note(self, text: str) -> None:
        self.notes.append(text)

    # ------------------------------------------------------------ inside

    def _restart(self, now: float | None = None) -> None:
        self._mark = self._clock() if now is None else now
        self._start = self.watch.stamp()

    def _stretch(self, name: str | None) -> None:
        now, stamp = self._clock(), self.watch.stamp()
        on_host = stamp is None or self._start is None
        self._on_host = self._on_host and on_host
        self._step.append((name, None, now - self._mark) if on_host else (name, self._start, stamp))
        self._mark, self._start = now, stamp

    def _close_step(self) -> None:
        step, self._step = self._step, []
        self._waits.add(self._waited)
        self._waited = 0.0
        for done in self._events.add(step):
            self._keep(done)

    def _keep(self, stretches: list[tuple[str | None, float]]) -> None:
        self._times.add(sum(seconds for _, seconds in stretches))
        for name in {name for name, _ in stretches if name}:
            self._phases.setdefault(name, StepTimes()).add(
                sum(seconds for other, seconds in stretches if other == name)
            )

    def _guarded(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except Exception as error:
            _log.warning(
                "planner: recording goes on without %s: %s",
                getattr(call, "__name__", "a counter"),
                _line(error),
            )
            return None

    # ------------------------------------------------------------ the end

    def finish(self, error: BaseException | None = None) -> None:
        """The run is over, by ``error`` if there is one: write it down. Raises nothing."""
        try:
            self._finish(error)
        except Exception as failed:
            _log.warning("planner: this run was not recorded: %s", _line(failed))

    def _finish(self, error: BaseException | None) -> None:
        out_of_memory = error is not None and (
            _is_out_of_memory(error) or isinstance(error, BrokenOff) and self.watch.ran_out()
        )
        if error is None:
            self.watch.synchronise()
        wall_seconds = self._clock() - self._begin
        for done in self._guarded(self._events.done) or []:
            self._keep(done)
        if not is_first_rank() or (error is not None and not out_of_memory and not self._steps):
            # one process writes; a program that failed before its first step measured nothing
            return
        self._say_how_it_ended(error, out_of_memory)
        made = self._as_record(self._measurement(wall_seconds, out_of_memory))
        from planner.ledger.store import Ledger

        with Ledger(self.ledger) as ledger:
            ledger.append(made)
        self.record = made
        if self._then is not None:
            self._guarded(self._then, made)

    def _say_how_it_ended(self, error: BaseException | None, out_of_memory: bool) -> None:
        if error is not None and not out_of_memory:
            broken_off = isinstance(error, BrokenOff)
            ending = "broken off" if broken_off else f"ended by {type(error).__name__}"
            self.note(f"{ending} after {self._steps} steps")
        if not self._steps and not out_of_memory:
            self.note("no step was marked")

    def _measurement(self, wall_seconds: float, out_of_memory: bool) -> dict[str, Any]:
        found = {
            "wall_seconds": wall_seconds,
            "out_of_memory": out_of_memory,
            **self._times.summary(),
            **(self._guarded(self.watch.measured) or {}),
        }
        if self._steps:
            found["steps"] = self._steps
        if self._waits.total_seconds:
            found["data_seconds"] = self._waits.mean(found.get("warm_up_steps", 0))
        if self._paused_seconds:
            found["paused_seconds"] = self._paused_seconds
        return found | self._phase_seconds(found) | self._rates(found) | self._loss()

    def _phase_seconds(self, found: Mapping[str, Any]) -> dict[str, Any]:
        apart = found.get("warm_up_steps", 0)
        phases = {
            name: statistics.median(times.steady(apart))
            for name, times in self._phases.items()
            if times.steady(apart)
        }
        if not phases:
            return {}
        if "data_seconds" in found:
            phases["data"] = found["data_seconds"]
        passes = self._passes / self._steps
        per_micro_batch = (
            {"forward_seconds": phases["forward"] / passes}
            if "forward" in phases and passes >= 1
            else {}
        )
        return {"phase_seconds": phases, **per_micro_batch}

    def _rates(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Over the mean steady step and the wait for its data: what the run really got through."""
        seconds = found.get("step_seconds_mean", 0.0) + found.get("data_seconds", 0.0)
        if not seconds:
            return {}
        rates = {
            "samples_per_second": self._samples / self._steps / seconds,
            "tokens_per_second": self._tokens / self._steps / seconds,
        }
        counted = {"tokens": self._tokens, "samples_seen": self._samples}
        return {name: value for name, value in (rates | counted).items() if value}

    def _loss(self) -> dict[str, float]:
        return (
            {"loss_first": self._losses[0], "loss_last": self._losses[-1]} if self._losses else {}
        )

    def _as_record(self, measurement: Mapping[str, Any]) -> RunRecord:
        question, setup = understood(self.question)
        setup = {
            **setup,
            **found_out(self.watch, measurement),
            **{name: value for name, value in self.known.items() if value is not None},
        }
        estimate = (
            self._estimate(question, setup) if self.with_estimate and question is not None else None
        )
        if self._on_host and self.watch.cuda is not None:
            self.note("step times are the host's clock, not the device's")
        more = dict(
            question=dumped(question, self.question),
            estimate=estimate,
            versions=versions(),
            machine=self._guarded(self.watch.machine) or {},
        )
        return forgiving(
            "recorded",
            self.source,
            setup,
            measurement,
            notes=(*self.notes, *self.watch.notes),
            **more,
        )

    def _estimate(self, question: Question, setup: Mapping[str, Any]) -> dict[str, Any] | None:
        from planner.recording.estimate import estimate_for_run

        try:
            return estimate_for_run(question, setup)
        except Exception as error:
            self.note(f"no estimate beside it: {_line(error)}")
            return None


def _is_out_of_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from planner.measure.real_step import is_out_of_memory

    return is_out_of_memory(error)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
