"""Published fine-tuning bills beside ours: providers' worked examples and users' invoices.

    python benchmarks/provider_bills.py            # a table in Markdown

Rows of ``profiles/api_prices/published_bills.csv``; prices from ``training.csv`` unless the example
brings its own, rules from ``fine_tuning_rules.csv``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from planner import tables
from planner.cost.token_bills import TuningBill, hourly_tuning_usd, tuning_rule, tuning_usd
from planner.errors import ProfileError

MILLION = 1e6


@dataclass(frozen=True)
class Compared:
    """A published bill and ours, in USD, or in billed tokens where the source states no price."""

    name: str
    provider: str
    unit: str
    published: float
    ours: float
    price: str
    note: str
    source: str

    @property
    def error(self) -> float:
        return self.ours / self.published - 1


def compared(row: Mapping[str, str]) -> list[Compared]:
    """One row as one comparison for each figure that was published. Raises ProfileError for a price
    that no table has."""
    price, from_where = _price(row)
    if row["kind"] == "tokens":
        bill = _by_token(row, price)
        ours = {"USD": bill.usd, "tokens": bill.billed_tokens}
    else:
        ours = {"USD": _by_hour(row, price) if row["kind"] == "hours" else _serving(row)}
    published = {"USD": row["published_usd"], "tokens": row["published_tokens"]}
    return [
        Compared(
            row["name"],
            row["provider"],
            unit,
            float(published[unit]),
            value,
            from_where,
            row["note"],
            row["source"],
        )
        for unit, value in ours.items()
        if published[unit]
    ]


def _price(row: Mapping[str, str]) -> tuple[float, str]:
    """(USD a unit, where it is from)."""
    if row["usd_per_unit"]:
        return float(row["usd_per_unit"]), "the example's own"
    if row["kind"] == "month":
        return 0.0, "the example's own"
    for known in tables.rows("api_prices", "training.csv"):
        if (known["provider"], known["model"], known["method"], known["unit"]) == (
            row["provider"],
            row["price_model"],
            row["price_method"],
            row["unit"],
        ):
            return float(known["usd_train"]), f"training.csv, {known['as_of'] or 'undated'}"
    raise ProfileError(f"no price for {row['name']!r}", where="api_prices/training.csv")


def _number(row: Mapping[str, str], column: str) -> float:
    return tables.number(row[column]) or 0.0


def _by_token(row: Mapping[str, str], usd_per_million: float) -> TuningBill:
    return tuning_usd(
        _number(row, "training_tokens"),
        _number(row, "epochs"),
        usd_per_million / MILLION,
        tuning_rule(row["provider"]),
        validation_tokens=_number(row, "validation_tokens"),
        evaluations=_number(row, "evaluations"),
    )


def _by_hour(row: Mapping[str, str], usd_per_hour: float) -> float:
    """Hours of training, and the tokens of a model that grades."""
    return hourly_tuning_usd(
        _number(row, "hours"), usd_per_hour, tuning_rule(row["provider"])
    ) + _tokens_usd(row)


def _serving(row: Mapping[str, str]) -> float:
    return _number(row, "hosting_hours") * (
        tuning_rule(row["provider"]).hosting_usd_per_hour or 0.0
    ) + _tokens_usd(row)


def _tokens_usd(row: Mapping[str, str]) -> float:
    return (
        sum(
            _number(row, f"{side}_tokens") * _number(row, f"usd_{side}")
            for side in ("input", "output")
        )
        / MILLION
    )


def all_compared() -> list[Compared]:
    return [
        found for row in tables.rows("api_prices", "published_bills.csv") for found in compared(row)
    ]


def markdown(found: list[Compared]) -> str:
    lines = [
        "| bill | provider | published | ours | error | price from | note | source |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for one in found:
        cells = [
            one.name,
            one.provider,
            _figure(one.published, one.unit),
            _figure(one.ours, one.unit),
            f"{one.error:+.2%}",
            one.price,
            one.note,
            one.source,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    worst = max(found, key=lambda one: abs(one.error))
    return "\n".join(
        [
            *lines,
            "",
            f"{len(found)} published figures; the worst error is {worst.error:+.2%} "
            f"({worst.name}).",
        ]
    )


def _figure(value: float, unit: str) -> str:
    return f"${value:,.2f}" if unit == "USD" else f"{value:,.0f} tokens"


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    sys.stdout.write(markdown(all_compared()) + "\n")
