"""How many devices share one training, and how: the degrees of torchtitan's ``ParallelDims``
(pytorch/torchtitan, torchtitan/distributed/parallel_dims.py)."""

from __future__ import annotations

from dataclasses import dataclass, fields

from planner.errors import QuestionError


@dataclass(frozen=True, order=True)
class ParallelPlan:
    """Degrees of parallelism, each at least 1. ``dp_replicate``: copies of the model whose
    gradients are summed; ``dp_shard``: devices that share one copy's state; ``tp``: tensor, ``cp``:
    context (sequence), ``pp``: pipeline, ``ep``: expert parallelism, which borrows the devices of
    the other degrees and adds none.

    Only ``dp_replicate`` is priced today; any other degree above 1 raises QuestionError, so that
    none is ever left out silently.
    """

    dp_replicate: int = 1
    dp_shard: int = 1
    tp: int = 1
    cp: int = 1
    pp: int = 1
    ep: int = 1

    def __post_init__(self) -> None:
        for degree in fields(self):
            value = getattr(self, degree.name)
            if value < 1:
                raise QuestionError(f"{degree.name} is {value}, at least 1 is needed")
            if value > 1 and degree.name != "dp_replicate":
                raise QuestionError(
                    f"{degree.name} {value}: only data parallelism (dp_replicate) is priced",
                    mend="Give the devices as copies of the model",
                )

    @property
    def devices(self) -> int:
        """Devices in all."""
        return self.dp_replicate * self.dp_shard * self.tp * self.cp * self.pp

    @property
    def data_parallel(self) -> int:
        """Micro-batches that run side by side: what multiplies the samples of a step."""
        return self.dp_replicate * self.dp_shard


#: One device.
ALONE = ParallelPlan()
