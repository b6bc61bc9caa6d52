"""Which plans a question's devices are looked at under."""

from __future__ import annotations

from collections.abc import Sequence

from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, QuestionError
from planner.parallel.model.zero_bubble import SCHEDULES, V_CHUNKS, ZBV
from planner.parallel.network import network_of
from planner.parallel.plan import (
    ParallelPlan,
    counts_among,
    groups_of,
    hybrid,
    plans_apart,
    plans_for,
)
from planner.question import Question

#: Full shards among the devices of a machine, copies of that over machines.
HYBRID = "hsdp"


def ranks_of(question: Question) -> ParallelPlan:
    """The devices that have a copy of the model together."""
    return ParallelPlan(
        tp=question.tensor_parallel,
        cp=question.context_parallel,
        pp=question.pipeline_parallel,
        ep=question.expert_parallel,
        chunks=_chunks(question),
        schedule=_schedule(question),
    )


def _schedule(question: Question) -> str:
    """Of a pipeline, as ``ParallelPlan`` has it. Raises QuestionError where there is none."""
    asked = question.pipeline_schedule
    if asked is not None and question.pipeline_parallel == 1:
        raise QuestionError(
            f"{asked} without a pipeline",
            where=FieldName("pipeline_schedule"),
            mend=f"Give {FieldName('pipeline_parallel')} too",
        )
    return asked if asked in SCHEDULES else ""


def _chunks(question: Question) -> int:
    """Parts of the model on each stage: two lie like a V. Raises QuestionError for parts that a
    schedule does not run."""
    asked, chunks = question.pipeline_schedule, question.pipeline_chunks
    where = FieldName("pipeline_schedule")
    if asked == ZBV and question.pipeline_parallel > 1:
        if "pipeline_chunks" in question.model_fields_set and chunks != V_CHUNKS:
            raise QuestionError(
                f"zbv has two parts of the model on each stage, not {chunks}",
                where=where,
                mend=f"Leave out {FieldName('pipeline_chunks')}",
            )
        return V_CHUNKS
    if (asked == "interleaved" and chunks == 1) or (asked == "1f1b" and chunks > 1):
        raise QuestionError(
            f"{asked} with {chunks} part{'s' * (chunks > 1)} of the model on each stage",
            where=where,
            mend=f"Give {FieldName('pipeline_chunks')} "
            + ("2 or more" if asked == "interleaved" else "1"),
        )
    return chunks


class Layouts:
    """The plans of each count of devices. ``apart``: copies, shared state, and state shared inside
    each machine are ways of their own beside each other."""

    def __init__(self, question: Question, counts: Sequence[int], apart: bool = False) -> None:
        """Raises QuestionError where asked devices do not divide among the ranks, or what is asked
        of them contradicts itself."""
        self.question, self.apart, self.ranks = question, apart, ranks_of(question)
        self._is_asked = "gpus" in question.model_fields_set
        check_machines(question)
        _check_sharing(question)
        self.counts = counts_among(counts, self.ranks, self._is_asked)

    def of(self, count: int, spec: DeviceSpec) -> list[tuple[ParallelPlan, ...]]:
        """Of so many devices the ways, each its plans in the order in which they are tried; none
        where a count that nobody asked for cannot be shared as asked. Raises QuestionError where
        an asked one cannot."""
        try:
            return self._ways(count, spec)
        except QuestionError:
            if self._is_asked:
                raise
            return []

    def _ways(self, count: int, spec: DeviceSpec) -> list[tuple[ParallelPlan, ...]]:
        question, ranks = self.question, self.ranks
        if is_hybrid(question) and count > ranks.devices:
            shards = question.shard_devices or _of_a_machine(count, spec, ranks)
            way = question.parallel if question.parallel == "zero3" else "fsdp"
            return [(hybrid(count, shards, way, ranks),)]
        if self.apart:
            plans = plans_apart(count, question.parallel, _together(spec, count), ranks)
            return [(plan,) for plan in plans]
        plans = plans_for(count, question.parallel, ranks)
        if question.parallel is None and not self._is_asked:
            return [plans[:1]]  # of counts that nobody asked for copies alone
        return [plans]


def is_hybrid(question: Question) -> bool:
    """Whether a number of devices that share a copy is asked, or those of a machine."""
    return question.parallel == HYBRID or question.shard_devices is not None


def check_machines(question: Question) -> None:
    """Raises QuestionError for machines that the devices do not fill evenly."""
    nodes, gpus = question.nodes, question.gpus
    if nodes is None or gpus % nodes == 0:
        return
    if "gpus" not in question.model_fields_set:
        raise QuestionError(
            f"{nodes} machines, and not how many devices they have",
            where=FieldName("nodes"),
            mend=f"Give {FieldName('gpus')} too, the devices of all machines",
        )
    raise QuestionError(
        f"{gpus} devices do not divide among {nodes} machines",
        where=FieldName("nodes"),
        mend=f"{FieldName('gpus')} is the devices of all machines: use a multiple of {nodes}",
    )


def _check_sharing(question: Question) -> None:
    shards, way = question.shard_devices, question.parallel
    if shards is None or way in (None, "auto", "fsdp", HYBRID, "zero3"):
        return
    if way == "ddp" and shards == 1:
        return
    why = "every device has a whole copy" if way == "ddp" else "its state is shared by all devices"
    raise QuestionError(
        f"{shards} devices to share a copy, under {way}: {why}",
        where=FieldName("shard_devices"),
        mend=f"Use {FieldName('parallel')} fsdp",
    )


def _together(spec: DeviceSpec, count: int) -> int:
    """Devices of a machine; 1 where no source says how they are joined."""
    try:
        return network_of(spec, count).devices_per_node
    except QuestionError:
        return 1


def _of_a_machine(count: int, spec: DeviceSpec, ranks: ParallelPlan) -> int:
    """Devices of a machine that share a copy, each a group of tensor-parallel ranks."""
    together = max(1, network_of(spec, count).devices_per_node // ranks.tp)
    return min(groups_of(count, ranks), together)
