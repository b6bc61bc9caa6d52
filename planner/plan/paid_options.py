"""Ways that train nothing here: prompting, retrieval, and fine-tuning as a service. Paid by the
token, from dated rows."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from planner.cost.api_prices import ApiPrice, model_prices, training_prices
from planner.cost.prices.offers import Offer, price_rows
from planner.cost.token_bills import (
    CostCurve,
    RequestTokens,
    TuningRule,
    request_usd,
    serving_default,
    store_for,
    store_price,
    tuning_rule,
    tuning_usd,
)
from planner.devices.lookup import find_device
from planner.errors import PlannerError, QuestionError
from planner.figures import Estimate
from planner.plan.api_models import named, same_model, to_embed, to_prompt
from planner.plan.defaults import choose, default
from planner.plan.problem import Asked
from planner.plan.serving import answer_tokens, prompt_tokens, serve
from planner.question import Question
from planner.today import today
from planner.units import format_bytes, format_count, format_usd

#: Offers of fine-tuning that are shown, the cheapest first.
OFFERED = 3
#: Requests that a deployment reads together, and the kind of its price rows.
PROMPTS_AT_ONCE, DEPLOYMENT = 8, "inference deployment list"
NOT_COUNTED = "writing and testing prompts, retries and labour are not counted"


@dataclass
class PaidOption:
    """One way, at one provider. ``parts`` (api, storage) sum to the middle of ``usd``: all that is
    known of the project, or what it takes before the first request where no requests are given.
    ``line`` None: serving it has no price."""

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
    store: dict | None = None
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sources: list[tuple[str, str, str | None]] = field(default_factory=list)  # what, source, date


def paid_options(asked: Asked) -> list[PaidOption]:
    """Every asked strategy that is paid by the token. When all were asked for, one that cannot be
    priced becomes a warning."""
    makers: dict[str, Callable[[Asked], list[PaidOption]]] = {
        "prompting": _prompting,
        "rag": _rag,
        "provider_fine_tune": _tuned,
    }
    found: list[PaidOption] = []
    if asked.question.data_must_stay and asked.trained_strategies:
        asked.assumptions.append(
            "the data must not go to an API provider; a rented GPU counts as one's own place: "
            "--gpu local keeps to this machine"
        )
    for strategy in asked.paid_strategies:
        try:
            if asked.question.data_must_stay:
                raise QuestionError(
                    "the data must not be sent to a provider", where="--data-must-stay"
                )
            found += makers[strategy](asked)
        except PlannerError as error:
            if asked.question.strategy is not None:
                raise
            asked.warnings.append(f"{strategy} is left out: {error}")
    return found


# ---------------------------------------------------------------- requests


def _request(
    asked: Asked, *, examples: bool, retrieved: float = 0.0
) -> tuple[RequestTokens, list[str]]:
    """The tokens of one request, and what was taken for granted. Raises QuestionError for what
    nothing says."""
    question = asked.question
    if asked.facts.modality != "text":
        raise QuestionError(
            f"{asked.facts.modality} is not priced by the token", where="--strategy"
        )
    mean = asked.data.mean_length
    prompt, note = prompt_tokens(question, asked.facts.task, mean)
    shown = 0.0
    if examples and question.few_shot_examples:
        if mean is None:
            raise QuestionError(
                "the length of an example is not known", where="--few-shot-examples"
            )
        shown = question.few_shot_examples * mean
    tokens = RequestTokens(prompt, answer_tokens(question), shown, retrieved, question.cached_share)
    said = (
        f"{format_count(round(tokens.input))} tokens read and {format_count(tokens.output)} "
        "written a request"
    )
    if shown:
        said += (
            f", of which {format_count(round(shown))} are {question.few_shot_examples} "
            "examples of the data's mean length"
        )
    return tokens, [said, *([note] if note else []), NOT_COUNTED]


def _option(
    asked: Asked,
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
    load, months = asked.question.requests_per_month, asked.question.horizon_months
    whole = None if line is None else _joined(line, storage_line)
    api, storage = (0.0 if line is None else line.up_front_usd), storage_line.up_front_usd
    if load is not None and line is not None:
        api, storage = line.usd(load, months), storage_line.usd(load, months)
    option = PaidOption(
        strategy,
        variant,
        price.provider,
        price,
        _spread(asked, api + storage),
        {"api": api, "storage": storage},
        (line.up_front_usd if line else 0.0) + storage_line.up_front_usd,
        whole,
        tokens,
        assumptions=notes,
    )
    if load is None and line is not None:
        option.warnings.append(
            "priced by the request: "
            f"{format_usd(whole.usd_per_request + whole.metered_usd_per_request)} each"
            + (f" and {format_usd(whole.monthly_usd(0))} a month" if whole.monthly_usd(0) else "")
            + "; --requests-per-month gives the cost of a project"
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


def _joined(line: CostCurve, store: CostCurve) -> CostCurve:
    """The store's metered part and minimum beside the model's price a request, and hosting beside
    both."""
    return replace(
        line,
        up_front_usd=line.up_front_usd + store.up_front_usd,
        usd_per_month=line.usd_per_month + store.usd_per_month,
        metered_usd_per_request=line.metered_usd_per_request + store.metered_usd_per_request,
        least_usd_per_month=line.usd_per_month + store.least_usd_per_month,
    )


def _spread(asked: Asked, usd: float) -> Estimate:
    """Tokens that the data gives carry the data's error; prices are what they are on their date."""
    error = asked.data.length_relative_error if asked.question.prompt_tokens is None else 0.0
    return Estimate.with_spread(usd, error) if usd > 0 else Estimate.exact(usd)


