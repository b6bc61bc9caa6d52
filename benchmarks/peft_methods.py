"""What PEFT's methods hold of memory: the planner's trace beside real models of PEFT.

    python benchmarks/peft_methods.py
    python benchmarks/peft_methods.py --only llama-dora bert-ia3
    python benchmarks/peft_methods.py --write docs/peft_methods.md

Each case is a tiny model of transformers on the processor, adapted by PEFT as a script of one's own
does it, trained two steps with torch's AdamW. After the second step its weights, gradients and
optimizer state are summed by storage, each rounded up to the 512 B that CUDA's allocator gives out,
and so are the trace's; during it, what is alive where the forward pass ends and at most. Leaves
with 1 where a figure is not equal.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks.alive import Alive  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.libraries import import_library  # noqa: E402
from planner.memory.allocator import MIN_BLOCK  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.question.adapters import methods  # noqa: E402
from planner.question.setup import TracedSettings  # noqa: E402
from planner.trace.source import trace_for  # noqa: E402
from planner.trace.table import CATEGORIES, PHASES  # noqa: E402
from planner.training.recipe import recipe_of  # noqa: E402

#: Tiny models, deep enough that a trace repeats its blocks.
MODELS: dict[str, dict[str, Any]] = {
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "max_position_embeddings": 512,
        "dtype": "bfloat16",
    },
    "bert": {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "vocab_size": 1000,
        "max_position_embeddings": 256,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "dtype": "float32",
    },
    "t5": {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "d_model": 64,
        "d_kv": 16,
        "d_ff": 160,
        "num_layers": 6,
        "num_heads": 4,
        "vocab_size": 1000,
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
        "dtype": "float32",
    },
}
TASKS = {"llama": "causal_lm", "bert": "text_classification", "t5": "seq2seq_lm"}
TASK_TYPES = {"llama": "CAUSAL_LM", "bert": "SEQ_CLS", "t5": "SEQ_2_SEQ_LM"}
POINTS = {"llama": {"B": 3, "S": 40}, "bert": {"B": 3, "S": 40}, "t5": {"B": 3, "S": 40, "T": 24}}
#: As a script writes them; places are all linear layers where the method takes places.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 8, "lora_alpha": 16}),
    "dora": ("LoraConfig", {"r": 8, "lora_alpha": 16, "use_dora": True}),
    "rslora": ("LoraConfig", {"r": 8, "lora_alpha": 16, "use_rslora": True}),
    "pissa": ("LoraConfig", {"r": 8, "lora_alpha": 16, "init_lora_weights": "pissa"}),
    "adalora": ("AdaLoraConfig", {"init_r": 12, "target_r": 4, "total_step": 10, "typed": True}),
    "vera": ("VeraConfig", {"r": 64}),
    "loha": ("LoHaConfig", {"r": 8}),
    "lokr": ("LoKrConfig", {"r": 8}),
    "oft": ("OFTConfig", {"oft_block_size": 16}),
    "boft": ("BOFTConfig", {"boft_block_size": 4}),
    "hra": ("HRAConfig", {"r": 8}),
    "miss": ("MissConfig", {"r": 16}),
    "randlora": ("RandLoraConfig", {"r": 32}),
    "fourierft": ("FourierFTConfig", {}),
    "hira": ("HiraConfig", {"r": 16}),
    "delora": ("DeloraConfig", {"r": 8}),
    "gralora": ("GraloraConfig", {"r": 16}),
    "c3a": ("C3AConfig", {"block_size": 16}),
    "pvera": ("PveraConfig", {"r": 64}),
    "ia3": ("IA3Config", {"placed": False}),
    "ln_tuning": ("LNTuningConfig", {"placed": False}),
    "prompt": ("PromptTuningConfig", {"num_virtual_tokens": 20, "typed": True, "placed": False}),
    "p_tuning": (
        "PromptEncoderConfig",
        {"num_virtual_tokens": 20, "encoder_hidden_size": 128, "typed": True, "placed": False},
    ),
    "prefix": ("PrefixTuningConfig", {"num_virtual_tokens": 20, "typed": True, "placed": False}),
}
#: Kinds of models whose layers PEFT's own lists do not have.
LAYERS = {"bert-ln_tuning": ["LayerNorm"]}
#: The sizes above, as a question says them.
SIZES = {"lora": 8, "dora": 8, "rslora": 8, "pissa": 8, "adalora": 12, "vera": 64, "loha": 8} | {
    "lokr": 8,
    "oft": 16,
    "boft": 4,
    "hra": 8,
    "miss": 16,
    "randlora": 32,
    "hira": 16,
    "delora": 8,
    "gralora": 16,
    "c3a": 16,
    "pvera": 64,
    "prompt": 20,
    "p_tuning": 20,
    "prefix": 20,
}


@dataclass(frozen=True)
class Case:
    model: str
    method: str

    @property
    def name(self) -> str:
        return f"{self.model}-{self.method}"

    @property
    def layers(self) -> list[str] | None:
        """Where adapters go; None where PEFT knows the model's kind, or there are no places."""
        if self.name in LAYERS:
            return LAYERS[self.name]
        return layers_of(self.model) if CONFIGS[self.method][1].get("placed", True) else None


