"""The bill of a way that is paid by the token, as lines: tokens × price, storage, hosting."""

from __future__ import annotations

from collections.abc import Iterator

from planner.answer.estimate import Answered
from planner.cost.quantities import Quantity
from planner.cost.token_bills import CostCurve, request_rates
from planner.plan.by_token.paid_option import PaidOption
from planner.units import MEGA


def paid_lines(made: Answered, option: PaidOption) -> Iterator[Quantity]:
    """They sum to the middle of the option's dollars: what is paid once, and where requests are
    asked for all of them over the months."""
    yield from option.up_front
    load, curve = made.problem.question.requests_per_month, option.line
    if load is None or curve is None:
        return
    months = made.problem.question.horizon_months
    yield from _requests(option, curve, load * months)
    yield from _standing(option, curve, load, months)


def _requests(option: PaidOption, curve: CostCurve, requests: float) -> Iterator[Quantity]:
    """Tokens of all requests; what a request takes beside them (embedding what is searched for) is
    a line of its own."""
    usd_of_tokens, price = 0.0, option.answers_at
    date = price.captured_date.isoformat() if price and price.captured_date else None
    if price is not None and option.tokens is not None and curve.usd_per_request:
        for name, tokens, usd_per_token in request_rates(option.tokens, price):
            usd_of_tokens += tokens * usd_per_token
            amount, rate = requests * tokens / MEGA, usd_per_token * MEGA
            yield Quantity(name, amount, "million tokens", rate, price.source, date)
    beside = max(0.0, curve.usd_per_request - usd_of_tokens)
    yield Quantity("Embedding what is asked", requests, "requests", beside)


def _standing(
    option: PaidOption, curve: CostCurve, load: float, months: float
) -> Iterator[Quantity]:
    """A store of vectors or hosting by the month, and servers that stand."""
    name = "Vector store" if option.store else "Hosting of the tuned model"
    note = option.store["store"] if option.store else None
    yield Quantity(name, months, "months", curve.service_usd(load), note=note)
    servers = curve.servers(load)
    yield Quantity("Servers", servers * months, "server-months", curve.usd_per_server_month)