def _prompting(asked: Asked) -> list[PaidOption]:
    tokens, notes = _request(asked, examples=True)
    models, chosen = to_prompt(asked.question.api_model, asked.facts.name, tokens)
    return [
        _option(
            asked,
            "prompting",
            f"{price.provider} {_short(price.model)}",
            price,
            CostCurve(usd_per_request=request_usd(tokens, price)),
            CostCurve(),
            tokens,
            [*notes, *([chosen] if chosen else [])],
        )
        for price in models
    ]


def _rag(asked: Asked) -> list[PaidOption]:
    question = asked.question
    for name in ("corpus_tokens", "retrieved_tokens"):
        if getattr(question, name) is None:
            raise QuestionError(
                "retrieval is not known",
                where="--" + name.replace("_", "-"),
                mend="Give the tokens of the documents (--corpus-tokens) and those put into a "
                "request (--retrieved-tokens)",
            )
    tokens, notes = _request(asked, examples=True, retrieved=question.retrieved_tokens)
    embedder, dimensions, embedded_by = to_embed(question.embedding_model)
    store = store_for(question.corpus_tokens, dimensions)
    place = store_price(question.vector_store, store, question.requests_per_month or 0.0)
    models, chosen = to_prompt(question.api_model, asked.facts.name, tokens)
    once, per_query = (
        store.embedded_tokens * embedder.usd_per_input_token,
        tokens.prompt * embedder.usd_per_input_token,
    )
    notes += [note for note in (chosen, embedded_by) if note]
    notes.append(
        f"{format_count(store.vectors)} vectors of {store.dimensions} kept at {place.store}: "
        f"{format_bytes(store.stored_bytes)} stored with their text; "
        f"a server of one's own would hold {format_bytes(store.memory_bytes)} in memory"
    )
    found = []
    for price in models:
        line = CostCurve(up_front_usd=once, usd_per_request=request_usd(tokens, price) + per_query)
        option = _option(
            asked,
            "rag",
            f"{price.provider} {_short(price.model)}",
            price,
            line,
            place.cost_curve(store),
            tokens,
            list(notes),
        )
        option.store = {
            "store": place.store,
            "vectors": store.vectors,
            "dimensions": store.dimensions,
            "stored_bytes": store.stored_bytes,
            "memory_bytes": store.memory_bytes,
            "embedded_tokens": store.embedded_tokens,
            "embedding_model": embedder.model,
            "embedding_usd": once,
        }
        if place.usd_per_gb_scanned is None:
            option.warnings.append(f"{place.store} states no price of queries: none is counted")
        option.sources += [
            (f"price of {embedder.model}", embedder.source, str(embedder.captured_date)),
            (f"price of {place.store}", place.source, place.date),
        ]
        found.append(option)
    return found


