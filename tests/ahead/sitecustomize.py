"""Moves the clock that Python sees ``PLANNER_TEST_DAYS_AHEAD`` days ahead, from where it goes on
ticking.

``tests/conftest.py`` runs this file, and puts its folder on ``PYTHONPATH``: Python imports a module
of this name when it starts, so the commands that tests start, and the processes of a parallel run,
live on the same day as the tests. A process that was moved is not moved again.
"""

import datetime
import os


def ahead(days: int) -> None:
    import time_machine

    if not time_machine.escape_hatch.is_travelling():
        day = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        time_machine.travel(day, tick=True).start()


if os.environ.get("PLANNER_TEST_DAYS_AHEAD"):
    ahead(int(os.environ["PLANNER_TEST_DAYS_AHEAD"]))
