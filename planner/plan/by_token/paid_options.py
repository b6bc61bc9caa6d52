"""Ways that train nothing here: prompting, retrieval, and fine-tuning as a service. Paid by the
token, from dated rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from planner.cost.api_prices import ApiPrice
from planner.cost.quantities import Quantity
from planner.cost.token_bills import (
    CostCurve,
    Store,
    StorePrice,
    request_usd,
    store_for,
    store_price,
)
from planner.errors import FieldName, PlannerError, QuestionError
from planner.plan.by_token.api_models import to_embed, to_prompt
from planner.plan.by_token.paid_option import (
    PaidOption,
    option_of,
    request_of,
)
from planner.plan.by_token.provider_tuning import short_name, tuned_by_providers
from planner.plan.inputs.problem import Problem
from planner.question import Question
from planner.units import GB, MEGA, format_bytes, format_count, format_usd


def paid_options(problem: Problem) -> list[PaidOption]:
    """Every asked strategy that is paid by the token. When all were asked for, one that cannot be
    priced becomes a warning."""
    makers: dict[str, Callable[[Problem], list[PaidOption]]] = {
        "prompting": _prompting,
        "rag": _rag,
        "provider_fine_tune": tuned_by_providers,
    }
    found: list[PaidOption] = []
    if problem.question.data_must_stay and problem.trained_strategies:
        problem.assumptions.append(
            "the data must not go to an API provider; a rented GPU counts as one's own place: "
            f"{FieldName('gpu')} local keeps to this machine"
        )
    for strategy in problem.paid_strategies:
        try:
            if problem.question.data_must_stay:
                raise QuestionError(
                    "the data must not be sent to a provider", where=FieldName("data_must_stay")
                )
            found += makers[strategy](problem)
        except PlannerError as error:
            if problem.question.strategy is not None:
                raise
            problem.warnings.append(f"{strategy} is left out: {error}")
    return found


# ---------------------------------------------------------------- requests


def _prompting(problem: Problem) -> list[PaidOption]:
    tokens, notes = request_of(problem, examples=True)
    models, chosen = to_prompt(problem.question.api_model, problem.facts.name, tokens)
    return [
        option_of(
            problem,
            strategy="prompting",
            variant=f"{price.provider} {short_name(price.model)}",
            price=price,
            line=CostCurve(usd_per_request=request_usd(tokens, price)),
            storage_line=CostCurve(),
            tokens=tokens,
            notes=[*notes, *([chosen] if chosen else [])],
        )
        for price in models
    ]


def _rag(problem: Problem) -> list[PaidOption]:
    question = problem.question
    corpus_tokens, retrieved_tokens = _retrieval(question)
    tokens, notes = request_of(problem, examples=True, retrieved=retrieved_tokens)
    embedder, dimensions, embedded_by = to_embed(question.embedding_model)
    store = store_for(corpus_tokens, dimensions)
    place = store_price(question.vector_store, store, question.requests_per_month or 0.0)
    models, chosen = to_prompt(question.api_model, problem.facts.name, tokens)
    usd_per_token = _embedding_usd_per_token(embedder)
    once, per_query = store.embedded_tokens * usd_per_token, tokens.prompt * usd_per_token
    notes += [note for note in (chosen, embedded_by) if note]
    notes.append(
        f"{format_count(store.vectors)} vectors of {store.dimensions} kept at {place.store}: "
        f"{format_bytes(store.stored_bytes)} stored with their text; "
        f"a server of one's own would hold {format_bytes(store.memory_bytes)} in memory"
    )
    found = []
    for price in models:
        line = CostCurve(up_front_usd=once, usd_per_request=request_usd(tokens, price) + per_query)
        option = option_of(
            problem,
            strategy="rag",
            variant=f"{price.provider} {short_name(price.model)}",
            price=price,
            line=line,
            storage_line=place.cost_curve(store),
            tokens=tokens,
            notes=list(notes),
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
        option.up_front = _first_costs(store, embedder, usd_per_token, place)
        if place.usd_per_gb_scanned is None:
            option.warnings.append(f"{place.store} states no price of queries: none is counted")
        option.sources += [
            (f"price of {embedder.model}", embedder.source, str(embedder.captured_date)),
            (f"price of {place.store}", place.source, place.date),
        ]
        found.append(option)
    return found


def _first_costs(
    store: Store, embedder: ApiPrice, usd_per_token: float, place: StorePrice
) -> tuple[Quantity, ...]:
    """The corpus embedded once and written into the store."""
    date = embedder.captured_date.isoformat() if embedder.captured_date else None
    return (
        Quantity(
            f"Embedding the documents with {short_name(embedder.model)}",
            store.embedded_tokens / MEGA,
            "million tokens",
            usd_per_token * MEGA,
            embedder.source,
            date,
        ),
        Quantity(
            f"Writing the vectors into {place.store}",
            store.stored_bytes / GB,
            "GB",
            place.usd_per_gb_written or 0.0,
            place.source,
            place.date,
        ),
    )


def _retrieval(question: Question) -> tuple[float, float]:
    """(tokens of the documents, tokens put into a request). Raises QuestionError where one of them
    is not given."""
    corpus, retrieved = question.corpus_tokens, question.retrieved_tokens
    if corpus is None or retrieved is None:
        raise QuestionError(
            "retrieval is not known",
            where=FieldName("corpus_tokens") if corpus is None else FieldName("retrieved_tokens"),
            mend=f"Give the tokens of the documents ({FieldName('corpus_tokens')}) and those put "
            f"into a request ({FieldName('retrieved_tokens')})",
        )
    return corpus, retrieved


def _embedding_usd_per_token(embedder: ApiPrice) -> float:
    """Raises QuestionError for a model whose provider states no price."""
    if embedder.usd_per_input_token is None:
        raise QuestionError(
            f"{embedder.provider} states no price of {embedder.model}",
            where=FieldName("embedding_model"),
            mend="Name another",
        )
    return embedder.usd_per_input_token


# ---------------------------------------------------------------- which of them


def cheapest_paid(
    question: Question, options: Sequence[PaidOption]
) -> tuple[PaidOption, str] | None:
    """Among ways that are all paid by the token, the one that costs least and keeps the budget;
    None where none is priced whole."""
    whole = [
        (o, o.line)
        for o in options
        if o.line is not None and (question.max_usd is None or o.usd.p50 <= question.max_usd)
    ]
    if not whole:
        return None
    load = question.requests_per_month
    best, line = min(whole, key=lambda way: way[0].usd.p50 if load else way[1].monthly_usd(1.0))
    cost = (
        f"{format_usd(best.usd.p50)} over {question.horizon_months:g} months"
        if load
        else f"{format_usd(line.monthly_usd(1.0))} for one request a month"
    )
    return (
        best,
        f"The cheapest of the ways asked for, {cost}; whether its answers are good enough is "
        "not known before they are tried",
    )
