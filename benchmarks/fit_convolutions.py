"""Fit what the datasheet basis assumes of convolutions on tensor cores to timm's published steps
and forward passes on one GPU, and judge it on other families of models and on other GPUs.

    python benchmarks/fit_convolutions.py --tables DIR [--models 34] [--rounds 100]

DIR holds ``timm_train_rtx3090.csv`` (training steps of torch 1.12) and ``timm_infer.csv.gz``
(forward passes; of torch 2.4 and later, eager), both from results/ of
github.com/huggingface/pytorch-image-models, AMP float16, images in either order. Models are drawn
by a hash of their names. The families of the ``fit`` split (``planner/validate/cases.py``) on RTX
3090 teach; those of the ``holdout`` split judge, and every family on the other GPUs. Steps of
models with grouped or depthwise convolutions in channels-last order teach nothing where torch 1.12
took more than twice as long as in the other order: that is the library's choice of kernel, not the
device's. The tables are not part of the project; what they teach are rows of
``profiles/priors/device.csv``. Models are traced, some seconds each, and kept in the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables  # noqa: E402
from benchmarks.fit_transfer import overridden  # noqa: E402
from planner.devices.lookup import find_device  # noqa: E402
from planner.devices.priors import prior  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.models.images.layout import convolutional  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.operations.call import Call, Lengths  # noqa: E402
from planner.operations.kind import Operation  # noqa: E402
from planner.operations.registry import kind_of  # noqa: E402
from planner.step_time.clock import StepClock, work_at  # noqa: E402
from planner.step_time.roofline import Efficiency  # noqa: E402
from planner.trace.source import trace_for  # noqa: E402
from planner.validate.cases import Case  # noqa: E402
from planner.validate.judge import recipe_of_case  # noqa: E402

DEVICE = "rtx-3090"
TABLES = ("timm_train", "timm_infer")
NEW_TORCH = (".2-4-", ".2-5-", ".2-6-", ".2-7-", ".2-8-", ".2-9-")
#: Parameters of kind convolution, and the most that each may be.
MOST = {
    "tensor_share": 1.0,
    "grouped_share": 1.0,
    "grouped_backward_share": 1.0,
    "transposed_traffic": 10.0,
    "transposed_backward_traffic": 10.0,
    "depthwise_share": 0.95,
    "depthwise_strided_share": 0.95,
    "depthwise_backward_share": 0.95,
    "depthwise_strided_backward_share": 0.95,
    "tile_256x64": 1.0,
    "tile_128x64": 1.0,
    "tile_256x32": 1.0,
}
FEWEST_CONVOLUTIONS = 5
HOST_SHARE = 0.7  # of the measured time: more, and the host sets the pace
LIBRARY_SHARE = 2.0
STEP, MOVED = 0.15, 0.3
SALT = "pri"


@dataclass
class Sample:
    """A measured step or forward pass: its convolutions, and the seconds of the rest of it."""

    case: Case
    rates: Efficiency
    convolutions: list[tuple[Operation, int]]
    others: float
    host: float

    @property
    def seconds(self) -> float:
        """What the datasheet basis makes of it, by the rows in force."""
        self.rates = Efficiency(self.rates.spec, self.rates.precision)  # forgets rows it looked up
        found = self.others
        for operation, count in self.convolutions:
            assert operation.kind.price is not None
            found += count * float(np.max(operation.kind.price(operation, self.rates)))
        return max(found, self.host)

    @property
    def error(self) -> float:
        assert self.case.step_seconds is not None
        return float(np.log(self.seconds / self.case.step_seconds))


# ---- rows


def chosen(folder: Path, models: int) -> list[Case]:
    """Rows of AMP of the models that both tables hold, drawn by a hash of their names."""
    rows = {
        table: [c for c in tables.load(table, folder) if isinstance(c, Case) and _is_plain(c)]
        for table in TABLES
    }
    both = {c.model for c in rows[TABLES[0]]} & {c.model for c in rows[TABLES[1]]}
    kept = sorted(both, key=lambda m: hashlib.sha256(f"{SALT}:{m}".encode()).digest())[:models]
    return [c for table in TABLES for c in rows[table] if c.model in kept]


def _is_plain(case: Case) -> bool:
    new = any(torch in case.id for torch in NEW_TORCH)
    of_its_day = case.id.endswith("torch1_12") if case.table == "timm_train" else new
    timed = bool(case.step_seconds) and case.precision == "amp_fp16"
    return timed and of_its_day and not case.compile


def sample_of(case: Case) -> Sample | None:
    """None where few convolutions take part or the host sets the pace. Raises PlannerError where
    the model cannot be traced."""
    facts = resolve(case.model, task=case.task, offline=True)
    if not convolutional(facts):
        case = replace(case, memory_format=None)
    recipe = recipe_of_case(case, facts.image_size)
    trace = trace_for(facts, recipe).at(B=case.micro_batch)
    dims = trace.dims(B=case.micro_batch)
    dims = dims.reshape(len(dims), -1)[:, :1]
    spec, done = find_device(case.gpu), work_at(trace, dims)
    rates, lengths = Efficiency(spec, recipe.precision), Lengths(dims, None)
    seconds, counts = rates.seconds(trace, dims, done)[:, 0], trace.counts.sum(axis=1)
    found, others = [], 0.0
    for i, signature in enumerate(trace.signatures):
        kind = kind_of(signature.op)
        if kind.name == "convolution":
            moved = done.read_bytes[i] + done.write_bytes[i]
            operation = Operation(kind, Call(signature, lengths), done.flops[i], moved)
            found.append((operation, int(counts[i])))
        else:
            others += float(counts[i] * seconds[i])
    host = StepClock(spec).host(trace, done).total_seconds
    few = sum(count for _, count in found) <= FEWEST_CONVOLUTIONS
    assert case.step_seconds is not None
    if few or host > HOST_SHARE * case.step_seconds:
        return None
    return Sample(case, rates, found, others, host)


def samples(cases: Iterable[Case]) -> list[Sample]:
    found, reasons = [], Counter()
    for case in cases:
        try:
            one = sample_of(case)
        except PlannerError as error:
            reasons[f"{type(error).__name__}"] += 1
            continue
        if one is not None:
            found.append(one)
    if reasons:
        print("left out: " + ", ".join(f"{n} for {reason}" for reason, n in reasons.items()))
    return found


def is_the_librarys(one: Sample, both: dict[tuple, dict[str | None, float]]) -> bool:
    """Whether channels-last took over twice as long a sample as the other order did."""
    case = one.case
    times = both[case.table, case.model, case.image_size]
    other = times.get("contiguous")
    own = times.get(case.memory_format)
    return own is not None and other is not None and own > LIBRARY_SHARE * other


def per_sample(found: Sequence[Sample]) -> dict[tuple, dict[str | None, float]]:
    times: dict[tuple, dict[str | None, float]] = defaultdict(dict)
    for one in found:
        case = one.case
        if case.gpu == DEVICE and case.step_seconds:
            key = (case.table, case.model, case.image_size)
            times[key][case.memory_format] = case.step_seconds / case.micro_batch
    return times


# ---- fit


def fit(taught: Sequence[Sample], rounds: int, seed: int = 0) -> dict[str, float]:
    """Random search from the rows in force for the least mean |log error|."""
    generator, spec = np.random.default_rng(seed), find_device(DEVICE)

    def loss(values: dict[str, float]) -> float:
        with overridden(values):
            return float(np.mean([abs(one.error) for one in taught]))

    best = {name: prior(spec, "convolution", name) for name in MOST}
    least = loss(best)
    for _ in range(rounds):
        trial = {
            name: min(MOST[name], value * float(np.exp(generator.normal() * STEP)))
            if generator.random() < MOVED
            else value
            for name, value in best.items()
        }
        found = loss(trial)
        if found < least:
            best, least = trial, found
    return best


def report(name: str, found: Sequence[Sample]) -> None:
    groups: dict[tuple, list[float]] = defaultdict(list)
    for one in found:
        case = one.case
        who = "taught" if case.split == "fit" and case.gpu == DEVICE else "kept aside"
        groups[case.gpu, case.table, str(case.memory_format), who].append(one.error)
    for key, errors in sorted(groups.items()):
        size = np.abs(np.expm1(errors))
        print(
            f"  {name} {' '.join(key):52} n {size.size:3}, median {np.median(size):.1%}, p90 "
            f"{np.quantile(size, 0.9):.1%}, bias {np.expm1(np.median(errors)):+.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--models", type=int, default=34)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    found = samples(chosen(options.tables, options.models))
    both = per_sample(found)
    kept = [one for one in found if not is_the_librarys(one, both)]
    print(f"{len(found) - len(kept)} steps are the library's choice of kernel and teach nothing")
    report("in force", found)
    taught = [one for one in kept if one.case.gpu == DEVICE and one.case.split == "fit"]
    values = fit(taught, options.rounds)
    print(", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    with ExitStack() as stack:
        stack.enter_context(overridden(values))
        report("fitted", found)


if __name__ == "__main__":
    main()
