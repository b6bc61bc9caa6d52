"""Questions of every kind that a report is made of, answered once."""

import json
from functools import cache

from planner.budget.make import budget
from planner.question import Question

KINDS = {
    "language": dict(
        model="Llama-3.2-1B", samples=20000, tokens_per_sample=200, gpu="h100", max_usd=20
    ),
    "encoder with labels, trials and storage": dict(
        model="bert-base-uncased",
        samples=20000,
        tokens_per_sample=100,
        gpu="t4",
        provider="aws",
        trials=3,
        failed_share=0.1,
        usd_per_label=0.05,
        keep_months=6,
        strategy=["fine_tune", "feature_extraction"],
    ),
    "images on two GPUs": dict(
        model="google/vit-base-patch16-224",
        samples=20000,
        gpu="l4",
        gpus=2,
        strategy=["fine_tune", "lora"],
    ),
    "spot": dict(
        model="gpt2",
        samples=200000,
        tokens_per_sample=500,
        gpu="a100-sxm-80",
        spot=True,
        interruptions_per_day=3,
        strategy=["fine_tune", "lora"],
    ),
    "steps of Whisper": dict(
        model="openai/whisper-small",
        audio_hours=100,
        seconds_per_sample=10,
        gpu="a10g",
        strategy=["fine_tune"],
    ),
    "a limit that nothing keeps": dict(
        model="gpt2",
        samples=2_000_000,
        tokens_per_sample=500,
        max_usd=0.1,
        gpu="t4",
        strategy=["lora", "fine_tune"],
    ),
    "nothing fits": dict(
        model="Llama-3.2-1B",
        samples=20000,
        tokens_per_sample=100,
        gpu="nvidia-t4",
        strategy=["fine_tune"],
        micro_batch=64,
        precision="fp32",
    ),
    "no price": dict(
        model="gpt2", samples=200, tokens_per_sample=100, gpu="cpu", strategy=["fine_tune", "lora"]
    ),
    "a price of one's own": dict(
        model="gpt2", samples=2000, tokens_per_sample=200, gpu="h100", price=2.5, strategy=["lora"]
    ),
    "paid by the token": dict(
        model="Llama-3.1-8B",
        samples=20000,
        tokens_per_sample=300,
        strategy=["prompting", "rag", "provider_fine_tune"],
        requests_per_month=1e5,
        output_tokens=200,
        corpus_tokens=1e6,
        retrieved_tokens=1000,
        cached_share=0.3,
    ),
    "fine-tuning by a provider alone": dict(
        model="Llama-3.1-8B",
        samples=20000,
        tokens_per_sample=300,
        strategy=["provider_fine_tune"],
        requests_per_month=1e5,
        output_tokens=200,
    ),
    "retrieval alone": dict(
        model="Llama-3.1-8B",
        samples=20000,
        tokens_per_sample=300,
        strategy=["rag"],
        requests_per_month=1e5,
        output_tokens=200,
        corpus_tokens=1e7,
        retrieved_tokens=1000,
    ),
    "fine-tuning without a load": dict(
        model="Llama-3.1-8B", samples=20000, tokens_per_sample=300, strategy=["provider_fine_tune"]
    ),
    "served": dict(
        model="Llama-3.2-1B",
        samples=20000,
        tokens_per_sample=300,
        gpu="l4",
        strategy=["lora"],
        requests_per_month=1e5,
        output_tokens=200,
        max_usd=5000,
    ),
}


@cache
def question(kind):
    return Question(**KINDS[kind])


@cache
def _text(kind):
    return json.dumps(budget(question(kind)), allow_nan=False)


def document(kind):
    """A copy of its own: tests may change it."""
    return json.loads(_text(kind))
