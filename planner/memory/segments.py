"""Segments of the caching allocator's replay: how it grows, and what goes back to the driver.

Part of ``allocator.CachingAllocator``, after ``c10/cuda/CUDACachingAllocator.cpp``.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.memory.blocks import (
    LARGE_BUFFER,
    AllocatorConfig,
    Block,
    Pool,
    segment_size,
)

# of one expandable segment: more than any device has, as the real reservation, and whole pages
_ADDRESS_SPACE = LARGE_BUFFER * 2**30


class Segments:
    """What is reserved, in pools by stream and graph. ``limit_bytes``: of what may be reserved."""

    def __init__(self, config: AllocatorConfig, limit_bytes: int | None) -> None:
        self.config, self.limit_bytes = config, limit_bytes
        self.small, self.large = Pool(True), Pool(False)
        self.reserved_bytes = self.peak_reserved_bytes = self.segments = 0
        self._top = 0
        #: (graph or None, stream) → its pools; those of the first stream are at hand.
        self._pools: dict[tuple[int | None, int], tuple[Pool, Pool]] = {
            (None, 0): (self.small, self.large)
        }
        self._freeable: set[int] = set()  # graphs that are no more

    def _merge(self, block: Block) -> None:
        """Join equal neighbours (both free, both mapped or both not) into ``block``."""
        before, after = block.prev, block.next
        if before is not None and not before.allocated and before.mapped == block.mapped:
            self._forget(before)
            block.ptr, block.size, block.prev = before.ptr, block.size + before.size, before.prev
            if before.prev is not None:
                before.prev.next = block
        if after is not None and not after.allocated and after.mapped == block.mapped:
            self._forget(after)
            block.size, block.next = block.size + after.size, after.next
            if after.next is not None:
                after.next.prev = block

    @staticmethod
    def _forget(block: Block) -> None:
        if block.mapped:
            block.pool.remove(block)
        else:
            del block.pool.unmapped[block.ptr]

    # ---- growing

    def _grow(self, pool: Pool, size: int) -> Block | None:
        """``alloc_block``."""
        wanted = segment_size(size)
        if (
            self.limit_bytes is not None
            and self.reserved_bytes + (0 if self.config.expandable_segments else wanted)
            > self.limit_bytes
        ):
            return None
        if self.config.expandable_segments:
            return self._grow_expandable(pool, size)
        self._reserve(wanted)
        self.segments += 1
        block = Block(pool, self._top, wanted)
        self._top += wanted
        return block

    def _reserve(self, size: int) -> None:
        self.reserved_bytes += size
        if self.reserved_bytes > self.peak_reserved_bytes:
            self.peak_reserved_bytes = self.reserved_bytes

    def _grow_expandable(self, pool: Pool, size: int) -> Block | None:
        """``try_allocate_expandable_block``: map pages until a free block of this size stands at
        the lowest address."""
        candidate = self._expandable_candidate(pool, size)
        if not candidate.mapped and not self._map(candidate, min(candidate.size, size)):
            return None
        while candidate.size < size:
            after = candidate.next
            # ``_expandable_candidate`` saw that enough stands behind it
            if after is None or not self._map(after, min(size - candidate.size, after.size)):
                return None
            candidate = after
        pool.remove(candidate)
        return candidate

    def _expandable_candidate(self, pool: Pool, size: int) -> Block:
        """``find_expandable_block``."""
        for ptr in sorted(pool.unmapped):
            first = pool.unmapped[ptr]
            if first.prev is not None and not first.prev.allocated:
                first = first.prev
            room, block = 0, first
            while room < size and block is not None and not block.allocated:
                room, block = room + block.size, block.next
            if room >= size:
                return first
        segment = Block(pool, self._top, _ADDRESS_SPACE, mapped=False, expandable=True)
        self._top += _ADDRESS_SPACE
        pool.unmapped[segment.ptr] = segment
        return segment

    def _map(self, block: Block, size: int) -> bool:
        """Back the first ``size`` bytes of an unmapped block, whole pages, and join it with free
        neighbours."""
        pool = block.pool
        mapped = min(-(-size // pool.page) * pool.page, block.size)
        if self.limit_bytes is not None and self.reserved_bytes + mapped > self.limit_bytes:
            return False
        del pool.unmapped[block.ptr]
        block.mapped = True
        if mapped < block.size:
            rest = Block(
                pool, block.ptr + mapped, block.size - mapped, mapped=False, expandable=True
            )
            rest.insert_after(block)
            block.size = mapped
            pool.unmapped[rest.ptr] = rest
        self._merge(block)
        pool.add(block)
        self._reserve(mapped)
        self.segments += 1
        return True

    # ---- giving back

    def _releasable(self) -> Iterator[Pool]:
        """Large blocks before small ones; of graphs only those that are no more."""
        for number in (1, 0):
            for (graph, _), pools in self._pools.items():
                if graph is None or graph in self._freeable:
                    yield pools[number]

    def _release_free(self) -> None:
        """``release_blocks`` of every pool that may: segments that are wholly free, and whole free
        pages."""
        for pool in self._releasable():
            for block in list(pool.at.values()):
                if block.expandable:
                    self._unmap(block)
                elif block.is_whole:
                    self._release(block)

    def _release(self, block: Block) -> None:
        block.pool.remove(block)
        self.reserved_bytes -= block.size

    def _release_oversized(self, pool: Pool, size: int) -> bool:
        """``release_available_cached_blocks``: the smallest segment beyond ``max_split_bytes`` that
        is large enough, else the largest of them until they are."""
        most = self.config.max_split_bytes
        if most is None:
            return False
        wanted = max(size, most)
        whole = [b for b in pool.at.values() if b.is_whole and not b.expandable]
        oversized = sorted((b.size, b.ptr) for b in whole if b.size >= most)
        enough = [one for one in oversized if one[0] >= wanted]
        released = 0
        for one, ptr in enough[:1] or oversized[::-1]:
            self._release(pool.at[ptr])
            released += one
            if released >= wanted:
                break
        return released >= wanted

    def _collect_garbage(self, threshold: float) -> None:
        """``garbage_collect_cached_blocks``: of the large blocks that are whole segments those that
        were not used for longest go back, until no more is reserved than the threshold. Only where
        a limit is set, of which it is a share."""
        if self.limit_bytes is None:
            return
        target = self.reserved_bytes - int(threshold * self.limit_bytes)
        pools = [large for (graph, _), (_, large) in self._pools.items() if graph is None]
        there: list[Block] = []
        for pool in pools:
            there += [b for b in pool.at.values() if b.is_whole and not b.expandable]
        ages = {id(b): b.pool.calls.count - b.since for b in there}
        reclaimed = 0
        while reclaimed < target and there:
            mean = sum(ages[id(b)] for b in there) / len(there)
            old = [b for b in there if ages[id(b)] >= mean]
            for block in old:
                self._release(block)
                reclaimed += block.size
            there = [b for b in there if ages[id(b)] < mean]

    def _unmap(self, block: Block) -> None:
        """``unmap_block``."""
        pool, page, end = block.pool, block.pool.page, block.ptr + block.size
        first, last = -(-block.ptr // page) * page, end // page * page
        if first >= last:
            return
        pool.remove(block)
        if first > block.ptr:
            before = Block(pool, block.ptr, first - block.ptr, expandable=True)
            before.prev, before.next = block.prev, block
            if block.prev is not None:
                block.prev.next = before
            block.prev = before
            pool.add(before)
        if end > last:
            after = Block(pool, last, end - last, expandable=True)
            after.insert_after(block)
            pool.add(after)
        block.ptr, block.size, block.mapped = first, last - first, False
        self._merge(block)
        pool.unmapped[block.ptr] = block
        self.reserved_bytes -= last - first
