"""The run of a promise is taken over by its proof, and recipes are ranked once: neither changes a
figure."""

from dataclasses import replace

import pytest

from planner.datasets.profile import from_counts
from planner.models.resolve import resolve
from planner.plan.inputs import recipes
from planner.plan.inputs.hardware import find_hardware
from planner.plan.inputs.problem import understand
from planner.plan.placement import place
from planner.plan.placement.grid import Grids
from planner.plan.placement.variants import variants
from planner.plan.survey.survey import survey
from planner.question import Question


@pytest.mark.parametrize("fields", [{}, {"evaluation_keeps_logits": True, "samples": 60_000}])
def test_a_proven_run_is_the_run_worked_out_anew(fields):
    asked = {"model": "SmolLM2-135M", "samples": 2000, "tokens_per_sample": 200, "gpu": "l4"}
    problem = understand(Question(**asked | fields))
    hardware = find_hardware(problem.question)
    found = survey(problem, hardware, counts=(1,))
    (spec,), (parallel,) = hardware.specs, found.plans
    seen = 0
    for strategy in ("feature_extraction", "fine_tune", "lora", "scratch"):
        for variant in variants(problem, strategy, spec):
            grids = Grids(problem, found.plans)
            place.promised(problem, grids, variant, spec, parallel)
            after = place.proven(problem, grids, variant, spec, parallel)
            anew = place.proven(problem, Grids(problem, found.plans), variant, spec, parallel)
            settled = [
                place._whole(
                    problem, stage, place.prove(grids.of(stage, spec), parallel), memory=True
                )
                for stage in variant.stages
            ]
            assert after.run == anew.run == place.joined(settled, parallel)
            seen += 1
    assert seen >= 4


def test_ranked_rows_are_those_of_the_works_in_the_order_of_the_tables():
    facts = resolve("Llama-3.1-8B", offline=True)
    data = from_counts(52_000, 300)
    for strategy in ("fine_tune", "lora", "qlora", "scratch"):
        found = tuple(recipes.works(facts, data, "causal_lm", strategy))
        who = recipes.asker(facts, data, found[0].group if found else "")
        names = {(work.task, work.strategy) for work in found}
        rows = [row for _, row in recipes._ranked(found, who)]
        assert rows == [
            row
            for row in recipes.published()
            if (row.task, row.strategy) in names and recipes._family_rank(row, who) is not None
        ]
        other = replace(who, samples=10)
        for asker in (who, other, who):
            for rank, row in recipes._ranked(found, asker):
                assert rank[-1] == round(recipes._data_distance(row, asker) or 0.0, 3)
