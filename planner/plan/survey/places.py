"""A place of a survey: a variant on so many devices, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.devices.specification import DeviceSpec
from planner.errors import PlannerError
from planner.parallel.plan import ParallelPlan
from planner.parallel.source import why_not_shared
from planner.plan.limits import Allowed
from planner.plan.placement.place import Key, Placement
from planner.plan.placement.variants import CACHED, Variant
from planner.plan.survey.candidate import SLACK, Candidate


@dataclass(eq=False)
class Place:
    """A variant on so many devices, and what is known of it: ``hours`` and ``usd`` are bounds until
    ``placement`` is there, first ``promise`` and then the proven one, and ``candidates``, one an
    offer. ``beyond``: plans of as many devices that are tried, one after another, where this one
    does not fit. ``is_out``: it does not fit, or cannot be planned, as ``error`` says.
    ``short_bytes``: what is missing where it could be trained and not evaluated."""

    variant: Variant
    spec: DeviceSpec
    parallel: ParallelPlan
    hours: float
    usd: float
    beyond: tuple[ParallelPlan, ...] = ()
    is_bounded: bool = False
    is_out: bool = False
    error: PlannerError | None = None
    short_bytes: float = 0.0
    promise: Placement | None = None
    placement: Placement | None = None
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def key(self) -> Key:
        spec = self.spec
        return self.variant.strategy, self.variant.name, spec.key, self.parallel, spec.machine

    @property
    def is_proven(self) -> bool:
        return self.placement is not None and self.placement.proven

    def shares_more(self) -> bool:
        """Go on to the next plan; whether there is one."""
        if not self.beyond:
            return False
        self.parallel, self.beyond = self.beyond[0], self.beyond[1:]
        self.promise = self.placement = None
        self.candidates = []
        return True


def is_shareable(variant: Variant) -> bool:
    """Whether devices may share the state of all its stages."""
    return variant.name != CACHED and all(
        why_not_shared(stage.choices.recipe, stage.teacher is not None) is None
        for stage in variant.stages
    )


def may_keep(place: Place, one: Candidate | None, allowed: Allowed) -> bool:
    """Whether a closer look may find that the limits are kept."""
    if one is None:
        return allowed.keeps(place.usd / SLACK, place.hours / SLACK)
    return allowed.keeps(one.usd / SLACK, one.hours / SLACK)
