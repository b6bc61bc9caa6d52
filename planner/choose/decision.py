"""The decision: among strategies × devices × counts × providers the cheapest that keeps the limits,
which strategy to take by published rules, the front of dollars against hours, the stages in which
to go and what the data at hand supports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from planner import units
from planner.answer.recommend import recommend
from planner.answer.understood import counted_parameters, first_lines
from planner.answer.verdict import limit_lines
from planner.choose import document as documents
from planner.choose.document import Json, candidate_values, named
from planner.choose.scaling import scaling
from planner.choose.smaller import smaller_siblings
from planner.choose.stages import cautions, data_support, staged_plan
from planner.errors import FieldName, PlannerError, QuestionError
from planner.first_lines import ordered
from planner.moment import one_moment
from planner.parallel.plan import counts_up_to
from planner.plan.by_token.paid_option import PaidOption
from planner.plan.by_token.paid_options import cheapest_paid, paid_options
from planner.plan.inputs.problem import Problem, understand
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.survey import Survey, survey
from planner.plan.survey.ways import Ways
from planner.question import Question

SCHEMA = 1
Progress = Callable[[str, int, int], None]


@one_moment()
def decide(
    question: Question,
    progress: Progress | None = None,
    *,
    everywhere: bool = False,
    up_to: int | None = None,
) -> dict[str, Any]:
    """The decision as plain JSON values: ``recommended`` (None where nothing keeps the limits) with
    why; ``cheapest`` of all strategies; ``strategies``, the cheapest way of each; ``front``;
    ``stages``; ``data``; ``cautions``; ``questions``; ``smaller``.

    ``everywhere`` adds ``ways``: the asked (or recommended) strategy on every device at every
    provider. ``up_to`` looks at counts of devices up to so many, copies and shared state beside
    each other, and adds ``scaling``. For one strategy a higher limit never makes the price higher;
    between strategies a higher limit may let a better one in. Raises PlannerError as ``estimate``.
    """
    problem = understand(question, progress)
    found = survey(problem) if up_to is None else _up_to(problem, up_to)
    paid = paid_options(problem)
    decision = Decision(Ways(found), paid)
    shown = decision.shown
    front = found.front(shown.placement.strategy) if shown else []
    holds, questions = cautions(problem)
    problem.first_lines += limit_lines(decision.ways, decision.chosen)
    for best in filter(None, decision.best.values()):
        decision.ways.say_how_it_is_loaded(best)
    # the stages before tuning are priced by the request, whatever is asked for
    planned = [name for name, best in decision.best.items() if best is not None]
    planned += [*(option.strategy for option in paid), "prompting", "rag"]
    told = first_lines(problem, shown, planned)
    document = {
        "schema": SCHEMA,
        "first_lines": [line.as_dict() for line in ordered(told)],
        "question": question.model_dump(mode="json") | {"strategy": list(problem.strategies)},
        "dataset": problem.data.as_dict(),
        "model": _model(problem, decision),
        "limits": documents.limits(question),
        "licence": decision.licence,
        "surveyed": documents.surveyed(found),
        "recommended": decision.recommended(),
        "cheapest": documents.optional_values(decision.cheapest),
        "strategies": [decision.strategy(name) for name in problem.trained_strategies]
        + [documents.paid_values(option) for option in paid],
        "front": {
            "strategy": shown.placement.strategy if shown else None,
            "ways": [
                {**candidate_values(candidate), "keeps_limits": decision.ways.keeps(candidate)}
                for candidate in documents.thinned(front)
            ],
            "of": len(front),
        },
        "stages": staged_plan(problem, stage_costs(found, paid)),
        "data": data_support(problem),
        "cautions": holds,
        "questions": questions,
        "smaller": _smaller(problem, decision.chosen),
        "assumptions": _distinct(
            found.assumptions, problem.assumptions, documents.assumptions_of(found, shown)
        ),
        "warnings": _distinct(problem.warnings, documents.refusals(found)),
    }
    if up_to is not None:
        document["scaling"] = scaling(found, shown) if shown else None
    if everywhere:
        document["ways"] = _everywhere(found, shown.placement.strategy) if shown else []
    return document


def _up_to(problem: Problem, most: int) -> Survey:
    """Raises QuestionError where the question names a count."""
    if "gpus" in problem.question.model_fields_set:
        raise QuestionError(
            f"one count of devices is asked for, and counts up to {most:,}",
            where=FieldName("gpus"),
            mend="Leave one of them out",
        )
    return survey(problem, counts=counts_up_to(most), apart=True)


class Decision:
    """The cheapest candidate of each strategy under the limits, and which one is advised."""

    def __init__(self, ways: Ways, paid: Sequence[PaidOption]) -> None:
        self.ways, self.paid, self.question = ways, paid, ways.question
        self.survey, self.licence = ways.survey, ways.licence
        self.best = {name: ways.best(name) for name in ways.strategies}
        self._advised = recommend(ways)

    @property
    def chosen(self) -> Candidate | None:
        return self._advised[0] if self._advised else None

    @property
    def cheapest(self) -> Candidate | None:
        """Of all strategies; of equally cheap ones the fastest."""
        best = filter(None, self.best.values())
        return min(best, key=lambda candidate: candidate.order, default=None)

    @property
    def shown(self) -> Candidate | None:
        """What front and assumptions are of: the chosen one, else the cheapest."""
        return self.chosen or self.cheapest

    def _among(self, candidate: Candidate) -> str:
        able = [c for c in self.survey.of(candidate.placement.strategy) if self.ways.keeps(c)]
        dearest = max(able, key=lambda other: other.usd)
        limited = any(documents.limits(self.question).values())
        return (
            f"{units.format_usd(candidate.usd)} at {candidate.offer.provider} is the cheapest of "
            f"{len(able)} ways to do it that fit{' and keep the limits' if limited else ''}; the "
            f"dearest, {named(dearest)}, costs {units.format_usd(dearest.usd)}"
        )

    def recommended(self) -> Json | None:
        """Of what trains; where only ways that are paid by the token can be had, the cheapest of
        those."""
        if self._advised:
            candidate, reason = self._advised
            among = self._among(candidate)
            said = {"why": f"{reason}; {among}", "reason": f"{reason.text}; {among}"}
            return {**candidate_values(candidate), **self._project(candidate), **said}
        paid = None if self.ways.can_train else cheapest_paid(self.question, self.paid)
        return None if paid is None else documents.recommended_paid(*paid)

    def _project(self, candidate: Candidate) -> Json:
        limits = [limit.as_dict() for limit in self.ways.limits(candidate)]
        return documents.project_values(self.ways, candidate) | {"limits": limits}

    def strategy(self, name: str) -> Json:
        candidate = self.best[name]
        if candidate is not None:
            return {
                "strategy": name,
                "way": candidate_values(candidate),
                "why_not": None,
                **self._project(candidate),
                "serving_why_not": self.ways.serving_refused.get(name),
            }
        reason = self.licence if self.ways.is_barred(name) else documents.why_not(self.ways, name)
        return {"strategy": name, "way": None, "why_not": reason}


def _model(problem: Problem, decision: Decision) -> Json:
    """Parameters are counted by a trace where the facts do not say."""
    facts = problem.facts
    planned = filter(None, [decision.shown, *decision.best.values()])
    counted = (counted_parameters(one.placement) for one in planned)
    return {
        "name": facts.name,
        "parameters": facts.parameters or next((count for count in counted if count), None),
        "license": facts.license,
        "task": problem.question.task or facts.task,
    }


def _distinct(*texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(text for several in texts for text in several))


def stage_costs(found: Survey, paid: Sequence[PaidOption]) -> dict[str, Json]:
    """Strategy → what it costs at its cheapest, whatever the limits, for the staged plan. A
    strategy whose price is not known has hours alone."""
    costs: dict[str, Json] = {}
    for strategy in found.problem.trained_strategies:
        best = found.cheapest(strategy)
        if best is None:
            costs[strategy] = {"usd": None, "why_not": "fits no device"}
        elif best.bill is None:
            costs[strategy] = {"usd": None, "hours": best.hours, "why_not": "no price is known"}
        else:
            costs[strategy] = {"usd": best.usd, "hours": best.hours, "where": named(best)}
    for strategy in ("prompting", "rag"):  # the stages before tuning
        options = [option for option in paid if option.strategy == strategy]
        costs[strategy] = _paid_cost(found.problem, strategy, options)
    return costs


def _paid_cost(problem: Problem, strategy: str, options: list[PaidOption]) -> Json:
    question = problem.question
    if not options:
        try:
            options = paid_options(
                problem.changed(question.model_copy(update={"strategy": [strategy]}))
            )
        except PlannerError as error:
            return {"usd": None, "why_not": str(error)}
    option = min(options, key=lambda paid: (paid.usd.p50, paid.provider))
    where = f"{option.provider} {option.price.model}"
    if question.requests_per_month is None:
        return {
            "usd": None,
            "usd_per_request": documents.usd_per_request(option),
            "where": where,
            "why_not": "requests are not given",
        }
    return {"usd": option.usd.p50, "where": where}


def _smaller(problem: Problem, chosen: Candidate | None) -> list[Json]:
    """The next smaller model of the family, and the next one that can be priced without recording
    its step."""
    found: list[Json] = []
    for name, parameters, shipped in smaller_siblings(problem.facts):
        if not found or shipped:
            priced = _priced_sibling(problem, name, chosen if shipped else None)
            found.append({"model": name, "parameters": parameters, **priced})
        if shipped:
            break
    return found


def _priced_sibling(problem: Problem, name: str, chosen: Candidate | None) -> Json:
    if chosen is None:
        return {"way": None, "why_not": f"ask for it: planner choose {name}"}
    update = {"model": name, "strategy": [chosen.placement.strategy]}
    try:
        found = survey(understand(problem.question.model_copy(update=update)))
        best = Ways(found).best(chosen.placement.strategy)
    except PlannerError as error:
        return {"way": None, "why_not": str(error)}
    return {
        "way": documents.optional_values(best),
        "why_not": None if best else "keeps no limit",
    }


def _everywhere(found: Survey, strategy: str) -> list[Json]:
    """Of one strategy the cheapest candidate of each device at each provider, proven; the cheapest
    first."""
    while True:
        best: dict[tuple[str, str], Candidate] = {}
        for candidate in found.of(strategy):
            key = (candidate.placement.spec.key, candidate.offer.provider)
            known = best.get(key)
            if known is None or candidate.order < known.order:
                best[key] = candidate
        unproven = {c.placement.key for c in best.values() if not c.placement.proven}
        if not unproven:
            ordered = sorted(best.items(), key=lambda item: (item[1].usd, *item[0]))
            return [candidate_values(candidate) for _, candidate in ordered]
        found.prove_all(unproven)
