"""The ways of a question under its limits: of each strategy the cheapest that keeps them, where its
model would be served, and what comes nearest where none keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.figures import Estimate
from planner.plan.limits import Allowed, Limit, allowed, licence_problem, limits_of
from planner.plan.options import Option
from planner.plan.survey.candidate import Candidate, option_of
from planner.plan.survey.survey import Survey

if TYPE_CHECKING:
    from planner.plan.survey.serving import ServingOffer

#: Of a bill, what no number of runs changes.
_ONCE = ("data", "storage", "egress", "api")


class Ways:
    """``licence``: why the weights may not be taken, None where they may. ``serving`` by strategy;
    None where no requests are asked for, or ``serving_refused`` says why it cannot be priced."""

    def __init__(self, found: Survey) -> None:
        self.survey, self.problem, self.question = found, found.problem, found.problem.question
        self.licence = licence_problem(self.question.licences, self.problem.facts.license)
        self.serving: dict[str, ServingOffer | None] = {}
        self.serving_refused: dict[str, str] = {}
        for name in found.strategies:
            self.serving[name] = self._served(name)

    def _served(self, strategy: str) -> ServingOffer | None:
        if self.question.requests_per_month is None:
            return None
        # and the prices of APIs: only where requests are asked for
        from planner.plan.survey.serving import cheapest_serving

        try:
            return cheapest_serving(self.survey, strategy)
        except PlannerError as error:
            self.serving_refused[strategy] = str(error)
            return None

    @property
    def strategies(self) -> tuple[str, ...]:
        return self.survey.strategies

    @property
    def can_train(self) -> bool:
        """Whether any place can be planned, be it too small, as far as places were looked at."""
        return any(place.error is None for place in self.survey.places())

    # ---- limits

    def is_barred(self, strategy: str) -> bool:
        """The licence is that of the weights, which training from scratch does not use."""
        return self.licence is not None and strategy != "scratch"

    def serving_usd(self, strategy: str) -> Estimate | None:
        """Of the months that are asked about; None where nothing is served or no price is known."""
        serving = self.serving[strategy]
        if serving is None or serving.usd_per_month is None:
            return None
        return serving.usd_per_month.scale(self.question.horizon_months)

    def project_usd(self, one: Candidate) -> Estimate | None:
        """Training, and serving for the months; None without either."""
        serving = self.serving_usd(one.placement.strategy)
        return None if serving is None or one.bill is None else one.bill.usd + serving

    def allowed(self, strategy: str) -> Allowed:
        """What the limits leave to its training."""
        serving = self.serving_usd(strategy)
        return allowed(self.question, fixed_usd=serving.p50 if serving else 0.0)

    def keeps(self, one: Candidate) -> bool:
        strategy = one.placement.strategy
        return not self.is_barred(strategy) and one.keeps(self.allowed(strategy))

    def limits(self, one: Candidate) -> list[Limit]:
        """Each limit beside this way's figure."""
        serving, bill = self.serving_usd(one.placement.strategy), one.bill
        once = 0.0 if bill is None else sum(bill.breakdown.get(part, 0.0) for part in _ONCE)
        return limits_of(
            self.question,
            usd=self.project_usd(one) or (bill.usd if bill else None),
            fixed_usd=once + (serving.p50 if serving else 0.0),
            wall_hours=one.run.wall_hours,
        )

    # ---- which way

    def best(self, strategy: str, *, variant: str | None = None) -> Candidate | None:
        """The cheapest that keeps the limits."""
        if self.is_barred(strategy):
            return None
        return self.survey.cheapest(strategy, self.allowed(strategy), variant=variant)

    def shown(self, strategy: str, *, variant: str | None = None) -> Candidate | None:
        """The best, else what comes nearest to the limits, else what lacks least memory; None where
        nothing can be planned."""
        near = self.survey.nearest(strategy, self.allowed(strategy), variant=variant)
        return near or self.survey.least_short(strategy, variant=variant)

    def option(self, one: Candidate) -> Option:
        """A proven way priced in full, with what serving it costs."""
        option = option_of(self.problem, one)
        strategy = option.strategy
        serving = self.serving[strategy]
        if not option.fits:
            return option
        option.limits = self.limits(one)
        if serving is not None:
            option.serving, option.served_on = serving.serving, serving.rented
            option.assumptions += serving.serving.assumptions
        elif strategy in self.serving_refused:
            option.warnings.append(f"serving it is left out: {self.serving_refused[strategy]}")
        return option

    @property
    def parameters(self) -> int | None:
        """Of a model whose facts do not say, as its trace counts them."""
        if self.problem.facts.parameters is not None:
            return self.problem.facts.parameters
        for strategy in ("fine_tune", "scratch"):
            if strategy in self.strategies:
                for place in self.survey.places(strategy):
                    if place.error is None:
                        grid = next(self.survey.grids.of(place.variant.stages[-1], place.spec))
                        return grid.shared.trace.meta["total_params"]
        return None
