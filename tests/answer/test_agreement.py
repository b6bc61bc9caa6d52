"""``estimate`` and ``choose`` agree on every figure that both show, under the same limits and on
the same number of devices; and an answer does not depend on what was asked before."""

import random

import pytest

from planner import estimate
from planner.choose.decision import decide
from planner.question import Question

MODELS = (
    ("Llama-3.2-1B", {"tokens_per_sample": (60, 512, 3000)}),
    ("gpt2", {"tokens_per_sample": (90, 700)}),
    ("bert-base-uncased", {"tokens_per_sample": (40, 180)}),
    ("Llama-3.1-8B", {"tokens_per_sample": (200, 900)}),
    ("Qwen2.5-0.5B", {"tokens_per_sample": (300,)}),
    ("t5-base", {"tokens_per_sample": (200,), "target_tokens_per_sample": (40,)}),
    ("resnet50", {}),
    ("vit-base", {}),
)
SETTINGS = (
    {},
    {"gpu": "l4"},
    {"gpu": "h100-sxm"},
    {"gpu": "a100-sxm-80", "gpus": 4},
    {"gpus": 2},
    {"provider": "runpod"},
    {"spot": True, "interruptions_per_day": 2.0},
    {"gpu": "l4", "price": 0.8, "spot": True, "interruptions_per_day": 1.0},
    {"trials": 4, "failed_share": 0.2, "keep_months": 3},
    {"micro_batch": 2},
    {"global_batch": 64, "gradient_checkpointing": "full"},
    {"unfreezing": "gradual", "strategy": ["partial_fine_tune"]},
    {"strategy": ["feature_extraction", "lora"]},
    {"requests_per_month": 20_000, "output_tokens": 40, "strategy": ["lora", "fine_tune"]},
    {"licences": ["mit"]},
)
LIMITS = (
    {},
    {"max_usd": 0.5},
    {"max_usd": 30.0},
    {"max_hours": 1.0},
    {"max_hours": 6, "max_usd": 9},
)


def drawn(count, seed=20261128):
    """Seeded questions: every setting and every model several times."""
    draw = random.Random(seed)
    for number in range(count):
        model, lengths = MODELS[number % len(MODELS)]
        fields = {name: draw.choice(values) for name, values in lengths.items()}
        samples = draw.choice((300, 8_000, 120_000))
        setting = SETTINGS[number % len(SETTINGS)]
        yield {"model": model, "samples": samples, **fields, **setting, **draw.choice(LIMITS)}


QUESTIONS = list(drawn(60))


def is_quick(number):
    """What shipped traces answer."""
    fields = QUESTIONS[number]
    recorded = ("unfreezing", "gradient_checkpointing", "requests_per_month")
    return number < 12 and fields["model"] != "Llama-3.1-8B" and not set(recorded) & set(fields)


def shared(option):
    """Of an option of ``estimate``: what a way of ``choose`` shows too."""
    cost, step = option["cost"], option["step"]
    offer = cost["offer"]
    return {
        **{
            key: option[key]
            for key in ("strategy", "variant", "gpu", "gpu_key", "gpus", "provider")
        },
        **{key: offer[key] for key in ("instance_type", "region", "spot")},
        "price_age_days": offer["age_days"],
        **{key: cost[key] for key in ("usd", "breakdown", "usd_per_gpu_hour", "price_date")},
        "price_source": cost["price_source"],
        "micro_batch_size": step["micro_batch_size"],
        "gradient_accumulation": step["gradient_accumulation"],
        "gradient_checkpointing": option["training"]["gradient_checkpointing"],
        "precision": option["training"]["precision"],
        "wall_hours": option["run"]["wall_hours"],
        "gpu_hours": option["run"]["gpu_hours"],
        "memory_bytes": option["memory"]["device_used_bytes"],
        "device_total_bytes": option["memory"]["device_total_bytes"],
    }


def keeps(option):
    return option["fits"] and all(limit["kept"] for limit in option["limits"])


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(fields, marks=[] if is_quick(number) else [pytest.mark.slow])
        for number, fields in enumerate(QUESTIONS)
    ],
)
def test_both_commands_say_the_same(fields):
    question = Question(**fields)
    answer = estimate(question)
    decision = decide(Question(**{"gpus": 1} | fields))
    options = [option for option in answer["options"] if option["run"]]
    for row in decision["strategies"]:
        own = [o for o in options if o["strategy"] == row["strategy"] and o["cost"]]
        able = [] if decision["licence"] and row["strategy"] != "scratch" else filter(keeps, own)
        best = min(
            able,
            key=lambda o: (o["cost"]["usd"]["p50"], o["run"]["wall_hours"]["p50"]),
            default=None,
        )
        assert (best is None) == (row["way"] is None)
        if best is None:
            continue
        figures = shared(best)
        assert {key: row["way"][key] for key in figures} == figures
        assert row["limits"] == best["limits"]
        assert row["project_usd"] == best["cost"].get("project_usd")
        if row["serving"]:
            for key in ("gpu", "gpus", "provider", "usd_per_month"):
                assert row["serving"][key] == best["serving"][key]
    ours, theirs = answer["recommended"], decision["recommended"]
    keys = ("strategy", "variant", "gpu", "gpus")
    assert (ours and [ours[key] for key in keys]) == (theirs and [theirs[key] for key in keys])
    lines = [
        [line["text"] for line in document["first_lines"] if line["topic"] == "limit"]
        for document in (answer, decision)
    ]
    assert lines[0] == lines[1] or "would do it" in lines[0][0]


def test_an_answer_does_not_depend_on_what_was_asked_before():
    """In one process, where tables and traces are kept: asked first, and asked after others; advice
    included."""
    fields = {"model": "gpt2", "samples": 2000, "tokens_per_sample": 900.0, "micro_batch": 256}
    fields["strategy"] = ["fine_tune", "lora"]
    asked = Question(**fields, gpu="rtx-3090")
    first = estimate(asked)
    assert any(option["fixes"] for option in first["options"])
    estimate(Question(**{**fields, "micro_batch": 1}, gpu="RTX 4090"))
    decide(Question(**fields, max_usd=3.0))
    assert estimate(asked) == first
    named = estimate(Question(**fields, gpu="NVIDIA GeForce RTX 3090"))
    assert named["options"] == first["options"] and named["warnings"] == first["warnings"]
