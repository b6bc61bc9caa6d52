"""Honesty about training from scratch: how much data would be enough, and what a run on it would
cost."""

from __future__ import annotations

from dataclasses import dataclass

from planner import units
from planner.datasets.profile import DatasetProfile
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.inputs.rows import default


@dataclass(frozen=True)
class EnoughData:
    """``amount`` tokens or samples, by ``source``; ``gpu_hours`` and ``usd`` of one pass over them
    (None where no rate is known)."""

    amount: float
    unit: str
    source: str
    gpu_hours: Estimate | None
    usd: Estimate | None
    warning: str


def enough_data(
    facts: ModelFacts,
    data: DatasetProfile,
    parameters: int,
    *,
    samples_per_second: Estimate,
    tokens_per_sample: float | None,
    devices: int,
    usd_per_gpu_hour: float | None,
) -> EnoughData | None:
    """None when neither a law nor a published recipe says how much is enough.
    ``tokens_per_sample``: real ones of what ``samples_per_second`` counts; padding is no data."""
    amount, unit, source = _needed(facts, parameters)
    if amount is None:
        return None
    have = amount_of(data, unit)
    rate = (
        samples_per_second
        if unit != "tokens" or tokens_per_sample is None
        else samples_per_second.scale(tokens_per_sample)
    )
    hours = (
        Estimate(
            *(amount / r / units.SECONDS_PER_HOUR * devices for r in (rate.p90, rate.p50, rate.p10))
        )
        if unit != "audio_hours"
        else None
    )
    usd = (
        hours.scale(usd_per_gpu_hour)
        if hours is not None and usd_per_gpu_hour is not None
        else None
    )
    share = (
        ""
        if have is None
        else f": the data has {units.format_count(have)}, {have / amount:.2g} of it"
        if have < amount
        else ""
    )
    warning = (
        f"training from scratch wants about {units.format_count(amount)} {unit} ({source}){share}"
    )
    return EnoughData(
        amount=amount,
        unit=unit,
        source=source,
        gpu_hours=hours,
        usd=usd,
        warning=warning if have is None or have < amount else "",
    )


def _needed(facts: ModelFacts, parameters: int) -> tuple[float | None, str, str]:
    if facts.modality == "text" and facts.task in ("causal_lm", "seq2seq_lm"):
        per_parameter, source = default("tokens_per_parameter")
        return per_parameter * parameters, "tokens", source
    if facts.pretraining_amount:
        return (
            facts.pretraining_amount,
            facts.pretraining_unit or "samples",
            facts.pretraining_source or "the family's published recipe",
        )
    return None, "", ""


def amount_of(data: DatasetProfile, unit: str) -> float | None:
    """What the data has of a unit (tokens, audio_hours, samples); None where it does not say."""
    if unit == "tokens":
        return data.tokens
    if unit == "audio_hours":
        return (
            None
            if data.audio_seconds is None
            else float(data.audio_seconds.mean()) * data.samples / units.SECONDS_PER_HOUR
        )
    return float(data.samples)