# ---------------------------------------------------------------- fine-tuning as a service


def _tuned(asked: Asked) -> list[PaidOption]:
    question, data = asked.question, asked.data
    if asked.facts.modality != "text" or data.mean_length is None:
        raise QuestionError("providers fine-tune on text of known length", where="--strategy")
    if question.api_model is None and asked.facts.task != "causal_lm":
        raise QuestionError(
            f"providers tune models that write, not {asked.facts.name}",
            where="--strategy",
            mend="Name one with --api-model",
        )
    prices = _offers(asked)
    options = []
    for price in prices:
        options.append(_tuned_at(asked, price))
    if question.api_model is None:
        options[0].assumptions.append(
            f"of {len(prices)} offers for a model of this size or name, the cheapest to train first"
        )
    return options


def _offers(asked: Asked) -> list[ApiPrice]:
    """Training prices: of the named model, else of this very model and of its size class, the
    cheapest of each provider. Raises QuestionError where nobody offers it."""
    question = asked.question
    if question.api_model is not None:
        found = [
            row for row in named(question.api_model, kind="training") if row.usd_per_training_token
        ]
        return sorted(found, key=_training_rank)[:OFFERED]
    parameters = asked.facts.parameters
    own = [
        row
        for row in model_prices("", price_type="training")
        if row.usd_per_training_token
        and row.captured_date
        and same_model(row.model, asked.facts.name)
    ]
    classes = training_prices(parameters) if parameters else []
    cheapest: dict[str, ApiPrice] = {}
    for row in sorted([*own, *classes], key=_training_rank):
        if "DPO" not in row.method:
            cheapest.setdefault(row.provider, row)
    if not cheapest:
        raise QuestionError(
            f"no provider's dated table has a model such as {asked.facts.name}",
            where="--strategy",
            mend="Name one with --api-model",
        )
    return list(cheapest.values())[:OFFERED]


def _training_rank(row: ApiPrice) -> tuple:
    return row.usd_per_training_token, row.provider, row.model


def _tuned_at(asked: Asked, price: ApiPrice) -> PaidOption:
    question, data, rule = asked.question, asked.data, tuning_rule(price.provider)
    epochs = question.epochs or default("epochs", "lora", asked.facts.task)[0]
    checks = (
        question.evaluation_samples
        if question.evaluation_samples is not None
        else math.ceil(default("evaluation_share")[0] * data.samples)
    )
    length = min(data.mean_length, question.max_length or math.inf)
    bill = tuning_usd(
        data.samples * length,
        epochs,
        price.usd_per_training_token,
        rule,
        validation_tokens=checks * length,
        evaluations=math.ceil(question.evaluations_per_epoch * epochs),
    )
    notes = [
        f"{format_count(bill.billed_tokens)} tokens billed: {data.samples} samples × "
        f"{epochs:g} epochs{' and validation' if bill.parts_usd['validation'] else ''}, "
        f"packed, at {format_usd(price.usd_per_training_token * 1e6)} a million "
        f"({price.method or 'one price for all methods'})",
        *bill.notes,
    ]
    line, tokens, served, warnings = _answering(asked, price, rule)
    whole = None if line is None else replace(line, up_front_usd=bill.usd)
    option = _option(
        asked,
        "provider_fine_tune",
        f"{price.provider} {_short(price.model)}",
        price,
        whole,
        CostCurve(),
        tokens,
        [*notes, *served],
    )
    option.up_front_usd = bill.usd
    if whole is None:
        option.parts = {"api": bill.usd, "storage": 0.0}
    option.usd = _spread_of_data(asked, bill.usd) + _spread(
        asked, sum(option.parts.values()) - bill.usd
    )
    option.warnings += warnings
    option.sources.append((f"billing rules of {price.provider}", rule.source, None))
    return option


