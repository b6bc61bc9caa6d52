"""Makes ``profiles/measured/published.csv``: a few hundred published figures out of public tables,
the same rows every time.

    python benchmarks/curate_published.py --tables DIR [--out profiles/measured/published.csv]

Rows are chosen by what can be asked and by family; this program does not import the planner. What
was corrected after a first comparison stands in ``profiles/measured/README.md``. Large tables are
thinned by taking one row of each family in turn, in the order of a hash of the row's id.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tables  # noqa: E402
from benchmarks.tables.common import read_rows  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.validate.cases import Case, to_csv, unique  # noqa: E402

OUT = Path(__file__).resolve().parent.parent / "profiles" / "measured" / "published.csv"
GONE = Path(__file__).resolve().parent / "tables" / "timm_gone.csv"

#: Models that people know: always in, next to the spread over families.
WELL_KNOWN = frozenset(
    f"timm:{name}"
    for name in (
        "resnet18",
        "resnet50",
        "resnet152",
        "efficientnet_b0",
        "efficientnet_b4",
        "vgg16",
        "vit_base_patch16_224",
        "vit_large_patch16_224",
        "convnext_base",
        "convnext_tiny",
        "swin_base_patch4_window7_224",
        "mobilenetv3_large_100",
        "densenet121",
        "regnety_032",
        "deit_small_patch16_224",
        "tf_efficientnetv2_s",
    )
)


def curate(folder: Path) -> list[Case]:
    """The curated cases of the public tables that lie in ``folder``, by table and id."""
    chosen = [
        case
        for table in tables.present(folder)
        if table in RULES
        for case in RULES[table](_cases(table, folder))
    ]
    return sorted(
        unique(sorted(chosen, key=lambda c: (c.table, c.id, c.citation))),
        key=lambda c: (list(RULES).index(c.table), c.id),
    )


def _cases(table: str, folder: Path) -> list[Case]:
    gone = {f"timm:{row['model']}" for row in read_rows(GONE)}
    return [
        case
        for case in tables.load(table, folder)
        if isinstance(case, Case) and case.model not in gone
    ]


def spread(
    cases: Iterable[Case], quota: int, keep: Callable[[Case], bool] = lambda case: True
) -> list[Case]:
    """At most ``quota`` of the cases that ``keep`` lets through: the well-known models, then one of
    each family in turn.

    Every model comes once, in the order of a hash of the case's id, so that the choice depends on
    nothing else.
    """
    families: dict[str, dict[str, Case]] = {}
    for case in sorted(filter(keep, cases), key=_order):
        families.setdefault(case.family, {}).setdefault(case.model, case)
    turns = [
        (case.model not in WELL_KNOWN, rank, family, case)
        for family, own in families.items()
        for rank, case in enumerate(own.values())
    ]
    return [turn[-1] for turn in sorted(turns, key=lambda turn: turn[:3])[:quota]]


def hashed(
    cases: Iterable[Case], quota: int, keep: Callable[[Case], bool] = lambda case: True
) -> list[Case]:
    """At most ``quota`` of the cases that ``keep`` lets through, in the order of a hash of their
    ids."""
    return sorted(filter(keep, cases), key=_order)[:quota]


def _order(case: Case) -> str:
    return hashlib.sha256(case.id.encode()).hexdigest()


def _newest_timm(case: Case) -> bool:
    return "torch1_12" in case.id


def _timm_train(cases: list[Case]) -> list[Case]:
    ran = [c for c in cases if not c.oom and _newest_timm(c)]
    return [
        *spread(ran, 62, lambda c: c.memory_format == "channels_last"),
        *spread(ran, 62, lambda c: c.memory_format == "contiguous"),
        *spread(cases, 24, lambda c: c.oom and _newest_timm(c)),
    ]


def _lambda(cases: list[Case]) -> list[Case]:
    known = [c for c in cases if c.gpu not in NO_ROW]
    return [*hashed(known, 60, lambda c: c.gpus == 1), *hashed(known, 24, lambda c: c.gpus > 1)]


#: GPUs of the tables that gpus.csv has no row for: thinned rows are not spent on them.
NO_ROW = frozenset({"quadro-rtx-8000", "rtx-3070", "gtx-1080-ti"})

#: Table → the rows to keep. Small tables are kept whole.
RULES: dict[str, Callable[[list[Case]], list[Case]]] = {
    "hf_docs": list,
    "litgpt": list,
    "litgpt_thunder": list,
    "torchtune": list,
    "torchtitan": list,
    "nvidia_dle": list,
    "pretrain_misc": list,
    "zeus": list,
    "pycls": list,
    "llmfoundry": lambda cases: hashed(
        cases,
        36,
        lambda c: (
            c.gpus == 8
            and c.sequence_length <= 8192
            and c.model in ("mpt-125m", "mpt-350m", "mpt-1b", "mpt-7b")
        ),
    ),
    "vtrain": lambda cases: hashed(cases, 30),
    "lambda_agg": _lambda,
    "ryujaehun": lambda cases: hashed(cases, 60, lambda c: c.measures == "forward_backward"),
    "gpumemnet": lambda cases: spread(cases, 84),
    "timm_train": _timm_train,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    cases = curate(args.tables)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write(args.out, to_csv(cases))
    print(f"{len(cases)} rows: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
