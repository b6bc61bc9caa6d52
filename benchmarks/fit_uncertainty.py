"""What the planner's error bars rest on: residuals of measured runs become
``profiles/priors/uncertainty.csv``.

    python benchmarks/accuracy.py --residuals residuals.csv python benchmarks/fit_uncertainty.py
    residuals.csv [more.csv] [--out profiles/priors/uncertainty.csv]

The residual is ln(measured/predicted p50) on the ``fit`` families. Its median is the bias; the
spread is chosen so that the 80 % interval of ``Estimate.with_spread`` covers 80 % of the residuals
(split-conformal, so a little more for few). Every (table, model family) counts once, however many
rows it has: a question about a model nobody measured is like a new family, not like another row of
a known one. The coverage on the ``holdout`` families, which nothing here is fitted on, is printed.

With ``--halves`` the families of both splits are halved anew by a hash of their names, one half
teaches and the other judges, and every row counts once: for residuals of rows that taught none of
the priors (``--exclude``: case ids of those that did), of tables as wide as what is asked.

The predictions already carry the bias of the table that is in force (``--applied``, by default the
one that is replaced): what is left is added to it.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import io
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.tables.common import read_rows  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.figures import Z90  # noqa: E402

OUT = Path(__file__).resolve().parent.parent / "profiles" / "priors" / "uncertainty.csv"
COVERAGE = 0.8
ANY = "any"
# kin below which nothing is fitted: a modality takes the row for all ("any"), and a stated prior
# stays
FEWEST = 20
FEWEST_OF_HALVES = 10  # families of a modality in the half that teaches
QUANTITIES = ("time", "allocated", "reserved")  # what the planner looks up
HEAD = (
    '# Spread of log(measured / predicted). family: the model\'s modality, or "any". '
    "sigma_log: standard deviation; bias_log: its middle.\n"
)
COLUMNS = ("quantity", "basis", "family", "sigma_log", "bias_log", "n", "source", "date")


@dataclass(frozen=True)
class Residual:
    """ln(measured/predicted) of one comparison. ``family`` is what uncertainty is looked up by: the
    modality."""

    quantity: str
    basis: str
    family: str
    kin: str  # table and model family: what counts once
    split: str
    value: float


@dataclass(frozen=True)
class Spread:
    quantity: str
    basis: str
    family: str  # a modality, or "any"
    sigma_log: float
    bias_log: float
    n: int


def read_residuals(rows: Iterable[dict[str, str]]) -> list[Residual]:
    """The residuals of ``accuracy.py --residuals``; comparisons without a positive prediction are
    left out."""
    return [
        Residual(
            r["quantity"],
            r["basis"],
            r["modality"],
            f"{r['table']}/{r['family']}",
            r["split"],
            math.log(float(r["measured"]) / float(r["p50"])),
        )
        for r in rows
        if float(r["p50"]) > 0 and float(r["measured"]) > 0
    ]


def halved(residuals: Iterable[Residual]) -> list[Residual]:
    """With a split by halves of the kin, the same on every machine, in place of their own; every
    row is kin of its own."""

    def half(kin: str) -> str:
        return "fit" if hashlib.sha256(f"halves:{kin}".encode()).digest()[0] % 2 else "holdout"

    return [
        replace(residual, split=half(residual.kin), kin=f"{residual.kin}#{place}")
        for place, residual in enumerate(residuals)
    ]


def well_known(spreads: Sequence[Spread], residuals: Sequence[Residual]) -> list[Spread]:
    """Of spreads of halves, those of everything and of modalities with enough taught families."""

    def families(spread: Spread) -> int:
        return len(
            {
                r.kin.partition("#")[0]
                for r in residuals
                if r.split == "fit"
                and (r.quantity, r.basis) == (spread.quantity, spread.basis)
                and r.family == spread.family
            }
        )

    return [s for s in spreads if s.family == ANY or families(s) >= FEWEST_OF_HALVES]


def fit(residuals: Sequence[Residual]) -> list[Spread]:
    """One spread a quantity and basis over everything (``any``) and one a modality, each with
    enough kin, from the fit split alone."""
    groups: dict[tuple[str, str, str], list[Residual]] = {}
    for residual in residuals:
        if residual.split == "fit" and residual.quantity in QUANTITIES:
            for family in (ANY, residual.family):
                groups.setdefault((residual.quantity, residual.basis, family), []).append(residual)
    return [
        spread_of(key, group)
        for key, group in sorted(groups.items())
        if len({r.kin for r in group}) >= FEWEST
    ]


def spread_of(key: tuple[str, str, str], group: Sequence[Residual]) -> Spread:
    """Median and spread, every kin with the same weight; the conformal share (n+1)·0.8/n counts the
    kin."""
    sizes = Counter(r.kin for r in group)
    weights = [1 / sizes[r.kin] for r in group]
    bias = weighted_quantile([r.value for r in group], weights, 0.5)
    share = min(1.0, COVERAGE * (len(sizes) + 1) / len(sizes))
    half_width = weighted_quantile([abs(r.value - bias) for r in group], weights, share)
    return Spread(*key, half_width / Z90, bias, len(group))


def weighted_quantile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    """The smallest value at which the weights below and at it reach ``share`` of their sum."""
    reached, wanted = 0.0, share * sum(weights) * (1 - 1e-12)
    for value, weight in sorted(zip(values, weights)):
        reached += weight
        if reached >= wanted:
            return value
    return max(values)


def lookup(spreads: Sequence[Spread], residual: Residual) -> Spread | None:
    """The row that holds for a residual's question: its modality's, else the one for all."""
    table = {(s.quantity, s.basis, s.family): s for s in spreads}
    return table.get((residual.quantity, residual.basis, residual.family)) or table.get(
        (residual.quantity, residual.basis, ANY)
    )


def coverage(
    spreads: Sequence[Spread], residuals: Sequence[Residual], split: str
) -> dict[tuple[str, str, str], tuple[int, int]]:
    """(covered, all) by quantity, basis and modality on one split."""
    counts: dict[tuple[str, str, str], tuple[int, int]] = {}
    for residual in residuals:
        spread = lookup(spreads, residual)
        if residual.split == split and spread is not None:
            key = (residual.quantity, residual.basis, residual.family)
            inside = abs(residual.value - spread.bias_log) <= Z90 * spread.sigma_log * (1 + 1e-12)
            covered, total = counts.get(key, (0, 0))
            counts[key] = (covered + inside, total + 1)
    return counts


def add_applied(spreads: Sequence[Spread], rows: Iterable[dict[str, str]]) -> list[Spread]:
    """The spreads with the bias that the predictions already carried added to the one that was
    left."""
    before = {(r["quantity"], r["basis"], r["family"]): float(r["bias_log"]) for r in rows}
    return [
        Spread(
            s.quantity,
            s.basis,
            s.family,
            s.sigma_log,
            s.bias_log
            + before.get(
                (s.quantity, s.basis, s.family), before.get((s.quantity, s.basis, ANY), 0.0)
            ),
            s.n,
        )
        for s in spreads
    ]


def to_csv(
    spreads: Sequence[Spread], source: str, date: str, kept: Iterable[dict[str, str]] = ()
) -> str:
    """The fitted rows, and of ``kept`` the stated priors of what was not fitted."""
    fitted = {(s.quantity, s.basis, s.family) for s in spreads}
    out = io.StringIO()
    out.write(HEAD)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [
            s.quantity,
            s.basis,
            s.family,
            f"{s.sigma_log:.4f}",
            f"{s.bias_log:.4f}",
            s.n,
            source,
            date,
        ]
        for s in spreads
    )
    writer.writerows(
        [row[c] for c in COLUMNS]
        for row in kept
        if (row["quantity"], row["basis"], row["family"]) not in fitted
    )
    return out.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("residuals", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--applied", type=Path, default=OUT, help="the table that the predictions were made with"
    )
    parser.add_argument(
        "--source",
        default="residuals of profiles/measured, fit split (benchmarks/fit_uncertainty.py)",
    )
    parser.add_argument(
        "--halves",
        action="store_true",
        help="halve the families of both splits anew, and let every row count once",
    )
    parser.add_argument(
        "--exclude",
        type=Path,
        help="a file of case ids, one a line, that taught priors and are left out",
    )
    args = parser.parse_args()
    taught = set(args.exclude.read_text(encoding="utf-8").split()) if args.exclude else set()
    residuals = read_residuals(
        row for path in args.residuals for row in read_rows(path) if row["case_id"] not in taught
    )
    if args.halves:
        residuals = halved(residuals)
    spreads = fit(residuals)
    if args.halves:
        spreads = well_known(spreads, residuals)
    for split in ("fit", "holdout"):
        for key, (covered, total) in sorted(coverage(spreads, residuals, split).items()):
            print(
                f"{split:8} {' '.join(key):40} {covered}/{total} covered "
                f"({100 * covered / total:.0f} %)"
            )
    before = list(read_rows(args.applied)) if args.applied.is_file() else []
    spreads = add_applied(spreads, before)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write(
        args.out,
        to_csv(
            spreads, args.source, datetime.datetime.now(datetime.UTC).date().isoformat(), before
        ),
    )
    print(f"{len(spreads)} rows: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
