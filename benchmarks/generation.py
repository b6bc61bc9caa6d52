"""What transformers' ``generate`` itself takes for a token, beyond the model's forward pass.

Small models with random weights generate here, on the processor: T5, Whisper and GPT-2, greedily
and with beams. Seconds a token are the difference of a long and a short generation, the fastest of
several; those of bare forward passes with the same cache are taken off. Two depths tell what is
paid once a token from what is paid a layer (beams reorder the cache of every layer).

    python benchmarks/generation.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from planner.libraries import import_library

BATCH = 8
SHORT, LONG = 4, 36
DEPTHS = (1, 5)
FAMILIES = ("t5", "whisper", "gpt2")
WIDTH, HEADS, VOCABULARY, INPUT = 32, 2, 256, 16


@dataclass(frozen=True)
class Share:
    """Of one family and number of beams: seconds a token, and operations outside the forward pass,
    extrapolated to no layers; the same that each layer adds."""

    family: str
    beams: int
    seconds: float
    layer_seconds: float
    operations: float
    layer_operations: float


def built(family: str, layers: int) -> Any:
    """A model of random weights in evaluation mode."""
    import torch

    transformers: Any = import_library("transformers", "generating text")
    torch.manual_seed(0)
    if family == "t5":
        config: Any = transformers.T5Config(
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            d_kv=WIDTH // HEADS,
            d_ff=2 * WIDTH,
            num_layers=layers,
            num_heads=HEADS,
            decoder_start_token_id=0,
        )
        model: Any = transformers.T5ForConditionalGeneration(config)
    elif family == "whisper":
        config = transformers.WhisperConfig(
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=2 * WIDTH,
            decoder_ffn_dim=2 * WIDTH,
            max_source_positions=INPUT,
            max_target_positions=64,
            num_mel_bins=8,
            decoder_start_token_id=1,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
        model = transformers.WhisperForConditionalGeneration(config)
    else:
        config = transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=layers, n_head=HEADS, n_positions=64
        )
        model = transformers.GPT2LMHeadModel(config)
    # nothing ends early: every generation has exactly the asked tokens
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model.eval()


def inputs(family: str) -> dict[str, Any]:
    import torch

    if family == "whisper":
        return {"input_features": torch.randn(BATCH, 8, 2 * INPUT)}
    ids = torch.randint(3, VOCABULARY, (BATCH, INPUT))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def generates(model: Any, given: dict[str, Any], beams: int) -> Callable[[int], None]:
    def run(tokens: int) -> None:
        model.generate(**given, max_new_tokens=tokens, num_beams=beams, do_sample=False)

    return run


def forwards(model: Any, given: dict[str, Any], rows: int) -> Callable[[int], None]:
    """So many forward passes of one token for each row, the cache growing, and nothing else."""
    import torch

    one = torch.ones(rows, 1, dtype=torch.long)
    fed = {name: value.repeat_interleave(rows // BATCH, 0) for name, value in given.items()}

    @torch.no_grad()
    def encoder_decoder(tokens: int) -> None:
        encoded, cache = model.get_encoder()(**fed), None
        mask = {name: value for name, value in fed.items() if name == "attention_mask"}
        for _ in range(tokens):
            out = model(
                encoder_outputs=encoded,
                decoder_input_ids=one,
                past_key_values=cache,
                use_cache=True,
                **mask,
            )
            cache = out.past_key_values

    @torch.no_grad()
    def decoder(tokens: int) -> None:
        out = model(**fed, use_cache=True)
        mask = fed["attention_mask"]
        for _ in range(tokens - 1):
            mask = torch.cat([mask, one], dim=-1)
            out = model(
                input_ids=one,
                attention_mask=mask,
                past_key_values=out.past_key_values,
                use_cache=True,
            )

    return encoder_decoder if model.config.is_encoder_decoder else decoder


def token_seconds(run: Callable[[int], None], repeats: int) -> float:
    """The fastest long generation less the fastest short one, a token."""

    def fastest(tokens: int) -> float:
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            run(tokens)
            seconds.append(time.perf_counter() - begun)
        return min(seconds)

    run(SHORT)
    return (fastest(LONG) - fastest(SHORT)) / (LONG - SHORT)


def token_operations(run: Callable[[int], None]) -> float:
    """ATen operations a token."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.count += 1
            return func(*args, **(kwargs or {}))

    counts = []
    for tokens in (SHORT, LONG):
        with Counting() as mode:
            run(tokens)
        counts.append(mode.count)
    return (counts[1] - counts[0]) / (LONG - SHORT)


def measured(family: str, beams: int, repeats: int) -> Share:
    found = []
    for layers in DEPTHS:
        model, given = built(family, layers), inputs(family)
        whole, bare = generates(model, given, beams), forwards(model, given, BATCH * beams)
        seconds = token_seconds(whole, repeats) - token_seconds(bare, repeats)
        found.append((seconds, token_operations(whole) - token_operations(bare)))
    (few, few_operations), (many, many_operations) = found
    slope = (many - few) / (DEPTHS[1] - DEPTHS[0])
    operations = (many_operations - few_operations) / (DEPTHS[1] - DEPTHS[0])
    return Share(
        family=family,
        beams=beams,
        seconds=few - slope * DEPTHS[0],
        layer_seconds=slope,
        operations=few_operations - operations * DEPTHS[0],
        layer_operations=operations,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What generate itself takes for a token")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--beams", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    print("family   beams  ms a token  + ms a layer  operations  + a layer")
    for family in asked.families:
        for beams in asked.beams:
            found = measured(family, beams, asked.repeats)
            print(
                f"{family:8} {beams:5} {found.seconds * 1e3:11.2f} "
                f"{found.layer_seconds * 1e3:13.3f} {found.operations:11.1f} "
                f"{found.layer_operations:10.1f}"
            )


if __name__ == "__main__":
    main()
