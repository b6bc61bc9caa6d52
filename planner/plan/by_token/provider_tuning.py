"""A provider tunes the model and serves it: what both cost, by its own rules."""

from __future__ import annotations

import datetime
import math
from dataclasses import replace

from planner.cost.api_prices import ApiPrice, model_prices, training_prices
from planner.cost.prices.offers import Offer, price_rows
from planner.cost.quantities import Quantity
from planner.cost.token_bills import (
    CostCurve,
    RequestTokens,
    TuningBill,
    TuningRule,
    request_usd,
    serving_default,
    tuning_rule,
    tuning_usd,
)
from planner.devices.lookup import find_device
from planner.errors import FieldName, PlannerError, QuestionError
from planner.first_lines import FirstLine
from planner.plan.by_token.api_models import named, same_model
from planner.plan.by_token.paid_option import (
    PaidOption,
    option_of,
    request_of,
    spread_of_counts,
    spread_of_data,
)
from planner.plan.inputs.defaults import choose
from planner.plan.inputs.evaluating import held_out_samples
from planner.plan.inputs.problem import Problem
from planner.plan.inputs.rows import default
from planner.plan.serving import serve
from planner.today import today
from planner.units import MEGA, format_count, format_usd

#: Offers of fine-tuning that are shown, the cheapest first.
OFFERED = 3
#: Requests that a deployment reads together, and the kind of its price rows.
PROMPTS_AT_ONCE, DEPLOYMENT = 8, "inference deployment list"


#: What the tuned model's answers cost, their tokens, the price of those, notes, warnings.
_Answers = tuple[CostCurve | None, RequestTokens | None, ApiPrice | None, list[str], list[str]]


def tuned_by_providers(problem: Problem) -> list[PaidOption]:
    question, data = problem.question, problem.data
    if problem.facts.modality != "text" or data.mean_length is None:
        raise QuestionError(
            "providers fine-tune on text of known length", where=FieldName("strategy")
        )
    if question.api_model is None and problem.facts.task != "causal_lm":
        raise QuestionError(
            f"providers tune models that write, not {problem.facts.name}",
            where=FieldName("strategy"),
            mend=f"Name one with {FieldName('api_model')}",
        )
    prices = _offers(problem)
    options = [_tuned_at(problem, price) for price in prices]
    problem.first_lines += _default_epochs(problem)
    if question.api_model is None:
        options[0].assumptions.append(
            f"of {len(prices)} offers for a model of this size or name, the cheapest to train first"
        )
    return options


def _default_epochs(problem: Problem) -> list[FirstLine]:
    """Providers take epochs of their own where none are asked for, which few of them state."""
    if problem.question.epochs is not None:
        return []
    epochs, source = default("epochs", "lora", problem.facts.task)[:2]
    text = (
        f"provider_fine_tune by default: {epochs:g} epoch{'' if epochs == 1 else 's'} ({source}); "
        f"a provider takes a number of its own where {FieldName('epochs')} is not given"
    )
    return [FirstLine("run", text)]


def _offers(problem: Problem) -> list[ApiPrice]:
    """Training prices: of the named model, else of this very model and of its size class, the
    cheapest of each provider. Raises QuestionError where nobody offers it."""
    question = problem.question
    if question.api_model is not None:
        found = [
            row for row in named(question.api_model, kind="training") if row.usd_per_training_token
        ]
        return sorted(found, key=_training_rank)[:OFFERED]
    parameters = problem.facts.parameters
    own = [
        row
        for row in model_prices("", price_type="training")
        if row.usd_per_training_token
        and row.captured_date
        and same_model(row.model, problem.facts.name)
    ]
    classes = training_prices(parameters) if parameters else []
    cheapest: dict[str, ApiPrice] = {}
    for row in sorted([*own, *classes], key=_training_rank):
        if "DPO" not in row.method:
            cheapest.setdefault(row.provider, row)
    if not cheapest:
        raise QuestionError(
            f"no provider's dated table has a model such as {problem.facts.name}",
            where=FieldName("strategy"),
            mend=f"Name one with {FieldName('api_model')}",
        )
    return list(cheapest.values())[:OFFERED]


