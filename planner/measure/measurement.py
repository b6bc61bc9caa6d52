"""One strategy, run for real on this machine's device: timed, its memory read, and each run a
record with today's estimate beside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from planner.blame import blamed, failure
from planner.errors import PlannerError
from planner.ledger.record import RunRecord
from planner.measure import memory_seen
from planner.measure.explain import within
from planner.measure.work import Work
from planner.models.facts import ModelFacts
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.options import Option
from planner.question.setup import Setup, for_record, traced_values

SOURCE = "planner measure"
MIN_STEPS = 5
# with the longest batch: the second holds the optimizer's state beside the activations
LONGEST_STEPS = 2
Progress = Callable[[str, int, int], None]


class Measurement:
    """One strategy, run for real. ``runs`` fills as it goes: what was run, what was measured, what
    to say of it."""

    def __init__(
        self,
        problem: Problem,
        rented: RentedDevice,
        option: Option,
        work: Work,
        *,
        device: str,
        seconds: float,
        progress: Progress | None,
    ):
        self.problem, self.rented, self.option, self.work = problem, rented, option, work
        self.device, self.seconds, self.progress = device, seconds, progress
        self.device_type = device.partition(":")[0]
        self.notes = list(work.notes)
        self.runs: list[tuple[Work, dict[str, Any], list[str]]] = []
        # of a processor: resident in a process that has only imported the libraries
        self.fresh_bytes: int | None = None
        self.own_bytes = 0  # resident in this one, which has done more than that, without the model

    def records(self) -> Iterator[RunRecord]:
        """Raises ModelError, in one line, where the model's own code fails when it is trained,
        MachineError where the device does."""
        import torch

        from planner.devices.telemetry.device_watch import DeviceWatch, cores
        from planner.measure.real_step import release, tf32
        from planner.trace.recorder.dispatch_mode import quiet

        watch = DeviceWatch(self.device)
        if self.device_type == "cpu":
            self.notes += busy_notes(os.getloadavg()[0], cores())
            self.fresh_bytes = memory_seen.fresh_process_bytes(self.work.facts.library)
        devices = [torch.device(self.device).index or 0] if self.device_type == "cuda" else []
        release(self.device_type)
        try:
            with (
                quiet(),
                torch.random.fork_rng(devices),
                tf32(self.work.recipe.precision == "tf32"),
                memory_seen.within_free_memory(self.device_type),
            ):
                torch.manual_seed(0)
                self._run(watch)
        except Exception as error:
            self._ran_out(error, self.work)
        finally:
            release(self.device_type)
        machine = watch.machine()
        for work, measurement, notes in self.runs:
            yield self._record(work, measurement, machine, [*notes, *watch.notes])

    def _ran_out(self, error: Exception, work: Work) -> None:
        """That is a result; anything else is raised, in one line."""
        from planner.measure.real_step import is_out_of_memory

        if isinstance(error, PlannerError):
            raise error
        if not is_out_of_memory(error):
            raise failure(error, "when it is trained", work.facts.name) from error
        line = " ".join(str(error).split())[:200]
        error.__traceback__ = None  # its frames hold the model
        self.runs.append(
            (work, {"out_of_memory": True}, [*self.notes, f"ran out of memory: {line}"])
        )

    # ------------------------------------------------------------ the run

    def _run(self, watch: Any) -> None:
        from planner.measure.marks import marks_for
        from planner.measure.timed_steps import MeasuredStep, run_steps

        work = self.work
        step = MeasuredStep(
            work.facts,
            work.recipe,
            self.device,
            accumulation=work.accumulation,
            teacher=work.teacher,
            own_weights=work.strategy != "scratch",
        )
        own = self._feed(step)
        self.notes += step.notes
        self._reset(watch, step)
        timed = run_steps(
            step,
            marks_for(self.device),
            seconds=self.seconds,
            min_steps=MIN_STEPS,
            varied=own is not None and own.varied,
            progress=self.progress,
        )
        alike = own is None or len(set(own.lengths)) <= 1
        if own is not None and own.lengths:
            work = replace(work, lengths={"S": own.length(), "T": own.target_length()})
        samples = work.micro_batch * work.accumulation
        tokens = (
            None
            if work.lengths["S"] is None or work.facts.modality != "text"
            else samples * work.lengths["S"]
        )
        measurement = {
            "out_of_memory": False,
            **timed.measurement(samples, tokens),
            **self._counters(watch, alike),
        }
        self.runs.append((work, measurement, self.notes))
        if alike:
            measurement["category_bytes"] = self._categories(step, measurement)
        if not alike or any(
            value is not None and value > (work.lengths[name] or 0)
            for name, value in work.longest.items()
        ):
            self._longest(step)
        # last: a profile of a processor's steps is larger than many a model
        measurement["kind_seconds"] = self._kinds(step, timed)

    def _reset(self, watch: Any, step: Any) -> None:
        """Peaks count from here on: the model is there, what building it took does not count."""
        from planner.measure.real_step import release

        release(self.device_type)
        resident = memory_seen.resident_bytes()
        if self.device_type == "cpu" and resident is not None and memory_seen.forget_peak():
            self.own_bytes = max(0, resident - sum(memory_seen.tensor_bytes(step).values()))
        watch.begin()

    def _feed(self, step: Any) -> Any:
        """The user's own samples where they can be fed, else a batch of the plan's shape."""
        from planner.measure.own_data import own_data, synthetic

        work, own, note = self.work, None, "batches are synthetic"
        if work.recipe.variant != "cached":
            own, note = own_data(
                self.problem.question,
                work.facts,
                step.prepared,
                self.device,
                task=work.recipe.task,
                micro_batch=work.micro_batch,
                max_length=work.max_length,
                padding=work.padding,
                image_size=work.recipe.image_size,
                point=work.point,
            )
        self.notes.append(note)
        step.feed = own or synthetic(step.prepared, work.point, work.recipe.variant)
        return own

    def _counters(self, watch: Any, alike: bool) -> dict[str, Any]:
        """Peaks of memory belong to a length: they are left out where the batches had several."""
        found = watch.measured()
        peak = memory_seen.resident_bytes("VmHWM") if self.own_bytes else None
        if peak is not None:
            found["device_used_bytes"] = (
                peak - self.own_bytes + (self.fresh_bytes or self.own_bytes)
            )
        kept = {
            name: value for name, value in found.items() if alike or not name.endswith("_bytes")
        }
        return {
            name: int(value) if name.endswith("_bytes") else value for name, value in kept.items()
        }

    def _kinds(self, step: Any, timed: Any) -> dict[str, float] | None:
        from planner.measure.profiler import seconds_by_kind

        phases = timed.phases
        micro_batch_seconds = sum(
            phases.get(name, 0.0) for name in ("forward", "backward")
        ) / self.work.accumulation + phases.get("optimizer", 0.0)
        try:
            return within(seconds_by_kind(step, self.device_type), micro_batch_seconds)
        # the profiler needs memory and rights of its own; the measurement stands without it
        except Exception as error:
            self.notes.append(f"not profiled: {blamed(error)}")
            return None

    def _categories(self, step: Any, measurement: Mapping[str, Any]) -> dict[str, int] | None:
        """Of the peak that ``measurement`` holds; fragmentation and context are what the counters
        leave over."""
        used, reserved, allocated = (
            measurement.get(name)
            for name in ("device_used_bytes", "peak_reserved_bytes", "peak_allocated_bytes")
        )
        try:
            if self.device_type == "cpu":
                return (
                    None
                    if used is None
                    else memory_seen.processor_categories(
                        step, self.fresh_bytes or self.own_bytes, used
                    )
                )
            found = memory_seen.categories_at_peak(memory_seen.recorded_history(step, self.device))
        # the allocator's account is no stable interface of torch; the measurement stands without it
        except Exception as error:
            self.notes.append(f"memory is not broken down: {blamed(error)}")
            return None
        if reserved is not None and allocated is not None:
            found["fragmentation"] = reserved - allocated
        if used is not None and reserved is not None:
            found["context"] = max(0, used - reserved)
        return found

    def _longest(self, step: Any) -> None:
        """Peak memory of the longest batch that the data can make: a run of its own."""
        work, feed = replace(self.work, lengths=dict(self.work.longest)), step.feed
        notes = [
            *self.work.notes,
            *step.notes,
            "the longest batch that the data can make, synthetic: run for its memory",
        ]
        try:
            self.runs.append((work, self._at_longest(step, work), notes))
        except Exception as error:
            self._ran_out(error, work)
        finally:
            step.feed = feed

    def _at_longest(self, step: Any, work: Work) -> dict[str, Any]:
        from planner.devices.telemetry.device_watch import DeviceWatch
        from planner.measure.own_data import synthetic

        step.feed, watch = (
            synthetic(step.prepared, work.point, work.recipe.variant),
            DeviceWatch(self.device),
        )
        self._reset(watch, step)
        for _ in range(LONGEST_STEPS):
            step()
        watch.synchronise()
        counted = {
            name: value
            for name, value in self._counters(watch, True).items()
            if name.endswith("_bytes")
        }
        measurement = {"out_of_memory": False, "steps": LONGEST_STEPS, **counted}
        return {**measurement, "category_bytes": self._categories(step, measurement)}

    # ------------------------------------------------------------ the record

    def _record(
        self,
        work: Work,
        measurement: Mapping[str, Any],
        machine: Mapping[str, Any],
        notes: list[str],
    ) -> RunRecord:
        from planner.trace.versions import versions

        all_notes = list(dict.fromkeys(notes))
        estimate = self._estimate(work, all_notes)
        known = {name: value for name, value in measurement.items() if value is not None}
        return RunRecord.new(
            "measured",
            SOURCE,
            setup_of(self.problem, work, self.rented, known.get("steps")),
            known,
            question=self.problem.question.model_dump(mode="json"),
            estimate=estimate,
            versions={**versions(work.facts.library), **_versions()},
            machine=machine,
            notes=tuple(all_notes),
        )

    def _estimate(self, work: Work, notes: list[str]) -> dict[str, Any] | None:
        """A run is kept without one rather than lost."""
        from planner.measure.estimate import estimate_of

        try:
            return estimate_of(self.problem, self.option, work, self.rented)
        except PlannerError as error:
            notes.append(f"no estimate beside it: {error}")
            return None


def busy_notes(load: float, cores: int | None) -> list[str]:
    """Threads that wait for each other are slowed down by other programs far beyond their share."""
    return (
        [
            f"other programs kept the processor busy (load {load:.1f} on {cores} cores): the "
            "times are not those of a machine of one's own"
        ]
        if cores is not None and load > cores
        else []
    )


def setup_of(
    problem: Problem, work: Work, rented: RentedDevice, steps: int | None
) -> dict[str, Any]:
    """What was run, by the names of a record's ``setup``."""
    from planner.ledger.model_setup import in_folder

    recipe = work.recipe
    ran = traced_values(recipe) | {
        "strategy": work.strategy,
        "image_size": recipe.image_size or work.facts.image_size,
        "teacher": in_folder(work.teacher.name) if work.teacher else None,
    }
    setup = Setup(
        **ran,
        model=in_folder(work.facts.name),
        architecture=_architecture(work.facts),
        gpu=rented.spec.name,
        micro_batch=work.micro_batch,
        accumulation=work.accumulation,
        sequence_length=work.lengths["S"],
        target_length=work.lengths["T"],
        samples=problem.data.samples,
        steps=steps,
    )
    return for_record(setup)


def _architecture(facts: ModelFacts) -> dict[str, Any] | None:
    """What builds the model again where its name alone does not."""
    if (
        facts.library != "transformers"
        or facts.origin == "catalogue"
        or not facts.config
        or "model_type" not in facts.config
    ):
        return None
    from planner.models.facts import IRRELEVANT_KEYS

    return {"kind": facts.config["model_type"]} | {
        name: value
        for name, value in facts.config.items()
        if name not in IRRELEVANT_KEYS and name != "model_type"
    }


def _versions() -> dict[str, str]:
    from planner.version import __version__

    return {"planner": __version__, "python": platform.python_version()}
