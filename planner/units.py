"""Units at the boundary: the one place where GiB, hours and dollars are parsed and printed.

Inside the program sizes are bytes, times seconds, rates FLOP/s and bytes/s, money USD, energy
joules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from planner.errors import QuestionError

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
KB, MB, GB, TB = 10**3, 10**6, 10**9, 10**12
TERA, GIGA, MEGA = 1e12, 1e9, 1e6
SECONDS_PER_HOUR = 3600.0
HOURS_PER_DAY = 24
JOULES_PER_KWH = 3.6e6

_BYTE_UNITS = {
    "": 1,
    "b": 1,
    "kb": KB,
    "mb": MB,
    "gb": GB,
    "tb": TB,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": TIB,
}
_COUNT_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def parse_bytes(text: str | int | float) -> int:
    """``"80GiB"`` → 85899345920. Raises QuestionError for anything that is not a size."""
    return round(_parse(text, _BYTE_UNITS, "a size such as 80GiB"))


def parse_count(text: str | int | float) -> int:
    """``"7B"`` → 7000000000, ``"20k"`` → 20000. Raises QuestionError for anything that is not a
    count."""
    return round(_parse(text, _COUNT_UNITS, "a count such as 7B or 20k"))


def _parse(text: str | int | float, units: dict[str, int], wanted: str) -> float:
    match = re.fullmatch(
        r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*",
        str(text).replace("_", "").replace(",", "").lower(),
    )
    if not match or match[2] not in units:
        raise QuestionError(f"{str(text)!r} is not {wanted}")
    value = float(match[1]) * units[match[2]]
    if not math.isfinite(value):
        raise QuestionError(f"{str(text)!r} is too large")
    return value


def hours(seconds: float) -> float:
    return seconds / SECONDS_PER_HOUR


def kwh(joules: float) -> float:
    return joules / JOULES_PER_KWH


def gib(size_bytes: float) -> float:
    return size_bytes / GIB


def format_bytes(size_bytes: float) -> str:
    """Three significant figures in the binary unit that keeps the number below 1024: ``61.8
    GiB``."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{_figures(value)} {unit}"


_SECOND_UNITS = (
    (1e-3, 1e-6, "µs"),
    (1, 1e-3, "ms"),
    (120, 1, "s"),
    (7200, 60, "min"),
    (48 * 3600, 3600, "h"),
    (math.inf, 86400, "days"),
)


def format_seconds(seconds: float, like: float | None = None) -> str:
    """``0.0123`` → ``12.3 ms``; ``5400`` → ``90.0 min``; ``500000`` → ``5.79 days``. ``like``: in
    the unit that this many seconds would get, so that the ends of a range share the unit of its
    middle."""
    measure = seconds if like is None else like
    scale, unit = next((scale, unit) for limit, scale, unit in _SECOND_UNITS if measure < limit)
    return f"{_figures(seconds / scale)} {unit}"


def shared_time_unit(seconds: Iterable[float]) -> float:
    """The ``like`` of ``format_seconds`` for a column of times: the middle one, so that one unit
    suits most of them."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] if ordered else 0.0


def format_gib(size_bytes: float) -> str:
    """Three significant figures in GiB without the unit, for a column that names it: ``61.8``."""
    return _figures(size_bytes / GIB)


def format_usd(usd: float) -> str:
    """``0.0042`` → ``$0.0042``; ``3.14159`` → ``$3.14``; ``12345.6`` → ``$12,346``."""
    if usd == 0:
        return "$0"
    if abs(usd) < 0.01:
        return f"${_plain(usd, 2)}"
    return f"${usd:,.2f}" if abs(usd) < 1000 else f"${usd:,.0f}"


def format_usd_per_unit(usd: float) -> str:
    """A price of one unit, in four significant figures, so that quantity × price gives the sum:
    ``0.06091`` → ``$0.06091``; ``2.5`` → ``$2.50``."""
    digits = max(2, 3 - math.floor(math.log10(usd))) if usd > 0 else 2
    whole, _, cents = f"{usd:,.{digits}f}".partition(".")
    return f"${whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def format_count(value: float) -> str:
    """``8030261248`` → ``8.03B``; ``12500`` → ``12.5k``; ``350`` → ``350``."""
    for scale, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{_figures(value / scale)}{unit}"
    return _plain(value, 6) if 0 < abs(value) < 1e-4 else f"{value:g}"


def _plain(value: float, figures: int) -> str:
    """Without an exponent, however small: ``0.0000011``."""
    digits = figures - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}".rstrip("0")


def _figures(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 4)}f}"
