"""The whole loop on this machine's processor, in one command and a few minutes:

    python benchmarks/loop.py                  # or: make loop
    python benchmarks/loop.py --seconds 90 --seconds-per-run 8 --plot loop.png

Calibrate, estimate and really train a dozen small models, validate, correct, and validate again on
models that taught nothing. Devices, ledger and corrections are those of a temporary folder (--keep
DIR keeps them): yours stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import math
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import local_runs  # noqa: E402
from benchmarks.local_cases import PROCESSOR_RUNS, local_case  # noqa: E402
from planner.validate.cases import Case  # noqa: E402

BASES = ("datasheet", "calibrated")
DISTURBED = 0.25
TAUGHT = (
    "decoder-full",
    "decoder-lora",
    "gpt2-full",
    "encoder-full",
    "encoder-lora",
    "encoder-frozen",
    "encoder-partial",
    "encoder-decoder-full",
    "vit-full",
    "resnet-full",
    "mobilenet-full",
    "convnext-full",
)
_TEXT, _IMAGE = "text_classification", "image_classification"
_OPT = dict(
    kind="opt",
    hidden_size=256,
    ffn_dim=1024,
    num_hidden_layers=5,
    num_attention_heads=8,
    vocab_size=10000,
    word_embed_proj_dim=256,
    max_position_embeddings=512,
)
_QWEN2 = dict(
    kind="qwen2",
    hidden_size=320,
    intermediate_size=896,
    num_hidden_layers=4,
    num_attention_heads=5,
    num_key_value_heads=1,
    vocab_size=12000,
)
_ROBERTA = dict(
    kind="roberta",
    hidden_size=320,
    intermediate_size=1280,
    num_hidden_layers=3,
    num_attention_heads=5,
    vocab_size=20000,
    max_position_embeddings=300,
)
_ELECTRA = dict(
    kind="electra",
    hidden_size=192,
    embedding_size=128,
    intermediate_size=768,
    num_hidden_layers=6,
    num_attention_heads=3,
    vocab_size=16000,
)
#: Other models at other sizes: nothing here taught a correction.
NEW: tuple[Case, ...] = (
    local_case(
        "new-opt-full",
        "small-opt",
        "causal_lm",
        micro_batch=3,
        sequence_length=100,
        architecture=_OPT,
    ),
    local_case(
        "new-qwen2-lora",
        "small-qwen2",
        "causal_lm",
        "lora",
        3,
        sequence_length=88,
        architecture=_QWEN2,
        lora_rank=16,
        lora_dropout=0.0,
    ),
    local_case(
        "new-roberta-full",
        "small-roberta",
        _TEXT,
        micro_batch=6,
        sequence_length=80,
        architecture=_ROBERTA,
        classes=4,
    ),
    local_case(
        "new-electra-partial",
        "small-electra",
        _TEXT,
        "partial_fine_tune",
        6,
        sequence_length=72,
        architecture=_ELECTRA,
        classes=2,
        unfrozen_blocks=2,
    ),
    local_case(
        "new-deit-full",
        "deit_tiny_patch16_224",
        _IMAGE,
        micro_batch=3,
        architecture=dict(kind="timm"),
        classes=8,
    ),
    local_case(
        "new-resnet26-full",
        "resnet26",
        _IMAGE,
        micro_batch=3,
        image_size=160,
        architecture=dict(kind="timm"),
        classes=8,
    ),
    local_case(
        "new-regnet-full",
        "regnetx_004",
        _IMAGE,
        micro_batch=4,
        image_size=176,
        architecture=dict(kind="timm"),
        classes=8,
    ),
    local_case(
        "new-squeezenet-frozen",
        "torchvision:squeezenet1_1",
        _IMAGE,
        "feature_extraction",
        6,
        classes=8,
    ),
)


def main() -> int:
    args = arguments()
    with contextlib.ExitStack() as stack:
        place = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(own_place(place))
        models = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if code := planner("calibrate", "--device", "cpu", "--seconds", f"{args.seconds:g}"):
            return code
        taught = train(
            [c for c in PROCESSOR_RUNS if c.id in TAUGHT][: args.runs], models, args.seconds_per_run
        )
        bases = [word for basis in BASES for word in ("--basis", basis)]
        planner("validate", *bases)
        if code := planner("correct"):
            return code
        moment = datetime.datetime.now(datetime.UTC).isoformat()
        new = train(NEW[: args.runs], models, args.seconds_per_run)
        planner(
            "validate",
            *bases,
            "--since",
            moment,
            *(("--plot", str(args.plot)) if args.plot else ()),
        )
        said = improvement(moment)
    print(said)
    return 0 if taught and new else 3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=45.0, help="of calibration")
    parser.add_argument(
        "--seconds-per-run", type=float, default=4.0, help="of training, building apart"
    )
    parser.add_argument(
        "--runs", type=int, help="at most this many before and after the correction"
    )
    parser.add_argument("--plot", type=Path, help="draw the last validation")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep devices, ledger and corrections in this folder",
    )
    return parser.parse_args()


@contextlib.contextmanager
def own_place(folder: Path) -> Iterator[None]:
    """Profiles, corrections and ledger under ``folder``, whatever the environment named before."""
    wanted = {
        "PLANNER_DEVICES": str(folder / "devices"),
        "PLANNER_LEDGER": str(folder / "runs.sqlite"),
    }
    before = {name: os.environ.get(name) for name in wanted}
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def planner(*words: str) -> int:
    """A command of the planner, shown as it would be typed."""
    from planner.cli.main import run

    print(f"\n$ planner {shlex.join(words)}", flush=True)
    return run(list(words))


def train(cases: Sequence[Case], folder: Path, seconds: float) -> int:
    """Estimate each case, train it, and put both into the ledger. How many were measured."""
    from planner.devices.lookup import resolve_device
    from planner.errors import PlannerError
    from planner.ledger.store import Ledger
    from planner.measure.real_run import measure
    from planner.plan.steps.point import evaluate

    spec, done = resolve_device("cpu").spec, 0
    print(f"\nTraining {len(cases)} models for about {seconds:g} s each", flush=True)
    with Ledger() as ledger:
        for case in cases:
            started = time.monotonic()
            try:
                facts, recipe, sizes = local_runs.question(case, folder)
                said = evaluate(facts, recipe, spec, **sizes)
                visits = [
                    measure(facts, recipe, "cpu", seconds=seconds / 2, **sizes) for _ in range(2)
                ]
            except PlannerError as error:
                print(f"  {case.id}: not measured: {error}", flush=True)
                continue
            # what disturbs a run only slows it
            seen = min(visits, key=lambda v: v.step_seconds or math.inf)
            ledger.append(as_record(case, said, seen, notes=disagreement(visits)))
            done += 1
            shown = (
                "ran out of memory"
                if seen.out_of_memory
                else f"{1e3 * seen.step_seconds:7.1f} ms measured"
            )
            print(
                f"  {case.id:22} {1e3 * said.step_seconds.p50:7.1f} ms estimated  {shown}  "
                f"({time.monotonic() - started:.0f} s)",
                flush=True,
            )
    return done


def disagreement(visits: Sequence) -> tuple[str, ...]:
    """What a reader of the ledger must know of two visits that are far apart."""
    times = [v.step_seconds for v in visits if v.step_seconds]
    apart = max(times) / min(times) - 1 if times else 0.0
    return (
        (f"two visits differ by {apart:.0%}; the faster one stands here",)
        if apart > DISTURBED
        else ()
    )


def as_record(case: Case, said, seen, notes: tuple[str, ...] = ()):
    """The run as the ledger holds it."""
    from planner.ledger.record import RunRecord
    from planner.question.setup import for_record

    setup = for_record(case) | {"gpu": seen.device_name}
    measured = (
        {
            "steps": seen.steps,
            "step_seconds": seen.step_seconds,
            "step_seconds_p10": seen.step_p10_seconds,
            "step_seconds_p90": seen.step_p90_seconds,
            "forward_seconds": seen.forward_seconds,
        }
        if not seen.out_of_memory
        else {}
    )
    estimate = {
        "basis": said.basis,
        "fits": said.fits,
        **{
            name: getattr(said, name).as_dict()
            for name in ("step_seconds", "forward_seconds", "allocated_bytes", "reserved_bytes")
        },
    }
    return RunRecord.new(
        "measured",
        "benchmarks/loop.py",
        setup,
        measured | {"out_of_memory": seen.out_of_memory},
        estimate=estimate,
        versions=seen.versions,
        machine={"device": seen.device_name},
        notes=(case.id, *notes),
    )


def improvement(since: str) -> str:
    """The runs that taught nothing, without and with the corrections."""
    from planner.cli.commands.validate import gather, validated
    from planner.validate.summaries import by

    items, _, _ = gather((), None, since)
    found = validated(items, [], BASES, 1)
    lines = [
        "",
        "Step time of models that taught no correction:",
        f"{'basis':12} {'runs':>4}  {'median error':>22}  {'p90':>20}  "
        f"{'80 % interval covers':>22}",
    ]
    after = by(_time(found.in_force), "basis")
    for (basis,), before in by(_time(found.plain), "basis").items():
        if (now := after.get((basis,))) is not None:
            lines.append(
                f"{basis:12} {before.count:4}  {before.median:10.1%} → {now.median:7.1%}   "
                f"{before.p90:8.1%} → {now.p90:7.1%}   {before.coverage:10.0%} → "
                f"{now.coverage:6.0%}"
            )
    return "\n".join([*lines, *doubts()])


def doubts() -> list[str]:
    """Why the figures above may say little: what the calibration noticed, and runs that were
    disturbed."""
    from planner.devices.lookup import resolve_device
    from planner.ledger.store import Ledger

    calibration = resolve_device("cpu").spec.calibration
    said = [f"{what}. {mend}" for what, mend in (calibration.doubts if calibration else ())]
    with Ledger() as ledger:
        disturbed = sum("visits differ" in note for run in ledger.records() for note in run.notes)
    said += (
        [f"{disturbed} runs were disturbed: their two visits differ by more than {DISTURBED:.0%}"]
        if disturbed
        else []
    )
    return (
        [
            "",
            "This machine was not quiet, so these figures say less than they could:",
            *(f"- {line}" for line in said),
        ]
        if said
        else []
    )


def _time(comparisons: Iterable) -> list:
    return [c for c in comparisons if c.quantity == "time"]


if __name__ == "__main__":
    sys.exit(main())
