"""From whole steps of small models to the costs that a step's host time is priced by.

Each part of a step is a sum of costs (``step_time/host_charges.py``), each paid so often: linear
least squares in relative error, drawn towards what is believed before any step was run, no cost
below nothing. What is believed are rows of ``profiles/priors/calibration.csv``; with few steps it
decides what they cannot tell apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from planner.calibrate.host.timing import host_record
from planner.calibrate.host.whole_steps import Measured
from planner.calibrate.priors import prior
from planner.devices.specification import DeviceSpec
from planner.operations.registry import work
from planner.step_time.host import HostCosts
from planner.step_time.host_charges import PARTS, WHOLE

FACTORS = frozenset(name for part in PARTS.values() for name in part if name.endswith("_factor"))


@dataclass(frozen=True)
class Row:
    """A step: how often each cost is paid in all, and seconds of each part (host's alone, and with
    the operators)."""

    name: str
    paid: Mapping[str, float]
    host: Mapping[str, float]
    whole: Mapping[str, float]


def step_costs(
    measured: Sequence[Measured], single: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """Records of kind ``host``: the costs by the names of ``PARTS`` with ``whole.`` before, and
    ``whole.error``, the spread of log(fitted / measured) of steps that were left out of the fit
    (none where there are fewer than three). ``single``: costs of single operations, by the names of
    the rows of kind ``host``. Where no step ran they are what is believed of one; nothing where no
    single operation was measured either."""
    rows = [row_of(one, single) for one in measured]
    if not rows and "view_forward_seconds" not in single:
        return
    for name, value in fitted(rows, single).items():
        yield host_record(
            WHOLE + name,
            value,
            unit="ratio" if name in FACTORS else "s",
            steps=[row.name for row in rows],
        )
    errors = left_out(rows, single)
    if len(errors) >= 3:
        spread = math.sqrt(sum(error**2 for error in errors.values()) / len(errors))
        yield host_record(WHOLE + "error", spread, unit="share", left_out=errors)


def fitted(rows: Sequence[Row], single: Mapping[str, float]) -> dict[str, float]:
    """The costs, by the names of ``PARTS``."""
    found: dict[str, float] = {}
    for part, names in PARTS.items():
        expected = [_expected(name, single) for name in names]
        spread = [prior(f"host_{name}_spread") for name in names]
        there = [row for row in rows if row.whole.get(part)]
        table = np.array([[row.paid[name] for name in names] for row in there], dtype=float)
        target = np.array([row.host[part] for row in there])
        weight = 1 / (prior("host_step_error") * np.array([row.whole[part] for row in there]))
        costs = no_less_than_nothing(
            np.vstack(
                [table.reshape(-1, len(names)) * weight[:, None], np.diag(1 / np.array(spread))]
            ),
            np.concatenate([target * weight, np.array(expected) / np.array(spread)]),
        )
        found |= dict(zip(names, costs.tolist()))
    return found


def left_out(rows: Sequence[Row], single: Mapping[str, float]) -> dict[str, float]:
    """log(fitted / measured) of each step's seconds, fitted to the others."""
    if len(rows) < 3:
        return {}
    found = {}
    for index, row in enumerate(rows):
        costs = fitted([*rows[:index], *rows[index + 1 :]], single)
        found[row.name] = math.log(said(row, costs) / sum(row.whole.values()))
    return found


def said(row: Row, costs: Mapping[str, float]) -> float:
    """Seconds of a step by these costs, its operators with it where they are the host's work."""
    operators = sum(row.whole.values()) - sum(row.host.values())
    return operators + sum(row.paid[name] * value for name, value in costs.items())


def no_less_than_nothing(table: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least squares of ``table @ x = target`` with x ≥ 0: [n_columns]. The columns are few, so
    every choice of those that are above nothing is tried. The last rows, of what is believed, make
    each of them solvable."""
    columns = table.shape[1]
    best, least = np.zeros(columns), float(np.sum(target**2))
    for size in range(1, columns + 1):
        for chosen in itertools.combinations(range(columns), size):
            part = np.linalg.lstsq(table[:, chosen], target, rcond=None)[0]
            if (part < 0).any():
                continue
            left = float(np.sum((table[:, chosen] @ part - target) ** 2))
            if left < least:
                best, least = np.zeros(columns), left
                best[list(chosen)] = part
    return best


def _expected(name: str, single: Mapping[str, float]) -> float:
    """Before any step was run: what single operations say, times what they are known to leave out;
    else a row."""
    if name == "module_seconds" and name in single:
        return single[name] * prior("host_forward_factor")
    if name == "tensor_seconds" and name in single:
        return single[name]
    if name == "node_seconds" and {"forward_seconds", "no_grad_seconds"} <= set(single):
        return max(0.0, single["forward_seconds"] - single["no_grad_seconds"])
    return prior(f"host_{name}")


def row_of(one: Measured, single: Mapping[str, float]) -> Row:
    """A step as it is fitted. ``single``: costs of single operations."""
    spec = SimpleNamespace(
        key="",
        vendor="",
        compute_capability=None,
        pricing="calibrated",
        calibration=SimpleNamespace(host=dict(single), facts={}),
    )
    costs = HostCosts(cast("DeviceSpec", spec))
    done = work(one.trace, one.dims[:, None])
    paid = {name: float(each.sum()) for name, each in costs.charges(one.trace, done).items()}
    return Row(one.name, paid, {part: one.host_seconds(part) for part in one.seconds}, one.seconds)
