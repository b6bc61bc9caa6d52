"""What is paid by the token: requests to a model behind an API, a store of vectors to search, and
fine-tuning as a service.

Arithmetic on rows of ``profiles/api_prices/`` only. What a provider does not state is None, never
0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

from planner import tables
from planner.cost.api_prices import ApiPrice
from planner.errors import ProfileError, QuestionError, UnknownNameError
from planner.units import GB, MEGA


@dataclass(frozen=True)
class CostCurve:
    """What a way of answering requests costs over its load: ``up_front_usd`` once;
    ``usd_per_request``; ``usd_per_month`` and ``metered_usd_per_request`` of a service that asks
    at least ``least_usd_per_month``; and ``usd_per_server_month`` for each whole server, of which
    one stands from the first request and holds ``requests_per_server_month``. Straight lines and
    stairs, so that where two cross can be worked out."""

    up_front_usd: float = 0.0
    usd_per_request: float = 0.0
    usd_per_month: float = 0.0
    metered_usd_per_request: float = 0.0
    least_usd_per_month: float = 0.0
    usd_per_server_month: float = 0.0
    requests_per_server_month: float = math.inf

    def servers(self, requests_per_month: float) -> int:
        return (
            max(1, math.ceil(requests_per_month / self.requests_per_server_month))
            if self.usd_per_server_month
            else 0
        )

    def service_usd(self, requests_per_month: float) -> float:
        """A month of the metered service."""
        return max(
            self.least_usd_per_month,
            self.usd_per_month + requests_per_month * self.metered_usd_per_request,
        )

    def monthly_usd(self, requests_per_month: float) -> float:
        return (
            self.service_usd(requests_per_month)
            + requests_per_month * self.usd_per_request
            + self.servers(requests_per_month) * self.usd_per_server_month
        )

    def usd(self, requests_per_month: float, months: float) -> float:
        """USD of a whole project."""
        return self.up_front_usd + months * self.monthly_usd(requests_per_month)


@dataclass(frozen=True)
class RequestTokens:
    """One request: what is asked (``prompt``), samples shown with it (``examples``), text that was
    ``retrieved``, and the answer (``output``); ``cached_share`` of all input is read from the
    provider's cache."""

    prompt: float
    output: float
    examples: float = 0.0
    retrieved: float = 0.0
    cached_share: float = 0.0

    @property
    def input(self) -> float:
        return self.prompt + self.examples + self.retrieved


def request_usd(tokens: RequestTokens, price: ApiPrice) -> float:
    """USD of one request. Cached input is paid in full where the provider states no price for it,
    and never costs more than fresh input. Raises QuestionError for a model without a price of input
    or, where it answers, of output."""
    if price.usd_per_input_token is None or (tokens.output and price.usd_per_output_token is None):
        raise QuestionError(
            f"no price of {'input' if price.usd_per_input_token is None else 'output'} is known",
            where=f"{price.provider} {price.model}",
        )
    fresh = price.usd_per_input_token
    cached = _cached_rate(price, fresh)
    input_rate = (1 - tokens.cached_share) * fresh + tokens.cached_share * cached
    return tokens.input * input_rate + tokens.output * (price.usd_per_output_token or 0.0)


def request_rates(tokens: RequestTokens, price: ApiPrice) -> list[tuple[str, float, float]]:
    """(what, tokens, USD a token) that sum to ``request_usd``, of a price that it takes."""
    fresh = price.usd_per_input_token or 0.0
    kept = tokens.input * tokens.cached_share
    return [
        ("Tokens read", tokens.input - kept, fresh),
        ("Tokens read from the provider's cache", kept, _cached_rate(price, fresh)),
        ("Tokens written", tokens.output, price.usd_per_output_token or 0.0),
    ]


def _cached_rate(price: ApiPrice, fresh: float) -> float:
    if price.usd_per_cached_input_token is None:
        return fresh
    return min(fresh, price.usd_per_cached_input_token)


# ---------------------------------------------------------------- retrieval


