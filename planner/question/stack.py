"""The software that runs the training: a trainer, with the versions of a day or today's.

Rows of ``profiles/stacks/stacks.csv`` say what a trainer does by itself, and since when: how many
samples it evaluates at once, whether it clips gradients, which attention it runs, which optimizer
it takes. ``--stack trainer-2022`` asks for the versions in the middle of a year,
``trainer-2023-03`` for those of a month; without a date for today's.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cache, lru_cache

from planner import tables
from planner.errors import FieldName, QuestionError, nearest
from planner.figures import Estimate
from planner.today import today

#: What runs where nothing is said: Hugging Face's Trainer.
DEFAULT = "trainer"
#: Rows that hold for every trainer.
ANY = "any"
#: The key of the row that names the trainer a stack runs in, whose rows hold where it has none.
RUNS_IN = "runs_in"
#: A year without a month means its middle.
MIDDLE = 7
_MONTHS = 12


@dataclass(frozen=True)
class Stack:
    """``year`` None: the versions of today; ``month`` None: the middle of the year."""

    trainer: str
    year: int | None = None
    month: int | None = None

    def number(self, key: str) -> float | None:
        """A row's value; None where no row of this trainer and day has one."""
        row = self._row(key)
        return None if row is None else tables.number(row["value"])

    def figure(self, key: str) -> Estimate | None:
        """A row's value with its range; None as ``number``."""
        row, value = self._row(key), self.number(key)
        if row is None or value is None:
            return None
        low, high = tables.number(row["low"]), tables.number(row["high"])
        return Estimate(value if low is None else low, value, value if high is None else high)

    def word(self, key: str) -> str | None:
        """A row's word; None as ``number``."""
        row = self._row(key)
        return None if row is None else row["word"] or None

    def source(self, key: str) -> str | None:
        row = self._row(key)
        return None if row is None else row["source"]

    def knows(self, key: str) -> bool:
        """Has some day of this trainer a row?"""
        return any(row["key"] == key for name in (*_line(self.trainer), ANY) for row in _rows(name))

    @property
    def title(self) -> str:
        """What people call the trainer: ``Hugging Face Trainer``."""
        return self.word("title") or self.trainer

    @property
    def line(self) -> tuple[str, ...]:
        """The trainer and what it runs in, one after another."""
        return _line(self.trainer)

    @property
    def text(self) -> str:
        """``trainer of today``, ``trainer of 2022``, ``trainer of 2023-03``."""
        return f"{self.trainer} of {self.day}"

    @property
    def day(self) -> str:
        """``today``, ``2022`` or ``2023-03``."""
        if self.year is None:
            return "today"
        return f"{self.year}" if self.month is None else f"{self.year}-{self.month:02d}"

    @property
    def months(self) -> int | None:
        """Its day as months since the year 0; None for today."""
        if self.year is None:
            return None
        return _MONTHS * self.year + (MIDDLE if self.month is None else self.month) - 1

    def _row(self, key: str) -> dict[str, str] | None:
        return _row(self.trainer, self.months, key)


@cache
def _row(trainer: str, months: int | None, key: str) -> dict[str, str] | None:
    """The trainer's own row, then that of the trainer it runs in, then that for any; of each the
    latest that has begun."""
    for name in (*_line(trainer), ANY):
        found = [row for row in _rows(name) if row["key"] == key and _holds(row, months)]
        if found:
            return max(found, key=lambda row: row["since"] or "0")
    return None


@cache
def _rows(trainer: str) -> tuple[dict[str, str], ...]:
    return tuple(row for row in tables.rows("stacks", "stacks.csv") if row["trainer"] == trainer)


def _line(trainer: str) -> tuple[str, ...]:
    """The trainer and what it runs in, one after another."""
    line = [trainer]
    while inner := next((row["word"] for row in _rows(line[-1]) if row["key"] == RUNS_IN), None):
        line.append(inner)
    return tuple(line)


def _holds(row: dict[str, str], months: int | None) -> bool:
    """Until counts its whole year or month."""
    if months is None:
        return not row["until"]
    begun = not row["since"] or _months(row["since"], 1) <= months
    return begun and (not row["until"] or months <= _months(row["until"], _MONTHS))


def _months(text: str, month: int) -> int:
    """``2023`` or ``2023-03`` as months since the year 0; ``month`` stands in for a missing one."""
    year, _, given = text.partition("-")
    return _MONTHS * int(year) + int(given or month) - 1


@cache
def trainers() -> tuple[str, ...]:
    """Names that rows know, the default first."""
    names = (row["trainer"] for row in tables.rows("stacks", "stacks.csv"))
    return tuple(dict.fromkeys([DEFAULT, *(name for name in names if name != ANY)]))


def stack_of(text: str | None) -> Stack:
    """``trainer``, ``trainer-2022``, ``trainer-2022-06``, ``2022`` or nothing → Stack. Raises
    QuestionError."""
    return _stack_on(text, today())


@lru_cache(maxsize=256)
def _stack_on(text: str | None, day: datetime.date) -> Stack:
    name, year, month = _parts(DEFAULT if text is None else text)
    if name not in trainers():
        raise QuestionError(f"no stack {text!r}", where=FieldName("stack"), mend=_mended(name))
    stack = Stack(name, year, month)
    _check_day(stack, text or "", day)
    return stack


def _check_day(stack: Stack, text: str, now: datetime.date) -> None:
    """Raises QuestionError for versions of before the first row's year, or of days to come."""
    first = int(Stack(stack.trainer).number("first_year") or 0)
    latest = _MONTHS * now.year + now.month - 1
    if stack.year is None or stack.months is None:
        return
    begun = stack.months <= latest or (stack.month is None and stack.year == now.year)
    if stack.year < first or not begun or stack.month not in (None, *range(1, _MONTHS + 1)):
        raise QuestionError(
            f"no versions of {text!r}",
            where=FieldName("stack"),
            mend=f"A year from {first} to {now.year}, with a month or without, such as "
            f"{DEFAULT}-2022 or {DEFAULT}-2023-03",
        )


def _mended(name: str) -> str:
    near = nearest(name.partition("-")[0], trainers())
    return (f"Did you mean {' or '.join(near)}? " if near else "") + (
        f"One of {', '.join(trainers())}, with the year or month of its versions or without: "
        f"{DEFAULT}-2022"
    )


def _parts(text: str) -> tuple[str, int | None, int | None]:
    found = re.fullmatch(r"([a-z_]+)?(?:-?(\d{4})(?:-(\d{1,2}))?)?", text.strip().lower())
    if found is None or not text.strip():
        return text, None, None
    year, month = (int(found[place]) if found[place] else None for place in (2, 3))
    return found[1] or DEFAULT, year, month
