"""What a model tuned on one's own hardware costs to serve: the planner's forward pass reads the
prompt, decoding is bound by what it reads from memory, and servers stand whole.

Reading a prompt is the forward pass of the recorded step at the prompt's length. A decoding step
reads the weights once for all requests in flight and each request's keys and values (Pope et al.
2022, arXiv 2211.05102, section 2), or is bound by arithmetic where many are in flight. Not counted:
queues, peaks above the mean load, what the server's own software takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.cost.prices.offers import Offer
from planner.cost.token_bills import CostCurve, serving_default
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.plan.decoding.cut import forward_only
from planner.plan.decoding.served import Decoding
from planner.plan.decoding.served import decoding as served_decoding
from planner.question import Question
from planner.step_time.clock import StepClock
from planner.trace.source import TraceSource
from planner.trace.table import StepTrace, traced_length
from planner.uncertainty.spread import time_spread
from planner.units import SECONDS_PER_HOUR, format_count

#: Rounds in which the number of requests in flight settles.
ROUNDS = 50


@dataclass(frozen=True)
class Serving:
    """Serving on whole servers of ``gpus_per_server`` devices, each holding a copy of the model.
    ``usd_always_on`` keeps enough servers up all month; ``usd_when_busy`` pays for the time in
    which requests are in flight."""

    requests_per_month: float
    prompt_tokens: float | None
    output_tokens: float
    at_once: int
    prompt_seconds: Estimate  # of one request
    # of one token of one request, ``at_once`` in flight; None: nothing is decoded
    token_seconds: Estimate | None
    gpus: int
    gpu_hours_per_month: float  # of the devices that stand
    busy_gpu_hours_per_month: float
    usd_always_on: Estimate | None  # a month
    usd_when_busy: float | None
    line: CostCurve | None  # without what training costs
    assumptions: tuple[str, ...]


def serve(
    question: Question,
    source: TraceSource,
    spec: DeviceSpec,
    *,
    offer: Offer | None,
    prices: Estimate | None,
    mean_tokens: float | None,
    micro_batch: int,
) -> Serving:
    """Serving ``question.requests_per_month`` on one device at a time. Raises QuestionError where
    the requests or the answer's length are not given or one device does not hold the model, and the
    errors of tracing."""
    load = _asked_load(question)
    prompt, output, note = _tokens(question, source, mean_tokens)
    trace, dims = _forward(source, prompt, micro_batch)
    parameters: int = trace.meta["total_params"]
    decoding = (
        served_decoding(
            source.facts.config, spec, parameters=parameters, prompt=prompt, output=output
        )
        if output and prompt is not None
        else None
    )
    at_once = _at_once(
        question, spec, decoding, parameters=parameters, prompt=prompt, output=output
    )
    sure = time_spread(spec, source.facts.modality)
    time = StepClock(spec).price(
        forward_only(trace), dims, precision=source.recipe.precision, compiled=source.recipe.compile
    )
    reading = float(time.seconds) / micro_batch
    month = serving_default("hours_per_month")
    full = reading + (output * decoding.seconds(at_once) / at_once if decoding else 0.0)
    a_month = month * SECONDS_PER_HOUR / full
    standing = max(1, math.ceil(load / a_month))
    busy_seconds = _busy_seconds(
        decoding, load=load, reading=reading, output=output, at_once=at_once
    )
    busy = min(busy_seconds / SECONDS_PER_HOUR, standing * month)
    line, always, when_busy = _paid(
        offer, prices, load=load, a_month=a_month, busy_hours=busy, hours=month
    )
    notes = _serving_notes(
        source,
        spec,
        at_once=at_once,
        prompt=prompt,
        output=output,
        standing=standing,
        micro_batch=micro_batch,
    )
    return Serving(
        requests_per_month=load,
        prompt_tokens=prompt,
        output_tokens=output,
        at_once=at_once,
        prompt_seconds=sure.around(reading),
        token_seconds=sure.around(decoding.seconds(at_once)) if decoding else None,
        gpus=standing,
        gpu_hours_per_month=standing * month,
        busy_gpu_hours_per_month=busy,
        usd_always_on=always,
        usd_when_busy=when_busy,
        line=line,
        assumptions=tuple(filter(None, [*notes, note])),
    )


# ---------------------------------------------------------------- the work of a request


def _asked_load(question: Question) -> float:
    """Requests a month. Raises QuestionError where they are not given."""
    if question.requests_per_month is None:
        raise QuestionError(
            "the load is not known",
            where=FieldName("requests_per_month"),
            mend="Give the requests that the finished model answers a month",
        )
    return question.requests_per_month


def answer_tokens(question: Question) -> float:
    """Raises QuestionError where it is not given: no data says how long a model's answers are."""
    if question.output_tokens is None:
        raise QuestionError(
            "the length of an answer is not known",
            where=FieldName("output_tokens"),
            mend="Give the mean tokens of an answer",
        )
    return question.output_tokens


