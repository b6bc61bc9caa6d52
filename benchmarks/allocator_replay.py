"""The replay of torch's caching allocator against recordings of the real one.

    python benchmarks/allocator_replay.py FOLDER [--only ftcourse]

FOLDER holds recordings (``alloc_*.csv.gz``, one event a row: ``segment_alloc``, ``alloc``,
``free_completed``, ``segment_free``; ``init_segment`` and ``init_block`` are the state when
recording began). Four questions, each harder than the last but for the fourth:

- decisions: at each request, from the recorded state, does the replay take torch's block?
- state known: from the recorded start on its own, where do its peaks end?
- from empty: what was alive at the start is asked for first, as a planner has to.
- in order: from empty too, with what the same process ran before, where that was recorded.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner.memory.allocator import Block, CachingAllocator  # noqa: E402
from planner.memory.blocks import PLAIN, block_size  # noqa: E402


@dataclass(frozen=True)
class Event:
    action: str
    segment: str
    offset: int
    size: int
    block_size: int | None
    allocated: int
    reserved: int

    @property
    def place(self) -> tuple[str, int]:
        return self.segment, self.offset


@dataclass
class Recording:
    """``segments``: those of the start, in the order of their addresses, with their live blocks
    (offset, bytes, requested bytes)."""

    name: str
    segments: dict[str, tuple[int, list[tuple[int, int, int]]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def peak_reserved(self) -> int:
        """From the first request on: a cache that is given back before is another run's."""
        actions = [event.action for event in self.events]
        first = actions.index("alloc") if "alloc" in actions else len(actions)
        return max((e.reserved for e in self.events[max(0, first - 1) :]), default=0)

    @property
    def start_reserved(self) -> int:
        return sum(size for size, _ in self.segments.values())

    @property
    def final_reserved(self) -> int:
        return self.events[-1].reserved if self.events else self.start_reserved

    @property
    def peak_allocated(self) -> int:
        return max((e.allocated for e in self.events), default=0)


@dataclass(frozen=True)
class Judged:
    """Of one recording: decisions and how many of them are torch's; the errors of the peaks."""

    name: str
    decisions: int
    right: int
    reserved: int
    known_error: float
    known_allocated_error: float
    empty_error: float
    in_order_error: float


def read(path: Path) -> Recording:
    """A recording; rests that were not split off belong to the block before them."""
    found = Recording(path.name.removeprefix("alloc_").removesuffix(".csv.gz"))
    sizes: dict[str, int] = {}
    blocks: dict[str, list[tuple[int, int, int]]] = {}
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            size, own = int(row["size"]), row["block_size"]
            event = Event(
                row["action"],
                row["segment"],
                int(row["offset"] or 0),
                size,
                int(own) if own else None,
                int(row["allocated"] or 0),
                int(row["reserved"] or 0),
            )
            if event.action == "init_segment":
                sizes[event.segment] = size
            elif event.action == "init_block":
                each = event.block_size or block_size(size, PLAIN)
                blocks.setdefault(event.segment, []).append((event.offset, each, size))
            else:
                found.events.append(event)
    for name in sorted(sizes, key=lambda n: (len(n), n)):
        found.segments[name] = sizes[name], _whole(sizes[name], sorted(blocks.get(name, [])))
    return found


