"""Moves the clock that Python sees ``PLANNER_TEST_DAYS_AHEAD`` days ahead, from where it goes on
ticking.

``tests/conftest.py`` runs this file, and puts its folder on ``PYTHONPATH``: Python imports a module
of this name when it starts, so the commands that tests start live on the same day as the tests.
"""

import datetime
import os

if os.environ.get("PLANNER_TEST_DAYS_AHEAD"):
    import time_machine

    _day = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
        days=int(os.environ["PLANNER_TEST_DAYS_AHEAD"])
    )
    time_machine.travel(_day, tick=True).start()