def _training_rank(row: ApiPrice) -> tuple[float, str, str]:
    return _training_usd(row), row.provider, row.model


def _training_usd(row: ApiPrice) -> float:
    """A token's training. Raises QuestionError for a row without that price."""
    if row.usd_per_training_token is None:
        raise QuestionError(
            f"{row.provider} states no price of training {row.model}",
            where=FieldName("api_model"),
            mend="Name another",
        )
    return row.usd_per_training_token


def _tuned_at(problem: Problem, price: ApiPrice) -> PaidOption:
    question, data, rule = problem.question, problem.data, tuning_rule(price.provider)
    epochs = question.epochs or default("epochs", "lora", problem.facts.task)[0]
    every = question.evaluations_per_epoch
    checks = held_out_samples(question, data.samples, problem.facts.task)
    tokens = data.tokens_within(question.max_length) or 0.0  # real ones: providers bill no padding
    usd_per_token = _training_usd(price)
    bill = tuning_usd(
        tokens,
        epochs,
        usd_per_token,
        rule,
        validation_tokens=checks * tokens / data.samples,
        evaluations=math.ceil(
            (default("evaluations_per_epoch")[0] if every is None else every) * epochs
        ),
    )
    notes = [
        f"{format_count(bill.billed_tokens)} tokens billed: {data.samples} samples × "
        f"{epochs:g} epochs{' and validation' if bill.parts_usd['validation'] else ''}, "
        f"packed, at {format_usd(usd_per_token * 1e6)} a million "
        f"({price.method or 'one price for all methods'})",
        *bill.notes,
    ]
    line, tokens, answers_at, served, warnings = _answering(problem, price, rule)
    whole = None if line is None else replace(line, up_front_usd=bill.usd)
    option = option_of(
        problem,
        strategy="provider_fine_tune",
        variant=f"{price.provider} {short_name(price.model)}",
        price=price,
        line=whole,
        storage_line=CostCurve(),
        tokens=tokens,
        notes=[*notes, *served],
    )
    option.up_front_usd = bill.usd
    option.up_front, option.answers_at = _tuning(price, bill, usd_per_token), answers_at
    if whole is None:
        option.parts = {"api": bill.usd, "storage": 0.0}
    option.usd = spread_of_data(problem, bill.usd) + spread_of_counts(
        problem, sum(option.parts.values()) - bill.usd
    )
    option.warnings += warnings
    option.sources.append((f"billing rules of {price.provider}", rule.source, None))
    return option


def _tuning(price: ApiPrice, bill: TuningBill, usd_per_token: float) -> tuple[Quantity, ...]:
    """The job as tokens × price, and what its minimum adds."""
    date = price.captured_date.isoformat() if price.captured_date else None
    named = zip(("Tokens trained on", "Tokens validated on"), bill.tokens, strict=True)
    return (
        *(
            Quantity(
                name, tokens / MEGA, "million tokens", usd_per_token * MEGA, price.source, date
            )
            for name, tokens in named
        ),
        Quantity("Up to the least that a job costs", 1.0, "job", bill.parts_usd["minimum"]),
    )


def _answering(problem: Problem, price: ApiPrice, rule: TuningRule) -> _Answers:
    """No line where the provider's price is not known."""
    try:
        tokens, notes = request_of(problem, examples=False)
    except QuestionError as error:
        return None, None, None, [], [f"what the tuned model's answers cost is left out: {error}"]
    if rule.served == "gpu_hour":
        return _deployed(problem, price, tokens)
    served = _tuned_price(price, rule)
    if served is None:
        warning = f"serving what {price.provider} tuned has no known price: it is not in the cost"
        return None, None, None, [], [warning]
    hosting = (rule.hosting_usd_per_hour or 0.0) * serving_default("hours_per_month")
    line = CostCurve(
        usd_per_request=request_usd(tokens, served),
        usd_per_month=hosting,
        least_usd_per_month=hosting,
    )
    return (
        line,
        tokens,
        served,
        [*notes, f"the tuned model answers at the price of {served.model}"],
        [served.trust_warning] if served.trust_warning else [],
    )


