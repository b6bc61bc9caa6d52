"""What the host needs to enqueue operations: in the forward pass, in autograd's backward pass, in
the optimizer; for views, modules, steps and waits. The names are those of the rows of kind ``host``
in ``profiles/priors/device.csv``.

Programs run over tiny tensors, on which a device takes next to nothing, through torch's public
functions. A program issues several operations; views are charged their own cost and the rest is
shared by what launches a kernel, as ``step_time/clock.py`` charges a trace. On a processor, where
the clock adds the operators' own time, that time is taken off here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from planner.calibrate.host.fitted_steps import step_costs
from planner.calibrate.host.programs import PROGRAMS, WIDTH, Program
from planner.calibrate.host.timing import (
    Issued,
    by_turns,
    host_record,
    issued,
    looping,
    one_thread,
    prepared,
    replaying,
    tensors_in,
)
from planner.calibrate.host.whole_steps import Measured, measure_steps

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend

#: Of one measurement. Some sixty take half of a budget; whole steps take the rest.
SECONDS = (0.02, 0.3)
MEASUREMENTS = 100
# run backward together, so that entering autograd's engine does not count for one operation
GRAPHS = 12
IMPORTANT = 6  # programs that come before the optimizer, and that tell what a view costs
LAYERS, PARAMETERS = 16, 40
LISTS = (2, 24, 72)  # tensors of an optimizer
#: Of what is left after the most important programs: whole steps of small models.
STEPS_SHARE, LEAST_FOR_STEPS_SECONDS = 0.6, 1.5
_ELEMENTS = 16
_VIEW_COST = {
    "forward": "view_forward_seconds",
    "no_grad": "view_forward_seconds",
    "backward": "view_backward_seconds",
}


def measure_host(backend: Backend, *, budget_seconds: float) -> Iterator[dict[str, Any]]:
    """Records of kind ``host``, most important first, until the budget (seconds of wall clock) is
    used up; what was reached by then also gives the overall forward, no_grad and backward costs,
    and, from whole steps of small models, what single operations come to within a model.
    Raises MachineError when the device fails."""
    end = time.monotonic() + budget_seconds
    yield from _Measuring(
        backend, end, min(SECONDS[1], max(SECONDS[0], budget_seconds / MEASUREMENTS))
    ).records()


class Row(NamedTuple):
    """One program measured: gross seconds of each round (of one program), of the bare operators,
    what it issues."""

    program: Program
    way: str
    samples: list[float]
    bare_seconds: float
    launches: int
    views: int

    @property
    def net_seconds(self) -> float:
        return statistics.median(self.samples) - self.bare_seconds


class _Measuring:
    """``costs``: what was found so far, by name; ``steps``: the whole steps that ran."""

    def __init__(self, backend: Backend, end: float, seconds: float) -> None:
        self.backend, self.end, self.seconds = backend, end, seconds
        self.costs: dict[str, float] = {}
        self.steps: list[Measured] = []

    def records(self) -> Iterator[dict[str, Any]]:
        with one_thread(self.backend):
            for stage in self._stages():
                for record in stage:
                    self.costs[record["name"]] = record["value"]
                    yield record
                    if not isinstance(stage, list) and time.monotonic() >= self.end:
                        break
                if time.monotonic() >= self.end:
                    break
            yield from self._overall()
        yield from step_costs(self.steps, self.costs)

    def _stages(self) -> Iterator[Iterable[dict[str, Any]]]:
        """Lists are measured as a whole, iterators may be left at any record."""
        important, rest = PROGRAMS[:IMPORTANT], PROGRAMS[IMPORTANT:]
        yield self._together(important, "forward")
        yield self._together(important, "backward")
        yield self._optimizer()
        yield self._modules()
        yield self._step()
        yield self._wait()
        self._whole_steps()
        yield (
            self._cost(self._row(program, way))
            for program in rest
            for way in ("forward", "backward")
            if way == "forward" or program.differentiable
        )
        yield (
            self._cost(self._row(program, "no_grad"))
            for program in PROGRAMS
            if program.kind != "view"
        )
        yield self._loop_optimizer()

    def _whole_steps(self) -> None:
        """What cannot be known from single operations is worth more than the rest of them."""
        left = self.end - time.monotonic()
        if left > LEAST_FOR_STEPS_SECONDS:
            self.steps = measure_steps(self.backend, time.monotonic() + STEPS_SHARE * left)

    # ---- operations

    def _together(self, programs: tuple[Program, ...], way: str) -> list[dict[str, Any]]:
        """Views cost differently in Python and inside of operators, and a trace does not tell which
        is which: the cost that, with one for launches, explains the important programs best, each
        by its share."""
        rows = [self._row(program, way) for program in programs]
        _, view = explained(
            [(row.net_seconds, row.launches, row.views, row.program.share) for row in rows]
        )
        self.costs[_VIEW_COST[way]] = view
        return [
            host_record(_VIEW_COST[way], view, programs=len(rows)),
            *(self._cost(row) for row in rows if row.program.kind != "view"),
        ]

    def _cost(self, row: Row) -> dict[str, Any]:
        """Of one launch: gross time, less the bare operators' and the views', over the launches."""
        views = row.views * self.costs.get(_VIEW_COST[row.way], 0.0)
        return host_record(
            f"{row.way}_seconds.{row.program.kind}",
            max(0.0, row.net_seconds - views) / max(1, row.launches),
            row.samples,
            launches=row.launches,
            views=row.views,
            bare_seconds=row.bare_seconds,
        )

    def _row(self, program: Program, way: str) -> Row:
        if way == "backward":
            return self._backward(program)
        arguments = program.make(self.backend.device)
        with torch.set_grad_enabled(way == "forward"):
            what = issued(lambda: program.run(*arguments))
            sample = looping(lambda: program.run(*arguments), self.backend, what.launches)
            bare, launches = what, what.launches
            stand_in = program.stands_for
            if stand_in is not None:
                with torch.no_grad():
                    bare, launches = issued(lambda: stand_in(*arguments)), 1
            gross, alone = by_turns([sample, replaying(bare, self.backend)], self.seconds)
        return Row(
            program=program,
            way=way,
            samples=gross,
            bare_seconds=statistics.median(alone),
            launches=launches,
            views=what.views,
        )

    def _backward(self, program: Program) -> Row:
        """Several graphs of their own leaves at once, so that nothing is summed and gradients are
        kept as they come."""
        leaves = [program.make(self.backend.device) for _ in range(GRAPHS)]
        gradient = torch.ones_like(program.run(*leaves[0]).detach())

        def graphs(chosen: list[tuple[Any, ...]]) -> list[torch.Tensor]:
            for tensor in (tensor for arguments in chosen for tensor in arguments):
                tensor.grad = None
            return [program.run(*arguments) for arguments in chosen]

        def backward(outputs: list[torch.Tensor]) -> None:
            torch.autograd.backward(outputs, [gradient] * len(outputs))

        once = graphs(leaves[:1])
        what = issued(lambda: backward(once))
        gross, alone = by_turns(
            [
                prepared(lambda: graphs(leaves), backward, self.backend),
                replaying(what, self.backend),
            ],
            self.seconds,
        )
        return Row(
            program=program,
            way="backward",
            samples=[seconds / GRAPHS for seconds in gross],
            bare_seconds=statistics.median(alone),
            launches=what.launches,
            views=what.views,
        )

    def _overall(self) -> Iterator[dict[str, Any]]:
        """One cost of each way for kinds without their own: the median launch of a transformer
        block."""
        for way in ("forward", "backward", "no_grad"):
            found = [
                (self.costs[name], p.share)
                for p in PROGRAMS
                if p.share and (name := f"{way}_seconds.{p.kind}") in self.costs
            ]
            if found:
                value = weighted_median(found)
                self.costs[f"{way}_seconds"] = value
                yield host_record(f"{way}_seconds", value, kinds=len(found))

    # ---- the optimizer

    def _optimizer(self) -> Iterator[dict[str, Any]]:
        """torch's own AdamW with 2 to 72 tensors: what grows with the tensors, and what does not,
        over the foreach operations that a trace holds for it. As torch runs it on this device, a
        loop on a processor and foreach on a GPU."""
        rows = []
        for count in LISTS:
            traced = self._issued_by(_adamw(self.backend.device, count, foreach=True))
            stepping = _adamw(self.backend.device, count)
            launches = self._issued_by(stepping).launches
            gross, bare = by_turns(
                [looping(stepping.step, self.backend, launches), replaying(traced, self.backend)],
                self.seconds,
            )
            rows.append(
                (
                    statistics.median(gross) - statistics.median(bare),
                    traced.launches,
                    _tensors(traced),
                    gross,
                )
            )
        each, slope = explained(
            [(net, launches, tensors, 1.0 / max(net, 1e-9)) for net, launches, tensors, _ in rows]
        )
        yield host_record("tensor_seconds", slope, rows[-1][3], tensors=rows[-1][2])
        yield host_record("optimizer_seconds", each, rows[0][3], launches=rows[0][1])

    def _loop_optimizer(self) -> Iterator[dict[str, Any]]:
        """AdamW tensor by tensor: its operations are element-wise ones in the optimizer's phase."""
        stepping = _adamw(self.backend.device, LISTS[1], foreach=False)
        what = self._issued_by(stepping)
        gross, bare = by_turns(
            [looping(stepping.step, self.backend, what.launches), replaying(what, self.backend)],
            self.seconds,
        )
        left = (
            statistics.median(gross)
            - statistics.median(bare)
            - _tensors(what) * self.costs.get("tensor_seconds", 0.0)
        )
        yield host_record(
            "optimizer_seconds.elementwise",
            max(0.0, left) / max(1, what.launches),
            gross,
            launches=what.launches,
        )

    @staticmethod
    def _issued_by(optimizer: torch.optim.Optimizer) -> Issued:
        optimizer.step()  # its states are there from now on
        return issued(optimizer.step).on_tensors()

    # ---- around the operations

    def _modules(self) -> Iterator[dict[str, Any]]:
        """Calling a module: a stack of linear layers against the same functions called on the same
        tensors."""
        layers = [_Layer(WIDTH).to(self.backend.device) for _ in range(LAYERS)]
        stack = torch.nn.Sequential(*layers)
        x = torch.randn(4, WIDTH, device=self.backend.device)
        parameters = [(layer.inner.weight, layer.inner.bias) for layer in layers]

        def plain() -> torch.Tensor:
            y = x
            for weight, bias in parameters:
                y = torch.nn.functional.linear(y, weight, bias)
            return y

        calls = 2 * LAYERS + 1
        whole, less = by_turns(
            [looping(lambda: stack(x), self.backend, LAYERS), looping(plain, self.backend, LAYERS)],
            self.seconds,
        )
        yield host_record(
            "module_seconds",
            max(0.0, statistics.median(whole) - statistics.median(less)) / calls,
            whole,
            calls=calls,
        )

    def _step(self) -> Iterator[dict[str, Any]]:
        """What a loop does once a step beside its operations: gradients let go, the schedule, the
        batch from an iterator."""
        optimizer = _adamw(self.backend.device, PARAMETERS)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        optimizer.step()
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]

        def prepare() -> Iterator[dict[str, torch.Tensor]]:
            for p, gradient in zip(optimizer.param_groups[0]["params"], gradients):
                p.grad = gradient
            return iter([{"x": gradients[0]}])

        def once(batches: Iterable[dict[str, torch.Tensor]]) -> None:
            for batch in batches:
                {
                    name: tensor.to(self.backend.device, non_blocking=True)
                    for name, tensor in batch.items()
                }
                schedule.step()
                optimizer.zero_grad(set_to_none=True)

        (samples,) = by_turns([prepared(prepare, once, self.backend)], self.seconds)
        yield host_record("step_seconds", statistics.median(samples), samples)

    def _wait(self) -> Iterator[dict[str, Any]]:
        number = torch.ones((), device=self.backend.device)
        (samples,) = by_turns([looping(number.item, self.backend)], self.seconds)
        yield host_record("synchronise_seconds", statistics.median(samples), samples)


