"""torch's caching allocator as a list of blocks that every search scans: written from
``c10/cuda/CUDACachingAllocator.cpp`` function by function, for no speed at all."""

from dataclasses import dataclass, field

KIB, MIB = 2**10, 2**20
SMALL, SMALL_BUFFER, MIN_LARGE, LARGE_BUFFER, ROUND = MIB, 2 * MIB, 10 * MIB, 20 * MIB, 2 * MIB


class OutOfMemory(Exception):
    pass


@dataclass(eq=False)
class Part:
    """``state``: free, live, or waiting (given back, but other streams still work on it)."""

    ptr: int
    size: int
    small: bool
    stream: int
    graph: int | None
    segment: int
    state: str = "free"
    requested: int = 0
    uses: set = field(default_factory=set)
    pending: int = 0
    base: int = 0  # of the count of calls, when it came into the pool


class Reference:
    """No expandable segments. ``divisions``: 16 numbers; ``fraction``: what may be reserved."""

    def __init__(self, *, divisions=(0,) * 16, max_split=None, gc=None, limit=None):
        self.divisions, self.max_split, self.gc, self.limit = divisions, max_split, gc, limit
        self.parts, self.top, self.segments = [], 0, 0
        self.calls = {}
        self.reserved = self.allocated = 0
        self.capturing, self.freeable, self.deferred = {}, set(), []
        self.queue, self.done = [], {}  # (stream, part); stream → events that completed

    # round_size, roundup_power2_next_division
    def rounded(self, size):
        index = min(max(size.bit_length() - 1 - 20, 0), 15)
        divisions = self.divisions[index]
        if divisions > 1 and size > 512 * divisions:
            if size & (size - 1) == 0:
                return size
            floor = 1 << (size.bit_length() - 1)
            step = floor >> (divisions.bit_length() - 1)
            if step == 0:
                return floor << 1
            down = size & ~(step - 1)
            return down if down == size else down + step
        return 512 * max(1, -(-size // 512))

    def malloc(self, requested, stream=0):
        self.process_events()
        size = self.rounded(requested)
        small = size <= SMALL
        graph = next((g for g, streams in self.capturing.items() if stream in streams), None)
        part = self.get_free_block(size, small, stream, graph)
        if part is None:
            if self.limit is not None and self.gc is not None:
                self.collect()
            part = self.alloc_block(size, small, stream, graph)
            if part is None and self.release_available(size, small, stream, graph):
                part = self.alloc_block(size, small, stream, graph)
            if part is None and not self.capturing:
                self.empty_cache()
                part = self.alloc_block(size, small, stream, graph)
            if part is None:
                raise OutOfMemory
        rest = part.size - size
        if small:
            splits = rest >= 512
        else:
            splits = (self.max_split is None or size < self.max_split) and rest > SMALL
        if splits:
            left = Part(part.ptr + size, rest, small, stream, graph, part.segment)
            self.insert(left)
            self.parts.append(left)
            part.size = size
        part.state, part.requested = "live", requested
        self.allocated += part.size
        return part

    def insert(self, part):
        part.base = self.calls.get((part.graph, part.small), 0)

    def get_free_block(self, size, small, stream, graph):
        if self.limit is not None and self.gc is not None:
            self.calls[graph, small] = self.calls.get((graph, small), 0) + 1
        fits = [
            p
            for p in self.parts
            if p.state == "free"
            and (p.small, p.stream, p.graph) == (small, stream, graph)
            and p.size >= size
        ]
        part = min(fits, key=lambda p: (p.size, p.ptr), default=None)
        if part is None or self.max_split is None:
            return part
        if size < self.max_split <= part.size:
            return None
        if size >= self.max_split and part.size >= size + LARGE_BUFFER:
            return None
        return part

    def alloc_block(self, size, small, stream, graph):
        if small:
            wanted = SMALL_BUFFER
        else:
            wanted = LARGE_BUFFER if size < MIN_LARGE else -(-size // ROUND) * ROUND
        if self.limit is not None and self.reserved + wanted > self.limit:
            return None
        part = Part(self.top, wanted, small, stream, graph, self.segments)
        self.top, self.segments = self.top + wanted, self.segments + 1
        self.reserved += wanted
        self.parts.append(part)
        return part

    def neighbours(self, part):
        same = sorted((p for p in self.parts if p.segment == part.segment), key=lambda p: p.ptr)
        at = same.index(part)
        return (same[at - 1] if at else None), (same[at + 1] if at + 1 < len(same) else None)

    def free(self, part):
        self.allocated -= part.size
        if not part.uses:
            self.free_block(part)
        elif self.capturing:
            part.state = "waiting"
            self.deferred.append(part)
        else:
            self.insert_events(part)

    def insert_events(self, part):
        part.state = "waiting"
        for stream in sorted(part.uses):
            part.pending += 1
            self.queue.append((stream, part))
        part.uses = set()

    def free_block(self, part):
        before, after = self.neighbours(part)
        for other in (before, after):
            if other is not None and other.state == "free":
                part.ptr, part.size = min(part.ptr, other.ptr), part.size + other.size
                self.parts.remove(other)
        part.state = "free"
        self.insert(part)

    def record_stream(self, part, stream):
        if stream != part.stream:
            part.uses.add(stream)

    def passed(self, stream):
        self.done[stream] = sum(s == stream for s, _ in self.queue)

    def process_events(self):
        if not self.capturing:
            deferred, self.deferred = self.deferred, []
            for part in deferred:
                self.insert_events(part)
        for stream in sorted(self.done):
            for _ in range(self.done.pop(stream)):
                at = next(i for i, (s, _) in enumerate(self.queue) if s == stream)
                _, part = self.queue.pop(at)
                part.pending -= 1
                if not part.pending:
                    self.free_block(part)

    def release(self, part):
        self.parts.remove(part)
        self.reserved -= part.size

    def whole(self, part):
        return self.neighbours(part) == (None, None)

    def release_available(self, size, small, stream, graph):
        if self.max_split is None:
            return False
        wanted = max(size, self.max_split)
        mine = sorted(
            (
                p
                for p in self.parts
                if p.state == "free" and (p.small, p.stream, p.graph) == (small, stream, graph)
            ),
            key=lambda p: (p.size, p.ptr),
        )
        enough = [p for p in mine if p.size >= wanted]
        if enough:
            self.release(enough[0])
            return True
        total = 0
        for part in reversed(mine):
            if total >= wanted or part.size < self.max_split:
                break
            total += part.size
            self.release(part)
        return total >= wanted

    def empty_cache(self):
        """release_cached_blocks: synchronises with every stream first."""
        for _ in range(2):
            for stream in {s for s, _ in self.queue}:
                self.passed(stream)
            self.process_events()
        for part in list(self.parts):
            mine = part.graph is None or part.graph in self.freeable
            if part.state == "free" and mine and self.whole(part):
                self.release(part)

    def collect(self):
        """garbage_collect_cached_blocks."""
        threshold = int(self.gc * self.limit)
        if self.reserved <= threshold:
            return
        target, reclaimed = self.reserved - threshold, 0

        def age(part):
            return self.calls.get((None, False), 0) - part.base

        def there():
            return [
                p
                for p in self.parts
                if p.state == "free" and not p.small and p.graph is None and self.whole(p)
            ]

        freed = True
        while reclaimed < target and freed and there():
            mean, freed = sum(map(age, there())) / len(there()), False
            for part in [p for p in there() if age(p) >= mean]:
                freed = True
                reclaimed += part.size
                self.release(part)
