"""What providers charge by the token: fine-tuning as a service, and inference and embedding.

Tables in ``profiles/api_prices/``. Training is billed for dataset tokens × epochs.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.cost.prices.offers import STALE_DAYS
from planner.errors import UnknownNameError
from planner.today import today

PER_MILLION_TOKENS = 1e6
TOKEN_UNITS = ("per 1M tokens", "per 1M training tokens")


@dataclass(frozen=True)
class ApiPrice:
    """USD per token, None where the provider has no such price; a size class holds the models of
    more than ``above_params`` and up to ``most_params`` parameters (both None: not a size class).
    """

    provider: str
    model: str
    price_type: str  # training | inference | embedding | inference of a fine-tuned model
    method: str  # "LoRA SFT" and the like, "" where there is one price for all
    usd_per_input_token: float | None
    usd_per_output_token: float | None
    usd_per_training_token: float | None
    above_params: float | None
    most_params: float | None
    captured_date: datetime.date | None  # None: the source is undated
    confidence: str
    source: str
    # input that the provider has kept from an earlier request
    usd_per_cached_input_token: float | None = None

    @property
    def trust_warning(self) -> str | None:
        """What the reader must know of the row: undated, old, or of low confidence; None where it
        can be trusted."""
        who = f"{self.provider} {self.model}"
        if self.captured_date is None:
            return f"the price of {who} is undated"
        if "low" in self.confidence:
            return f"the price of {who} is of {self.confidence.partition(' (')[0]} confidence"
        age = (today() - self.captured_date).days
        return f"the price of {who} is {age} days old" if age > STALE_DAYS else None


def training_prices(total_params: int, *, provider: str | None = None) -> list[ApiPrice]:
    """Fine-tuning prices of the size classes that a model of this many parameters falls in,
    cheapest first.

    Undated rows are left out. Raises UnknownNameError for a provider that sells no training by the
    token.
    """
    found = [
        price
        for price in _prices("training")
        if price.price_type == "training" and price.usd_per_training_token and price.captured_date
    ]
    _check_provider(provider, found)
    fitting = [
        price
        for price in found
        if provider in (None, price.provider)
        and price.most_params is not None
        and price.above_params is not None
        and price.above_params < total_params <= price.most_params
    ]
    return sorted(fitting, key=lambda price: (price.usd_per_training_token, price.provider))


def model_prices(model: str, *, price_type: str = "inference") -> list[ApiPrice]:
    """Prices of the models whose name holds this text, whatever the case, cheapest input first;
    ``price_type`` as in ``ApiPrice``."""
    wanted = model.lower()
    table = (
        "training" if price_type in ("training", "inference of a fine-tuned model") else "inference"
    )
    found = [
        price
        for price in _prices(table)
        if price.price_type == price_type and wanted in price.model.lower()
    ]
    return sorted(
        found,
        key=lambda price: (
            price.usd_per_input_token or price.usd_per_training_token or 0.0,
            price.provider,
            price.model,
        ),
    )


def _check_provider(provider: str | None, found: list[ApiPrice]) -> None:
    known = {price.provider for price in found}
    if provider is not None and provider not in known:
        raise UnknownNameError(
            "provider of fine-tuning", provider, known, mend=f"Known: {', '.join(sorted(known))}"
        )


@cache
def _prices(table: str) -> tuple[ApiPrice, ...]:
    return tuple(
        _price(row)
        for row in tables.rows("api_prices", f"{table}.csv")
        if row["unit"] in TOKEN_UNITS
    )


def _price(row: dict[str, str]) -> ApiPrice:
    above, to = (
        tables.number(row.get(column))
        for column in ("class_above_billion_params", "class_to_billion_params")
    )
    most = math.inf if above is not None and to is None else to
    captured = datetime.date.fromisoformat(row["captured_date"]) if row["captured_date"] else None
    return ApiPrice(
        provider=row["provider"],
        model=row["model"],
        price_type=row["kind"],
        method=row["method"],
        usd_per_input_token=_per_token(row["usd_input"]),
        usd_per_output_token=_per_token(row["usd_output"]),
        usd_per_training_token=_per_token(row["usd_train"]),
        above_params=_billions(above),
        most_params=_billions(most),
        captured_date=captured,
        confidence=row["confidence"],
        source=row["source"],
        usd_per_cached_input_token=_per_token(row["usd_cached_input"]),
    )


def _per_token(cell: str) -> float | None:
    value = tables.number(cell)
    return None if value is None else value / PER_MILLION_TOKENS


def _billions(value: float | None) -> float | None:
    return None if value is None else value * 1e9