@dataclass(frozen=True)
class Store:
    """The vectors of a corpus: pieces of documents, a vector and the piece's text each.
    ``memory_bytes``: what a server that keeps the vectors in memory needs."""

    vectors: int
    dimensions: int
    embedded_tokens: float
    stored_bytes: float
    memory_bytes: float


def store_for(corpus_tokens: float, dimensions: int) -> Store:
    """A corpus cut into overlapping pieces, each embedded once
    (``profiles/defaults/serving.csv``)."""
    chunk, overlap = serving_default("chunk_tokens"), serving_default("chunk_overlap_tokens")
    vectors = max(1, math.ceil((corpus_tokens - overlap) / (chunk - overlap)))
    embedded = corpus_tokens + (vectors - 1) * overlap
    raw = vectors * dimensions * serving_default("bytes_per_dimension")
    return Store(
        vectors=vectors,
        dimensions=dimensions,
        embedded_tokens=embedded,
        stored_bytes=raw + embedded * serving_default("bytes_per_token"),
        memory_bytes=raw * serving_default("store_overhead"),
    )


@dataclass(frozen=True)
class StorePrice:
    """A row of ``vector_stores.csv``; prices that the store does not have are None."""

    store: str
    usd_per_gb_month: float
    usd_per_million_dimensions_month: float | None
    usd_per_gb_written: float | None
    usd_per_gb_scanned: float | None
    least_gb_scanned: float | None
    least_usd_per_month: float | None
    date: str
    source: str

    def usd_to_fill(self, store: Store) -> float:
        return store.stored_bytes / GB * (self.usd_per_gb_written or 0.0)

    def usd_per_query(self, store: Store) -> float:
        """A query pays for what it searches: all of the store."""
        return max(store.stored_bytes / GB, self.least_gb_scanned or 0.0) * (
            self.usd_per_gb_scanned or 0.0
        )

    def cost_curve(self, store: Store) -> CostCurve:
        """Filling, keeping and searching these vectors, one query a request."""
        kept = store.stored_bytes / GB * self.usd_per_gb_month
        kept += (
            store.vectors * store.dimensions / MEGA * (self.usd_per_million_dimensions_month or 0.0)
        )
        return CostCurve(
            up_front_usd=self.usd_to_fill(store),
            usd_per_month=kept,
            metered_usd_per_request=self.usd_per_query(store),
            least_usd_per_month=self.least_usd_per_month or 0.0,
        )


@cache
def store_prices() -> tuple[StorePrice, ...]:
    number = tables.number
    return tuple(
        StorePrice(
            store=row["store"],
            usd_per_gb_month=float(row["usd_per_gb_month"]),
            usd_per_million_dimensions_month=number(row["usd_per_million_dimensions_month"]),
            usd_per_gb_written=number(row["usd_per_gb_written"]),
            usd_per_gb_scanned=number(row["usd_per_gb_scanned"]),
            least_gb_scanned=number(row["least_gb_scanned"]),
            least_usd_per_month=number(row["least_usd_per_month"]),
            date=row["captured_date"],
            source=row["source"],
        )
        for row in tables.rows("api_prices", "vector_stores.csv")
    )


def store_price(name: str | None, store: Store, queries_per_month: float) -> StorePrice:
    """The named store, or the cheapest for these vectors and queries. Raises UnknownNameError."""
    known = {price.store: price for price in store_prices()}
    if name is None:
        return min(
            known.values(),
            key=lambda price: (price.cost_curve(store).monthly_usd(queries_per_month), price.store),
        )
    if name.lower() not in known:
        raise UnknownNameError("vector store", name, known, mend=f"Known: {', '.join(known)}")
    return known[name.lower()]


# ---------------------------------------------------------------- fine-tuning as a service


@dataclass(frozen=True)
class TuningRule:
    """How a provider bills fine-tuning beyond the price of a token: a row of
    ``fine_tuning_rules.csv``."""

    provider: str
    validation: str | None  # "each evaluation" | "once" | "no"; None: not stated
    least_usd: float | None
    served: str | None  # "token" | "base" | "gpu_hour"; None: not stated
    hosting_usd_per_hour: float | None
    hour_step: float | None
    most_usd: float | None
    source: str


