"""The sheet Costs: hours of the run by phase, the bill line by line, both with live formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.report.formats.workbook import live as names
from planner.report.formats.workbook.live import Live, is_gpu_time, is_repeats
from planner.report.formats.workbook.sheet import Cell, Column, Formula, Input, Sheet
from planner.report.words import label

Namer = Callable[[str, Sheet, int, int], None]

PHASES = (
    Column("Phase", width=34),
    Column("In the plan (h)", "hours", 15),
    Column("Follows epochs", "text", 15),
    Column("Now (h)", "hours", 15),
)
LINES = (
    Column("Item", width=34),
    Column("Quantity", "amount", 15),
    Column("Unit", width=15),
    Column("Price of a unit (USD)", "usd", 15),
    Column("Sum (USD)", "usd", 15),
    Column("In the plan (USD)", "usd", 15),
    Column("Note", width=36),
    Column("Source of the price", width=60),
    Column("Date of the price", width=12),
)
QUANTITY, UNIT, PRICE, SUM, PLANNED = "B", "C", "D", "E", "F"


def write(document: Mapping[str, Any], moves: Live, sheet: Sheet, name_cell: Namer) -> None:
    sheet.columns(column.width for column in LINES)
    sheet.title("Costs of the run", "Quantity × price of a unit = sum. Yellow cells are inputs.")
    lines = document["budget"]["lines"]
    run = [line for line in lines if line["group"] == "run"]
    serving = [line for line in lines if line["group"] == "serving"]
    rows = _phases(moves, sheet, name_cell) if moves.option and moves.option.get("run") else {}
    if run:
        sheet.heading("The bill of the run")
        _bill(document, run, moves, sheet, name_cell, rows)
    if serving:
        sheet.heading("The bill of answering requests")
        _serving(serving, sheet)
    if not lines:
        sheet.line("There is no bill: no way of the question can be recommended.")
    for why in moves.why_not:
        sheet.line(why)
    for line in document["budget"]["left_out"]:
        sheet.line(f"Left out: {line}")
    sheet.print_setup()


def _phases(moves: Live, sheet: Sheet, name_cell: Namer) -> dict[str, int]:
    """Hours of one run; those of a repeated phase are scaled by the epochs. The row of each."""
    run = (moves.option or {})["run"]
    sheet.heading("Hours of one run, by phase")
    first = sheet.row + 2
    rows: list[list[Cell]] = []
    for at, (phase, hours) in enumerate(run["breakdown_hours"].items(), start=first):
        follows = moves.follows_epochs(phase)
        scaled = f"*{names.ratio(names.EPOCHS, names.EPOCHS_PLANNED)}" if follows else ""
        now = Formula(f"=B{at}{scaled}", hours)
        rows.append([label(phase).capitalize(), hours, follows, now])
    last = first + len(rows) - 1
    whole = run["wall_hours"]["p50"]
    total: list[Cell] = ["Wall-clock time", Formula(f"=SUM(B{first}:B{last})", whole)]
    total += [None, Formula(f"=SUM(D{first}:D{last})", whole)]
    sheet.table(PHASES, rows, total=total)
    name_cell(names.WALL_PLANNED, sheet, sheet.row - 1, 1)
    name_cell(names.WALL, sheet, sheet.row - 1, 3)
    return {phase: at for at, phase in enumerate(run["breakdown_hours"], start=first)}


def _bill(
    document: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    moves: Live,
    sheet: Sheet,
    name_cell: Namer,
    phases: Mapping[str, int],
) -> None:
    whole = document["budget"]["headline"]["usd"]["p50"]
    first = sheet.row + 2
    run = _rented(lines, first)
    rows = [_line(line, row, run, phases, moves) for row, line in enumerate(lines, start=first)]
    project = document["budget"]["project"]
    if moves.trials is not None and not any(line["name"] == names.FURTHER for line in lines):
        rows.append(_no_further(first + len(rows), run, project["run_usd"]))
    last = first + len(rows) - 1
    total: list[Cell] = ["The run", None, None, None]
    total += [Formula(f"=SUM({at}{first}:{at}{last})", whole) for at in (SUM, PLANNED)]
    sheet.table(LINES, rows, total=[*total, None, None, None])
    name_cell(names.RUN, sheet, sheet.row - 1, 4)
    name_cell(names.RUN_PLANNED, sheet, sheet.row - 1, 5)
    if project and moves.price is not None:
        _rented_row(project["run_usd"], lines, first, sheet, name_cell)


def _rented_row(
    usd: float, lines: Sequence[Mapping[str, Any]], first: int, sheet: Sheet, name_cell: Namer
) -> None:
    """What one run pays for its GPUs, which the project multiplies."""
    style = sheet.styles.cell("usd")
    sheet.write(sheet.row, 0, "of which GPU time of one run", sheet.styles.cell("text"))
    for at, (column, name) in enumerate(
        ((SUM, names.RENTED), (PLANNED, names.RENTED_PLANNED)), start=4
    ):
        sheet.write(sheet.row, at, Formula(f"={_rented(lines, first, column)}", usd), style)
        name_cell(name, sheet, sheet.row, at)
    sheet.row += 1


def _line(
    line: Mapping[str, Any], row: int, run: str, phases: Mapping[str, int], moves: Live
) -> list[Cell]:
    """``run``: what one run pays for its GPUs, as cells; ``phases``: rows of the hours."""
    quantity, price = line["quantity"], line["usd_per_unit"]
    counted: Cell = Input(quantity)
    priced: Cell = Input(price)
    if is_gpu_time(line) and moves.price is not None:
        counted = _hours(line, phases, moves)
        rate = "" if price == moves.price else f"*{price!r}/{names.PRICE_PLANNED}"
        priced = Formula(f"={names.PRICE}{rate}", price)
    elif is_repeats(line) and moves.trials is not None:
        counted, priced = Formula(_runs(line), quantity), Formula(f"={run}", price)
    money = Formula(f"={QUANTITY}{row}*{PRICE}{row}", line["usd"])
    start: list[Cell] = [line["name"], counted, line["unit"], priced, money, line["usd"]]
    return [*start, line["note"], line["source"], line["date"]]


def _hours(line: Mapping[str, Any], phases: Mapping[str, int], moves: Live) -> Cell:
    """A phase's hours on all GPUs; what is no phase, such as rounding, stays."""
    row = phases.get(names.PHASES.get(line["name"], ""))
    if row is None or moves.option is None:
        return line["quantity"]
    return Formula(f"=D{row}*{moves.option['gpus']}", line["quantity"])


