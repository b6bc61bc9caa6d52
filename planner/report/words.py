"""How values are worded: figures through ``planner.units``, user's strings made harmless, names of
keys made readable.

A value's unit is in the name of its key (``peak_bytes``, ``wall_hours``, ``usd``), so one function
words them all.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from planner.units import (
    SECONDS_PER_HOUR,
    format_bytes,
    format_count,
    format_seconds,
    format_usd,
    format_usd_per_unit,
)

UNKNOWN = "unknown"
#: Chances nearer than this to none or to all are not told apart.
ALMOST = 0.001
#: Keys whose integers are counts of things, better read in full than shortened.
_IN_FULL_BELOW = 100_000


def clean(value: Any) -> str:
    """A string from outside, made safe to print on one line: no control characters, no broken
    surrogates."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return "".join(
        c if c.isprintable() else " " if c.isspace() else f"\\x{ord(c):02x}" for c in text
    )


def bytes_text(size_bytes: float) -> str:
    return format_bytes(size_bytes)


def hours_text(hours: float, like: float | None = None) -> str:
    return format_seconds(
        hours * SECONDS_PER_HOUR, None if like is None else like * SECONDS_PER_HOUR
    )


def seconds_text(seconds: float, like: float | None = None) -> str:
    return format_seconds(seconds, like)


def usd_text(usd: float) -> str:
    return format_usd(usd)


def rate_text(usd: float) -> str:
    return format_usd_per_unit(usd)


def count_text(count: float) -> str:
    """Small whole numbers in full, all else in three significant figures."""
    if float(count).is_integer() and abs(count) < _IN_FULL_BELOW:
        return f"{count:,.0f}"
    return format_count(float(f"{count:.3g}"))


def share_text(share: float) -> str:
    return f"{float(f'{share * 100:.3g}'):g} %"


def chance_text(share: float) -> str:
    """A probability; nothing is said to be sure that is only almost so."""
    if 0 < share < ALMOST:
        return f"under {share_text(ALMOST)}"
    return f"over {share_text(1 - ALMOST)}" if 1 - ALMOST < share < 1 else share_text(share)


def flop_text(flop: float) -> str:
    return f"{flop:.3g} FLOP"


def kwh_text(kwh: float) -> str:
    return f"{float(f'{kwh:.3g}'):,g} kWh"


def kg_text(kg: float) -> str:
    return f"{float(f'{kg:.3g}'):,g} kg"


def percentiles(figure: Mapping[str, float], word: Callable[[float], str]) -> tuple[str, str]:
    """The median, and ``low–high`` of the 80 % interval with a shared unit said once."""
    # one unit for the whole range
    timed = {"like": figure["p50"]} if word in (hours_text, seconds_text) else {}
    low, high = word(figure["p10"], **timed), word(figure["p90"], **timed)
    number, space, unit = low.rpartition(" ")
    if space and high.endswith(f" {unit}"):
        low = number
    return word(figure["p50"]), f"{low}–{high}"


def figure_text(figure: Mapping[str, float], word: Callable[[float], str]) -> str:
    """``3.31 h (2.76–3.97 h)``; a figure without spread is said once."""
    middle, interval = percentiles(figure, word)
    return middle if figure["p10"] == figure["p90"] else f"{middle} ({interval})"


#: What the end of a key says of its unit, the first that matches.
_UNITS: tuple[tuple[tuple[str, ...], Callable[[float], str]], ...] = (
    (("_bytes", "bytes", "bytes_on_disk", "breakdown_bytes"), bytes_text),
    (("_hours",), hours_text),
    (("samples_per_second", "tokens_per_second"), lambda rate: f"{count_text(rate)}/s"),
    (("_seconds", "seconds"), seconds_text),
    (("_usd", "usd", "usd_per_gpu_hour", "price"), usd_text),
    (("_share", "mfu", "_relative_error"), share_text),
    (("_flops",), flop_text),
    (("_kwh",), kwh_text),
    (("_kg",), kg_text),
    (("_days",), lambda days: f"{days:,.0f} days"),
)


#: Tables of parts carry their unit in the name of the table.
PARTS: Mapping[str, Callable[[float], str]] = {
    "memory.breakdown": bytes_text,
    "cost.breakdown": usd_text,
    "run.breakdown_hours": hours_text,
    "step.by_kind": seconds_text,
    "kind_seconds": seconds_text,
    "phase_seconds": seconds_text,
    "category_bytes": bytes_text,
}


def worder(key: str) -> Callable[[float], str]:
    """How numbers under this key are worded."""
    for ends, word in _UNITS:
        if any(key == end or key.endswith(end) for end in ends):
            return word
    return count_text


def is_figure(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"p10", "p50", "p90"}


def value_text(key: str, value: Any, word: Callable[[float], str] | None = None) -> str:
    """Any JSON value of the document, in words. ``key`` tells the unit."""
    word = word or worder(key)
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return word(value)
    if is_figure(value):
        return figure_text(value, word)
    if isinstance(value, Mapping):
        return ", ".join(f"{label(k)} {value_text(str(k), v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(key, item, word) for item in value) or "none"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return clean(value)


def label(key: Any) -> str:
    """``device_used_bytes`` → ``device used``: the unit is said by the value."""
    text = clean(key)
    for end in ("_bytes", "_hours", "_seconds", "_kwh", "_kg", "_usd"):
        if text.endswith(end) and len(text) > len(end):
            text = text[: -len(end)]
    return text.replace("_", " ")


def flat(
    part: Any, path: str = "", word: Callable[[float], str] | None = None
) -> Iterator[tuple[str, str]]:
    """Every leaf of a part of the document, as (path of readable keys, worded value), figures kept
    whole."""
    if isinstance(part, Mapping) and part and not is_figure(part):
        for key, value in part.items():
            inside = f"{path}.{key}" if path else str(key)
            yield from flat(value, inside, PARTS.get(inside, word))
    elif isinstance(part, (list, tuple)) and any(isinstance(item, Mapping) for item in part):
        for index, item in enumerate(part, start=1):
            yield from flat(item, f"{path}.{index}", word)
    else:
        yield (
            " › ".join(label(key) for key in path.split(".")),
            value_text(path.rpartition(".")[2], part, word),
        )
