"""The judge's figures as a table, so that a later planner can be held beside an earlier one."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.raw_tables import read_raw
from benchmarks.whole.outcome import Comparison, Outcome
from benchmarks.whole.totals import Total, total
from planner.errors import DataError
from planner.figures import Estimate

COLUMNS = ("id", "quantity", "reported", "p10", "p50", "p90")
#: Hours within p50 that long runs take beyond clean steps; earlier tables have none.
LONG_RUN = "long_run"
#: What is compared, by its name in the table and the document.
QUANTITIES: dict[str, Callable[[Outcome], Comparison | None]] = {
    "hours": lambda outcome: outcome.hours,
    "dollars": lambda outcome: outcome.usd,
    "memory": lambda outcome: outcome.memory,
}
Figures = Mapping[tuple[str, str], Comparison]


def figures(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], Comparison]:
    """Every comparison by the report's id and the quantity: hours, USD, GiB."""
    return {
        (outcome.report.id, name): compared
        for outcome in outcomes
        for name, quantity in QUANTITIES.items()
        if (compared := quantity(outcome)) is not None
    }


def to_csv(found: Figures) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*COLUMNS, LONG_RUN))
    for (report_id, quantity), one in found.items():
        row = (one.theirs, one.ours.p10, one.ours.p50, one.ours.p90, one.long_run)
        writer.writerow((report_id, quantity, *(f"{value:.6g}" for value in row)))
    return out.getvalue()


def read_figures(path: Path) -> dict[tuple[str, str], Comparison]:
    """What ``to_csv`` wrote. Raises DataError."""
    found = {}
    for line, row in enumerate(read_raw(path, COLUMNS), start=2):
        try:
            ours = Estimate(*(float(row[key]) for key in ("p10", "p50", "p90")))
            beyond = float(row.get(LONG_RUN) or 0)
            compared = Comparison(ours, float(row["reported"]), beyond)
            found[row["id"], row["quantity"]] = compared
        except ValueError as error:
            raise DataError(str(error), where=f"{path} row {line}") from None
    return found


def before_and_after(
    outcomes: Sequence[Outcome], before: Figures
) -> list[tuple[str, Total | None, Total | None]]:
    """(quantity, before, after) over the trusted reports: each of all that it could compare."""
    trusted = [outcome for outcome in outcomes if outcome.report.trusted]
    known = {outcome.report.id for outcome in trusted}
    rows = []
    for name, quantity in QUANTITIES.items():
        old = [one for (report, what), one in before.items() if what == name and report in known]
        new = [compared for outcome in trusted if (compared := quantity(outcome)) is not None]
        rows.append((name, total(f"{name}, before", old), total(f"{name}, now", new)))
    return rows
