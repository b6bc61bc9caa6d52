"""One calibration: its plan, what is measured in which order within its seconds, and what is left
when something ends it early.

Every measurement goes into the journal at once; the profile is fitted from the journal now and then
and at the end. So a run that is killed has lost nothing but the time since its last line, and the
next one goes on.
"""

from planner.calibrate.session.calibration import calibrate, measure, place
from planner.calibrate.session.outcome import Outcome, outcome_summary
from planner.calibrate.session.plan import Plan

__all__ = ["Outcome", "Plan", "calibrate", "measure", "outcome_summary", "place"]
