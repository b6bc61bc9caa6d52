"""A dataset on disk becomes counts: samples, tokens, lengths, pixels, seconds. It never holds the
data.

``scan(path, ...) -> DatasetProfile``; ``from_counts(samples, ...) -> DatasetProfile`` where there
is no data yet; ``DatasetProfile.batches(...) -> BatchPlan``. One file under ``readers/`` a format.
"""

from typing import TYPE_CHECKING, Any

from planner.datasets.batching import BatchPlan
from planner.datasets.profile import DatasetProfile, from_counts

if TYPE_CHECKING:
    from planner.datasets.scanning import scan

__all__ = ["BatchPlan", "DatasetProfile", "from_counts", "scan"]


def __getattr__(name: str) -> Any:
    # The readers are imported with the first scan: a question with counts needs none.
    if name == "scan":
        from planner.datasets.scanning import scan

        return scan
    raise AttributeError(f"module 'planner.datasets' has no attribute {name!r}")
