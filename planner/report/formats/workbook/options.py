"""The sheets of what can be chosen: strategies, offers, and what the sum hangs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.formats.workbook import live as names
from planner.report.formats.workbook.live import Live
from planner.report.formats.workbook.sheet import Cell, Column, Formula, Sheet, Table
from planner.report.views import option as option_view
from planner.report.views.budget import options as named
from planner.report.words import value_text
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
        asked = [
            [named.strategy(e["strategy"]), e["verdict"], e["needed"], e["source"]] for e in enough
        ]
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
        named.name(option),
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
