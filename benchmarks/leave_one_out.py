"""How well a curve predicts sizes that it was not fitted on, and a datasheet devices that were not
fitted on.

    python benchmarks/leave_one_out.py --journal FILE.jsonl           # a calibration's own raw data
    python benchmarks/leave_one_out.py --operations CSV [--gpu NAME]  # a table of timed operations
    python benchmarks/leave_one_out.py --tables DIR                   # NeuSight's table by device

Rows are split by size. ``half``: a random half of each family's sizes is fitted, the other half
predicted. ``largest``: the tenth of the sizes with the most work is predicted from the rest, which
is extrapolation. ``datasheet``: the price without any measurement of the device. Errors are
|predicted / measured - 1|; a family with fewer than 8 sizes is left out and counted. With
``--tables`` the datasheet's rows are also fitted anew without the device (``fit_transfer.py``).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fit_transfer import fit_winograd, of_ops, overridden  # noqa: E402
from benchmarks.operation_tables import as_points, datasheet_seconds, neusight, spec_of  # noqa: E402
from planner.calibrate import journal  # noqa: E402
from planner.calibrate.importers.operation_table import records  # noqa: E402
from planner.devices.curves import Point, fit_curve  # noqa: E402
from planner.devices.lookup import resolve_device  # noqa: E402
from planner.devices.specification import DeviceSpec  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.operations.cases import Case, from_dict  # noqa: E402

FEWEST_SIZES = 8
LARGEST_SHARE = 0.1
SEED = 0
TAUGHT = 120  # rows of each device that teach the datasheet's rows anew


@dataclass(frozen=True)
class Row:
    """One timed case that is one term of one family."""

    case: Case
    family: str
    point: Point

    @property
    def kind(self) -> str:
        return self.family.partition(".")[0]


@dataclass(frozen=True)
class Judged:
    """Predictions of left-out rows: by kind, log(predicted / measured)."""

    errors: dict[str, list[float]]
    too_few: int


# ---- rows


def from_records(found: Iterable[dict]) -> tuple[list[Row], dict]:
    """(rows, the device's facts) of a journal. The last record of a case counts; times that several
    kernels share are left out."""
    device, operations = {}, {}
    for record in found:
        if record["record"] == "session":
            device = record.get("device", {})
        elif record["record"] == "operation" and record.get("seconds") and not record.get("shared"):
            operations[record["key"]] = record
    rows = [row for r in operations.values() for row in rows_of(from_dict(r["case"]), r["seconds"])]
    return rows, device


def rows_of(one: Case, seconds: float) -> list[Row]:
    return [Row(one, family, point) for family, point in as_points(one, seconds)]


def by_family(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows of a family, one a size, in a random order that is always the same."""
    groups: dict[str, dict[tuple, Row]] = defaultdict(dict)
    for row in rows:
        groups[row.family].setdefault((row.point.features, row.point.flops, row.point.bytes), row)
    generator = np.random.default_rng(SEED)
    shuffled = {}
    for family, sizes in sorted(groups.items()):
        found = list(sizes.values())
        shuffled[family] = [found[i] for i in generator.permutation(len(found))]
    return shuffled


# ---- judging


def halves(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(fitted, predicted)."""
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def largest(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(fitted, predicted): the rows with the most work are predicted."""
    ordered = sorted(rows, key=lambda row: (row.point.flops, row.point.bytes))
    cut = len(ordered) - max(1, round(LARGEST_SHARE * len(ordered)))
    return ordered[:cut], ordered[cut:]


def judge_curves(rows: list[Row], split, multiprocessors: int) -> Judged:
    """Curves fitted on one part of each family's sizes, judged on the other."""
    errors: dict[str, list[float]] = defaultdict(list)
    too_few = 0
    for family, members in by_family(rows).items():
        if len(members) < FEWEST_SIZES:
            too_few += 1
            continue
        fitted, asked = split(members)
        curve = fit_curve(family, [row.point for row in fitted], multiprocessors)
        features = [
            np.array([row.point.features[i] for row in asked])
            for i in range(len(asked[0].point.features))
        ]
        predicted, _ = curve.seconds(
            features,
            np.array([row.point.flops for row in asked]),
            np.array([row.point.bytes for row in asked]),
        )
        errors[members[0].kind] += list(
            np.log(predicted / np.array([row.point.seconds for row in asked]))
        )
    return Judged(dict(errors), too_few)


def judge_datasheet(rows: list[Row], spec: DeviceSpec) -> Judged:
    """The datasheet's price of every row."""
    errors: dict[str, list[float]] = defaultdict(list)
    for precision in {row.case.precision for row in rows}:
        chosen = [row for row in rows if row.case.precision == precision]
        for row, price in zip(chosen, datasheet_seconds([row.case for row in chosen], spec)):
            if price > 0:
                errors[row.kind].append(float(np.log(price / row.point.seconds)))
    return Judged(dict(errors), 0)


# ---- printing

HEAD = (
    "| judged | kind | rows | median error | p95 error | bias |\n| --- | --- | --: | --: | "
    "--: | --: |"
)


def table_lines(name: str, judged: Judged) -> list[str]:
    lines = [_line(name, kind, found) for kind, found in sorted(judged.errors.items())]
    everything = [e for found in judged.errors.values() for e in found]
    if everything:
        lines.append(_line(name, "all", everything))
    if judged.too_few:
        lines.append(
            f"| {name} | {judged.too_few} families with under {FEWEST_SIZES} sizes | | | | |"
        )
    return lines


def _line(name: str, kind: str, found: list[float]) -> str:
    size = np.abs(np.expm1(found))
    return (
        f"| {name} | {kind} | {len(found)} | {np.median(size):.1%} | "
        f"{np.quantile(size, 0.95):.1%} | {np.expm1(np.median(found)):+.1%} |"
    )


def report(title: str, rows: list[Row], spec: DeviceSpec | None, multiprocessors: int) -> None:
    lines = [f"## {title}", "", HEAD]
    for name, split in (("half", halves), ("largest", largest)):
        lines += table_lines(name, judge_curves(rows, split, multiprocessors))
    if spec is not None:
        lines += table_lines("datasheet", judge_datasheet(rows, spec))
    print("\n".join(lines) + "\n")


def spec_for(device: dict) -> DeviceSpec | None:
    """The datasheet of a device that the table knows; None for others, a processor among them."""
    try:
        return (
            None
            if device.get("kind") == "cpu"
            else resolve_device(str(device.get("key") or device.get("name"))).spec
        )
    except PlannerError:
        return None


def report_neusight(folder: Path, sample: int) -> None:
    data = neusight(folder, sample)
    convolutions = of_ops(data, "conv")
    for key, timed in data.items():
        rows = [row for r in timed for row in rows_of(r.case, r.seconds)]
        report(f"{key} (NeuSight, fp32)", rows, spec_of(key), spec_of(key).sm_count or 0)
        if key in convolutions:
            anew = fit_winograd({k: r[:TAUGHT] for k, r in convolutions.items() if k != key})
            with overridden(anew):
                print(
                    "\n".join(
                        [
                            HEAD,
                            *table_lines(
                                "datasheet fitted without it",
                                judge_datasheet(
                                    [r for r in rows if r.kind == "convolution"], spec_of(key)
                                ),
                            ),
                        ]
                    )
                    + "\n"
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--journal", type=Path, action="append", default=[])
    parser.add_argument("--operations", type=Path, action="append", default=[])
    parser.add_argument(
        "--gpu", help="of a table of several devices, or whose name the planner does not know"
    )
    parser.add_argument("--tables", type=Path)
    parser.add_argument(
        "--sample", type=int, default=300, help="of NeuSight, rows of each operation and device"
    )
    options = parser.parse_args()
    if not (options.journal or options.operations or options.tables):
        parser.error("name a --journal, --operations or --tables")
    sources = [(file, journal.read(file).records) for file in options.journal] + [
        (file, records(file, options.gpu)) for file in options.operations
    ]
    for file, found in sources:
        rows, device = from_records(found)
        report(
            f"{device.get('name', 'unknown device')} ({file.name})",
            rows,
            spec_for(device),
            int(device.get("sm_count") or 0),
        )
    if options.tables:
        report_neusight(options.tables, options.sample)


if __name__ == "__main__":
    main()
