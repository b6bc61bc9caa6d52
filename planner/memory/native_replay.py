"""The caching allocator's replay again, for speed: torch's defaults, or segments that grow, with
any rounding of sizes; no limit on memory, over whole steps.

Does to a step what ``CachingAllocator`` does request by request. Without a limit nothing is given
back to the driver, so the pool of small blocks and that of large ones never meet: each is played on
its own, as plain integers. Addresses and sizes are in units of 512 B. A free block is one integer,
size << 40 | address, so that the sorted list of them is in best-fit order; it is found by its two
ends when a neighbour is freed. Segments lie a unit apart, lest they merge; a segment that grows is
one, and its end is where memory is mapped.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

from planner.errors import QuestionError
from planner.memory.allocator import (
    LARGE_BUFFER,
    MIN_BLOCK,
    PLAIN,
    SMALL_BUFFER,
    SMALL_SIZE,
    AllocatorConfig,
    segment_size,
)
from planner.memory.blocks import block_size

_SHIFT = 40  # addresses up to 512 TiB
_ADDRESS = (1 << _SHIFT) - 1
_SIZE = ~_ADDRESS
_SMALL = SMALL_SIZE // MIN_BLOCK


def _check_end(units: int) -> None:
    """Raises QuestionError beyond the addresses that a block is written with."""
    if units > _ADDRESS:
        raise QuestionError(
            f"a step takes more than {_ADDRESS * MIN_BLOCK >> 40} TiB, which is not replayed",
            mend="Use a smaller micro-batch or a shorter sequence",
        )


def plays(config: AllocatorConfig) -> bool:
    """Whether settings need no replay request by request."""
    return config.max_split_bytes is None and config.garbage_collection_threshold is None


def _rounded(sizes: np.ndarray, config: AllocatorConfig) -> np.ndarray:
    if not config.roundup_divisions:
        return sizes
    each: list[int] = sizes.tolist()
    found = {size: block_size(size, config) if size > 0 else 0 for size in set(each)}
    return np.array([found[size] for size in each], dtype=np.int64)


@dataclass(frozen=True)
class Moment:
    """The peak of allocated memory: the storages alive then (in the order they were made), each
    with the bytes of its block."""

    allocated_bytes: int
    keys: np.ndarray  # int64 [n_alive]
    block_bytes: np.ndarray  # int64 [n_alive]
    operation: int


class NativeReplay:
    """``sizes``: bytes of each key, int64 [n_keys]. ``play`` lists of keys: ``key ≥ 0`` allocates,
    ``~key`` frees what is alive."""

    def __init__(self, sizes: np.ndarray, config: AllocatorConfig = PLAIN) -> None:
        """``config``: one that ``plays`` says yes to."""
        self._rounded = -(-_rounded(sizes, config) // MIN_BLOCK)
        units: list[int] = self._rounded.tolist()
        if config.expandable_segments:
            pages = SMALL_BUFFER // MIN_BLOCK, LARGE_BUFFER // MIN_BLOCK
            self._pools = tuple(_GrowingPool(units, page) for page in pages)
        else:
            self._pools = _Pool(units, 0), _Pool(units, _SMALL)
        self._played: list[tuple[np.ndarray, np.ndarray]] = []  # keys, signed blocks
        self._allocated = 0
        self._peak = (0, 0, 0, -1)  # units, piece of the log, position in it, operation

    @property
    def reserved_bytes(self) -> int:
        return sum(pool.reserved for pool in self._pools) * MIN_BLOCK

    @property
    def played(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """What was played, piece by piece: keys, and the bytes of their blocks, negative where one
        is freed."""
        return [(events, blocks * MIN_BLOCK) for events, blocks in self._played]

    def play(self, events: np.ndarray, operations: np.ndarray) -> None:
        size = self._rounded[np.where(events >= 0, events, ~events)]
        # 0: an empty tensor, or one that is not there
        blocks = np.zeros(len(events), dtype=np.int64)
        for pool, mine in zip(self._pools, ((size > 0) & (size <= _SMALL), size > _SMALL)):
            blocks[mine] = pool.play(events[mine].tolist())
        self._played.append((events, blocks))
        if not len(events):
            return
        level = np.cumsum(blocks) + self._allocated
        at = int(level.argmax())
        if level[at] > self._peak[0]:
            self._peak = (int(level[at]), len(self._played) - 1, at, int(operations[at]))
        self._allocated = int(level[-1])

    def peak(self) -> Moment:
        units, piece, position, operation = self._peak
        log = [
            *self._played[:piece],
            *(
                (part[: position + 1] for part in column)
                for column in self._played[piece : piece + 1]
            ),
        ]
        events, blocks = (
            np.concatenate(column) if column else np.zeros(0, np.int64)
            for column in (tuple(zip(*log)) or ((), ()))
        )
        done = np.flatnonzero(blocks)
        last = np.full(len(self._rounded), -1)
        # of equal indices the last assignment stays
        last[np.where(events[done] >= 0, events[done], ~events[done])] = done
        made = last[last >= 0]
        made = np.sort(made[events[made] >= 0])
        return Moment(units * MIN_BLOCK, events[made], blocks[made] * MIN_BLOCK, operation)


class _Pool:
    """Small blocks, or large ones. ``units``: rounded size of each key; what is left of a block
    beyond ``unsplit`` is split off."""

    def __init__(self, units: list[int], unsplit: int) -> None:
        self.units, self.unsplit = units, unsplit
        self.reserved, self.top = 0, 0
        self.order: list[int] = []  # free blocks
        self.starting: dict[int, int] = {}  # address → free block
        self.ending: dict[int, int] = {}  # address behind it → free block
        self.held: dict[int, int] = {}  # key → block

    def play(self, events: list[int]) -> list[int]:
        """The block of each event in units, negative where it is freed. Written out in one piece:
        it runs a million times."""
        units, unsplit, order, held = self.units, self.unsplit, self.order, self.held
        starting, ending, take, find, insert = (
            self.starting,
            self.ending,
            self.held.pop,
            bisect_left,
            insort,
        )
        after_of, before_of = starting.pop, ending.pop
        blocks: list[int] = []
        note = blocks.append
        for key in events:
            if key >= 0:
                size = units[key]
                index = find(order, size << _SHIFT)
                if index < len(order):
                    found = order.pop(index)
                    address = found & _ADDRESS
                    del starting[address]
                else:
                    found = self._grow(size)
                    address = found & _ADDRESS
                left = (found >> _SHIFT) - size
                if left > unsplit:
                    rest = address + size
                    starting[rest] = ending[rest + left] = found = left << _SHIFT | rest
                    insert(order, found)
                else:
                    size += left
                    before_of(address + size, None)  # a new segment is not there
                held[key] = size << _SHIFT | address
                note(size)
                continue
            block = take(~key, 0)
            size = block >> _SHIFT
            note(-size)
            if not size:
                continue
            address = block & _ADDRESS
            after, before = after_of(address + size, 0), before_of(address, 0)
            if after:
                del order[find(order, after)]
                block += after & _SIZE
            if before:
                del order[find(order, before)]
                block = before + (block & _SIZE)
            address = block & _ADDRESS
            starting[address] = ending[address + (block >> _SHIFT)] = block
            insert(order, block)
        return blocks

    def _grow(self, size: int) -> int:
        """A new segment, as a free block that nothing knows of yet."""
        wanted = segment_size(size * MIN_BLOCK) // MIN_BLOCK
        address = self.top
        self.top += wanted + 1
        _check_end(self.top)
        self.reserved += wanted
        return wanted << _SHIFT | address


class _GrowingPool:
    """The blocks of a segment that grows (``expandable_segments``), in units: memory is mapped from
    address 0 to ``top``, a whole ``page`` at a time. Nothing is unmapped without a limit."""

    def __init__(self, units: list[int], page: int) -> None:
        self.units, self.page = units, page
        self.top = 0
        self.order: list[int] = []
        self.starting: dict[int, int] = {}
        self.ending: dict[int, int] = {}
        self.held: dict[int, int] = {}

    @property
    def reserved(self) -> int:
        return self.top

    def play(self, events: list[int]) -> list[int]:
        """As ``_Pool.play``."""
        units, order, held = self.units, self.order, self.held
        starting, ending = self.starting, self.ending
        after_of, before_of, take = starting.pop, ending.pop, held.pop
        blocks: list[int] = []
        note = blocks.append
        for key in events:
            if key >= 0:
                size = units[key]
                found = self._found(size)
                address, left = found & _ADDRESS, (found >> _SHIFT) - size
                if left:
                    rest = address + size
                    starting[rest] = ending[rest + left] = found = left << _SHIFT | rest
                    insort(order, found)
                held[key] = size << _SHIFT | address
                note(size)
                continue
            block = take(~key, 0)
            size = block >> _SHIFT
            note(-size)
            if not size:
                continue
            address = block & _ADDRESS
            after, before = after_of(address + size, 0), before_of(address, 0)
            if after:
                del order[bisect_left(order, after)]
                block += after & _SIZE
            if before:
                del order[bisect_left(order, before)]
                block = before + (block & _SIZE)
            address = block & _ADDRESS
            starting[address] = ending[address + (block >> _SHIFT)] = block
            insort(order, block)
        return blocks

    def _found(self, size: int) -> int:
        """A free block for so many units, taken out: the smallest that fits, the one at the growing
        end only where no other does, which may have to grow."""
        order = self.order
        index = bisect_left(order, size << _SHIFT)
        if index < len(order):
            at_end = (order[index] & _ADDRESS) + (order[index] >> _SHIFT) == self.top
            if at_end and index + 1 < len(order):
                index += 1
            return self._taken(index)
        tail = self.ending.get(self.top, 0)
        room = tail >> _SHIFT
        found = tail if tail else self.top
        if tail:
            self._taken(bisect_left(order, tail))
        grown = -(-(size - room) // self.page) * self.page
        self.top += grown
        _check_end(self.top)
        return found + (grown << _SHIFT)

    def _taken(self, index: int) -> int:
        found = self.order.pop(index)
        address = found & _ADDRESS
        del self.starting[address]
        del self.ending[address + (found >> _SHIFT)]
        return found
