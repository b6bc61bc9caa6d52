"""Limits on how much dearer a change may make a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.units import format_usd

PERCENT = 100.0


def broken(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    max_increase_usd: float | None,
    max_increase_percent: float | None,
) -> list[str]:
    """A sentence for each limit that is not kept, by the recommended options' medians. What cannot
    be judged is not kept."""
    if max_increase_usd is None and max_increase_percent is None:
        return []
    one, two = (side["usd"] if side else None for side in (before, after))
    if one is None or two is None:
        which = "before" if one is None else "after"
        why = "nothing is recommended" if (before if one is None else after) is None else ""
        return [f"the increase cannot be judged: {why or 'no price is known'} {which} the change"]
    more, found = two - one, []
    text = f"{format_usd(one)} becomes {format_usd(two)}"
    if max_increase_usd is not None and more > max_increase_usd:
        allowed = format_usd(max_increase_usd)
        found.append(f"{text}: {format_usd(more)} more, {allowed} more are allowed")
    if max_increase_percent is not None and more > one * max_increase_percent / PERCENT:
        share = f"{more / one * PERCENT:.3g} % more" if one else "more than nothing"
        found.append(f"{text}: {share}, {max_increase_percent:g} % more are allowed")
    return found


def of_new(
    after: Mapping[str, Any] | None,
    *,
    max_increase_usd: float | None,
    max_increase_percent: float | None,
) -> list[str]:
    """A new project costs all of it more; a share of nothing is not judged."""
    del max_increase_percent
    before = {"usd": 0.0}
    return broken(before, after, max_increase_usd=max_increase_usd, max_increase_percent=None)
