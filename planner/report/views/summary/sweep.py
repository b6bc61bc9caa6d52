"""A sweep's summary in lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from planner.units import format_seconds


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """What was written, then what has no answer and why."""
    kept = f", {summary['kept']:,} of them kept from before" if summary["kept"] else ""
    yield (
        f"wrote {summary['wrote']}: {summary['questions']:,} questions{kept}, in "
        f"{format_seconds(summary['seconds'])} ({summary['questions_per_second']:.3g} a second)"
    )
    parts = [f"{summary['answered']:,} answered"]
    parts += [f"of which {n:,} fit no device as asked" for n in [summary["do_not_fit"]] if n]
    parts += [f"{summary[name]:,} {name}" for name in ("refused", "failed") if summary[name]]
    yield ", ".join(parts)
    if summary["written_twice"]:
        yield f"{summary['written_twice']:,} combinations are the same question as another: one row"
    for reason in summary["reasons"]:
        yield f"  {reason['questions']:,} × {reason['error']}"
    if summary["limits_kept"] is False:
        yield "no answer keeps the limits that were set"
    if summary["journal"]:
        yield f"the answers stay in {summary['journal']}: the same command asks what failed again"
