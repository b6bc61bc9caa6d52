"""What torch's CUDA caching allocator cuts memory into: sizes, blocks and the pools of free ones.

After ``c10/cuda/CUDACachingAllocator.cpp``, whose constants and functions are named where they are
followed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

#: Constants of CUDACachingAllocator.cpp under their names there: kMinBlockSize, kSmallSize,
#: kSmallBuffer, kMinLargeAlloc, kLargeBuffer, kRoundLarge.
MIN_BLOCK, SMALL_SIZE, SMALL_BUFFER, MIN_LARGE, LARGE_BUFFER, ROUND_LARGE = (
    512,
    2**20,
    2**21,
    10 * 2**20,
    20 * 2**20,
    2**21,
)
#: kRoundUpPowerOfTwoIntervals: sizes of 1 MiB to 64 GiB, a power of two each, those beyond with the
#: nearest.
INTERVALS, FIRST_INTERVAL = 16, 20


@dataclass(frozen=True, slots=True)
class AllocatorConfig:
    """``PYTORCH_CUDA_ALLOC_CONF`` as far as it is modelled. ``max_split_bytes``: larger blocks are
    not split, and serve only requests that are as large; ``roundup_divisions``: sizes become the
    next of so many steps between two powers of two, one number for all or one for each of the 16
    intervals from 1 MiB on (0 or 1: not rounded). ``garbage_collection_threshold``: of what may be
    reserved, from which on cached blocks that were long not used go back; ``non_split_bytes``: how
    much larger than a request beyond ``max_split_bytes`` a block may be."""

    expandable_segments: bool = False
    max_split_bytes: int | None = None
    roundup_divisions: int | tuple[int, ...] | None = None
    garbage_collection_threshold: float | None = None
    non_split_bytes: int = LARGE_BUFFER


#: Torch's own settings.
PLAIN = AllocatorConfig()


def round_size(requested_bytes: int) -> int:
    """Up to the next 512 B; at least 512 B."""
    return (
        MIN_BLOCK if requested_bytes < MIN_BLOCK else -(-requested_bytes // MIN_BLOCK) * MIN_BLOCK
    )


def rounded_up(size_bytes: int, divisions: int) -> int:
    """``roundup_power2_next_division`` of a rounded request beyond ``divisions`` blocks of 512
    B."""
    if size_bytes <= MIN_BLOCK * divisions or size_bytes & (size_bytes - 1) == 0:
        return size_bytes
    step = (1 << (size_bytes.bit_length() - 1)) // divisions
    return -(-size_bytes // step) * step


def divisions_of(size_bytes: int, divisions: int | tuple[int, ...]) -> int:
    """``roundup_power2_divisions``: those of the interval that a size lies in."""
    if isinstance(divisions, int):
        return divisions
    interval = size_bytes.bit_length() - 1 - FIRST_INTERVAL
    return divisions[min(max(interval, 0), INTERVALS - 1)]


def block_size(requested_bytes: int, config: AllocatorConfig) -> int:
    """``round_size`` with the settings: what is looked for, for a request of more than nothing."""
    size = round_size(requested_bytes)
    if config.roundup_divisions:
        divisions = divisions_of(requested_bytes, config.roundup_divisions)
        if divisions > 1 and requested_bytes > MIN_BLOCK * divisions:
            return rounded_up(size, divisions)
    return size


def segment_size(size_bytes: int) -> int:
    """The segment asked of the driver for a rounded request (``get_allocation_size``)."""
    if size_bytes <= SMALL_SIZE:
        return SMALL_BUFFER
    return LARGE_BUFFER if size_bytes < MIN_LARGE else -(-size_bytes // ROUND_LARGE) * ROUND_LARGE


class Block:
    """A range of addresses [ptr, ptr + size): live, free, or (expandable segments) not backed by
    memory. ``uses``: other streams that work on it; ``events``: of them, those that have not
    finished since it was given back. Until they have, it counts as live."""

    __slots__ = (
        "pool",
        "ptr",
        "size",
        "requested",
        "allocated",
        "mapped",
        "expandable",
        "prev",
        "next",
        "uses",
        "events",
        "since",
    )

    def __init__(
        self, pool: Pool, ptr: int, size: int, *, mapped: bool = True, expandable: bool = False
    ) -> None:
        self.pool, self.ptr, self.size, self.mapped, self.expandable = (
            pool,
            ptr,
            size,
            mapped,
            expandable,
        )
        self.requested, self.allocated = 0, False
        self.prev: Block | None = None
        self.next: Block | None = None
        self.uses: set[int] | None = None
        self.events = self.since = 0

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its segment (``!is_split``)."""
        return self.prev is None and self.next is None

    def insert_after(self, before: Block) -> None:
        self.prev, self.next = before, before.next
        if before.next is not None:
            before.next.prev = self
        before.next = self


class Calls:
    """How often a block was looked for (``get_free_blocks_call_count``), by which blocks have an
    age; of all streams together."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Pool:
    """Free blocks of one stream, small ones or large ones, in best-fit order, (size, address).
    ``graph``: the captured graph that they are private to, None for none."""

    __slots__ = ("small", "stream", "graph", "order", "at", "unmapped", "calls")

    def __init__(
        self, small: bool, stream: int = 0, graph: int | None = None, calls: Calls | None = None
    ) -> None:
        self.small, self.stream, self.graph = small, stream, graph
        self.order: list[tuple[int, int]] = []
        self.at: dict[int, Block] = {}
        self.unmapped: dict[int, Block] = {}  # by address
        self.calls = calls or Calls()

    @property
    def page(self) -> int:
        return SMALL_BUFFER if self.small else LARGE_BUFFER

    def add(self, block: Block) -> None:
        insort(self.order, (block.size, block.ptr))
        self.at[block.ptr] = block
        block.since = self.calls.count

    def remove(self, block: Block) -> None:
        del self.order[bisect_left(self.order, (block.size, block.ptr))]
        del self.at[block.ptr]


def growable(block: Block) -> int:
    """As large as it can become (``expandable_size``)."""
    after = block.next
    return block.size + (after.size if after is not None and not after.mapped else 0)
