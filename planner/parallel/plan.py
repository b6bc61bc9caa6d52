"""How many devices share one training, and how: the degrees of torchtitan's ``ParallelDims``
(pytorch/torchtitan, torchtitan/distributed/parallel_dims.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from planner.errors import FieldName, QuestionError

#: How devices share a copy's state: FSDP2's full shard; DeepSpeed's ZeRO, of optimizer states (1),
#: gradients too (2), parameters too (3).
SHARDINGS = ("fsdp", "zero1", "zero2", "zero3")
#: What is tried where copies do not fit, and nothing is asked.
BEYOND_COPIES = ("fsdp",)


@dataclass(frozen=True, order=True)
class ParallelPlan:
    """Degrees of parallelism, each at least 1. ``dp_replicate``: copies of the model whose
    gradients are summed; ``dp_shard``: devices that share one copy's state, by ``sharding``
    (``SHARDINGS``); ``tp``: tensor, ``cp``: context (sequence), ``pp``: pipeline, ``ep``: expert
    parallelism, which borrows the devices of the other degrees and adds none. ``chunks``: parts of
    the model on each stage of a pipeline (1: 1F1B, more: interleaved). Neighbouring devices are
    tensor-parallel ranks, then parts of a sequence, then those of data parallelism, then stages.
    An expert lies whole on its device: the ``ep`` devices that have all of them together are
    neighbours among those of tensor, context and data parallelism (Megatron-Core's
    ``expert_tensor_parallel_size`` 1). Devices with parts of one sequence share state as those of
    data parallelism do (torchtitan's ``dp_shard_cp``).
    """

    dp_replicate: int = 1
    dp_shard: int = 1
    tp: int = 1
    cp: int = 1
    pp: int = 1
    ep: int = 1
    sharding: str = ""
    chunks: int = 1

    def __post_init__(self) -> None:
        for degree in fields(self):
            value = getattr(self, degree.name)
            if degree.name == "sharding":
                continue
            if value < 1:
                raise QuestionError(f"{degree.name} is {value}, at least 1 is needed")
        if self.chunks > 1 and self.pp == 1:
            raise QuestionError(
                f"{self.chunks} chunks a stage without a pipeline",
                where=FieldName("pipeline_chunks"),
                mend=f"Give {FieldName('pipeline_parallel')} too",
            )
        alone = self.dp_shard * self.cp == 1
        if (self.sharding not in ("", *SHARDINGS)) or (
            alone if self.sharding else self.dp_shard > 1
        ):
            raise QuestionError(
                f"dp_shard {self.dp_shard} with sharding {self.sharding!r}",
                mend=f"More than one device shares state as one of {', '.join(SHARDINGS)}",
            )

    @property
    def devices(self) -> int:
        """Devices in all."""
        return self.dp_replicate * self.dp_shard * self.tp * self.cp * self.pp

    @property
    def data_parallel(self) -> int:
        """Micro-batches that run side by side: what multiplies the samples of a step."""
        return self.dp_replicate * self.dp_shard

    @property
    def copies(self) -> int:
        """Devices whose gradients DistributedDataParallel sums; 1 where state is shared."""
        return 1 if self.sharding else self.dp_replicate * self.cp

    @property
    def shards(self) -> int:
        """Devices that share one copy's state; 1 where each has a copy."""
        return self.dp_shard * self.cp if self.sharding else 1

    @property
    def lenders(self) -> int:
        """Neighbouring devices among which experts are spread."""
        return self.tp * self.cp * (self.dp_shard if self.sharding else self.dp_replicate)

    @property
    def same_experts(self) -> int:
        """Of the lenders those that hold the same experts."""
        return max(1, self.lenders // self.ep)

    @property
    def shared(self) -> tuple[str | int, ...]:
        """What makes a device's step another than that of a device alone: how state is shared,
        and among how many; how layers, sequences and experts are."""
        same = self.same_experts if self.ep > 1 else 1
        return self.sharding, self.dp_shard, *self.split, self.cp, self.ep, same

    @property
    def split(self) -> tuple[int, int, int]:
        """How the layers are shared: ``tp``, ``pp``, ``chunks``."""
        return self.tp, self.pp, self.chunks

    @property
    def is_split(self) -> bool:
        """Whether a device has only a part of the layers, or of each."""
        return self.tp * self.pp > 1

    @property
    def is_parted(self) -> bool:
        """Whether a device has only some of the experts, or a part of each sequence."""
        return self.cp * self.ep > 1

    @property
    def ranks(self) -> ParallelPlan:
        """Of one copy of the model whose state is whole."""
        return ParallelPlan(tp=self.tp, cp=self.cp, pp=self.pp, ep=self.ep, chunks=self.chunks)

    @property
    def unshared(self) -> ParallelPlan:
        """As it is before the sharing devices of one copy share its state."""
        if not self.sharding:
            return self
        return replace(self, sharding="", dp_shard=1, dp_replicate=self.dp_shard)

    @property
    def together(self) -> int:
        """The fewest devices, and what every number of them is a multiple of: those of a copy, and
        so many copies that the experts are spread."""
        lent = self.tp * self.cp
        return lent * self.pp * (self.ep // math.gcd(self.ep, lent))

    def checked(self) -> ParallelPlan:
        """Itself. Raises QuestionError where experts cannot be spread over its devices."""
        if self.lenders % self.ep:
            copies = "sharing devices" if self.sharding else "copies"
            raise QuestionError(
                f"{FieldName('expert_parallel')} {self.ep} does not divide the "
                f"{self.lenders} devices of its {copies}",
                where=FieldName("expert_parallel"),
                mend="Use one of " + ", ".join(map(str, _divisors(self.lenders))),
            )
        return self


def _divisors(number: int) -> list[int]:
    return [one for one in range(1, min(number, 1024) + 1) if number % one == 0]


#: One device.
ALONE = ParallelPlan()


def groups_of(devices: int, ranks: ParallelPlan) -> int:
    """Copies of the model, or parts of its state, when ``ranks`` share each. Raises QuestionError
    where the devices do not divide."""
    if devices % ranks.together:
        apart = {"tensor": ranks.tp, "context": ranks.cp, "pipeline": ranks.pp, "expert": ranks.ep}
        asked = {f"{name}_parallel": degree for name, degree in apart.items() if degree > 1}
        raise QuestionError(
            f"{devices} devices do not divide among {' × '.join(map(str, asked.values()))} ranks "
            f"({' × '.join(FieldName(name) for name in asked)})",
            where=FieldName("gpus"),
            mend=f"Use a multiple of {ranks.together}",
        )
    return devices // ranks.devices


def counts_among(counts: Sequence[int], ranks: ParallelPlan, is_asked: bool) -> tuple[int, ...]:
    """Of counts of devices those that divide among ranks. Where none does: the fewest that do, or
    QuestionError where the count ``is_asked`` for."""
    kept = tuple(count for count in counts if count % ranks.together == 0)
    if not kept and is_asked:
        groups_of(counts[-1], ranks)
    return kept or (ranks.together,)


def plans_for(
    devices: int, asked: str | None = None, ranks: ParallelPlan = ALONE
) -> tuple[ParallelPlan, ...]:
    """Ways in which so many devices share the work, in the order in which they are tried: as
    ``asked`` (ddp, or one of ``SHARDINGS``); without it, or with ``auto``, as copies, else all
    state shared. ``ranks``: those that have a copy's layers together. Raises QuestionError where
    the devices do not divide among them."""
    groups = groups_of(devices, ranks)
    copies = replace(ranks, dp_replicate=groups).checked()
    if groups * ranks.cp == 1 or asked == "ddp":
        return (copies,)
    ways = (asked,) if asked in SHARDINGS else BEYOND_COPIES
    shared = tuple(replace(ranks, dp_shard=groups, sharding=way).checked() for way in ways)
    return shared if asked in SHARDINGS else (copies, *shared)


def plans_apart(
    devices: int, asked: str | None = None, together: int = 8, ranks: ParallelPlan = ALONE
) -> tuple[ParallelPlan, ...]:
    """Every way of so many devices that is worth a price beside the others: those of ``plans_for``,
    and state shared among the ``together`` devices of a machine alone, in as many copies as there
    are machines."""
    plans = plans_for(devices, asked, ranks)
    groups, together = groups_of(devices, ranks), together // (ranks.tp * ranks.cp)
    apart = together > 1 and groups > together and groups % together == 0
    apart = apart and ranks.tp * ranks.cp * together % ranks.ep == 0
    if asked in (None, "auto", "fsdp") and apart:
        plans += (
            replace(ranks, dp_replicate=groups // together, dp_shard=together, sharding="fsdp"),
        )
    return plans


def counts_up_to(most: int) -> tuple[int, ...]:
    """Counts of devices that a search looks at: powers of two below, and ``most`` itself."""
    return (*(2**power for power in range((most - 1).bit_length())), most)
