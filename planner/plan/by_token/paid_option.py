"""A way that is paid by the token: its prices, its load, its bill over a month."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from planner.cost.api_prices import ApiPrice
from planner.cost.quantities import Quantity
from planner.cost.token_bills import (
    CostCurve,
    RequestTokens,
)
from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.plan.inputs.problem import Problem
from planner.plan.serving import answer_tokens, prompt_tokens
from planner.units import format_count, format_usd

NOT_COUNTED = "writing and testing prompts, retries and labour are not counted"


@dataclass
class PaidOption:
    """One way, at one provider. ``parts`` (api, storage) sum to the middle of ``usd``: all that is
    known of the project, or what it takes before the first request where no requests are given.
    ``line`` None: serving it has no price. ``up_front``: what ``up_front_usd`` is made of;
    ``answers_at``: the price that its answers have, where they are paid by the token."""

    strategy: str
    variant: str
    provider: str
    price: ApiPrice
    usd: Estimate
    parts: dict[str, float]
    up_front_usd: float
    line: CostCurve | None
    tokens: RequestTokens | None
    fits: bool | None = None
    store: dict[str, Any] | None = None
    up_front: tuple[Quantity, ...] = ()
    answers_at: ApiPrice | None = None
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sources: list[tuple[str, str, str | None]] = field(default_factory=list)  # what, source, date


def request_of(
    problem: Problem, *, examples: bool, retrieved: float = 0.0
) -> tuple[RequestTokens, list[str]]:
    """The tokens of one request, and what was taken for granted. Raises QuestionError for what
    nothing says."""
    question = problem.question
    if problem.facts.modality != "text":
        raise QuestionError(
            f"{problem.facts.modality} is not priced by the token", where=FieldName("strategy")
        )
    mean = problem.data.mean_length
    prompt, note = prompt_tokens(question, problem.facts.task, mean)
    shown = 0.0
    if examples and question.few_shot_examples:
        if mean is None:
            raise QuestionError(
                "the length of an example is not known", where=FieldName("few_shot_examples")
            )
        shown = question.few_shot_examples * mean
    tokens = RequestTokens(
        prompt=prompt,
        output=answer_tokens(question),
        examples=shown,
        retrieved=retrieved,
        cached_share=question.cached_share,
    )
    length_note = (
        f"{format_count(round(tokens.input))} tokens read and {format_count(tokens.output)} "
        "written a request"
    )
    if shown:
        length_note += (
            f", of which {format_count(round(shown))} are {question.few_shot_examples} "
            "examples of the data's mean length"
        )
    return tokens, [length_note, *([note] if note else []), NOT_COUNTED]


def option_of(
    problem: Problem,
    *,
    strategy: str,
    variant: str,
    price: ApiPrice,
    line: CostCurve | None,
    storage_line: CostCurve,
    tokens: RequestTokens | None,
    notes: list[str],
) -> PaidOption:
    """The curve without the store's share plus the store's: the whole, its parts and what to say
    of the price."""
    load, months = problem.question.requests_per_month, problem.question.horizon_months
    whole = None if line is None else joined_lines(line, storage_line)
    api, storage = (0.0 if line is None else line.up_front_usd), storage_line.up_front_usd
    if load is not None and line is not None:
        api, storage = line.usd(load, months), storage_line.usd(load, months)
    option = PaidOption(
        strategy=strategy,
        variant=variant,
        provider=price.provider,
        price=price,
        usd=spread_of_counts(problem, api + storage),
        parts={"api": api, "storage": storage},
        up_front_usd=(line.up_front_usd if line else 0.0) + storage_line.up_front_usd,
        line=whole,
        tokens=tokens,
        answers_at=price if price.usd_per_input_token is not None else None,
        assumptions=notes,
    )
    if load is None and whole is not None:
        option.warnings.append(
            "priced by the request: "
            f"{format_usd(whole.usd_per_request + whole.metered_usd_per_request)} each"
            + (f" and {format_usd(whole.monthly_usd(0))} a month" if whole.monthly_usd(0) else "")
            + f"; {FieldName('requests_per_month')} gives the cost of a project"
        )
    option.warnings += [price.trust_warning] if price.trust_warning else []
    if tokens is not None and tokens.cached_share and price.usd_per_cached_input_token is None:
        option.warnings.append(
            f"{price.provider} states no price of cached input for {price.model}: it is paid "
            "in full"
        )
    option.sources.append(
        (
            f"price of {price.model}",
            price.source,
            price.captured_date.isoformat() if price.captured_date else None,
        )
    )
    return option


def joined_lines(line: CostCurve, store: CostCurve) -> CostCurve:
    """The store's metered part and minimum beside the model's price a request, and hosting beside
    both."""
    return replace(
        line,
        up_front_usd=line.up_front_usd + store.up_front_usd,
        usd_per_month=line.usd_per_month + store.usd_per_month,
        metered_usd_per_request=line.metered_usd_per_request + store.metered_usd_per_request,
        least_usd_per_month=line.usd_per_month + store.least_usd_per_month,
    )


def spread_of_counts(problem: Problem, usd: float) -> Estimate:
    """Tokens that the data gives carry the data's error; prices are what they are on their date."""
    error = problem.data.length_relative_error if problem.question.prompt_tokens is None else 0.0
    return Estimate.with_spread(usd, error) if usd > 0 else Estimate.exact(usd)


def spread_of_data(problem: Problem, usd: float) -> Estimate:
    return Estimate.with_spread(
        usd, math.hypot(problem.data.length_relative_error, problem.data.samples_relative_error)
    )
