"""Reports and answers that the tests of the judge are made of."""

from benchmarks.whole.answers import Answer
from benchmarks.whole.asked import Asked
from benchmarks.whole.asking import question
from benchmarks.whole.outcome import Outcome
from benchmarks.whole.report import Report, of_row
from planner.figures import Estimate

#: A run whose settings are all stated.
STATED = {
    "id": "a-run",
    "model": "meta-llama/Llama-2-7b-hf",
    "model_config_hint": "hf:meta-llama/Llama-2-7b-hf",
    "strategy": "qlora",
    "task": "causal LM instruction tuning",
    "dataset": "own records",
    "samples": "1000",
    "tokens_per_sample": "300",
    "max_length": "1024",
    "epochs": "3",
    "micro_batch": "2",
    "global_batch": "8",
    "precision": "4-bit nf4, bf16",
    "optimizer": "adamw_8bit",
    "gradient_checkpointing": "yes",
    "lora_rank": "16",
    "lora_targets": "q,v",
    "gpu": "A10G 24GB",
    "gpus": "1",
    "hours": "2.0",
    "date": "2025-01",
    "source": "somewhere",
    "trust": "H",
}


def report(**cells: str) -> Report:
    return of_row("finetune_bills", {**STATED, **cells})


def asked(**cells: str) -> Asked:
    return question(report(**cells))


def answer(hours: float = 1.0, *, step_seconds: float = 1.0, micro: int = 1, **fields) -> Answer:
    """An answer whose ranges go from half to double; a tenth of its hours is the start."""
    parts = {"training": 0.8 * hours, "evaluation": 0.05 * hours, "saving": 0.05 * hours}
    step = {
        "seconds": {"p10": step_seconds / 2, "p50": step_seconds, "p90": step_seconds * 2},
        "gradient_accumulation": micro,
        "micro_batch_size": 2,
        "bound_by": "device",
        "by_kind": {"matmul": 3.0, "softmax": 1.0},
    }
    made = {
        "hours": Estimate(hours / 2, hours, hours * 2),
        "parts": {**parts, "start_up": 0.1 * hours},
        "usd": Estimate(hours, 2 * hours, 4 * hours),
        "reserved_bytes": Estimate(4 * 2**30, 8 * 2**30, 16 * 2**30),
        "device_bytes": Estimate(5 * 2**30, 9 * 2**30, 17 * 2**30),
        "step": step,
        "steps": 375,
    }
    return Answer(**{**made, **fields})


def outcome(made: Answer | None = None, **cells: str) -> Outcome:
    return Outcome(report(**cells), asked(**cells), made or answer())
