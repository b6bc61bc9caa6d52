"""What the host needs for whole steps of small models, and how well it is known of a step that was
left out.

    python benchmarks/host_steps.py [--device cpu] [--seconds 60] [--json]

Runs the single operations and whole steps of ``planner calibrate``'s host part, then steps of other
models and variants that a calibration never runs (``OTHERS``). For each: milliseconds of the three
parts, the error of the costs fitted without it (of the calibration's own), or fitted to all of the
calibration's own (of the others), and the error of the sum of single operations alone, which is
what a calibration without whole steps would say. A processor's own time for the operators is part
of both sides.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner.calibrate.host.costs import measure_host  # noqa: E402
from planner.calibrate.host.fitted_steps import left_out, row_of, said, step_costs  # noqa: E402
from planner.calibrate.host.small_models import SMALL_MODELS, SmallModel  # noqa: E402
from planner.calibrate.host.whole_steps import Measured, measure_steps  # noqa: E402
from planner.calibrate.operations.backends import backend  # noqa: E402
from planner.step_time.host_charges import PARTS, WHOLE  # noqa: E402

_TEXT = "text_classification"
_LORA = dict(lora_rank=4, lora_dropout=0.05)
_BOTH = {"S": 16, "T": 8}
_DISTILBERT = dict(
    dim=32,
    hidden_dim=64,
    n_layers=4,
    n_heads=2,
    vocab_size=64,
    architectures=["DistilBertForSequenceClassification"],
)
_WHISPER = dict(
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    max_source_positions=32,
    max_target_positions=32,
    vocab_size=64,
    num_mel_bins=8,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=1,
    decoder_start_token_id=2,
    architectures=["WhisperForConditionalGeneration"],
)
#: Never part of a calibration: other families, and other ways of training its own.
OTHERS = (
    SmallModel("distilbert", "distilbert", _TEXT, more={"classes": 2}, configuration=_DISTILBERT),
    SmallModel(
        "distilbert with adapters",
        "distilbert",
        _TEXT,
        "lora",
        more={"classes": 2, **_LORA},
        configuration=_DISTILBERT,
    ),
    SmallModel("whisper", "whisper", "speech_recognition", lengths=_BOTH, configuration=_WHISPER),
    SmallModel("bert", "bert", _TEXT, more={"classes": 2}),
    SmallModel("t5 with adapters", "t5", "seq2seq_lm", "lora", lengths=_BOTH, more=_LORA),
    SmallModel("gpt2 under autocast", "gpt2", "causal_lm", mixed=True),
    SmallModel("llama", "llama", "causal_lm"),
)


def single_costs(device: Any, seconds: float) -> dict[str, float]:
    records = measure_host(device, budget_seconds=seconds)
    return {r["name"]: r["value"] for r in records if not r["name"].startswith(WHOLE)}


def judged(
    own: Sequence[Measured], others: Sequence[Measured], single: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A row a step: log(said / measured) of the whole step."""
    rows = [row_of(one, single) for one in own]
    without = left_out(rows, single)
    costs = {
        r["name"].removeprefix(WHOLE): r["value"]
        for r in step_costs(own, single)
        if r["name"].removeprefix(WHOLE) in {name for part in PARTS.values() for name in part}
    }
    alone = {name: 0.0 for part in PARTS.values() for name in part} | {
        "forward_factor": 1.0,
        "module_seconds": single["module_seconds"],
        "node_seconds": max(0.0, single["forward_seconds"] - single["no_grad_seconds"]),
        "backward_factor": 1.0,
        "optimizer_factor": 1.0,
        "tensor_seconds": single["tensor_seconds"],
    }
    found = []
    for one in (*own, *others):
        row = row_of(one, single)
        whole = sum(row.whole.values())
        fitted = without.get(one.name, math.log(said(row, costs) / whole))
        found.append(
            {
                "step": one.name,
                "of_a_calibration": one in own,
                "milliseconds": {part: 1e3 * value for part, value in one.seconds.items()},
                "fitted": math.expm1(fitted),
                "single": said(row, alone) / whole - 1,
            }
        )
    return found


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| step | forward ms | backward ms | optimizer ms | error, left out | single costs alone |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        parts = " | ".join(f"{row['milliseconds'][part]:.2f}" for part in PARTS)
        name = row["step"] + ("" if row["of_a_calibration"] else " *")
        lines.append(f"| {name} | {parts} | {row['fitted']:+.1%} | {row['single']:+.1%} |")
    lines += ["", "\\* never part of a calibration", ""]
    for name, chosen in (
        ("a calibration's own, each left out", [r for r in rows if r["of_a_calibration"]]),
        ("others", [r for r in rows if not r["of_a_calibration"]]),
    ):
        if chosen:
            fitted, single = ([abs(row[key]) for row in chosen] for key in ("fitted", "single"))
            lines.append(
                f"{name}: median {statistics.median(fitted):.1%}, worst {max(fitted):.1%}; "
                f"single costs alone {statistics.median(single):.1%}, worst {max(single):.1%}"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=60.0, help="for single operations")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    device = backend(*_named(asked.device))
    single = single_costs(device, asked.seconds)
    every = measure_steps(device, time.monotonic() + 1e6, (*SMALL_MODELS, *OTHERS))
    names = {model.name for model in SMALL_MODELS}
    own = [one for one in every if one.name in names]
    rows = judged(own, [one for one in every if one.name not in names], single)
    print(json.dumps(rows, indent=1) if asked.json else report(rows))


def _named(device: str) -> tuple[str, int]:
    name, _, index = device.partition(":")
    return name, int(index or 0)


if __name__ == "__main__":
    main()
