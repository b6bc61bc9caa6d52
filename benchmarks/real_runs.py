"""Real runs on this machine's processor, from the command to a saved checkpoint, beside the plan
made before: phase by phase, with transformers' Trainer and with a plain loop.

    python benchmarks/real_runs.py --calibrate --write docs/real_runs.md
    python benchmarks/real_runs.py --place DIR --only bert --loops trainer   # without calibrating

Models with random weights, tokenizers and data are made on the spot, nothing is fetched. The
planner is asked before each run, with the profile that ``planner calibrate`` made of this
processor and of this data; nothing is fitted to the runs. Profile and ledger are those of the
place: yours stay as they are. About a quarter of an hour on two quiet cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.loop import own_place, planner  # noqa: E402
from benchmarks.real.cases import CASES, LOOPS, RealCase, sized  # noqa: E402
from benchmarks.real.outcome import Outcome, Stamped, stamped, table  # noqa: E402
from planner.cli.writing import write  # noqa: E402

HEAD = """# Real runs on a processor: the plan and the clock

Written by `python benchmarks/real_runs.py --calibrate --write docs/real_runs.md`; every number
comes out of it, none is edited by hand.

Each run is a process of its own, from the command to its last checkpoint: imports, a model folder
with random weights, real files (texts with a tokenizer trained on the spot, JPEGs of 256 to 500
pixels), {epochs} epochs with an evaluation and a checkpoint each (`benchmarks/real/`). The planner
is asked before it, through `planner.estimate`, with what `planner calibrate` measured of this
processor and of these files: nothing is fitted to the runs. Seconds, planned → measured. Texts are
written to their full length (`min_length`): where random weights end them is no question. Start-up
is all that belongs to no other phase, the process's end included; the error of a phase stands where
it takes at least 2 % of its run.

"""


def main(words: list[str] | None = None) -> int:
    args = arguments(words)
    cases = [sized(name, args.share, args.tiny) for name in args.only or CASES]
    with contextlib.ExitStack() as stack:
        place = args.place or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(own_place(place))
        for case in cases:
            made(case, place)
        if args.calibrate and (code := calibrate(cases, place, args.seconds, args.again)):
            return code
        outcomes = []
        for outcome in compared(cases, args.loops, place, args.tiny, args.share):
            outcomes.append(outcome)
            print(f"  {outcome.case} {outcome.loop}: {outcome.error:+.1%}", flush=True)
        text = table(outcomes)
        doubts = said_of_the_machine()
    print(f"\n{text}\n{doubts}")
    if args.write:
        head = HEAD.format(epochs=cases[0].epochs)
        write(args.write, f"{head}{described()}\n\n{text}\n{doubts}")
    return 0


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calibrate", action="store_true", help="measure this processor first")
    parser.add_argument("--seconds", type=float, default=270.0, help="of calibration")
    parser.add_argument("--again", action="store_true", help="calibrate from nothing")
    parser.add_argument("--only", action="append", choices=CASES, metavar="CASE")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS)
    parser.add_argument("--place", type=Path, metavar="DIR", help="keep models, data and profile")
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("--share", type=float, default=1.0, help="of each case's samples")
    parser.add_argument("--tiny", action="store_true", help="a few steps of models of nothing")
    return parser.parse_args(words)


def made(case: RealCase, place: Path) -> tuple[Path, Path]:
    """(model, what is trained on), made in a process of its own: a run's start counts no library
    that this one has imported."""
    from benchmarks.real.made_data import make_data

    trained, _ = make_data(case, place)
    folder = place / case.model
    if not folder.exists():
        program = (
            "import sys, pathlib\n"
            "from planner.libraries import prepare_torchvision\n"
            "prepare_torchvision()\n"
            "from benchmarks.real.cases import sized\n"
            "from benchmarks.real.made_models import make_model\n"
            "name, tiny, place = sys.argv[1:]\n"
            "make_model(sized(name, is_tiny=tiny == 'tiny'), pathlib.Path(place))\n"
        )
        words = [case.name, "tiny" if case.is_tiny else "whole", str(place)]
        subprocess.run([sys.executable, "-c", program, *words], check=True, cwd=ROOT)
    return folder, trained


def calibrate(cases: Sequence[RealCase], place: Path, seconds: float, again: bool) -> int:
    """``planner calibrate`` of the processor and of every kind of data, the texts with the
    tokenizer of the first model that reads texts."""
    data, words = {}, ["--again"] if again else []
    for case in cases:
        model, trained = made(case, place)
        kind = "image" if case.image_size else "text"
        if kind not in data:
            data[kind] = trained
            words += ["--image-size", str(case.image_size)] if case.image_size else []
            words += ["--tokenizer", str(model)] if kind == "text" else []
    for path in data.values():
        words += ["--data", str(path)]
    return planner("calibrate", "--device", "cpu", "--seconds", f"{seconds:g}", *words)


def compared(
    cases: Sequence[RealCase], loops: Sequence[str], place: Path, is_tiny: bool, share: float
) -> Iterator[Outcome]:
    """Every case with every loop: asked, then run."""
    from benchmarks.real.plan import planned

    for case in cases:
        for loop in loops:
            model, trained = made(case, place)
            said = planned(case, loop, model, trained)
            yield Outcome(case.name, loop, said, run(case, loop, place, is_tiny, share))


def run(case: RealCase, loop: str, place: Path, is_tiny: bool, share: float) -> Stamped:
    """One run in a process of its own. Raises SystemExit with its last words where it fails."""
    out = place / f"run-{case.name}-{loop}.json"
    words = ["-m", "benchmarks.real.run", case.name, loop, "--place", str(place), "--out", str(out)]
    words += ["--tiny"] if is_tiny else ["--share", f"{share:g}"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words, "--began", repr(began)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    ended = time.perf_counter()
    if done.returncode:
        raise SystemExit(f"{case.name} with {loop} failed:\n{done.stderr[-2000:]}")
    return stamped(json.loads(out.read_text(encoding="utf-8")), ended)


def described() -> str:
    """The machine and its software, with the day."""
    import torch
    import transformers

    from planner.devices.processors import local_processor
    from planner.today import system_date

    here = local_processor()
    return (
        f"{here['name']}, {here['cores']} cores; torch {torch.__version__}, transformers "
        f"{transformers.__version__}; {system_date().isoformat()}."
    )


def said_of_the_machine() -> str:
    """What the calibration doubts of itself, as the profile says it."""
    from planner.devices.lookup import resolve_device

    calibration = resolve_device("cpu").spec.calibration
    if calibration is None:
        return "\nThis processor was not calibrated: the plan stands on its datasheet.\n"
    doubts = [f"- {what}. {mend}" for what, mend in calibration.doubts]
    return "\nThe calibration says of itself:\n\n" + "\n".join(doubts) + "\n" if doubts else ""


if __name__ == "__main__":
    sys.exit(main())