def _deployed(problem: Problem, price: ApiPrice, tokens: RequestTokens) -> _Answers:
    """A deployment of the tuned model on the provider's own devices, always on, as ``serve`` plans
    it; the cheapest that holds it."""
    if problem.question.requests_per_month is None:
        return (
            None,
            None,
            None,
            [],
            [
                f"serving what {price.provider} tuned needs a deployment of its own and is not "
                f"in the cost; {FieldName('requests_per_month')} gives it"
            ],
        )
    obstacle = f"{price.provider} states no price of the devices it deploys on"
    for offer in _deployments(price.provider):
        spec = find_device(offer.gpu_key)
        try:
            choices = choose(problem.question, problem.facts, problem.data, "lora", spec)
            source = problem.source(choices.with_checkpointing("none"), problem.facts)
            serving = serve(
                problem.question,
                source,
                spec,
                offer=offer,
                prices=None,
                mean_tokens=problem.data.mean_length,
                micro_batch=min(PROMPTS_AT_ONCE, choices.global_batch),
            )
        except PlannerError as error:
            obstacle = str(error)
            continue
        assumption = (
            f"{price.provider} serves what it tuned on a deployment of its own, "
            f"{format_usd(offer.usd_per_gpu_hour)} a GPU-hour on {offer.captured_date}"
        )
        return serving.line, tokens, None, [assumption, *serving.assumptions], []
    return (
        None,
        None,
        None,
        [],
        [
            f"serving what {price.provider} tuned needs a deployment of its own and is not in "
            f"the cost: {obstacle}"
        ],
    )


def _deployments(provider: str) -> list[Offer]:
    """The provider's devices for serving, the cheapest first: rows that are no offers to train
    on."""
    rows = [
        row
        for row in price_rows()
        if row["provider"] == provider
        and row["kind"] == DEPLOYMENT
        and row["gpu_key"]
        and row["captured_date"]
    ]
    found = []
    for row in rows:
        date, usd = (
            datetime.date.fromisoformat(row["captured_date"]),
            float(row["usd_per_gpu_hour"]),
        )
        found.append(
            Offer(
                provider=provider,
                region=row["region"],
                instance_type=row["instance_type"],
                gpu_key=row["gpu_key"],
                gpu_count=1,
                usd_per_gpu_hour=usd,
                usd_per_instance_hour=usd,
                spot=False,
                captured_date=date,
                age_days=(today() - date).days,
                source=row["source"],
                price_type=row["kind"],
            )
        )
    return sorted(found, key=lambda offer: (offer.usd_per_gpu_hour, offer.gpu_key))


def _tuned_price(price: ApiPrice, rule: TuningRule) -> ApiPrice | None:
    """The tuned model's price a token: on the row itself, of the provider's ``ft:`` model, or of
    the base model where the rule says so."""
    if rule.served == "token" and price.usd_per_input_token is not None:
        return price
    if rule.served == "token":
        tuned = [
            row
            for row in model_prices("ft:", price_type="inference of a fine-tuned model")
            if row.model.lower().startswith(f"ft:{price.model.lower()}")
        ]
        return min(tuned, key=lambda row: len(row.model), default=None)
    if rule.served == "base":
        return next(
            (
                row
                for row in model_prices("")
                if row.provider == price.provider and same_model(row.model, price.model)
            ),
            None,
        )
    return None


def short_name(model: str) -> str:
    """The model's own name, without the path that leads to it."""
    return model.rpartition("/")[2]
