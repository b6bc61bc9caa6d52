"""Fit what collectives take of a link to tables of timed ones, and judge the model on sources and
generations of devices left out.

    python benchmarks/fit_networks.py --tables DIR [--write docs/networks.md]

DIR holds ``nccl_tests.csv``, ``vidur_collectives.csv.gz`` and ``xla_collectives.csv.gz``
(``benchmarks/networks/measured.py``). The tables are not part of the project; what they teach are
rows of ``profiles/networks/kinds.csv``, whose values this program prints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.networks.fit import FITTED, fitted, left_out, predicted  # noqa: E402
from benchmarks.networks.measured import SIZES, timed  # noqa: E402
from benchmarks.networks.page import page  # noqa: E402
from benchmarks.networks.published import published  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Fit what collectives take of a link, and judge it."
    )
    parser.add_argument("--tables", type=Path, required=True, help="folder of the measured tables")
    parser.add_argument("--write", type=Path, help="the page to write")
    asked = parser.parse_args()
    rows, unknown = timed(asked.tables)
    found = fitted(rows)
    for kind, bounds in FITTED.items():
        values = (f"{name} {getattr(found.kinds[kind], name):.3g}" for name in bounds)
        print(f"{kind}: {', '.join(values)}")
    now = {row: predicted(row) for row in rows}
    text = page(rows, left_out(rows), now, unknown, published(), SIZES)
    print(text)
    if asked.write:
        asked.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
