"""What an operation kind declares, and what it may ask of others.

A kind is one file of ``kinds/``. It is made of pure functions: of shapes (``formulas``, ``terms``),
of a device's rates (``price``), of the sizes worth measuring (``suite``) and of a bench that makes
tensors (``substitutes``). Rates, sizes and bench are interfaces here; who prices and who measures
fills them, further down the path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from planner.errors import ProfileError
from planner.operations.bench import Substitute
from planner.operations.call import Call, Formula, Number
from planner.operations.cases import Case
from planner.operations.products import ProductPriors
from planner.trace.table import Signature


class Operation(NamedTuple):
    """A call with its kind and its work: ``flops``, and ``bytes`` read and written."""

    kind: OperationKind
    call: Call
    flops: Number
    bytes: Number


class Term(NamedTuple):
    """Part of a call's work that one curve describes. ``features`` as the kind names them; each
    entry a number or an array [*points], as are ``flops`` and ``bytes``, what the part computes and
    moves."""

    family: str  # the kind, what sets its kernels apart, the type: matmul.nt.bfloat16
    features: tuple[Number, ...]
    flops: Number
    bytes: Number


class Peak(NamedTuple):
    """FLOP/s of a product, and whether tensor cores compute it."""

    flops_per_s: float
    tensor: bool


class Rates(Protocol):
    """What a price may ask of a device: its datasheet and the rows of
    ``profiles/priors/device.csv``."""

    compiled: bool
    bytes_per_s: float

    @property
    def host_link_bytes_per_s(self) -> float:
        """Between the device and pinned memory of the host, one way."""
        ...

    @property
    def host_bytes_per_s(self) -> float:
        """Of the host's memory, as the cores beside the device read and write it."""
        ...

    @property
    def is_cuda_like(self) -> bool: ...

    def parameter(self, kind: str, name: str) -> float:
        """A row for this device. Raises ProfileError where there is none."""
        ...

    def peak(self, dtype: str, *, tf32_allowed: bool = False) -> Peak:
        """Of a product of this type. Raises QuestionError for one whose rate has no source."""
        ...

    def latency_seconds(self, kind: str, signature: Signature) -> float:
        """Launches of the kernels of one call."""
        ...

    def memory_seconds(self, moved: Number, share: Number) -> Number:
        """Bytes at this share of the bandwidth."""
        ...

    def arithmetic_seconds(self, flops: Number) -> Number:
        """On the ordinary cores; 0 where their rate is not known."""
        ...

    def unit(self, tensor: bool, tiled_as: str | None = None) -> ProductPriors:
        """The matrix kernels of tensor cores or of the ordinary ones; with the tiles of another
        kind's kernels (``tiled_as``)."""
        ...

    def product_seconds(
        self,
        sizes: tuple[Number, Number, Number, Number],
        *,
        moved_bytes: Number,
        flops_per_s: float,
        unit: ProductPriors,
    ) -> np.ndarray:
        """Of (batch, m, n, k)."""
        ...


class SuiteDevice(Protocol):
    """What a suite needs to know of the device that is measured. ``device_type``: cuda, mps or
    cpu; ``dtypes``: the float types to time, tf32 among them; ``plain_dtypes``: as tensors have
    them."""

    @property
    def device_type(self) -> str: ...

    @property
    def dtypes(self) -> tuple[str, ...]: ...

    @property
    def plain_dtypes(self) -> tuple[str, ...]: ...

    def sizes(self, small: Iterable[Any], large: Iterable[Any]) -> list[Any]:
        """Those of two lists that are worth timing here."""
        ...


Price = Callable[[Operation, Rates], Number]
Terms = Callable[[Operation, str], list[Term]]
Suite = Callable[[SuiteDevice], Iterator[Case]]


@dataclass(frozen=True, kw_only=True)
class OperationKind:
    """All that the planner knows of one kind of operation.

    ``place``: where it stands in tables and breakdowns, smallest first. ``formulas``: FLOPs and
    bytes by base name (``aten.mm``: all overloads and the in-place form); ``prefixes`` by the
    beginning of a name that no kind lists. ``features``: the sizes that tell one shape from
    another, ``terms`` finds them. ``price``: device seconds of a call from the datasheet.
    ``suite``: the cases that a calibration times; ``weights``: how much of a calibration's time a
    family is worth, by the family's name without the kind, the longest beginning holds
    (``emphasis`` corrects it by family parts and device type). ``substitutes``: how a call is made
    where a trace names the operation otherwise than a device runs it, by base name.

    ``runs_kernel``: False for what only arranges (``price``, ``terms`` and ``suite`` are None
    then); ``host_waits``: the host waits for the device. ``beside``: it runs on a stream of its
    own and costs what does not hide. ``on_host``: the processor does it, and
    the device waits. ``model_work``: its FLOPs count as the
    model's, and its speed is what it computes. ``tiled``: its features are batch, m, n, k of
    products. ``fusable``: torch.compile fuses it with its neighbours. ``library_workspace``: its
    library keeps a workspace. ``never_cached``: what it moves is in no cache, since a step goes
    through all of it once. ``writes_only``: reads nothing; its result's type is its argument's.
    ``shows``: what of a device its fastest calls reach, where no datasheet says it: ``peak``,
    ``bandwidth``, or nothing.

    Raises ProfileError for a kind that runs kernels and declares no price or no terms.
    """

    name: str
    place: int
    formulas: Mapping[str, Formula]
    price: Price | None
    terms: Terms | None
    suite: Suite | None
    features: tuple[str, ...] = ("bytes",)
    prefixes: Mapping[str, Formula] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    emphasis: Callable[[tuple[str, ...], str], float] | None = None
    substitutes: Mapping[str, Substitute] = field(default_factory=dict)
    runs_kernel: bool = True
    host_waits: bool = False
    beside: bool = False
    on_host: bool = False
    model_work: bool = False
    tiled: bool = False
    fusable: bool = False
    library_workspace: bool = False
    never_cached: bool = False
    writes_only: bool = False
    shows: str = ""

    def __post_init__(self) -> None:
        for what, declared in (("price", self.price), ("terms", self.terms)):
            if self.runs_kernel and declared is None:
                raise ProfileError(
                    f"operation kind {self.name!r} runs kernels and declares no {what}",
                    where="planner/operations/kinds",
                    mend=f"Give its KIND a {what}, or runs_kernel=False",
                )

    def weight(self, parts: tuple[str, ...]) -> float:
        """How much of a calibration's time a family is worth; ``parts``: its name's, without the
        kind."""
        beginnings = (".".join(parts[:length]) for length in range(len(parts), -1, -1))
        return next((self.weights[name] for name in beginnings if name in self.weights), 1.0)