@dataclass(frozen=True)
class TuningBill:
    """``parts_usd`` (training, validation, minimum) sum to ``usd``; ``tokens`` of training and
    validation sum to ``billed_tokens``."""

    usd: float
    billed_tokens: float
    parts_usd: dict[str, float] = field(hash=False)
    notes: tuple[str, ...] = ()
    tokens: tuple[float, float] = (0.0, 0.0)


@cache
def tuning_rules() -> dict[str, TuningRule]:
    number = tables.number
    return {
        row["provider"]: TuningRule(
            provider=row["provider"],
            validation=row["validation"] or None,
            least_usd=number(row["minimum_usd"]),
            served=row["served"] or None,
            hosting_usd_per_hour=number(row["hosting_usd_per_hour"]),
            hour_step=number(row["hour_step"]),
            most_usd=number(row["most_usd"]),
            source=row["source"],
        )
        for row in tables.rows("api_prices", "fine_tuning_rules.csv")
    }


def tuning_rule(provider: str) -> TuningRule:
    """The provider's rule; one that states nothing where the table has no row."""
    return tuning_rules().get(provider) or TuningRule(
        provider=provider,
        validation=None,
        least_usd=None,
        served=None,
        hosting_usd_per_hour=None,
        hour_step=None,
        most_usd=None,
        source="no source",
    )


def tuning_usd(
    tokens: float,
    epochs: float,
    usd_per_token: float,
    rule: TuningRule,
    *,
    validation_tokens: float = 0.0,
    evaluations: float = 0.0,
) -> TuningBill:
    """A job of ``tokens`` a pass, ``epochs`` passes, packed without padding. Where the provider
    does not say whether validation is billed, it is, and the note says so: a bill is then not lower
    than what will be asked."""
    passes = {"each evaluation": evaluations, "once": 1.0, "no": 0.0, None: evaluations}[
        rule.validation
    ]
    trained, checked = tokens * epochs, validation_tokens * (passes if validation_tokens else 0.0)
    parts = {"training": trained * usd_per_token, "validation": checked * usd_per_token}
    parts["minimum"] = max(0.0, (rule.least_usd or 0.0) - sum(parts.values()))
    notes = ()
    if rule.validation is None and checked:
        notes = (
            f"{rule.provider} does not state whether validation tokens are billed: they are "
            "counted at each evaluation",
        )
    usd = sum(parts.values())
    return TuningBill(usd, trained + checked, parts, notes, (trained, checked))


def hourly_tuning_usd(hours: float, usd_per_hour: float, rule: TuningRule) -> float:
    """Training billed by the hour of its core loop: hours rounded to the provider's step, ended at
    the most that a job may cost."""
    counted = round(hours / rule.hour_step) * rule.hour_step if rule.hour_step else hours
    usd = counted * usd_per_hour
    return usd if rule.most_usd is None else min(usd, rule.most_usd)


# ---------------------------------------------------------------- rows


@cache
def serving_default(key: str) -> float:
    """A row of ``profiles/defaults/serving.csv``. Raises ProfileError when there is none."""
    for row in tables.rows("defaults", "serving.csv"):
        if row["key"] == key:
            return float(row["value"])
    raise ProfileError(f"no default for {key}", where="profiles/defaults/serving.csv")


@cache
def vector_dimensions() -> dict[str, int]:
    """Embedding model → the length of its vectors, where it is known."""
    return {
        row["model"]: int(row["dimensions"])
        for row in tables.rows("api_prices", "embedding_dimensions.csv")
    }


def why_not_chat(model: str) -> str | None:
    """Why a model of the price table cannot be prompted; None where nothing speaks against it."""
    low = model.lower()
    return next(
        (row["reason"] for row in tables.rows("api_prices", "not_chat.csv") if row["part"] in low),
        None,
    )
