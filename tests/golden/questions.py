"""The questions whose answers are frozen: every strategy, family, device class and option at least
once, seeded.

    python tests/golden/questions.py            # what would change, without writing
    python tests/golden/questions.py --write    # freeze today's answers

An answer is frozen so that a change of structure can prove that it changed no figure. A change that
is meant to move figures writes them anew, and its reviewer reads the difference.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ANSWERS = Path(__file__).parent / "answers"
#: Questions that took longer than this when they were frozen, since a model had to be recorded for
#: them.
SLOW_LIST, SLOW_SECONDS = ANSWERS / "slow.txt", 2.0
LONG_NUMBER = re.compile(r"(?<![\w.])\d+\.\d{8,}(?:e-?\d+)?(?![\w.])")
TODAY = "2026-11-28"
SEED = 20261128


def _arguments(*lines: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split()) for line in lines)


TEXT = (
    "Llama-3.2-1B",
    "gpt2",
    "bert-base-uncased",
    "Llama-3.1-8B",
    "Mistral-7B-v0.3",
    "Qwen2.5-0.5B",
    "Qwen2.5-7B",
    "roberta-base",
    "distilbert-base-uncased",
)
PAIRS = ("t5-base",)
IMAGES = ("resnet50", "vit-base", "efficientnet-b0")
OTHERS = ("whisper-small", "clip-vit-b32")
GPUS = (
    "h100-sxm",
    "h200-sxm",
    "a100-sxm-80",
    "a100-pcie-40",
    "rtx-4090",
    "rtx-3090",
    "l4",
    "t4",
    "a10g",
    "l40s",
    "v100-sxm2-16",
    "b200",
    "mi300x",
    "rtx-5090",
    "gh200-96",
    "rtx-a6000",
)
STRATEGIES = (
    "feature_extraction",
    "partial_fine_tune",
    "fine_tune",
    "lora",
    "qlora",
    "distillation",
    "scratch",
)
OPTIONS = _arguments(
    "--epochs 1",
    "--epochs 2.5",
    "--max-steps 400",
    "--micro-batch 2",
    "--global-batch 64",
    "--max-length 256",
    "--padding max --max-length 512",
    "--padding packed --max-length 1024",
    "--precision fp32",
    "--precision amp-fp16",
    "--precision bf16",
    "--optimizer sgd",
    "--optimizer adamw_8bit",
    "--optimizer adafactor",
    "--gradient-checkpointing full",
    "--attention eager",
    "--lora-rank 64",
    "--lora-dropout 0.05",
    "--unfrozen-blocks 4",
    "--unfreezing gradual",
    "--cached-features",
    "--gpus 4",
    "--gpus 8",
    "--spot",
    "--provider runpod",
    "--price 2.5",
    "--trials 5 --failed-share 0.1",
    "--keep-months 6",
    "--usd-per-label 0.05",
    "--max-usd 1",
    "--max-hours 0.5",
    "--evaluations-per-epoch 4",
    "--compile",
    "--owned-usd 8000 --owned-years 3 --owned-utilisation 0.5 --usd-per-kwh 0.2",
)
SLOW = _arguments(  # models and sizes that no shipped trace answers
    "estimate Qwen3-0.6B --samples 4000 --tokens-per-sample 300 --gpu a100-sxm-80 --strategy "
    "fine_tune",
    "estimate timm:convnext_tiny --samples 5000 --classes 12 --gpu l4 --strategy fine_tune",
    "estimate 1B --samples 2000 --tokens-per-sample 500 --gpu rtx-4090 --strategy lora",
    "estimate bert-base-uncased --samples 9000 --tokens-per-sample 120 --classes 7 --gpu t4 "
    "--strategy lora",
    "estimate gpt2 --samples 9000 --tokens-per-sample 700 --attention eager --gpu t4 "
    "--strategy fine_tune",
    "validate published --strategy lora --json --quiet",
)
FIXED = _arguments(
    "estimate Llama-3.1-8B profiles/examples/support_tickets.jsonl --gpu rtx-4090",
    "estimate Llama-3.2-1B profiles/examples/support_tickets.jsonl",
    "estimate Qwen2.5-7B profiles/examples/support_tickets.jsonl --requests-per-month 100k "
    "--prompt-tokens 500 --output-tokens 200",
    "estimate gpt2 --samples 1000 --tokens-per-sample 200 --gpu a100 --max-usd 0.01",
    "estimate Llama-3.1-8B --samples 1000 --tokens-per-sample 200 --strategy prompting "
    "--strategy rag --strategy provider_fine_tune --requests-per-month 50k --output-tokens 100 "
    "--corpus-tokens 5M",
    "choose Llama-3.1-8B profiles/examples/support_tickets.jsonl --max-usd 20 --max-hours 8",
    "choose bert-base-uncased --samples 20k --tokens-per-sample 180",
    "choose resnet50 --samples 50k --strategy fine_tune --gpu t4",
    "choose Qwen2.5-0.5B --samples 9k --tokens-per-sample 900 --strategy lora --everywhere",
    "choose t5-base --samples 30k --tokens-per-sample 300 --target-tokens-per-sample 60 --gpus "
    "2 --spot",
    "choose Llama-3.1-8B --samples 500 --tokens-per-sample 300 --max-usd 0.001",
    "report Mistral-7B-v0.3 profiles/examples/support_tickets.jsonl --gpu h100-sxm -o "
    "{out}/budget.md",
    "report vit-base --samples 5000 --gpu l4 -o {out}/budget.html",
    "prices",
    "prices --gpu h100-sxm --all",
    "models",
    "gpus",
    "schema question",
    "schema answer",
    "estimate Llama-3.1-8B profiles/examples/support_tickets.jsonl --gpu rtx-4090 --text",
    "choose gpt2 --samples 3000 --tokens-per-sample 300 --text",
    "estimate no-such-model --samples 5",
    "estimate gpt2 --samples 10 --gpu h100-sxn",
)


def drawn(count: int = 50) -> Iterator[tuple[str, ...]]:
    """Seeded questions about shipped models; each model, device, strategy and option comes up
    before any comes up twice."""
    draw = random.Random(SEED)
    models, gpus, strategies, options = (
        _cycled(draw, each) for each in (TEXT + PAIRS + IMAGES + OTHERS, GPUS, STRATEGIES, OPTIONS)
    )
    for _ in range(count):
        model = next(models)
        chosen = list(dict.fromkeys(next(strategies) for _ in range(draw.choice((1, 1, 2)))))
        if model in IMAGES + OTHERS:
            chosen = [name for name in chosen if name not in ("qlora", "lora")] or ["fine_tune"]
        yield (
            "estimate",
            model,
            *_data(draw, model),
            "--gpu",
            next(gpus),
            *(part for name in chosen for part in ("--strategy", name)),
            *next(options),
        )


def _data(draw: random.Random, model: str) -> tuple[str, ...]:
    samples = ("--samples", str(draw.choice((800, 5_000, 20_000, 250_000))))
    if model in IMAGES or model == "clip-vit-b32":
        return samples
    targets = ("--target-tokens-per-sample", "48") if model in PAIRS + ("whisper-small",) else ()
    return (*samples, "--tokens-per-sample", str(draw.choice((60, 180, 420))), *targets)


def _cycled(draw: random.Random, items: tuple) -> Iterator:
    for _ in itertools.count():
        yield from draw.sample(items, len(items))


def questions() -> dict[str, tuple[str, ...]]:
    """File name → arguments of ``planner``."""
    found = [*FIXED, *drawn(), *SLOW]
    return {f"{number:02d}-{arguments[0]}": arguments for number, arguments in enumerate(found)}


def slow_ones() -> list[str]:
    return SLOW_LIST.read_text(encoding="utf-8").split() if SLOW_LIST.exists() else []


def ask(arguments: tuple[str, ...]) -> dict:
    """What one call prints, writes and exits with; JSON as a document, so that a difference reads
    as one."""
    from planner.cli.main import run

    with tempfile.TemporaryDirectory() as folder, _no_traces_kept():
        call = [part.replace("{out}", folder) for part in arguments if part != "--text"]
        if (
            arguments[0] in ("estimate", "choose", "prices", "models", "gpus")
            and "--text" not in arguments
        ):
            call.append("--json")
        if arguments[0] in ("estimate", "choose", "report"):
            call += ["--quiet"] if "--text" not in arguments else []
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(call)
        written = {path.name: _lines(path) for path in sorted(Path(folder).iterdir())}
    text = out.getvalue().replace(folder, "{out}")
    printed = json.loads(text) if "--json" in call and text.startswith("{") else text.splitlines()
    if isinstance(printed, dict):
        printed.pop("your_folder", None)  # where this machine keeps its own prices
        printed.pop("machine", None)  # of a validation: the kernel's build is no figure
    return {
        "arguments": list(arguments),
        "exit": code,
        "printed": printed,
        "errors": err.getvalue().splitlines(),
        **({"written": written} if written else {}),
    }


def _lines(path: Path) -> list[str]:
    """Of a page without what its libraries make: scripts that run, still pictures, their hashes."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        text = re.sub(
            r"(<script(?! type=.application/json)[^>]*>).*?</script>", r"\1", text, flags=re.S
        )
        text = re.sub(r"data:image/[^\"']+|sha256-[\w+/=]+", "", text)
        text = re.sub(r"<svg\b.*?</svg>", "<svg>", text, flags=re.S)
    return text.splitlines()


