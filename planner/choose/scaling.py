"""What more devices buy: the recommended way on the same kind of device from few to many, the share
of their work that is left, and where the next doubling no longer pays.

Strong scaling: the same run, the same samples a step. Weak scaling: as many samples a device as on
the fewest, so that a step holds more of them; what that does to learning is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from planner.errors import PlannerError
from planner.parallel.data_parallel import gradient_seconds
from planner.plan.around.layers import layer_values
from planner.plan.around.parted import waited_seconds
from planner.plan.around.sharing import sharing_values
from planner.plan.inputs.problem import Problem
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.survey import Survey, survey
from planner.uncertainty.spread import overhead

Json = dict[str, Any]
#: Phases whose device-hours grow with the devices.
WAITS = ("stragglers", "interruptions", "start_up", "preparation", "saving", "evaluation")
#: All that device-hours are lost to: each needs a word where it is shown.
LOST_TO = ("network", "smaller_steps", *WAITS)


def scaling(found: Survey, shown: Candidate) -> Json:
    """``strong``: a row a count, the fewest first; ``weak`` beside it; ``pays_up_to``: the most
    devices at which the last doubling still bought what ``doubling_pays`` asks; ``why`` it does not
    beyond. Whether a provider has so many at once is not known."""
    rows = _fastest_of_each_count(found, shown)
    strong = [_row(one, rows[0]) for one in rows]
    best = _pays_up_to(strong)
    beyond = next((row for row in strong if row["gpus"] > best), None)
    return {
        "gpu": shown.placement.spec.name,
        "provider": shown.offer.provider,
        "strong": strong,
        "weak": _weak(found.problem, rows),
        "pays_up_to": best,
        "why": None if beyond is None else beyond["most_lost_to"],
    }


def _fastest_of_each_count(found: Survey, shown: Candidate) -> list[Candidate]:
    """Proven, of the same variant, device and provider."""
    place = shown.placement
    while True:
        best: dict[int, Candidate] = {}
        for one in found.of(place.strategy):
            same = (one.placement.variant.name, one.placement.spec.key, one.offer.provider)
            if same != (place.variant.name, place.spec.key, shown.offer.provider):
                continue
            count = one.placement.parallel.devices
            if count not in best or (one.hours, one.order) < (best[count].hours, best[count].order):
                best[count] = one
        unproven = {one.placement.key for one in best.values() if not one.placement.proven}
        if not unproven:
            return [best[count] for count in sorted(best)]
        found.prove_all(unproven)


def _row(one: Candidate, fewest: Candidate) -> Json:
    placement = one.placement
    parallel, setting = placement.parallel, placement.shown
    devices = parallel.devices
    base = fewest.hours * fewest.placement.parallel.devices
    lost = _lost(one, fewest)
    return {
        "gpus": devices,
        "parallel": parallel.sharding or "ddp",
        "dp_replicate": parallel.dp_replicate,
        "dp_shard": parallel.dp_shard,
        "micro_batch_size": setting.micro_batch,
        "gradient_accumulation": setting.accumulation,
        "gradient_checkpointing": setting.recipe.gradient_checkpointing,
        "global_batch_size": setting.step.samples,
        "wall_hours": one.run.wall_hours.as_dict(),
        "usd": one.known_bill.usd.as_dict(),
        "speed_up": fewest.hours / one.hours,
        "efficiency": base / (one.hours * devices),
        "lost_gpu_hours": lost,
        "most_lost_to": max(lost, key=lambda name: lost[name]) if max(lost.values()) > 0 else None,
    }


def _lost(one: Candidate, fewest: Candidate) -> dict[str, float]:
    """Device-hours beyond those of the fewest devices, by what takes them; steps are told apart
    into waiting for the network and the rest (smaller batches, more of the host)."""
    many, few = (c.placement.parallel.devices for c in (one, fewest))

    def more(name: str) -> float:
        hours = one.run.parts_hours.get(name, 0.0) * many
        return max(0.0, hours - fewest.run.parts_hours.get(name, 0.0) * few)

    network = max(0.0, _network_hours(one) * many - _network_hours(fewest) * few)
    training = more("training")
    return {
        "network": min(network, training),
        "smaller_steps": max(0.0, training - network),
        **{name: more(name) for name in WAITS},
    }


def _network_hours(one: Candidate) -> float:
    """Of all steps, what waits for other devices."""
    placement = one.placement
    setting = placement.shown
    step, run = setting.step, one.run
    if placement.parallel.devices == 1 or not step.seconds.p50:
        return 0.0
    if placement.parallel.sharding:
        waits = sharing_values(setting, placement.spec)["exposed_seconds"]
    else:
        update = float(step.time.optimizer_seconds)
        alone = step.accumulation * (float(step.time.seconds) - update) + update
        backward = float(step.time.backward_seconds)
        sent = gradient_seconds(
            setting.longest_trace(), placement.parallel, placement.spec, backward
        )
        waits = sent / (alone + sent) * step.seconds.p50
    layers = layer_values(setting, placement.spec).get("layers", {})
    waits += layers.get("tensor_seconds", 0.0) + layers.get("bubble_seconds", 0.0)
    waits += waited_seconds(setting, placement.spec)
    return run.parts_hours["training"] * min(1.0, waits / step.seconds.p50)


def _pays_up_to(rows: Sequence[Json]) -> int:
    """The last count before a doubling that buys too little."""
    least = overhead("doubling_pays").p50
    best = rows[0]
    for row in rows[1:]:
        bought = best["wall_hours"]["p50"] / row["wall_hours"]["p50"]
        if bought - 1 < least * (row["gpus"] / best["gpus"] - 1):
            break
        best = row
    return int(best["gpus"])


def _weak(problem: Problem, rows: Sequence[Candidate]) -> list[Json]:
    """Tokens or samples a second of every count at as many samples a device, beside those of the
    fewest; counts that cannot be planned so are left out."""
    fewest = rows[0]
    each = fewest.placement.shown.step.samples / fewest.placement.parallel.devices
    made = [one for row in rows for one in _at_batch(problem, row, each)]
    if not made:
        return []
    first = made[0]["samples_per_second"] / made[0]["gpus"]
    return [row | {"efficiency": row["samples_per_second"] / row["gpus"] / first} for row in made]


def _at_batch(problem: Problem, row: Candidate, each: float) -> Iterable[Json]:
    placement, devices = row.placement, row.placement.parallel.devices
    changes = {
        "global_batch": max(1, round(each * devices)),
        "gpu": placement.spec.key,
        "gpus": devices,
        "strategy": [placement.strategy],
        "parallel": placement.parallel.sharding or "ddp",
    }
    try:
        other = survey(problem.changed(problem.question.model_copy(update=changes)))
        found = other.cheapest(placement.strategy, variant=placement.variant.name)
    except PlannerError:
        return
    if found is not None:
        step = found.placement.shown.step
        yield {
            "gpus": devices,
            "global_batch_size": step.samples,
            "samples_per_second": step.samples / step.seconds.p50,
        }
