"""The whole way from a question to the JSON document. Everything that the command line and the
reports show comes from here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from planner.answer.advice import fixes
from planner.answer.assemble import document
from planner.answer.recommend import recommend
from planner.errors import PlannerError, QuestionError
from planner.plan.inputs.defaults import choose
from planner.plan.inputs.hardware import (
    PLANNED,
    Hardware,
    RentedDevice,
    by_promise,
    find_hardware,
    parallel_plan,
)
from planner.plan.inputs.problem import Problem, understand
from planner.plan.inputs.rows import default
from planner.plan.options import Option, options_for, training_usd_at_least, with_serving
from planner.plan.placement.grid import Grids
from planner.question import Question
from planner.trace.source import Progress

#: Forward and backward pass: Kaplan et al. 2020, arXiv 2001.08361, section 2.1.
FLOPS_PER_PARAMETER_AND_TOKEN = 6

if TYPE_CHECKING:
    from planner.plan.by_token.paid_option import PaidOption


def estimate(
    question: Question | str,
    data: str | Path | None = None,
    *,
    progress: Progress | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Answer a question: a ``Question``, or a model's name with data or ``samples=`` and any field
    of ``Question``.

    Returns the JSON document (schema: ``profiles/schema/answer.schema.json``); sizes in bytes,
    times in seconds unless the key says otherwise. ``progress(what, done, total)`` is called while
    something takes long. Raises PlannerError with one line that says how to mend the question.

    >>> estimate("gpt2", samples=1000, tokens_per_sample=200, gpu="a100-sxm-80")   # doctest: +SKIP
    """
    if isinstance(question, str):
        question = _question(question, data, fields)
    problem = understand(question, progress)
    paid = _paid(problem)
    hardware = (
        find_hardware(question, progress) if problem.trained_strategies else Hardware(None, [])
    )
    options = _all_options(problem, hardware)
    if not options and not paid:
        raise QuestionError(
            "no strategy can be planned: " + "; ".join(problem.warnings[-3:]),
            where=problem.facts.name,
        )
    parameters = problem.facts.parameters or _parameters(options)
    for option in options:
        with_serving(problem, option)
    chosen = (
        recommend(
            question,
            options,
            samples=problem.data.samples,
            task=question.task or problem.facts.task,
            parameters=parameters,
        )
        if options
        else _cheapest_paid(question, paid)
    )
    advice = {id(option): fixes(problem, option) for option in options}
    return document(problem, hardware, options, advice, chosen, paid)


def _paid(problem: Problem) -> list[PaidOption]:
    """The ways that are paid by the token; their prices are read only where one was asked for, or
    refused."""
    if not (problem.paid_strategies or problem.question.data_must_stay):
        return []
    from planner.plan.by_token.paid_options import paid_options

    return paid_options(problem)


def _cheapest_paid(question: Question, paid: list[PaidOption]) -> tuple[PaidOption, str] | None:
    from planner.plan.by_token.paid_options import cheapest_paid

    return cheapest_paid(question, paid)


def _question(model: str, data: str | Path | None, fields: dict[str, Any]) -> Question:
    """Raises QuestionError naming the field that is wrong."""
    try:
        return Question(model=model, data=str(data) if data is not None else None, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise QuestionError(
            first["msg"], where=".".join(str(part) for part in first["loc"]) or None
        ) from error


def _all_options(problem: Problem, hardware: Hardware) -> list[Option]:
    """Every strategy asked for. When all were, one that this model cannot do becomes a warning, not
    a failure."""
    options: list[Option] = []
    grids = Grids(problem, (parallel_plan(problem.question),))
    for strategy in problem.trained_strategies:
        try:
            options += (
                options_for(problem, strategy, hardware.fixed, grids)
                if hardware.fixed
                else _cheapest(problem, strategy, hardware.choices, grids)
            )
        except PlannerError as error:
            if problem.question.strategy is not None:
                raise
            problem.warn(f"{strategy} is left out: {error}")
    return options


def _cheapest(
    problem: Problem, strategy: str, rentable: list[RentedDevice], grids: Grids
) -> list[Option]:
    """The options on the device that does this strategy for the fewest dollars among the most
    promising ones that fit."""
    best: list[Option] = []
    refused: PlannerError | None = None
    promising = list(islice(_promising(problem, strategy, rentable), 4 * PLANNED))
    bounded = _bounded(problem, strategy, promising[:PLANNED], grids)
    others = [(0.0, rented) for rented in promising[PLANNED:]]
    for planned, (least_usd, rented) in enumerate([*bounded, *others]):
        if best and _is_enough(best[0], planned, least_usd):
            break
        try:
            found = options_for(problem, strategy, rented, grids)
        except PlannerError as error:
            refused = error
            continue
        if not best or _rank(found[0]) < _rank(best[0]):
            best = found
    if not best and refused is not None:
        raise refused
    return best


def _is_enough(best: Option, planned: int, least_usd: float) -> bool:
    """Whether no other device needs a plan: enough were planned, or none can be cheaper."""
    if not best.fits:
        return False
    return planned >= PLANNED or (best.bill is not None and best.bill.usd.p50 < least_usd)


def _bounded(
    problem: Problem, strategy: str, promising: list[RentedDevice], grids: Grids
) -> list[tuple[float, RentedDevice]]:
    """(a bound on its dollars, device), the lowest bound first: most devices then need no plan in
    full."""
    found = []
    for rented in promising:
        try:
            found.append((training_usd_at_least(problem, strategy, rented, grids), rented))
        except PlannerError:
            found.append((0.0, rented))  # refused again when planned, and reported then
    return sorted(found, key=lambda bounded: bounded[0])


def _promising(
    problem: Problem, strategy: str, rentable: list[RentedDevice]
) -> Iterator[RentedDevice]:
    """Devices in the order of a bound on dollars: 6 FLOPs a parameter and sample token (Kaplan et
    al. 2020, arXiv 2001.08361, section 2.1), the state moved once a step. What the model or the
    data does not say is taken from rows: they only decide which devices are worth a plan."""
    parameters = float(problem.facts.parameters or default("unknown_parameters")[0])
    spec = max(rentable, key=lambda rented: rented.spec.total_memory_bytes).spec
    choices = choose(problem.question, problem.facts, problem.data, strategy, spec)
    tokens = problem.data.mean_length
    if tokens is None:
        tokens = default("unknown_tokens_per_sample")[0]
    state = default("state_bytes_per_parameter", strategy)[0] * parameters
    roomy = [rented for rented in rentable if rented.spec.total_memory_bytes > state] or rentable
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * parameters * tokens
    moved_bytes = default("moved_bytes_per_parameter")[0] * parameters
    yield from by_promise(roomy, flops, moved_bytes, choices.recipe.precision)


def _rank(option: Option) -> tuple[bool, float]:
    usd = option.bill.usd.p50 if option.bill else float("inf")
    short = option.setting.proven_memory.short_by_bytes or 0
    return not option.fits, usd if option.fits else short


def _parameters(options: list[Option]) -> int | None:
    for option in options:
        if option.strategy in ("fine_tune", "scratch"):
            return option.setting.longest_trace().meta["total_params"]
    return None