def _runs(line: Mapping[str, Any]) -> str:
    """Whole runs beyond one: the further trials, or in proportion to all trials what fails."""
    if line["name"] == names.FURTHER:
        return f"={names.TRIALS}-1"
    return f"={line['quantity']!r}*{names.ratio(names.TRIALS, names.TRIALS_PLANNED)}"


def _rented(lines: Sequence[Mapping[str, Any]], first: int, column: str = SUM) -> str:
    """The cells of what one run pays for its GPUs."""
    rows = [row for row, line in enumerate(lines, start=first) if is_gpu_time(line)]
    return "+".join(f"{column}{row}" for row in rows)


def _no_further(row: int, run: str, run_usd: float) -> list[Cell]:
    """Further trials, of which the plan has none: the input has to have a line. What one run pays
    for its GPUs: as cells ``run``, in the plan ``run_usd``."""
    price = Formula(f"={run}", run_usd)
    start: list[Cell] = [names.FURTHER, Formula(f"={names.TRIALS}-1", 0.0), names.RUNS, price]
    note = "none in the plan; the input Trials on the sheet Summary sets them"
    return [*start, Formula(f"={QUANTITY}{row}*{PRICE}{row}", 0.0), 0.0, note, None, None]


def _serving(lines: Sequence[Mapping[str, Any]], sheet: Sheet) -> None:
    rows: list[list[Cell]] = []
    for row, line in enumerate(lines, start=sheet.row + 2):
        money = Formula(f"={QUANTITY}{row}*{PRICE}{row}", line["usd"])
        start: list[Cell] = [line["name"], Input(line["quantity"]), line["unit"]]
        start += [Input(line["usd_per_unit"]), money, line["usd"]]
        rows.append([*start, line["note"], line["source"], line["date"]])
    sheet.table(LINES, rows)