def prompt_tokens(
    question: Question, task: str, mean_tokens: float | None
) -> tuple[float, str | None]:
    """(tokens of a request, what to say of them): the asked number, else the data's mean sample, of
    which a decoder's holds the answer as well. Raises QuestionError where neither is known."""
    if question.prompt_tokens is not None:
        return question.prompt_tokens, None
    if mean_tokens is None:
        raise QuestionError(
            "the length of a request is not known",
            where=FieldName("prompt_tokens"),
            mend="Give the mean tokens of a request",
        )
    if task == "causal_lm":
        return max(
            1.0, mean_tokens - answer_tokens(question)
        ), "a request is as long as the data's mean sample without the answer"
    return mean_tokens, "a request is as long as the data's mean sample"


def _tokens(
    question: Question, source: TraceSource, mean_tokens: float | None
) -> tuple[float | None, float, str | None]:
    """(tokens that are read, tokens that are written, what to say); None and 0 for what is no text,
    0 written where the head answers at once."""
    facts = source.facts
    if facts.task in ("speech_recognition", "seq2seq_lm"):
        raise QuestionError(
            "serving an encoder-decoder is not planned", where=FieldName("requests_per_month")
        )
    if facts.modality != "text":
        return None, 0.0, None
    prompt, note = prompt_tokens(question, facts.task, mean_tokens)
    return prompt, answer_tokens(question) if facts.task == "causal_lm" else 0.0, note


def _forward(
    source: TraceSource, prompt: float | None, micro_batch: int
) -> tuple[StepTrace, np.ndarray]:
    """(the trace, its dimensions): as many requests read together as training takes samples."""
    longest = source.facts.max_length or math.inf
    length = traced_length(None if prompt is None else min(prompt, longest))
    point: dict[str, Any] = {"B": micro_batch, "S": length, "T": None}
    trace = source.at(**point)
    return trace, trace.dims(**point)


def _at_once(
    question: Question,
    spec: DeviceSpec,
    decoding: Decoding | None,
    *,
    parameters: int,
    prompt: float | None,
    output: float,
) -> int:
    """Requests in flight: the asked number, else what the memory left by the weights holds. Raises
    QuestionError where it holds none."""
    room = spec.total_memory_bytes * serving_default("memory_share") - parameters * serving_default(
        "bytes_per_weight"
    )
    if room <= 0:
        raise QuestionError(
            f"{format_count(parameters)} parameters in 16 bits are more than a {spec.name} serves",
            where="serving",
            mend="Take a larger GPU; serving on several is not planned",
        )
    if decoding is None or prompt is None:
        return question.concurrent_requests or 1
    request_bytes = decoding.kv_bytes / (prompt + output / 2) * (prompt + output)
    holds = min(int(room // request_bytes), int(serving_default("most_sequences")))
    if holds < (question.concurrent_requests or 1):
        raise QuestionError(
            f"a {spec.name} holds the keys and values of {holds} requests at once",
            where=FieldName("concurrent_requests"),
            mend="Ask for fewer at once, or take a larger GPU",
        )
    return question.concurrent_requests or holds


def _busy_seconds(
    decoding: Decoding | None, *, load: float, reading: float, output: float, at_once: int
) -> float:
    """Device seconds a month in which something is in flight. Requests in flight on the mean follow
    from the load (Little's law): few share the reading of the weights where few are asked."""
    if decoding is None:
        return load * reading
    rate = load / (serving_default("hours_per_month") * SECONDS_PER_HOUR)
    flight = 1.0
    for _ in range(ROUNDS):
        flight = min(float(at_once), max(1.0, rate * (reading + output * decoding.seconds(flight))))
    return load * (reading + output * decoding.seconds(flight) / flight)


# ---------------------------------------------------------------- its price


def _paid(
    offer: Offer | None,
    prices: Estimate | None,
    *,
    load: float,
    a_month: float,
    busy_hours: float,
    hours: float,
) -> tuple[CostCurve | None, Estimate | None, float | None]:
    """(line, USD a month of what stands, USD of the busy hours); None where no price is known."""
    if offer is None:
        return None, None, None
    per_server = offer.gpu_count or 1
    server = offer.usd_per_instance_hour * hours
    line = CostCurve(usd_per_server_month=server, requests_per_server_month=a_month * per_server)
    usd = line.monthly_usd(load)
    high = max(1.0, prices.p90 / prices.p50) if prices is not None and prices.p50 > 0 else 1.0
    return (
        line,
        Estimate(usd, usd, usd * high),
        busy_hours / per_server * offer.usd_per_instance_hour,
    )


def _serving_notes(
    source: TraceSource,
    spec: DeviceSpec,
    *,
    at_once: int,
    prompt: float | None,
    output: float,
    standing: int,
    micro_batch: int,
) -> list[str]:
    request = (
        f"{format_count(prompt)} tokens read and {format_count(output)} written a request"
        if prompt is not None
        else "one sample a request"
    )
    found = [
        f"served on {standing} × {spec.name} that stay on all month, {request}, up to {at_once} "
        "at once, an even load over the month",
        f"requests are read {micro_batch} at a time by the forward pass of training, without "
        "what a server's own kernels would save",
    ]
    if output:
        found.append(
            "decoding reads the weights in 16 bits once a token for all requests in flight, "
            "and each one's keys and values"
        )
    if (source.facts.max_length or math.inf) < (prompt or 0):
        found.append(f"requests are cut at the model's {source.facts.max_length} tokens")
    return found
