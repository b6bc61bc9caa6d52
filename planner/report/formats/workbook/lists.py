"""The sheets that list: strategies, offers, sensitivity, the project, assumptions, the glossary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.report.formats.workbook import live as names
from planner.report.formats.workbook.costs import Namer
from planner.report.formats.workbook.live import Live
from planner.report.formats.workbook.sheet import Cell, Column, Formula, Sheet, Table
from planner.report.formats.workbook.style import Kind
from planner.report.views import answer as answer_view
from planner.report.views import option as option_view
from planner.report.words import UNKNOWN, value_text
from planner.units import gib

# ---- strategies

STRATEGIES = (
    Column("Strategy", width=28),
    Column("Recommended", width=13),
    Column("GPU", width=26),
    Column("GPUs", "count", 6),
    Column("Provider", width=12),
    Column("Fits", width=10),
    Column("Memory used (GiB)", "gib", 10),
    Column("Memory of the GPU (GiB)", "gib", 10),
    Column("Wall-clock (h)", "hours", 10),
    Column("GPU time (h)", "hours", 10),
    Column("GPU time, low (h)", "hours", 10),
    Column("GPU time, high (h)", "hours", 10),
    Column("Cost (USD)", "usd", 11),
    Column("Cost, low (USD)", "usd", 11),
    Column("Cost, high (USD)", "usd", 11),
    Column("Price of a GPU-hour (USD)", "usd", 12),
    Column("Energy (kWh)", "kwh", 10),
    Column("Carbon (kg CO2e)", "kwh", 10),
    Column("Trained share", "share", 9),
)


def strategies(document: Mapping[str, Any], moves: Live, sheet: Sheet) -> Table:
    """The recommended one follows the inputs; the others stand as planned."""
    sheet.columns(column.width for column in STRATEGIES)
    sheet.title("All strategies", "Medians; low to high (p10 to p90) holds eight of ten such runs.")
    chosen = document["budget"]["headline"]["option"]
    rows = [_strategy(option, moves, at == chosen) for at, option in enumerate(document["options"])]
    table = sheet.table(STRATEGIES, rows, chosen=chosen)
    enough = document["budget"]["enough"]
    if enough:
        sheet.heading("Is there enough data?")
        columns = [
            Column("Strategy"),
            Column("Verdict"),
            Column("Needed"),
            Column("Source", span=9),
        ]
        asked = [[e["strategy"], e["verdict"], e["needed"], e["source"]] for e in enough]
        sheet.table(columns, asked)
    sheet.print_setup(freeze=(table.first, 1))
    return table


def _strategy(option: Mapping[str, Any], moves: Live, chosen: bool) -> list[Cell]:
    memory, run, cost = (option.get(key) or {} for key in ("memory", "run", "cost"))
    used = memory.get("device_used_bytes")
    wall, hours, usd = run.get("wall_hours"), run.get("gpu_hours"), cost.get("usd")
    energy, carbon = option.get("energy_kwh"), option.get("co2_kg")
    model = option.get("model") or {}
    moving = chosen and moves.price is not None
    return [
        option_view.name(option),
        "yes" if chosen else None,
        option.get("gpu") or "none: paid by the token",
        option["gpus"] or None,
        option.get("provider"),
        option_view.fits(option).replace("\n", ", "),
        gib(used["p50"]) if used else None,
        gib(memory["device_total_bytes"]) if memory else None,
        *_figures(wall, moving, names.WALL, names.WALL_PLANNED)[:1],
        *_figures(hours, moving, names.WALL, names.WALL_PLANNED),
        *_figures(usd, moving, names.RUN, names.RUN_PLANNED),
        Formula(f"={names.PRICE}", cost["usd_per_gpu_hour"])
        if moving
        else cost.get("usd_per_gpu_hour"),
        energy["p50"] if energy else None,
        carbon["p50"] if carbon else None,
        model.get("trainable_share"),
    ]


def _figures(
    figure: Mapping[str, float] | None, moving: bool, now: str, planned: str
) -> list[Cell]:
    """Median, low, high."""
    if not figure:
        return [None, None, None]
    values = [figure[key] for key in ("p50", "p10", "p90")]
    if not moving or not figure["p50"]:
        return list(values)
    return [Formula(f"={value!r}*{names.ratio(now, planned)}", value) for value in values]


# ---- offers

OFFERS = (
    Column("GPU", width=30),
    Column("GPUs", "count", 6),
    Column("Provider", width=14),
    Column("Instance", width=26),
    Column("Wall-clock (h)", "hours", 11),
    Column("Cost (USD)", "usd", 11),
    Column("Cost, low (USD)", "usd", 11),
    Column("Cost, high (USD)", "usd", 11),
    Column("Price of a GPU-hour (USD)", "usd", 12),
    Column("Date of the price", width=12),
    Column("Age (days)", "count", 8),
    Column("Keeps the limits", width=10),
    Column("None is cheaper and faster", width=14),
)


def offers(document: Mapping[str, Any], sheet: Sheet) -> Table | None:
    """Where the recommended strategy can be rented."""
    sheet.columns(column.width for column in OFFERS)
    sheet.title("Offers", "The recommended strategy on each GPU at each provider, as planned.")
    made = document["budget"]["offers"]
    if not made:
        sheet.line("No offers: nothing is recommended, or no GPU is rented.")
        sheet.print_setup()
        return None
    chosen = next((at for at, offer in enumerate(made) if offer["chosen"]), None)
    rows = [
        [
            offer["gpu"],
            offer["gpus"],
            offer["provider"],
            offer["instance_type"],
            offer["wall_hours"]["p50"],
            *(offer["usd"][key] for key in ("p50", "p10", "p90")),
            offer["usd_per_gpu_hour"],
            offer["price_date"],
            offer["price_age_days"],
            offer["keeps_limits"],
            offer["on_front"],
        ]
        for offer in made
    ]
    table = sheet.table(OFFERS, rows, chosen=chosen)
    sheet.print_setup(freeze=(table.first, 1))
    return table


# ---- sensitivity

SENSITIVITY = (
    Column("What changes", width=28),
    Column("Low", width=16),
    Column("High", width=16),
    Column("Cost at low (USD)", "usd", 12),
    Column("Cost at high (USD)", "usd", 12),
    Column("Wall-clock at low (h)", "hours", 12),
    Column("Wall-clock at high (h)", "hours", 12),
    Column("Flag", width=20),
    Column("Why this span", width=50),
)
CHANCES = (
    Column("Bill above (USD)", "usd"),
    Column("Chance", "share"),
)


def sensitivity(document: Mapping[str, Any], sheet: Sheet) -> tuple[Table | None, Table | None]:
    """(what changes, the distribution of the bill)."""
    sheet.columns(column.width for column in SENSITIVITY)
    sheet.title("Sensitivity", "One assumption changed, everything else as planned; asked anew.")
    changes, chances = document["budget"]["sensitivity"], document["budget"]["chances"]
    swings = spread = None
    if changes:
        rows = [
            [
                *(each[key] for key in ("what", "low", "high", "usd_low", "usd_high")),
                *(each[key] for key in ("hours_low", "hours_high", "field", "why")),
            ]
            for each in changes
        ]
        swings = sheet.table(SENSITIVITY, rows)
    else:
        sheet.line("Nothing was asked anew for this answer.")
    if chances:
        sheet.heading("The chance that the bill is higher")
        spread = sheet.table(CHANCES, [[point["usd"], point["chance"]] for point in chances])
        over = document["budget"]["chance_over_limit"]
        if over is not None:
            sheet.line(f"Chance that the budget is not enough: {value_text('x_share', over)}")
    sheet.print_setup(freeze=(swings.first, 1) if swings else None)
    return swings, spread


# ---- project

PROJECT = (
    Column("What people pay for", width=34),
    Column("Low quantity", "amount", 11),
    Column("High quantity", "amount", 11),
    Column("Unit", width=14),
    Column("Low in the plan (USD)", "usd", 12),
    Column("High in the plan (USD)", "usd", 12),
    Column("Follows", width=22),
    Column("Low (USD)", "usd", 12),
    Column("High (USD)", "usd", 12),
    Column("Note", width=36),
    Column("Source", width=50),
)
STAGES = (
    Column("Stage"),
    Column("Cost (USD)", "usd"),
    Column("Spent by then (USD)", "usd"),
    Column("Strategy"),
    Column("Where", span=2),
    Column("When to go on, when to stop", span=4),
    Column("Why it cannot be priced"),
)
FOLLOWS = {
    "run": "the run's GPU time",
    "hour": "the price of a GPU-hour",
    "share": "the lines above",
    "": "nothing: as planned",
}


def project(document: Mapping[str, Any], moves: Live, sheet: Sheet, name_cell: Namer) -> None:
    """Low and high of the project as people run it, then the order to go in."""
    sheet.columns(column.width for column in PROJECT)
    sheet.title("The project as people run it", "Trials, failed runs, debugging, idle hours.")
    part = document["budget"]["project"]
    if part:
        _project_lines(part, moves, sheet, name_cell)
    else:
        sheet.line("No project is priced: nothing is recommended.")
    if stages := document["budget"]["stages"]:
        sheet.heading("The order to go in")
        keys = ("name", "usd", "spent_by_then_usd", "strategy", "where", "go_on", "why_not")
        sheet.table(STAGES, [[stage[key] for key in keys] for stage in stages])
    sheet.print_setup()


def _project_lines(part: Mapping[str, Any], moves: Live, sheet: Sheet, name_cell: Namer) -> None:
    first = sheet.row + 2
    rows = [
        _project_line(line, row, first, part["lines"], moves)
        for row, line in enumerate(part["lines"], start=first)
    ]
    last = first + len(rows) - 1
    low, high = part["low_usd"], part["high_usd"]
    total: list[Cell] = ["The project", None, None, None, low, high, None]
    total += [
        Formula(f"=SUM({at}{first}:{at}{last})", end) for at, end in (("H", low), ("I", high))
    ]
    sheet.table(PROJECT, rows, total=[*total, None, None])
    name_cell(names.PROJECT_LOW, sheet, sheet.row - 1, 7)
    name_cell(names.PROJECT_HIGH, sheet, sheet.row - 1, 8)


def _project_line(
    line: Mapping[str, Any],
    row: int,
    first: int,
    lines: Sequence[Mapping[str, Any]],
    moves: Live,
) -> list[Cell]:
    follows = _basis(line["unit"]) if moves.price is not None else ""
    above = [
        at
        for at, each in enumerate(lines, start=first)
        if at < row and _basis(each["unit"]) in ("run", "hour")
    ]
    start: list[Cell] = [line["name"], line["low"], line["high"], line["unit"]]
    start += [line["low_usd"], line["high_usd"], FOLLOWS[follows]]
    ends: list[Cell] = [
        Formula(f"={planned}{row}{_factor(follows, planned, now, above)}", line[key])
        for planned, now, key in (("E", "H", "low_usd"), ("F", "I", "high_usd"))
    ]
    return [*start, *ends, line["note"], line["source"]]


def _basis(unit: str) -> str:
    return next((part for part in ("share", "run", "hour") if part in unit), "")


def _factor(follows: str, planned: str, now: str, above: Sequence[int]) -> str:
    """By what a line of the project grows when the inputs change."""
    if follows == "run":
        return f"*{names.ratio(names.RENTED, names.RENTED_PLANNED)}"
    if follows == "hour":
        return f"*{names.ratio(names.PRICE, names.PRICE_PLANNED)}"
    if follows == "share" and above:
        sums = ["+".join(f"{at}{row}" for row in above) for at in (now, planned)]
        return f"*({sums[0]})/({sums[1]})"
    return ""


# ---- assumptions, glossary


def assumptions(document: Mapping[str, Any], sheet: Sheet) -> None:
    budget = document["budget"]
    sheet.columns((34, 70, 16, 14, 12, 10, 10))
    sheet.title("Assumptions and sources")
    _texts(
        "How the question was understood",
        [line["text"] for line in document.get("first_lines") or ()],
        sheet,
    )
    _texts("Assumptions", answer_view.lines(document, "assumptions"), sheet)
    _texts("Warnings", answer_view.lines(document, "warnings"), sheet)
    _texts("Left out", budget["left_out"], sheet)
    _prices(budget["prices"], sheet)
    _accuracy(budget["accuracy"], sheet)
    sheet.heading("Sources")
    columns = [Column("What"), Column("Source"), Column("Date")]
    sheet.table(
        columns, [[s["what"], s["source"], s.get("date") or UNKNOWN] for s in document["sources"]]
    )
    sheet.heading("How to reproduce")
    made = budget["reproduce"]
    pairs = [["Command line", made["command"]], ["Python", made["python"]]]
    pairs += [["planner", made["version"]], ["Report made", made["made"]]]
    sheet.table([Column("What"), Column("How")], pairs)
    sheet.heading("The question")
    sheet.table(
        [Column("What"), Column("Value")], [list(pair) for pair in answer_view.asked(document)]
    )
    sheet.print_setup()


def _texts(title: str, texts: Sequence[str], sheet: Sheet) -> None:
    if not texts:
        return
    sheet.heading(title)
    for text in texts:
        sheet.line(text)


def _prices(prices: Sequence[Mapping[str, Any]], sheet: Sheet) -> None:
    if not prices:
        return
    sheet.heading("Prices")
    columns = [
        Column("GPU"),
        Column("Source"),
        Column("USD per GPU-hour", "usd"),
        Column("Provider"),
        Column("Date"),
        Column("Age (days)", "count"),
        Column("Stale"),
    ]
    keys = ("gpu", "source", "usd_per_gpu_hour", "provider", "date", "age_days", "stale")
    sheet.table(columns, [[price[key] for key in keys] for price in prices])


def _accuracy(part: Mapping[str, Any] | None, sheet: Sheet) -> None:
    if not part:
        return
    sheet.heading("How right the planner was on runs like this one")
    sheet.line(part["like"])
    shares: dict[tuple[int, int], Kind] = {(at, 1): "share" for at in range(1, 5)}
    rows: list[list[Cell]] = [
        ["Runs", part["runs"]],
        ["Median error", part["median_error"]],
        ["Within 30 %", part["within_30_percent"]],
        ["Inside the range", part["inside_range"]],
        ["Bias", part["bias"]],
    ]
    sheet.table([Column("What"), Column("Value", "count")], rows, kinds=shares)
    if part["shown"]:
        columns = [
            Column("Run"),
            Column("Source"),
            Column("Reported (h)", "hours"),
            Column("Planned (h)", "hours"),
            Column("Error", "share"),
        ]
        keys = ("name", "source", "reported_hours", "planned_hours", "error")
        sheet.table(columns, [[run[key] for key in keys] for run in part["shown"]])


def glossary(document: Mapping[str, Any], sheet: Sheet) -> None:
    sheet.columns((28, 100))
    sheet.title("Glossary")
    terms = [[each["term"], each["meaning"]] for each in document["budget"]["glossary"]]
    table = sheet.table([Column("Term"), Column("Meaning")], terms)
    sheet.print_setup(freeze=(table.first, 1))
