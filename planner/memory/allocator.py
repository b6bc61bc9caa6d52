"""Replay of torch's CUDA caching allocator: which bytes it counts as allocated and which it holds
reserved.

After ``c10/cuda/CUDACachingAllocator.cpp`` (native backend, one stream). Sizes are rounded to 512
B; requests up to 1 MiB share 2 MiB segments, up to 10 MiB share 20 MiB segments, larger ones get
segments of their own in steps of 2 MiB; the smallest free block that fits is taken, lowest address
first, split when what is left over is worth it, and merged with free neighbours when it is freed.
Segments go back to the driver when memory runs out, and when somebody asks for it. What is left
out: several streams, garbage collection, which is off by default, and the driver's own choice of
addresses: here each new segment lies above the last.
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
# of one expandable segment: more than any device has, as the real reservation, and whole pages
_ADDRESS_SPACE = LARGE_BUFFER * 2**30


@dataclass(frozen=True, slots=True)
class AllocatorConfig:
    """``PYTORCH_CUDA_ALLOC_CONF`` as far as it is modelled. ``max_split_bytes``: larger blocks are
    not split, and serve only requests that are as large; ``roundup_divisions``: sizes become the
    next of so many steps between two powers of two."""

    expandable_segments: bool = False
    max_split_bytes: int | None = None
    roundup_divisions: int | None = None


#: Torch's own settings.
PLAIN = AllocatorConfig()


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


class Block:
    """A range of addresses [ptr, ptr + size): live, free, or (expandable segments) not backed by
    memory."""

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
    )

    def __init__(
        self, pool: _Pool, ptr: int, size: int, *, mapped: bool = True, expandable: bool = False
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

    def insert_after(self, before: Block) -> None:
        self.prev, self.next = before, before.next
        if before.next is not None:
            before.next.prev = self
        before.next = self


class _Pool:
    """Free blocks, small ones or large ones, in best-fit order, (size, address)."""

    __slots__ = ("small", "order", "at", "unmapped")

    def __init__(self, small: bool) -> None:
        self.small = small
        self.order: list[tuple[int, int]] = []
        self.at: dict[int, Block] = {}
        self.unmapped: dict[int, Block] = {}  # by address

    @property
    def page(self) -> int:
        return SMALL_BUFFER if self.small else LARGE_BUFFER

    def add(self, block: Block) -> None:
        insort(self.order, (block.size, block.ptr))
        self.at[block.ptr] = block

    def remove(self, block: Block) -> None:
        del self.order[bisect_left(self.order, (block.size, block.ptr))]
        del self.at[block.ptr]


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


def segment_size(size_bytes: int) -> int:
    """The segment asked of the driver for a rounded request (``get_allocation_size``)."""
    if size_bytes <= SMALL_SIZE:
        return SMALL_BUFFER
    return LARGE_BUFFER if size_bytes < MIN_LARGE else -(-size_bytes // ROUND_LARGE) * ROUND_LARGE


class CachingAllocator:
    """State of the allocator of one device and one stream. ``limit_bytes`` is what it may reserve,
    None for no limit.

    ``allocated_bytes`` counts whole blocks, as ``torch.cuda.memory_allocated`` does: where the rest
    of a block is not worth splitting off (up to 1 MiB of a large one) it counts more than the
    rounded request.
    """

    def __init__(
        self, config: AllocatorConfig = AllocatorConfig(), limit_bytes: int | None = None
    ) -> None:
        self.config, self.limit_bytes = config, limit_bytes
        self.small, self.large = _Pool(True), _Pool(False)
        self.allocated_bytes = self.reserved_bytes = self.requested_bytes = 0
        self.peak_allocated_bytes = self.peak_reserved_bytes = 0
        self.retries = self.segments = 0
        self._top = 0

    def allocate(self, requested_bytes: int) -> Block | None:
        """A live block; None for an empty tensor, which takes nothing. Raises DeviceOutOfMemory."""
        if requested_bytes <= 0:
            return None
        size = round_size(requested_bytes)
        if self.config.roundup_divisions:
            size = rounded_up(size, self.config.roundup_divisions)
        pool = self.small if size <= SMALL_SIZE else self.large
        block = self._best_fit(pool, size) or self._grow(pool, size)
        if block is None:
            self.retries += 1
            block = self._grow(pool, size) if self._release_oversized(size) else None
            if block is None:
                self.release_cached()
                block = self._grow(pool, size)
            if block is None:
                raise DeviceOutOfMemory(requested_bytes, self.reserved_bytes, self.limit_bytes or 0)
        self._split(block, size)
        block.allocated, block.requested = True, requested_bytes
        self.allocated_bytes += block.size
        self.requested_bytes += requested_bytes
        if self.allocated_bytes > self.peak_allocated_bytes:
            self.peak_allocated_bytes = self.allocated_bytes
        return block

    def free(self, block: Block | None) -> None:
        """Return a live block to the cache, merged with free neighbours."""
        if block is None:
            return
        block.allocated = False
        self.allocated_bytes -= block.size
        self.requested_bytes -= block.requested
        self._merge(block)
        block.pool.add(block)

    # ---- finding and splitting

    def _best_fit(self, pool: _Pool, size: int) -> Block | None:
        order = pool.order
        index = bisect_left(order, (size, 0))
        if index == len(order):
            return None
        block = pool.at[order[index][1]]
        most = self.config.max_split_bytes
        if most is not None and not pool.small:
            # none that is kept whole for a smaller request, and none much larger than one
            beyond = block.size >= (most if size < most else size + LARGE_BUFFER)
            if beyond:
                return None
        # a block at the growing end counts as large as it can become
        if self.config.expandable_segments:
            while index + 1 < len(order):
                after = pool.at[order[index + 1][1]]
                if _growable(after) >= _growable(block):
                    break
                block, index = after, index + 1
        del order[index]
        del pool.at[block.ptr]
        return block

    def _split(self, block: Block, size: int) -> None:
        remaining = block.size - size
        fine = block.pool.small or self.config.expandable_segments
        most = self.config.max_split_bytes
        if most is not None and not block.pool.small and size >= most:
            return
        if remaining < MIN_BLOCK or not (fine or remaining > SMALL_SIZE):
            return
        rest = Block(block.pool, block.ptr + size, remaining, expandable=block.expandable)
        rest.insert_after(block)
        block.size = size
        block.pool.add(rest)

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

    def _grow(self, pool: _Pool, size: int) -> Block | None:
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

    def _grow_expandable(self, pool: _Pool, size: int) -> Block | None:
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

    def _expandable_candidate(self, pool: _Pool, size: int) -> Block:
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

    def _release_oversized(self, size: int) -> bool:
        """``release_available_cached_blocks``: the smallest segment beyond ``max_split_bytes`` that
        is large enough, else the largest of them until they are."""
        most = self.config.max_split_bytes
        if most is None:
            return False
        wanted, pool = max(size, most), self.large
        whole = [b for b in pool.at.values() if b.prev is None and b.next is None]
        oversized = sorted((b.size, b.ptr) for b in whole if b.size >= most)
        enough = [one for one in oversized if one[0] >= wanted]
        released = 0
        for one, ptr in enough[:1] or oversized[::-1]:
            pool.remove(pool.at[ptr])
            self.reserved_bytes -= one
            released += one
            if released >= wanted:
                break
        return released >= size

    def release_cached(self) -> None:
        """``release_cached_blocks``, as ``empty_cache`` asks for it: every segment that is wholly
        free goes back to the driver, and whole free pages."""
        for pool in (self.large, self.small):
            for block in list(pool.at.values()):
                if block.expandable:
                    self._unmap(block)
                elif block.prev is None and block.next is None:
                    pool.remove(block)
                    self.reserved_bytes -= block.size

    def _unmap(self, block: Block) -> None:
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


def _growable(block: Block) -> int:
    after = block.next
    return block.size + (after.size if after is not None and not after.mapped else 0)
