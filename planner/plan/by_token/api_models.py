"""Which models that are paid by the token: the one that was named, or the cheapest for these
requests, said as such."""

from __future__ import annotations

import math
import re

from planner.cost.api_prices import ApiPrice, model_prices
from planner.cost.token_bills import RequestTokens, request_usd, vector_dimensions, why_not_chat
from planner.errors import FieldName, QuestionError, UnknownNameError

#: How many are offered where none is named.
OFFERED = 3
#: Parts of a name that say how a model was packed or tuned, not which it is.
_PACKING = re.compile(r"meta|instruct|turbo|chat|fp8|awq|-hf|-it\b|[^a-z0-9.]")


def same_model(name: str, other: str) -> bool:
    """Whether two names mean the same model, whoever serves it: ``Llama-3.1-8B`` and
    ``meta-llama/Meta-Llama-3.1-8B-Instruct``."""
    return _bare(name) == _bare(other) != ""


def _bare(name: str) -> str:
    return _PACKING.sub("", name.lower().rpartition("/")[2])


def named(wanted: str, *, kind: str = "inference") -> list[ApiPrice]:
    """Rows of the model that ``wanted`` (MODEL or PROVIDER:MODEL) names, one a provider. Raises
    UnknownNameError for a name that no row has, QuestionError for one that several models share or
    that cannot be prompted."""
    provider, colon, model = wanted.rpartition(":")
    rows = [
        row
        for row in model_prices("", price_type=kind)
        if not colon or row.provider.lower() == provider.lower()
    ]
    if not rows or not (found := _matching(rows, model) or _matching(rows, wanted)):
        raise UnknownNameError(
            "API model",
            wanted,
            [row.model for row in rows]
            or [row.provider for row in model_prices("", price_type=kind)],
            mend="Give MODEL or PROVIDER:MODEL of profiles/api_prices",
        )
    reason = why_not_chat(found[0].model) if kind == "inference" else None
    if reason:
        raise QuestionError(
            f"{found[0].model} cannot be prompted: it {reason}", where=FieldName("api_model")
        )
    return found


def _matching(rows: list[ApiPrice], model: str) -> list[ApiPrice]:
    """By the whole name, else its last part, else the same model under another name, else a part of
    the name that one model has."""
    low = model.lower()
    for rule in (
        lambda row: row.model.lower() == low,
        lambda row: row.model.lower().rpartition("/")[2] == low,
        lambda row: same_model(row.model, model),
    ):
        found = [row for row in rows if rule(row)]
        if found:
            return found
    found = [row for row in rows if low in row.model.lower()]
    if len({_bare(row.model) for row in found}) > 1:
        names = list(dict.fromkeys(row.model for row in found))
        raise QuestionError(
            f"{model!r} means {len(names)} models",
            where=FieldName("api_model"),
            mend=f"Give one of {', '.join(names[:6])}",
        )
    return found


def to_prompt(
    wanted: str | None, open_model: str, tokens: RequestTokens
) -> tuple[list[ApiPrice], str | None]:
    """(models, what to say of the choice): the named one at its cheapest provider; else this very
    model where somebody serves it, and the cheapest of all, three in number. Rows without a date or
    a price are never chosen. Raises as ``named``."""

    def cost(row: ApiPrice) -> tuple[float, str, str]:
        return request_usd(tokens, row), row.provider, row.model

    if wanted is not None:
        return [min(named(wanted), key=cost)], None
    priced = [
        row
        for row in model_prices("")
        if row.captured_date
        and row.usd_per_input_token
        and row.usd_per_output_token
        and not why_not_chat(row.model)
    ]
    ranked = sorted(priced, key=cost)
    chosen = [row for row in ranked if same_model(row.model, open_model)][:1]
    for row in ranked:
        if len(chosen) < OFFERED and not any(same_model(row.model, kept.model) for kept in chosen):
            chosen.append(row)
    return (
        chosen,
        f"no {FieldName('api_model')} given: of {len(priced)} priced models {len(chosen)} of the "
        "cheapest are shown; none is said to be good enough",
    )


def to_embed(wanted: str | None) -> tuple[ApiPrice, int, str | None]:
    """(price, length of its vectors, what to say of the choice). Raises UnknownNameError, and
    QuestionError where the length of the vectors is not known."""
    sized = vector_dimensions()
    if wanted is None:
        row = min(
            (
                r
                for r in model_prices("", price_type="embedding")
                if r.model in sized and r.usd_per_input_token
            ),
            key=lambda r: r.usd_per_input_token or math.inf,
        )
        return (
            row,
            sized[row.model],
            f"embedded with {row.model}, the cheapest whose vectors' length is known "
            f"({sized[row.model]}); {FieldName('embedding_model')} names another",
        )
    row = min(named(wanted, kind="embedding"), key=lambda r: r.usd_per_input_token or math.inf)
    if row.model not in sized:
        raise QuestionError(
            f"the length of {row.model}'s vectors is not known",
            where=FieldName("embedding_model"),
            mend=f"Use {', '.join(sized)}",
        )
    return row, sized[row.model], None
