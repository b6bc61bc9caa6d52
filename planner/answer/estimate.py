"""The whole way from a question to the JSON document. Everything that the command line and the
reports show comes from here."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from planner.answer.advice import fixes
from planner.answer.assemble import document
from planner.answer.recommend import recommend
from planner.errors import PlannerError, QuestionError
from planner.plan.defaults import choose
from planner.plan.hardware import PLANNED, Hardware, Rented, by_promise, find_hardware
from planner.plan.options import Option, options_for, training_usd_at_least, with_serving
from planner.plan.problem import Asked, understand
from planner.question import Question

if TYPE_CHECKING:
    from planner.plan.paid_options import PaidOption


def estimate(
    question: Question | str, data: str | Path | None = None, *, progress=None, **fields
) -> dict:
    """Answer a question: a ``Question``, or a model's name with data or ``samples=`` and any field
    of ``Question``.

    Returns the JSON document (schema: ``profiles/schema/answer.schema.json``); sizes in bytes,
    times in seconds unless the key says otherwise. ``progress(what, done, total)`` is called while
    something takes long. Raises PlannerError with one line that says how to mend the question.

    >>> estimate("gpt2", samples=1000, tokens_per_sample=200, gpu="a100-sxm-80")   # doctest: +SKIP
    """
    if isinstance(question, str):
        question = _question(question, data, fields)
    asked = understand(question, progress)
    paid = _paid(asked)
    hardware = find_hardware(question, progress) if asked.trained_strategies else Hardware(None, [])
    options = _all_options(asked, hardware)
    if not options and not paid:
        raise QuestionError(
            "no strategy can be planned: " + "; ".join(asked.warnings[-3:]), where=asked.facts.name
        )
    parameters = asked.facts.parameters or _parameters(options)
    for option in options:
        with_serving(asked, option)
    chosen = (
        recommend(
            question, options, asked.data.samples, question.task or asked.facts.task, parameters
        )
        if options
        else _cheapest_paid(question, paid)
    )
    advice = {id(option): fixes(asked, option) for option in options}
    return document(asked, hardware, options, advice, chosen, paid)


def _paid(asked: Asked) -> list[PaidOption]:
    """The ways that are paid by the token; their prices are read only where one was asked for, or
    refused."""
    if not (asked.paid_strategies or asked.question.data_must_stay):
        return []
    from planner.plan.paid_options import paid_options

    return paid_options(asked)


def _cheapest_paid(question: Question, paid: list[PaidOption]) -> tuple[PaidOption, str] | None:
    from planner.plan.paid_options import cheapest_paid

    return cheapest_paid(question, paid)


def _question(model: str, data, fields: dict) -> Question:
    """Raises QuestionError naming the field that is wrong."""
    try:
        return Question(model=model, data=str(data) if data is not None else None, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise QuestionError(
            first["msg"], where=".".join(str(part) for part in first["loc"]) or None
        ) from error


def _all_options(asked: Asked, hardware: Hardware) -> list[Option]:
    """Every strategy asked for. When all were, one that this model cannot do becomes a warning, not
    a failure."""
    options: list[Option] = []
    for strategy in asked.trained_strategies:
        try:
            options += (
                options_for(asked, strategy, hardware.fixed)
                if hardware.fixed
                else _cheapest(asked, strategy, hardware.choices)
            )
        except PlannerError as error:
            if asked.question.strategy is not None:
                raise
            asked.warnings.append(f"{strategy} is left out: {error}")
    return options


def _cheapest(asked: Asked, strategy: str, rented: list[Rented]) -> list[Option]:
    """The options on the device that does this strategy for the fewest dollars among the most
    promising ones that fit."""
    best: list[Option] = []
    refused: PlannerError | None = None
    promising = list(islice(_promising(asked, strategy, rented), 4 * PLANNED))
    for planned, (least_usd, one) in enumerate(
        [
            *_bounded(asked, strategy, promising[:PLANNED]),
            *((0.0, one) for one in promising[PLANNED:]),
        ]
    ):
        if (
            best
            and best[0].fits
            and (planned >= PLANNED or best[0].bill and best[0].bill.usd.p50 < least_usd)
        ):
            break
        try:
            found = options_for(asked, strategy, one)
        except PlannerError as error:
            refused = error
            continue
        if not best or _rank(found[0]) < _rank(best[0]):
            best = found
    if not best and refused is not None:
        raise refused
    return best


def _bounded(asked: Asked, strategy: str, promising: list[Rented]) -> list[tuple[float, Rented]]:
    """(a bound on its dollars, device), the lowest bound first: most devices then need no plan in
    full."""
    found = []
    for one in promising:
        try:
            found.append((training_usd_at_least(asked, strategy, one), one))
        except PlannerError:
            found.append((0.0, one))  # refused again when planned, and reported then
    return sorted(found, key=lambda f: f[0])


def _promising(asked: Asked, strategy: str, rented: list[Rented]):
    """Devices in the order of a bound on dollars: 6 FLOPs a parameter and sample token, weights
    moved once a step."""
    parameters = float(asked.facts.parameters or 1e8)
    spec = max(rented, key=lambda r: r.spec.total_memory_bytes).spec
    precision = choose(asked.question, asked.facts, asked.data, strategy, spec).recipe.precision
    tokens = 512.0 if asked.data.mean_length is None else asked.data.mean_length
    state = {
        "fine_tune": 8.0,
        "scratch": 16.0,
        "lora": 2.1,
        "qlora": 0.6,
        "feature_extraction": 2.1,
    }.get(strategy, 2.1) * parameters
    roomy = [r for r in rented if r.spec.total_memory_bytes > state] or rented
    yield from by_promise(roomy, 6 * parameters * tokens, 16 * parameters, precision)


def _rank(option: Option) -> tuple:
    usd = option.bill.usd.p50 if option.bill else float("inf")
    return (not option.fits, usd if option.fits else option.setting.memory.short_by_bytes or 0)


def _parameters(options: list[Option]) -> int | None:
    for option in options:
        if option.strategy in ("fine_tune", "scratch"):
            return option.setting.source.at(
                B=max(2, option.setting.micro_batch),
                S=2
                if option.setting.batches.longest_length is None
                else option.setting.batches.longest_length,
                T=option.setting.batches.target_longest_length,
            ).meta["total_params"]
    return None