#: Every method on a decoder, some on an encoder and an encoder-decoder.
CASES = (
    *(Case("llama", method) for method in CONFIGS),
    *(Case("bert", name) for name in ("dora", "vera", "ia3", "ln_tuning", "prompt", "p_tuning")),
    *(Case("t5", name) for name in ("loha", "ia3", "prompt", "p_tuning", "prefix")),
)


@dataclass(frozen=True)
class Held:
    """Bytes, but for the count of trainable parameters. ``kept``: alive where the forward pass
    ends, ``peak``: at most, of what a step makes."""

    trainable: int
    trainable_bytes: int
    weights: int
    gradients: int
    optimizer: int
    kept: int
    peak: int


def rounded(sizes: Iterable[int]) -> int:
    return sum(-(-size // MIN_BLOCK) * MIN_BLOCK for size in sizes)


# ---------------------------------------------------------------- the real model


def real(case: Case) -> Held:
    """After the second of two steps."""
    import torch

    torch.manual_seed(0)
    peft = import_library("peft", "benchmarking")
    model = peft.get_peft_model(base_model(case.model), config_of(peft, case))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        batch = real_batch(case.model)
        with Alive() as alive:
            loss = model(**batch).loss
            kept = alive.now
            loss.backward()
            del loss
        optimizer.step()
    trained = [p for p in model.parameters() if p.requires_grad]
    states = [s for state in optimizer.state.values() for s in state.values()]
    return Held(
        trainable=model.get_nb_trainable_parameters()[0],
        trainable_bytes=sum(p.numel() * p.element_size() for p in trained),
        weights=_stored([*model.parameters(), *model.buffers()]),
        gradients=_stored([p.grad for p in trained if p.grad is not None]),
        optimizer=_stored(states),
        kept=kept + (copied := _copied_to_a_device(model, POINTS[case.model]["B"])),
        peak=alive.peak + copied,
    )


def _copied_to_a_device(model: Any, samples: int) -> int:
    """Plain tensors of the host that each forward pass copies to the weights' device, which a model
    on the processor uses as they are: FourierFT's places in the spectrum, and the numbers of
    virtual tokens, once a sample."""
    lists = [p.indices for p in model.modules() if isinstance(getattr(p, "indices", None), dict)]
    places = [tensor for own in lists for tensor in own.values()]
    tokens = getattr(model, "prompt_tokens", {}).values()
    return sum(t.nbytes for t in places) + samples * sum(t.nbytes for t in tokens)


def base_model(name: str) -> Any:
    """With weights, from its configuration alone."""
    import torch

    transformers = import_library("transformers", "benchmarking")
    given = {key: value for key, value in MODELS[name].items() if key != "dtype"}
    config = transformers.AutoConfig.for_model(**given)
    own = getattr(transformers, config.architectures[0])
    if name == "bert":
        config.num_labels = 3
    config.use_cache = False
    dtype = getattr(torch, MODELS[name]["dtype"])
    return own._from_config(config, dtype=dtype, attn_implementation="eager")


def config_of(peft: Any, case: Case) -> Any:
    kind, options = CONFIGS[case.method]
    options = dict(options)
    if options.pop("typed", False):
        options["task_type"] = TASK_TYPES[case.model]
    options.pop("placed", None)
    if case.layers is not None:
        options["target_modules"] = case.layers
    return getattr(peft, kind)(**options)


def layers_of(name: str) -> list[str]:
    """Names of the linear layers of blocks, and of BERT's pooler."""
    return {
        "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "bert": ["query", "key", "value", "dense"],
        "t5": ["q", "k", "v", "o", "wi", "wo"],
    }[name]


def real_batch(name: str) -> dict[str, Any]:
    import torch

    point, vocabulary = POINTS[name], MODELS[name]["vocab_size"]
    ids = torch.randint(1, vocabulary, (point["B"], point["S"]))
    if name == "llama":
        return {"input_ids": ids, "labels": ids}
    if name == "bert":
        labels = torch.randint(0, 3, (point["B"],))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    labels = torch.randint(1, vocabulary, (point["B"], point["T"]))
    return {"input_ids": ids, "labels": labels}


def _stored(tensors: Iterable[Any]) -> int:
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return rounded(storages.values())


# ---------------------------------------------------------------- the trace


def planned(case: Case, folder: Path) -> Held:
    """By the fitted trace of the same question, at the same point."""
    import_library("peft", "benchmarking")
    point = POINTS[case.model]
    trace = planned_trace(facts_of(case.model, folder), recipe_for(case), **point)
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    before = trace.birth < 0

    def of(category: str, chosen: np.ndarray) -> int:
        mine = chosen & (trace.category == CATEGORIES.index(category))
        return rounded(int(size) for size in sizes[mine])

    kept, peak = _within(trace, sizes)
    return Held(
        trainable=trace.meta["trainable_params"],
        trainable_bytes=trace.meta["gradient_bytes"],
        weights=of("weights", before),
        gradients=of("gradients", ~before),
        optimizer=of("optimizer", before),
        kept=kept,
        peak=peak,
    )


def planned_trace(facts: Any, recipe: Any, **point: int) -> Any:
    """Recorded now and not kept."""
    source = trace_for(facts, recipe)
    source.keep = False
    return source.at(**(point or POINTS["llama"]))


def facts_of(name: str, folder: Path) -> Any:
    place = folder / name
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps(MODELS[name]))
    return resolve(str(place), task=TASKS[name], offline=True)


def recipe_for(case: Case) -> Any:
    method = methods()[case.method]
    size = {} if method.size is None else {method.size: SIZES[case.method]}
    return recipe_of(
        TracedSettings(
            strategy="lora",
            task=TASKS[case.model],
            precision="bf16" if MODELS[case.model]["dtype"] == "bfloat16" else "fp32",
            optimizer="adamw_fused",
            attention="eager",
            classes=3 if case.model == "bert" else None,
            adapter=None if case.method == "lora" else case.method,
            lora_targets=tuple(case.layers) if case.layers else None,
            **size,
        )
    )


def _within(trace: Any, sizes: np.ndarray) -> tuple[int, int]:
    """(bytes alive where the forward pass ends, the most before the update), of what is born in the
    step."""
    phases = [PHASES[phase] for phase in trace.op_phase]
    ended = max(n for n, phase in enumerate(phases) if phase != "optimizer")
    forward = max(n for n, phase in enumerate(phases) if phase == "forward")
    alive = np.zeros(trace.op_count + 2, dtype=np.int64)
    born = (trace.birth >= 0) & (trace.birth <= ended)
    np.add.at(alive, trace.birth[born], sizes[born])
    np.add.at(alive, np.minimum(trace.death[born], ended) + 1, -sizes[born])
    kept = sizes[born & (trace.birth <= forward) & (trace.death > forward)].sum()
    return int(kept), int(alive.cumsum().max())


# ---------------------------------------------------------------- the page


def compare(case: Case, folder: Path) -> dict[str, tuple[int, int]]:
    """Field → (planned, real)."""
    plan, held = planned(case, folder), real(case)
    return {own.name: (getattr(plan, own.name), getattr(held, own.name)) for own in fields(Held)}


def wrong(found: dict[str, tuple[int, int]]) -> list[str]:
    """Fields that are not as they should be."""
    return [name for name, (plan, held) in found.items() if plan != held]


HEAD = """# Methods of adapters

`--adapter` names which of PEFT's methods makes the adapters of `lora` and `qlora`; each is PEFT's
own class, applied to the model as a script does it.

{methods}

Sizes by default are PEFT's own, but for LoRA and its kin (`--lora-rank` 16) and virtual tokens,
of which PEFT's examples have 20. What a method has no argument for is said to have no effect;
what it does not stand over is refused. Virtual tokens lengthen every text: they go without an
objective, and without `--loss` chunked or fused.

## Their memory, beside real models

Tiny models of transformers on the processor, adapted by PEFT {version} and trained two steps with
AdamW, beside the planner's trace of the same question. Bytes: weights (all of them, the frozen
base among them), gradients and optimizer state after the second step, each tensor rounded up to
512 B as CUDA's allocator gives them out; and of what a step makes, what is alive where the
forward pass ends (kept) and at most before the update (peak). One figure stands where the trace's
is the real model's; else both stand, the trace's first.

| case | parameters trained | weights | gradients | optimizer | kept | peak |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""
TAIL = """
{equal} of {all} cases are equal in every figure. Added to the real models' are the numbers of
virtual tokens and FourierFT's places in the spectrum, which PEFT keeps on the host and copies to
a GPU in every forward pass; a model on the processor uses them as they are.

Written by `benchmarks/peft_methods.py`.
"""


def page(results: dict[str, dict[str, tuple[int, int]]]) -> str:
    peft = import_library("peft", "benchmarking")
    rows = [_row(name, found) for name, found in results.items()]
    head = HEAD.format(version=peft.__version__, methods=_methods())
    equal = sum(not wrong(found) for found in results.values())
    return head + "\n".join(rows) + "\n" + TAIL.format(equal=equal, all=len(results))


QUANTISED = {"any": "any", "bitsandbytes": "NF4, LLM.int8()", "": "no"}


def _methods() -> str:
    lines = [
        "| `--adapter` | trains | size | over weights in few bits | paper |",
        "| --- " * 5 + "|",
    ]
    for method in methods().values():
        flag = f"`--{method.size.replace('_', '-')}`" if method.size else ""
        size = f"{flag} {method.default or ''}".strip()
        lines.append(
            f"| `{method.name}` | {method.trains} | {size} | {QUANTISED[method.quantised]} | "
            f"{method.paper} |"
        )
    return "\n".join(lines)


def _row(name: str, found: dict[str, tuple[int, int]]) -> str:
    shown = ("trainable", "weights", "gradients", "optimizer", "kept", "peak")
    return f"| {name} | {' | '.join(_both(*found[own]) for own in shown)} |"


def _both(plan: int, held: int) -> str:
    return f"{plan:,}" if plan == held else f"{plan:,} for {held:,}"


def run(cases: Iterable[Case], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            found[case.name] = compare(case, Path(folder))
            off = wrong(found[case.name])
            say(_row(case.name, found[case.name]) + (f" differs: {', '.join(off)}" if off else ""))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", help="names of cases, such as llama-dora")
    parser.add_argument("--write", type=Path, help="the page to write")
    asked = parser.parse_args()
    cases = [case for case in CASES if not asked.only or case.name in asked.only]
    results = run(cases, print)
    if asked.write:
        write(asked.write, page(results))
    return 1 if any(wrong(found) for found in results.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
