"""Replay of torch's CUDA caching allocator: which bytes it counts as allocated and which it holds
reserved.

After ``c10/cuda/CUDACachingAllocator.cpp`` (native backend). Sizes are rounded to 512 B; requests
up to 1 MiB share 2 MiB segments, up to 10 MiB share 20 MiB segments, larger ones get segments of
their own in steps of 2 MiB; the smallest free block that fits is taken, lowest address first, split
when what is left over is worth it, and merged with free neighbours when it is freed. Segments go
back to the driver when memory runs out, when somebody asks for it, and by garbage collection. Each
stream has blocks of its own; one that another stream works on (``record_stream``) waits for it.
Graphs are captured into pools of their own. What is left out is the driver's own choice of
addresses: here each new segment lies above the last.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable

from planner.memory.blocks import (
    LARGE_BUFFER,
    MIN_BLOCK,
    MIN_LARGE,
    PLAIN,
    ROUND_LARGE,
    SMALL_BUFFER,
    SMALL_SIZE,
    AllocatorConfig,
    Block,
    Calls,
    Pool,
    block_size,
    growable,
    round_size,
    rounded_up,
    segment_size,
)
from planner.memory.segments import Segments

__all__ = [
    "LARGE_BUFFER",
    "MIN_BLOCK",
    "MIN_LARGE",
    "PLAIN",
    "ROUND_LARGE",
    "SMALL_BUFFER",
    "SMALL_SIZE",
    "AllocatorConfig",
    "Block",
    "CachingAllocator",
    "DeviceOutOfMemory",
    "round_size",
    "rounded_up",
    "segment_size",
]


class DeviceOutOfMemory(Exception):
    """A request that does not fit even after every cached segment was given back: what torch raises
    as OutOfMemoryError."""

    def __init__(self, requested_bytes: int, reserved_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"{requested_bytes} B wanted, {reserved_bytes} B of {limit_bytes} B held")
        self.requested_bytes, self.reserved_bytes, self.limit_bytes = (
            requested_bytes,
            reserved_bytes,
            limit_bytes,
        )


class CachingAllocator(Segments):
    """State of the allocator of one device. ``limit_bytes`` is what it may reserve (as
    ``set_per_process_memory_fraction`` sets it), None for no limit.

    ``allocated_bytes`` counts whole blocks, as ``torch.cuda.memory_allocated`` does: where the rest
    of a block is not worth splitting off (up to 1 MiB of a large one) it counts more than the
    rounded request.
    """

    def __init__(self, config: AllocatorConfig = PLAIN, limit_bytes: int | None = None) -> None:
        super().__init__(config, limit_bytes)
        self.allocated_bytes = self.requested_bytes = self.peak_allocated_bytes = 0
        self.retries = 0
        self._is_plain = True  # one stream, no graph: what nearly every replay is
        self._capturing: dict[int, frozenset[int]] = {}  # graph → streams
        #: Stream → blocks that wait for it, and how many of them it has come past.
        self._events: dict[int, deque[Block]] = {}
        self._passed: dict[int, int] = {}
        self._deferred: list[Block] = []  # given back while a graph is captured

    def allocate(self, requested_bytes: int, stream: int = 0) -> Block | None:
        """A live block; None for an empty tensor, which takes nothing. Raises DeviceOutOfMemory."""
        if requested_bytes <= 0:
            return None
        if not self._is_plain:
            self._process_events()
        size = block_size(requested_bytes, self.config)
        if self._is_plain and stream == 0:
            pool = self.small if size <= SMALL_SIZE else self.large
        else:
            pool = self._pool(size, stream)
        block = self._best_fit(pool, size)
        if block is None:
            block = self._new(pool, size, requested_bytes)
        self._split(block, size)
        block.allocated, block.requested = True, requested_bytes
        self.allocated_bytes += block.size
        self.requested_bytes += requested_bytes
        if self.allocated_bytes > self.peak_allocated_bytes:
            self.peak_allocated_bytes = self.allocated_bytes
        return block

    def free(self, block: Block | None) -> None:
        """Return a live block to the cache, merged with free neighbours; where another stream works
        on it, once that has come past (``passed``)."""
        if block is None:
            return
        self.allocated_bytes -= block.size
        self.requested_bytes -= block.requested
        if not block.uses:
            self._free_block(block)
        elif self._capturing:
            self._deferred.append(block)
        else:
            self._insert_events(block)

    def _free_block(self, block: Block) -> None:
        block.allocated = False
        self._merge(block)
        block.pool.add(block)

    def _new(self, pool: Pool, size: int, requested_bytes: int) -> Block:
        """``malloc`` where no free block serves: a segment, after as much is given back as it
        takes."""
        if self.config.garbage_collection_threshold is not None:
            self._collect_garbage(self.config.garbage_collection_threshold)
        block = self._grow(pool, size)
        if block is None:
            self.retries += 1
            block = self._grow(pool, size) if self._release_oversized(pool, size) else None
        if block is None and not self._capturing:
            self.release_cached()
            block = self._grow(pool, size)
        if block is None:
            raise DeviceOutOfMemory(requested_bytes, self.reserved_bytes, self.limit_bytes or 0)
        return block

    # ---- several streams

    def record_stream(self, block: Block, stream: int) -> None:
        """Another stream works on a block (``recordStream``); its own stream needs no mention."""
        if stream == block.pool.stream:
            return
        self._is_plain = False
        block.uses = (block.uses or set()) | {stream}

    def passed(self, stream: int) -> None:
        """A stream has come past everything that was asked of it so far: blocks that were given
        back and wait for it are free at the next request (``process_events``)."""
        waiting = self._events.get(stream)
        if waiting:
            self._passed[stream] = len(waiting)

    def _insert_events(self, block: Block) -> None:
        for stream in sorted(block.uses or ()):
            block.events += 1
            self._events.setdefault(stream, deque()).append(block)
        block.uses = None

    def _process_events(self) -> None:
        """``process_events``: nothing that was given back during a capture before its end."""
        if self._deferred and not self._capturing:
            deferred, self._deferred = self._deferred, []
            for block in deferred:
                self._insert_events(block)
        for stream in sorted(self._passed):
            self._past(stream, self._passed.pop(stream))

    def _past(self, stream: int, count: int) -> None:
        waiting = self._events[stream]
        for _ in range(count):
            block = waiting.popleft()
            block.events -= 1
            if block.events == 0:
                self._free_block(block)

    # ---- graphs

    def begin_capture(self, graph: int, streams: Iterable[int] = (0,)) -> None:
        """What these streams ask for from now on comes from pools private to the graph."""
        self._is_plain = False
        self._freeable.discard(graph)
        self._capturing[graph] = frozenset(streams)

    def end_capture(self, graph: int) -> None:
        del self._capturing[graph]

    def destroy_graph(self, graph: int) -> None:
        """Its pools go back with the next cache that is given back (``notifyCaptureDestroy``)."""
        self._freeable.add(graph)

    def _pool(self, size: int, stream: int) -> Pool:
        self._is_plain &= stream == 0
        graph = next((g for g, streams in self._capturing.items() if stream in streams), None)
        if (graph, stream) not in self._pools:
            same = next((pools for (g, _), pools in self._pools.items() if g == graph), None)
            counts = (Calls(), Calls()) if same is None else tuple(pool.calls for pool in same)
            self._pools[graph, stream] = (
                Pool(True, stream, graph, counts[0]),
                Pool(False, stream, graph, counts[1]),
            )
        small, large = self._pools[graph, stream]
        return small if size <= SMALL_SIZE else large

    # ---- finding and splitting

    def _best_fit(self, pool: Pool, size: int) -> Block | None:
        """``get_free_block``."""
        if self.config.garbage_collection_threshold is not None:
            pool.calls.count += 1
        order = pool.order
        index = bisect_left(order, (size, 0))
        if index == len(order):
            return None
        block = pool.at[order[index][1]]
        # a block at the growing end counts as large as it can become
        if self.config.expandable_segments:
            while block.expandable and index + 1 < len(order):
                after = pool.at[order[index + 1][1]]
                if growable(after) >= growable(block):
                    break
                block, index = after, index + 1
        most = self.config.max_split_bytes
        if most is not None:
            # none that is kept whole for a smaller request, and none much larger than one
            beyond = most if size < most else size + self.config.non_split_bytes
            if block.size >= beyond:
                return None
        del order[index]
        del pool.at[block.ptr]
        return block

    def _split(self, block: Block, size: int) -> None:
        """``should_split``, and the rest back into the pool."""
        remaining = block.size - size
        if block.pool.small or self.config.expandable_segments:
            if remaining < MIN_BLOCK:
                return
        elif remaining <= SMALL_SIZE or size >= (self.config.max_split_bytes or size + 1):
            return
        rest = Block(block.pool, block.ptr + size, remaining, expandable=block.expandable)
        rest.insert_after(block)
        block.size = size
        block.pool.add(rest)

    # ---- giving back, and what was there before

    def release_cached(self) -> None:
        """``release_cached_blocks``, as ``empty_cache`` asks for it: every segment that is wholly
        free goes back to the driver, and whole free pages. Waits for every stream before. Raises
        ValueError while a graph is captured."""
        if self._capturing:
            raise ValueError("the cache cannot go back while a graph is captured")
        for stream in list(self._events):
            self.passed(stream)
        self._process_events()
        for stream in list(self._events):  # of what was given back during a capture
            self.passed(stream)
        self._process_events()
        self._release_free()

    def adopt(
        self, size: int, blocks: Iterable[tuple[int, int, int]], stream: int = 0
    ) -> list[Block]:
        """A segment that is there already, above the last, with its live ``blocks`` (offset, bytes,
        requested bytes) in their order, which are returned; what lies between them is free."""
        pool = self._pool(1 if size == SMALL_BUFFER else size, stream)
        base, at, live = self._top, 0, list[Block]()
        before: Block | None = None
        for offset, length, requested in [*blocks, (size, 0, 0)]:
            for start, part in ((at, offset - at), (offset, length)):
                if not part:
                    continue
                block = Block(pool, base + start, part)
                if before is not None:
                    block.insert_after(before)
                before = block
                if start == offset:
                    block.allocated, block.requested = True, requested
                    live.append(block)
                else:
                    pool.add(block)
            at = offset + length
        self.allocated_bytes += sum(block.size for block in live)
        self.requested_bytes += sum(block.requested for block in live)
        self._top += size
        self._reserve(size)
        return live