class _Layer(torch.nn.Module):
    """A module that holds one: models are modules within modules."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def weighted_median(found: list[tuple[float, float]]) -> float:
    """The value at half of the weight, of (value, weight) pairs."""
    half, passed = sum(weight for _, weight in found) / 2, 0.0
    for value, weight in sorted(found):
        passed += weight
        if passed >= half:
            return value
    raise ValueError("nothing to take the median of")


def _adamw(device: torch.device, count: int, foreach: bool | None = None) -> torch.optim.AdamW:
    parameters = [torch.nn.Parameter(torch.randn(_ELEMENTS, device=device)) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    return torch.optim.AdamW(parameters, lr=1e-5, foreach=foreach)


def _tensors(what: Issued) -> int:
    """Tensors of all operations, counted as the clock counts a signature's."""
    return sum(len(tensors_in(args)) for _, args, _ in what.calls)


def explained(rows: list[tuple[float, int, int, float]]) -> tuple[float, float]:
    """(seconds of one of the first things, of one of the second), neither below nothing, that
    explain rows of (seconds, count of the first, count of the second, weight) best: two unknowns,
    so where one comes out negative the other alone is the best."""
    table = np.array(
        [[firsts * weight, others * weight] for _, firsts, others, weight in rows], dtype=float
    )
    seconds = np.array([value * weight for value, _, _, weight in rows])
    first, second = np.linalg.lstsq(table, seconds, rcond=None)[0]
    if first < 0 or second < 0:
        column = 1 if first < 0 else 0
        alone = max(
            0.0,
            float(table[:, column] @ seconds) / max(float((table[:, column] ** 2).sum()), 1e-30),
        )
        first, second = (0.0, alone) if column else (alone, 0.0)
    return float(first), float(second)
