"""How many devices share one training, and how: the degrees of torchtitan's ``ParallelDims``
(pytorch/torchtitan, torchtitan/distributed/parallel_dims.py)."""

from __future__ import annotations

from dataclasses import dataclass, fields

from planner.errors import QuestionError

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
    parallelism, which borrows the devices of the other degrees and adds none.

    Only the first two are priced today; any other degree above 1 raises QuestionError, so that
    none is ever left out silently.
    """

    dp_replicate: int = 1
    dp_shard: int = 1
    tp: int = 1
    cp: int = 1
    pp: int = 1
    ep: int = 1
    sharding: str = ""

    def __post_init__(self) -> None:
        for degree in fields(self):
            value = getattr(self, degree.name)
            if degree.name == "sharding":
                continue
            if value < 1:
                raise QuestionError(f"{degree.name} is {value}, at least 1 is needed")
            if value > 1 and degree.name not in ("dp_replicate", "dp_shard"):
                raise QuestionError(
                    f"{degree.name} {value}: only data parallelism (dp_replicate, dp_shard) is "
                    "priced",
                    mend="Give the devices as copies of the model, or let them share its state",
                )
        if (self.dp_shard > 1) != (self.sharding in SHARDINGS):
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
        return 1 if self.sharding else self.dp_replicate

    @property
    def shared(self) -> tuple[str, int]:
        """What makes a device's step another than that of a device alone: how state is shared,
        and among how many."""
        return self.sharding, self.dp_shard


#: One device.
ALONE = ParallelPlan()


def plans_for(devices: int, asked: str | None = None) -> tuple[ParallelPlan, ...]:
    """Ways in which so many devices share the work, in the order in which they are tried: as
    ``asked`` (ddp, or one of ``SHARDINGS``); without it, or with ``auto``, as copies, else all
    state shared."""
    copies = ParallelPlan(dp_replicate=devices)
    if devices == 1 or asked == "ddp":
        return (copies,)
    if asked in SHARDINGS:
        return (ParallelPlan(dp_shard=devices, sharding=asked),)
    return copies, *(ParallelPlan(dp_shard=devices, sharding=way) for way in BEYOND_COPIES)


def plans_apart(
    devices: int, asked: str | None = None, together: int = 8
) -> tuple[ParallelPlan, ...]:
    """Every way of so many devices that is worth a price beside the others: those of ``plans_for``,
    and state shared among the ``together`` devices of a machine alone, in as many copies as there
    are machines."""
    plans = plans_for(devices, asked)
    if asked in (None, "auto", "fsdp") and devices > together and devices % together == 0:
        plans += (ParallelPlan(devices // together, together, sharding="fsdp"),)
    return plans


def counts_up_to(most: int) -> tuple[int, ...]:
    """Counts of devices that a search looks at: powers of two below, and ``most`` itself."""
    return (*(2**power for power in range((most - 1).bit_length())), most)
