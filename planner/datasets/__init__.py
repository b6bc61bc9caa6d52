"""A dataset on disk becomes counts: samples, tokens, lengths, pixels, seconds. It never holds the data.

``scan(path, ...) -> DatasetProfile``; ``from_counts(samples, ...) -> DatasetProfile`` where there is no data yet;
``DatasetProfile.batches(...) -> BatchPlan``. One file under ``readers/`` a format.
"""

from planner.datasets.batching import BatchPlan
from planner.datasets.profile import DatasetProfile, from_counts
from planner.datasets.scan import scan

__all__ = ["BatchPlan", "DatasetProfile", "from_counts", "scan"]
