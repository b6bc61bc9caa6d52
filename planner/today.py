"""What day it is: the one file that asks the system's clock for a date.

An answer depends on the day that it is given: which prices are known, how old they are, how long a
deadline leaves. With ``PLANNER_TODAY=YYYY-MM-DD`` it is answered as of that day, so that an old
report can be made again. What is measured, recorded or fetched is dated by the system's clock
whatever the variable says.
"""

from __future__ import annotations

import datetime
import os

from planner.errors import QuestionError
from planner.moment import once

VARIABLE = "PLANNER_TODAY"


def today() -> datetime.date:
    """The day that a question is answered as of: ``PLANNER_TODAY``, else the system's local date.

    Raises QuestionError where the variable holds no date.
    """
    return once("today", lambda: _chosen_day() or system_date())


def as_of() -> datetime.datetime:
    """The moment in UTC that deadlines count from: the first of the day that ``PLANNER_TODAY``
    names, in local time, else now.

    Raises QuestionError where the variable holds no date.
    """
    day = _chosen_day()
    return (
        now()
        if day is None
        else datetime.datetime.combine(day, datetime.time.min).astimezone(datetime.UTC)
    )


def now() -> datetime.datetime:
    """The system's clock, in UTC: the time of a measurement or a record."""
    return datetime.datetime.now(datetime.UTC)


def system_date() -> datetime.date:
    """The system's local date: the day of a measurement, or of a price that was fetched."""
    return datetime.date.today()


def _chosen_day() -> datetime.date | None:
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise QuestionError(
            f"{text!r} is not a date", where=VARIABLE, mend="Give YYYY-MM-DD, or unset it"
        ) from None
