"""How well a curve predicts sizes that it was not fitted on, and a datasheet devices that were not
fitted on.

    python benchmarks/leave_one_out.py --journal FILE.jsonl           # a calibration's own raw data
    python benchmarks/leave_one_out.py --operations CSV [--gpu NAME]  # a table of timed operations
    python benchmarks/leave_one_out.py --tables DIR                   # NeuSight's table by device
    python benchmarks/leave_one_out.py --kernels DIR --write docs/left_out_kernels.md

Rows are split by size. ``half``: a random half of each family's sizes is fitted, the other half
predicted. ``largest``: the tenth of the sizes with the most work is predicted from the rest, which
is extrapolation. ``datasheet``: the price without any measurement of the device. Errors are
|predicted / measured - 1|; a family with fewer than 8 sizes is left out and counted. With
``--tables`` the datasheet's rows are also fitted anew without the device (``fit_transfer.py``).
``--kernels`` reads tables of timed kernels on data-centre GPUs (``kernel_tables.py``) and sets the
datasheet's price beside a plain roofline and, of products, beside what the other devices teach.
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

from benchmarks import fit_products, kernel_tables  # noqa: E402
from benchmarks.fit_transfer import fit_winograd, of_ops, overridden  # noqa: E402
from benchmarks.operation_tables import as_points, datasheet_seconds, neusight, spec_of  # noqa: E402
from benchmarks.tables.common import read_rows  # noqa: E402
from planner.calibrate import journal  # noqa: E402
from planner.calibrate.importers.operation_table import records  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.devices.curves import Point, fit_curve  # noqa: E402
from planner.devices.lookup import resolve_device  # noqa: E402
from planner.devices.specification import DeviceSpec  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.operations.cases import Case, from_dict  # noqa: E402
from planner.operations.registry import cost, kind_of  # noqa: E402

FEWEST_SIZES = 8
LARGEST_SHARE = 0.1
SEED = 0
PEAK_OF = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
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


# ---- tables of kernels

KERNELS_HEAD = """# Kernels of devices left out

Written by `python benchmarks/leave_one_out.py --kernels DIR --write FILE`, where
DIR holds tables of kernels that others timed (`benchmarks/kernel_tables.py` says which), read in
place; not edited by hand.

*shipped* is the datasheet basis with the rows of `profiles/priors/device.csv`. *taught* says
whether rows of this device and kind taught any of them: where it says no, the figure is of a device
that nothing was fitted on. *others teach* fits the products' shape parameters anew without the
device (`benchmarks/fit_products.py`), its ceiling as published. *roofline* is the longer of FLOP
over the datasheet's peak and bytes over its bandwidth. Errors are |predicted / measured - 1|; the
bias is the middle of predicted / measured. Times hold the kernel's own launch latency.

"""
#: Whose rows taught some of priors/device.csv: products and eager operations of A100 and H100, and
#: of B200 its TF32 and two operations by which the awkward kernels' effort was chosen.
TEACHERS = ("a100-sxm-80", "h100-sxm", "b200 matmul tf32", "b200 dyt", "b200 fused_add_rms_norm")


def plain_roofline(key: str, row: kernel_tables.Kernels) -> float:
    """Seconds of a row with every share 1 and no latency."""
    spec = spec_of(key)
    assert spec.memory_bandwidth_bytes_per_s is not None
    total = 0.0
    for one in row.cases:
        done = cost(one.signature, one.dims)
        kind = kind_of(one.signature.op)
        name = PEAK_OF.get(one.signature.inputs[0].dtype, "fp32") if kind.model_work else "fp32"
        name = "tf32" if one.precision == "tf32" and kind.model_work else name
        peak = spec.peak_flops.get(name, spec.peak_flops["fp32"])
        moved = float(np.max(done.read_bytes + done.write_bytes))
        total += max(float(np.max(done.flops)) / peak, moved / spec.memory_bandwidth_bytes_per_s)
    return total


def kernel_lines(folder: Path, sample: int, rounds: int) -> list[str]:
    """A table by device, source and kind, and what others published."""
    tables = kernel_tables.kernels(folder, sample)
    products = fit_products.products(tables)
    lines = [
        "| device | table | kind | rows | taught | shipped, median | p95 | bias | others teach, "
        "median | p95 | roofline, median | p95 |",
        "| --- | --- | --- | --: | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for key, rows in tables.items():
        left = fit_products.without(products, key, rounds) if _has(products, key) else {}
        prices = kernel_tables.prices(key, rows)
        for source, kind in sorted({(r.source, r.kind) for r in rows}):
            own = [i for i, r in enumerate(rows) if (r.source, r.kind) == (source, kind)]
            measured = np.array([rows[i].seconds for i in own])
            shipped = np.log(prices[own] / measured)
            plain = np.log(np.array([plain_roofline(key, rows[i]) for i in own]) / measured)
            others = left.get(f"{source} {kind}")
            lines.append(
                f"| {key} | {source} | {kind} | {len(own)} | "
                f"{'yes' if {key, f'{key} {kind}'} & set(TEACHERS) else 'no'} | {_pair(shipped)} | "
                f"{np.expm1(np.median(shipped)):+.1%} | "
                f"{'— | —' if others is None else _pair(others)} | {_pair(plain)} |"
            )
    return [*lines, "", *_published()]


def _has(products: list[fit_products.Products], key: str) -> bool:
    return any(one.device == key for one in products) and key in fit_products.ceilings()


def _pair(errors: np.ndarray) -> str:
    size = np.abs(np.expm1(errors))
    return f"{np.median(size):.1%} | {np.quantile(size, 0.95):.1%}"


def _published() -> list[str]:
    rows = [r for r in read_rows(fit_products.PUBLISHED) if r["name"] != "mamf"]
    return [
        "What others published of their own predictors, on their own rows:",
        "",
        *(f"- {r['name']}: {float(r['value']):.1%}, {r['what']} ({r['source']})" for r in rows),
    ]


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
    parser.add_argument("--kernels", type=Path, help="a folder of tables of timed kernels")
    parser.add_argument("--rounds", type=int, default=400, help="of --kernels, trials of each fit")
    parser.add_argument("--write", type=Path, help="of --kernels, write the page to this file")
    options = parser.parse_args()
    if not (options.journal or options.operations or options.tables or options.kernels):
        parser.error("name a --journal, --operations, --tables or --kernels")
    if options.kernels:
        page = KERNELS_HEAD + "\n".join(kernel_lines(options.kernels, 500, options.rounds)) + "\n"
        print(page)
        if options.write:
            write(options.write, page)
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