@contextlib.contextmanager
def _no_traces_kept() -> Iterator[None]:
    """Every question meets an empty cache, as a new user does: what was recorded before can change
    the advice."""
    before = os.environ.get("PLANNER_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PLANNER_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("PLANNER_CACHE")
            os.environ |= {} if before is None else {"PLANNER_CACHE": before}


def frozen(answer: dict) -> str:
    """The answer's text, its numbers to ten digits: the last bit of a sum depends on the vector
    units of the processor that adds."""
    text = json.dumps(answer, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return LONG_NUMBER.sub(lambda found: _to_ten_digits(found[0]), text)


def _to_ten_digits(number: str) -> str:
    digits = re.sub(r"e.*|\.", "", number).lstrip("0")
    return f"{float(number):.10g}" if len(digits) > 10 else number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the answers, instead of only naming those that differ",
    )
    parser.add_argument("--only", help="only questions whose name contains this")
    options = parser.parse_args()
    ANSWERS.mkdir(exist_ok=True)
    differing, slow = 0, set(slow_ones())
    for name, arguments in questions().items():
        if options.only and options.only not in name:
            continue
        started = time.perf_counter()
        answer, file = frozen(ask(arguments)), ANSWERS / f"{name}.json"
        seconds = time.perf_counter() - started
        slow = slow | {name} if seconds > SLOW_SECONDS else slow - {name}
        if not file.exists() or file.read_text(encoding="utf-8") != answer:
            differing += 1
            print(
                f"{'wrote' if options.write else 'differs'} {name} {' '.join(arguments)}  "
                f"{seconds:.1f} s"
            )
            if options.write:
                file.write_text(answer, encoding="utf-8")
    if options.write:
        SLOW_LIST.write_text("".join(f"{name}\n" for name in sorted(slow)), encoding="utf-8")
    print(f"{differing} of {len(questions())} differ")
    return int(bool(differing) and not options.write)


if __name__ == "__main__":
    os.environ |= {"PLANNER_TODAY": TODAY, "COLUMNS": "100", "PLANNER_PROGRESS": "never"}
    home = tempfile.mkdtemp()
    os.environ |= {
        f"PLANNER_{name}": os.path.join(home, name.lower())
        for name in ("DEVICES", "LEDGER", "PRICES")
    }
    sys.exit(main())
