"""The limits of a question in words, for the first lines: what is recommended keeps them, by how
much and for how many runs; or what rules everything out, and what would come nearest."""

from __future__ import annotations

from planner.answer.fixes.advice import Advice
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.plan.limits import Limit
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.survey import COUNTS, survey
from planner.plan.survey.ways import Ways
from planner.units import SECONDS_PER_HOUR, format_bytes, format_seconds, format_usd

#: A chance above this goes without saying.
SURE = 0.99


def limit_lines(
    ways: Ways, chosen: Candidate | None, advice: Advice | None = None
) -> list[FirstLine]:
    """One for each limit of the way that is recommended; where none is, one that says what rules
    them out and what would do. Nothing where no limit is set and something is recommended.
    ``advice``: of the same problem, where somebody else asks for it too."""
    if chosen is not None:
        name = named(chosen)
        return [
            FirstLine("limit", f"{name}: {limit_words(limit, ways.question.trials)}")
            for limit in ways.limits(chosen)
        ]
    advice = advice or Advice(ways.problem, searched=ways.survey.hardware.searched)
    text = _ruled_out(ways, advice) if ways.strategies and ways.can_train else None
    return [] if text is None else [FirstLine("limit", text, warning=True)]


def limit_words(limit: Limit, trials: int = 1) -> str:
    """``$3.10 of $20 (--max-usd): kept by $16.90, 6 such runs``."""
    field, over = FieldName(limit.field), abs(limit.allowed - limit.used.p50)
    chance = "" if limit.chance_kept > SURE else f", {limit.chance_kept:.0%} chance to keep it"
    if limit.field == "deadline":
        when = f"{_hours(over)} {'before' if limit.kept else 'after'} it"
        verdict = "kept" if limit.kept else "broken at the median"
        return f"{_hours(limit.used.p50)} from now, {when} ({field}): {verdict}{chance}"
    word = format_usd if limit.field == "max_usd" else _hours
    several = f" for {trials} runs" if limit.field == "max_usd" and trials > 1 else ""
    head = f"{word(limit.used.p50)}{several} of {word(limit.allowed)} ({field})"
    if not limit.kept:
        return f"{head}: broken by {word(over)} at the median{chance}"
    runs = "" if limit.runs is None else f", {limit.runs} such run{'s' * (limit.runs != 1)}"
    return f"{head}: kept by {word(over)}{chance}{runs}"


def named(one: Candidate) -> str:
    """``lora on 2 × NVIDIA L4 at runpod``."""
    strategy, variant, _, parallel, _ = one.placement.key
    count = f"{parallel.devices} × " if parallel.devices > 1 else ""
    place = f" at {one.rented.offer.provider}" if one.rented.offer else ""
    way = f"{strategy}, {variant}" if variant else strategy
    return f"{way} on {count}{one.rented.spec.name}{place}"


def _ruled_out(ways: Ways, advice: Advice) -> str:
    near = [
        one
        for name in ways.strategies
        if (one := ways.survey.nearest(name, ways.allowed(name))) is not None
    ]
    if not near:
        return _nothing_fits(ways, advice)
    if ways.licence is not None:
        return ways.licence
    best = min(near, key=lambda one: (_excess(ways.limits(one)), one.order))
    broken = [limit for limit in ways.limits(best) if not limit.kept]
    if not broken:
        return f"no price of {best.rented.spec.name} is known: give {FieldName('price')}"
    names = " and ".join(FieldName(limit.field) for limit in broken)
    kept = [limit for limit in ways.limits(best) if limit.kept]
    words = "; ".join(limit_words(limit, ways.question.trials) for limit in (*broken, *kept))
    return f"nothing keeps {names}; the nearest is {named(best)}: {words}{_with_more(ways, best)}"


def _excess(limits: list[Limit]) -> float:
    """How many times the furthest limit is used."""
    return max(
        (limit.used.p50 / limit.allowed if limit.allowed > 0 else float("inf") for limit in limits),
        default=0.0,
    )


def _with_more(ways: Ways, near: Candidate) -> str:
    """What so many devices as one host holds would do, where their number was not asked for."""
    problem, question = ways.problem, ways.question
    if "gpus" in question.model_fields_set or set(COUNTS) <= set(ways.survey.counts):
        return ""
    own = problem.changed(question.model_copy(update={"strategy": [near.placement.strategy]}))
    more = Ways(survey(own, ways.survey.hardware, counts=COUNTS)).best(near.placement.strategy)
    if more is None:
        return ""
    price = "" if more.bill is None else f" for {format_usd(more.usd)}"
    return f"; {named(more)} would do it in {_hours(more.hours)}{price}"


def _nothing_fits(ways: Ways, advice: Advice) -> str:
    """The one that lacks least memory, and the first change that would make it fit."""
    found = [one for name in ways.strategies if (one := ways.survey.least_short(name)) is not None]
    if not found:
        return "nothing that is asked for can be planned on these devices"

    def short(one: Candidate) -> int:
        return one.placement.shown.proven_memory.short_by_bytes or 0

    least = min(found, key=lambda one: (short(one), one.order))
    memory = least.placement.shown.proven_memory
    would = next((fix for fix in advice.of(ways.option(least)) if fix.fits), None)
    return (
        f"nothing fits: {named(least)} needs up to {format_bytes(memory.needed_bytes.p90)} "
        f"of {format_bytes(memory.device_total_bytes)}, {format_bytes(short(least))} more than "
        "there is"
        + (f"; would do: {would.change}, {format_bytes(would.used.p50)}" if would else "")
    )


def _hours(hours: float) -> str:
    return format_seconds(hours * SECONDS_PER_HOUR)
