"""The claims as rows of ``profiles/claims/claims.csv``, and a claim that was checked."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.claim_verdicts import Case
from planner import tables


@dataclass(frozen=True)
class Claim:
    """A row of claims.csv. ``cases`` are judged, ``beside`` only shown; ``low`` and ``high``: None
    is an open end."""

    id: str
    topic: str
    text: str
    figure: str
    low: float | None
    high: float | None
    unit: str
    cases: tuple[str, ...]
    beside: tuple[str, ...]
    explanation: str
    condition: str
    source: str
    date: str


@dataclass(frozen=True)
class Checked:
    """A claim with our figures and the verdict; sentences with their numbers filled in."""

    claim: Claim
    cases: tuple[Case, ...]
    beside: tuple[Case, ...]
    verdict: str
    explanation: str
    condition: str


def claims() -> list[Claim]:
    return [_claim(row) for row in tables.rows("claims", "claims.csv")]


def _claim(row: dict[str, str]) -> Claim:
    judged, _, beside = row["cases"].partition(";")
    return Claim(
        row["id"],
        row["topic"],
        row["claim"],
        row["figure"],
        tables.number(row["low"]),
        tables.number(row["high"]),
        row["unit"],
        tuple(judged.split()),
        tuple(beside.split()),
        row["explanation"],
        row["condition"],
        row["source"],
        row["date"],
    )