def _spread_of_data(asked: Asked, usd: float) -> Estimate:
    return Estimate.with_spread(
        usd, math.hypot(asked.data.length_relative_error, asked.data.samples_relative_error)
    )


def _answering(
    asked: Asked, price: ApiPrice, rule: TuningRule
) -> tuple[CostCurve | None, RequestTokens | None, list[str], list[str]]:
    """(what the tuned model's answers cost, tokens, notes, warnings); no line where the provider's
    price is not known."""
    try:
        tokens, notes = _request(asked, examples=False)
    except QuestionError as error:
        return None, None, [], [f"what the tuned model's answers cost is left out: {error}"]
    if rule.served == "gpu_hour":
        return _deployed(asked, price, tokens)
    served = _tuned_price(price, rule)
    if served is None:
        why = "has no known price"
        return None, None, [], [f"serving what {price.provider} tuned {why}: it is not in the cost"]
    hosting = (rule.hosting_usd_per_hour or 0.0) * serving_default("hours_per_month")
    line = CostCurve(
        usd_per_request=request_usd(tokens, served),
        usd_per_month=hosting,
        least_usd_per_month=hosting,
    )
    return (
        line,
        tokens,
        [*notes, f"the tuned model answers at the price of {served.model}"],
        [served.trust_warning] if served.trust_warning else [],
    )


def _deployed(
    asked: Asked, price: ApiPrice, tokens: RequestTokens
) -> tuple[CostCurve | None, RequestTokens | None, list[str], list[str]]:
    """A deployment of the tuned model on the provider's own devices, always on, as ``serve`` plans
    it; the cheapest that holds it."""
    if asked.question.requests_per_month is None:
        return (
            None,
            None,
            [],
            [
                f"serving what {price.provider} tuned needs a deployment of its own and is not "
                "in the cost; --requests-per-month gives it"
            ],
        )
    why = f"{price.provider} states no price of the devices it deploys on"
    for offer in _deployments(price.provider):
        spec = find_device(offer.gpu_key)
        try:
            choices = choose(asked.question, asked.facts, asked.data, "lora", spec)
            source = asked.source(choices.with_checkpointing("none"), asked.facts)
            serving = serve(
                asked.question,
                source,
                spec,
                offer,
                None,
                asked.data.mean_length,
                min(PROMPTS_AT_ONCE, choices.global_batch),
            )
        except PlannerError as error:
            why = str(error)
            continue
        said = (
            f"{price.provider} serves what it tuned on a deployment of its own, "
            f"{format_usd(offer.usd_per_gpu_hour)} a GPU-hour on {offer.captured_date}"
        )
        return serving.line, tokens, [said, *serving.assumptions], []
    return (
        None,
        None,
        [],
        [
            f"serving what {price.provider} tuned needs a deployment of its own and is not in "
            f"the cost: {why}"
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
                provider,
                row["region"],
                row["instance_type"],
                row["gpu_key"],
                1,
                usd,
                usd,
                False,
                date,
                (today() - date).days,
                row["source"],
                row["kind"],
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


def _short(model: str) -> str:
    """The model's own name, without the path that leads to it."""
    return model.rpartition("/")[2]


def cheapest_paid(
    question: Question, options: Sequence[PaidOption]
) -> tuple[PaidOption, str] | None:
    """Among ways that are all paid by the token, the one that costs least and keeps the budget;
    None where none is priced whole."""
    whole = [
        o
        for o in options
        if o.line is not None and (question.max_usd is None or o.usd.p50 <= question.max_usd)
    ]
    if not whole:
        return None
    load = question.requests_per_month
    best = min(whole, key=lambda o: o.usd.p50 if load else o.line.monthly_usd(1.0))
    what = (
        f"{format_usd(best.usd.p50)} over {question.horizon_months:g} months"
        if load
        else f"{format_usd(best.line.monthly_usd(1.0))} for one request a month"
    )
    return (
        best,
        f"The cheapest of the ways asked for, {what}; whether its answers are good enough is "
        "not known before they are tried",
    )
