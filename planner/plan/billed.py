"""What a placement's project pays at an offer."""

from __future__ import annotations

from planner.cost.bill import Bill
from planner.plan.billing import project_bill, with_interruptions
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.phases.saving import writers_of
from planner.plan.placement.place import Placement
from planner.plan.placement.run import Run


def billed(problem: Problem, placement: Placement, rented: RentedDevice) -> tuple[Run, Bill | None]:
    """A placement at an offer: its run with the interruptions there, and what the project pays
    (None where no price is known). Raises QuestionError for a spot run that would not end."""
    question, offer, devices = problem.question, rented.offer, rented.parallel.devices
    saved = placement.checkpoint_bytes
    writers = writers_of(rented.spec, rented.parallel)
    run = with_interruptions(question, placement.run, offer, devices, saved, writers)
    if offer is None:
        return run, None
    return run, project_bill(
        question,
        run,
        offer,
        devices,
        prices=rented.prices,
        data=problem.data,
        checkpoint_bytes=saved,
        disk_bytes=placement.disk_bytes,
    )