def _whole(size: int, blocks: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """In a segment of large blocks a gap of at most 1 MiB is the rest of the block before it."""
    if size == 2 * 2**20:
        return blocks
    found: list[tuple[int, int, int]] = []
    for (offset, length, requested), after in zip(blocks, [*blocks[1:], (size, 0, 0)]):
        gap = after[0] - offset - length
        found.append((offset, length + (gap if gap <= 2**20 else 0), requested))
    return found


def started(recording: Recording) -> tuple[CachingAllocator, dict[tuple[str, int], Block]]:
    """(the allocator in the recorded state, its live blocks by their place)."""
    allocator, live = CachingAllocator(), dict[tuple[str, int], Block]()
    for name, (size, blocks) in recording.segments.items():
        held = allocator.adopt(size, blocks)
        live |= {(name, offset): block for (offset, _, _), block in zip(blocks, held)}
    return allocator, live


# ---- single decisions


def decisions(recording: Recording) -> tuple[int, int]:
    """(requests, those for which the replay takes torch's block). After each the recorded block is
    taken, so that one wrong decision is one. Of equally large free blocks torch takes the lowest
    address, which a recording does not tell across segments: any of them is right."""
    state = _State(recording)
    asked = right = 0
    pending: list[Event] = []
    for event in recording.events:
        if event.action == "segment_alloc":
            pending.append(event)
        elif event.action == "segment_free":
            state.give_back(event)
        elif event.action == "free_completed":
            state.free(event)
        elif event.action == "alloc":
            asked += 1
            right += state.decide(event, pending[-1] if pending else None)
            pending = []
    return asked, right


class _State:
    """Free and live ranges by segment, as the recording has them."""

    def __init__(self, recording: Recording) -> None:
        self.sizes = {name: size for name, (size, _) in recording.segments.items()}
        self.live: dict[str, dict[int, int]] = {
            name: {offset: length for offset, length, _ in blocks}
            for name, (_, blocks) in recording.segments.items()
        }

    def gaps(self, small: bool) -> Iterator[tuple[int, str, int]]:
        """(bytes, segment, offset) of each free range of a pool."""
        for name, size in self.sizes.items():
            if (size == 2 * 2**20) == small:
                yield from ((n, name, at) for at, n in self._free(name))

    def _free(self, name: str) -> Iterator[tuple[int, int]]:
        at = 0
        for offset, length in sorted(self.live[name].items()):
            if offset > at:
                yield at, offset - at
            at = offset + length
        if at < self.sizes[name]:
            yield at, self.sizes[name] - at

    def decide(self, event: Event, new: Event | None) -> bool:
        """Whether the best fit is where torch put it; then it is put there."""
        size = block_size(event.size, PLAIN)
        small = size <= 2**20
        if new is not None:
            fits = [gap for gap in self.gaps(small) if gap[0] >= size]
            self.sizes[new.segment], self.live[new.segment] = new.size, {}
            is_right = not fits and event.segment == new.segment and event.offset == 0
        else:
            fits = sorted(gap for gap in self.gaps(small) if gap[0] >= size)
            best = fits[0][0] if fits else None
            is_right = (best, *event.place) in fits
        self.live[event.segment][event.offset] = self._taken(event, size, small)
        return is_right

    def _taken(self, event: Event, size: int, small: bool) -> int:
        """With a rest that is not worth splitting off."""
        gap = next(
            (n for at, n in self._free(event.segment) if at == event.offset),
            event.block_size or size,
        )
        rest = gap - size
        return size if (rest >= 512 if small else rest > 2**20) else gap

    def free(self, event: Event) -> None:
        self.live[event.segment].pop(event.offset, None)

    def give_back(self, event: Event) -> None:
        self.sizes.pop(event.segment, None)
        self.live.pop(event.segment, None)


# ---- whole recordings


def played(
    recording: Recording,
    allocator: CachingAllocator,
    live: dict[tuple[str, int], Block],
) -> CachingAllocator:
    """The requests in their order. The cache goes back where the recording gives segments back
    before it asks for anything (``torch.cuda.empty_cache``)."""
    has_asked = is_emptied = False
    for event in recording.events:
        if event.action == "alloc":
            has_asked = True
            block = allocator.allocate(event.size)
            if block is not None:
                live[event.place] = block
        elif event.action == "free_completed":
            allocator.free(live.pop(event.place, None))
        elif event.action == "segment_free" and not has_asked and not is_emptied:
            is_emptied = True
            allocator.release_cached()
            allocator.peak_reserved_bytes = allocator.reserved_bytes
    return allocator


def from_empty(recording: Recording) -> CachingAllocator:
    """What was alive at the start is asked for first, in the order of addresses: large blocks lie
    in the order they were asked for."""
    allocator = CachingAllocator()
    live = _asked(allocator, recording, {})
    return played(recording, allocator, live)


def in_order(runs: Sequence[Recording]) -> CachingAllocator:
    """Recordings of one process one after another, from empty: the making of the model, then each
    run, what it leaves alive and the next does not start with given back in between."""
    allocator, live = CachingAllocator(), dict[tuple[str, int], Block]()
    for run in runs:
        live = _asked(allocator, run, live)
        allocator.peak_reserved_bytes = allocator.reserved_bytes
        played(run, allocator, live)
    return allocator


def _asked(
    allocator: CachingAllocator, recording: Recording, before: dict[tuple[str, int], Block]
) -> dict[tuple[str, int], Block]:
    """The live blocks that a recording starts with: those of the run before by their sizes, the
    oldest first; what is not there is asked for."""
    kept: dict[int, list[Block]] = {}
    for block in before.values():
        kept.setdefault(block.requested, []).append(block)
    wanted = [
        ((name, offset), requested)
        for name, (_, blocks) in recording.segments.items()
        for offset, _, requested in blocks
    ]
    live: dict[tuple[str, int], Block] = {}
    missing: list[tuple[tuple[str, int], int]] = []
    for place, requested in wanted:
        if kept.get(requested):
            live[place] = kept[requested].pop(0)
        else:
            missing.append((place, requested))
    for block in (block for blocks in kept.values() for block in blocks):
        allocator.free(block)
    for place, requested in missing:
        block = allocator.allocate(requested)
        if block is not None:
            live[place] = block
    return live


def history(recording: Recording, others: Sequence[Recording]) -> list[Recording]:
    """What the same process ran before, and the recording itself: each began with as much reserved
    as the one before it ended with."""
    chain = [recording]
    while (start := chain[0].start_reserved) and len(chain) <= len(others):
        before = [o for o in others if o.final_reserved == start and o not in chain]
        if not before:
            break
        chain.insert(0, before[0])
    return chain


def judged(recording: Recording, others: Sequence[Recording]) -> Judged:
    asked, right = decisions(recording)
    known = played(recording, *started(recording))
    wanted = recording.peak_reserved

    def error(found: int, truth: int) -> float:
        return found / truth - 1 if truth else 0.0

    return Judged(
        recording.name,
        asked,
        right,
        wanted,
        error(known.peak_reserved_bytes, wanted),
        error(known.peak_allocated_bytes, recording.peak_allocated),
        error(from_empty(recording).peak_reserved_bytes, wanted),
        error(in_order(history(recording, others)).peak_reserved_bytes, wanted),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of recordings, alloc_*.csv.gz")
    parser.add_argument("--only", action="append", metavar="TEXT", help="in the name; repeatable")
    flags = parser.parse_args()
    files = sorted(flags.folder.glob("alloc_*.csv.gz"))
    wanted = [f for f in files if not flags.only or any(text in f.name for text in flags.only)]
    if not wanted:
        print(f"no recording in {flags.folder}", file=sys.stderr)
        return 2
    recordings = [read(file) for file in files]
    chosen = {file.name for file in wanted}
    show([judged(r, recordings) for r, file in zip(recordings, files) if file.name in chosen])
    return 0


def show(found: Sequence[Judged]) -> None:
    print(
        "| recording | decisions right | reserved, GB | state known | allocated | from empty "
        "| in order |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for one in found:
        print(
            f"| {one.name} | {one.right:,} of {one.decisions:,} | {one.reserved / 1e9:.2f} "
            f"| {one.known_error:+.3%} | {one.known_allocated_error:+.3%} "
            f"| {one.empty_error:+.2%} | {one.in_order_error:+.2%} |"
        )
    asked, right = sum(o.decisions for o in found), sum(o.right for o in found)
    worst = max(found, key=lambda o: abs(o.empty_error))
    print(
        f"\n{right:,} of {asked:,} decisions right; reserved from the recorded state off by "
        f"{max(abs(o.known_error) for o in found):.3%} at most, from empty by "
        f"{abs(worst.empty_error):.2%} ({worst.name}), with what the process ran before in order "
        f"by {max(abs(o.in_order_error) for o in found):.2%}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
