"""One run of a case, from the command to its last checkpoint:

    python -m benchmarks.real.run bert trainer --place FOLDER --out run.json

The place holds the case's model and data, which are made unless they are there (and then their
making counts as part of the start). Phases go into the JSON file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.real.cases import CASES, LOOPS, sized
from benchmarks.real.stamps import Stamps


def main(words: list[str] | None = None) -> int:
    args = _arguments(words)
    stamps = Stamps(args.began if args.began is not None else time.perf_counter())
    case = sized(args.case, args.share, args.tiny)
    os.environ["HF_HUB_OFFLINE"] = os.environ["TOKENIZERS_PARALLELISM"] = "1"
    # imported here: what a script imports is part of its start
    from planner.libraries import prepare_torchvision

    prepare_torchvision()
    from benchmarks.real.made_data import make_data
    from benchmarks.real.made_models import make_model
    from benchmarks.real.subject import seeded, subject

    loop: Any = importlib.import_module(f"benchmarks.real.{args.loop}_loop")
    seeded()
    checkpoints = args.place / f"out-{case.name}-{args.loop}"
    shutil.rmtree(checkpoints, ignore_errors=True)
    made = subject(case, make_model(case, args.place), *make_data(case, args.place), stamps)
    found = loop.train(case, made, checkpoints, stamps)
    document = {"case": case.name, "loop": args.loop, "evaluation": found, **stamps.closed()}
    document["checkpoint_bytes"] = sum(
        file.stat().st_size for file in checkpoints.rglob("*") if file.is_file()
    )
    args.out.write_text(json.dumps(document), encoding="utf-8")
    return 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", choices=CASES)
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument(
        "--began", type=float, help="time.perf_counter() when the command was given"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the case's samples")
    parser.add_argument("--tiny", action="store_true", help="a few steps of a model of nothing")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
