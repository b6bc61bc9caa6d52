"""Memory through a step: what the allocator holds before it and every block that is taken and given
back, with what is alive at the peak.

The figures are those of ``peak.replay``: the same pieces played through the same allocator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.memory.lifetimes import TEMPORARY
from planner.memory.native_replay import Moment, NativeReplay
from planner.memory.peak import STEADY_STEPS, Pieces
from planner.trace.table import CATEGORIES, StepTrace


@dataclass(frozen=True)
class History:
    """A step of a run: the steady one, or the first where only that holds the peak.

    ``before_bytes``: alive when it begins, by category. Of each event, in order: ``operation``
    during which it happens, ``micro_batch`` of those that are told apart (first, middle, last),
    ``category`` and ``block_bytes``, negative where a block is freed. ``moment``: the peak of the
    whole run; ``storage`` of each block alive then, -1 for a workspace of the matrix library.
    """

    is_first: bool
    before_bytes: np.ndarray  # int64 [n_categories]
    operation: np.ndarray  # int64 [n_events]
    micro_batch: np.ndarray  # int64 [n_events]
    category: np.ndarray  # int64 [n_events]
    block_bytes: np.ndarray  # int64 [n_events]
    reserved_bytes: int
    moment: Moment
    storage: np.ndarray  # int64 [n_alive]

    @property
    def levels(self) -> np.ndarray:
        """Bytes alive after each event: int64 [n_events]."""
        return self.before_bytes.sum() + np.cumsum(self.block_bytes)

    @property
    def level_bytes(self) -> np.ndarray:
        """The same by category: int64 [n_events, n_categories]."""
        change = np.zeros((len(self.category), len(CATEGORIES)), dtype=np.int64)
        change[np.arange(len(self.category)), self.category] = self.block_bytes
        return self.before_bytes + np.cumsum(change, axis=0)


def history(
    trace: StepTrace,
    point: Mapping[str, int | None],
    *,
    accumulation: int = 1,
    workspace: tuple[int, ...] = (),
) -> History:
    """At one point, as ``peak.replay`` without a limit. Raises QuestionError for a missing
    symbol."""
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    pieces = Pieces(trace, sizes, accumulation, workspace)
    run = NativeReplay(pieces.sizes)
    for piece in (pieces.start, pieces.first, *[pieces.steady] * STEADY_STEPS):
        run.play(*piece)
    moment, played = run.peak(), run.played
    shown = _fullest(played, moment.allocated_bytes)
    keys, blocks = played[shown]
    operations = (pieces.first if shown == 1 else pieces.steady)[1]
    done = blocks != 0  # an empty tensor takes nothing
    return History(
        is_first=shown == 1,
        before_bytes=_by_category(trace, played[:shown]),
        operation=operations[done],
        micro_batch=_micro_batches(operations)[done],
        category=_categories(trace, keys[done]),
        block_bytes=blocks[done],
        reserved_bytes=run.reserved_bytes,
        moment=moment,
        storage=_storages(trace, moment.keys),
    )


def _fullest(played: list[tuple[np.ndarray, np.ndarray]], peak_bytes: int) -> int:
    """The last step that reaches the peak: two steps of one run may differ by what is left of
    blocks."""
    begins = np.cumsum([0, *(int(blocks.sum()) for _, blocks in played)])
    reach = [
        int(begin + np.cumsum(blocks).max(initial=0)) for begin, (_, blocks) in zip(begins, played)
    ]
    return max((step for step in range(1, len(played)) if reach[step] >= peak_bytes), default=1)


def _storages(trace: StepTrace, keys: np.ndarray) -> np.ndarray:
    count = len(trace.category)
    return np.where(keys >= 2 * count, -1, keys % max(1, count))


def _categories(trace: StepTrace, keys: np.ndarray) -> np.ndarray:
    storage = _storages(trace, np.where(keys >= 0, keys, ~keys))
    return np.where(storage < 0, TEMPORARY, trace.category[np.maximum(storage, 0)])


def _by_category(trace: StepTrace, played: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    held = np.zeros(len(CATEGORIES), dtype=np.int64)
    for keys, blocks in played:
        np.add.at(held, _categories(trace, keys), blocks)
    return held


def _micro_batches(operations: np.ndarray) -> np.ndarray:
    """The next micro-batch begins where the operations begin anew."""
    return np.cumsum(np.diff(operations, prepend=operations[:1]) < 0)
