"""A model that ships, or that was recorded once, is answered for any number of classes by
arithmetic: neither torch nor a model library is imported."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "timm", "torchvision", "peft", "pandas")
SHIPPED = ("bert-base-uncased", "roberta-base", "distilbert-base-uncased", "resnet50", "vit-base")
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}
OWN = {
    "Wav2Vec2ForSequenceClassification": SMALL | {"model_type": "wav2vec2", "conv_dim": [32] * 7},
    "SwinForImageClassification": {
        "model_type": "swin",
        "image_size": 56,
        "embed_dim": 24,
        "depths": [1, 1],
        "num_heads": [2, 4],
    },
    "BertForTokenClassification": SMALL | {"model_type": "bert", "vocab_size": 997},
}
RECORDED = ("fine_tune", "feature_extraction")
CODE = (
    "import sys; from planner.cli.main import run; code = run(sys.argv[1:]); "
    f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(code)"
)


def asked(folder, model: str, classes: int, *more: str) -> tuple[dict, list[str]]:
    """The answer, and which heavy modules were imported for it, in a process of its own."""
    words = ["estimate", model, "--samples", "20k", "--classes", str(classes), "--gpu", "a10g"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words, "--json", *more],
        capture_output=True,
        text=True,
        env={**os.environ, "PLANNER_CACHE": str(folder / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), eval(done.stderr.strip().splitlines()[-1])  # noqa: S307


def head_of(answer: dict, other: dict) -> int:
    """By how many parameters the models of two answers differ."""
    counts = [
        {option["strategy"]: option["model"]["total_params"] for option in one["options"]}
        for one in (answer, other)
    ]
    return counts[0]["fine_tune"] - counts[1]["fine_tune"]


def strategies(answer: dict) -> set[str]:
    return {option["strategy"] for option in answer["options"]}


@pytest.mark.slow
@pytest.mark.parametrize("model", SHIPPED)
def test_a_shipped_model_needs_no_torch_for_any_number_of_classes(tmp_path, model):
    tokens = () if model in ("resnet50", "vit-base") else ("--tokens-per-sample", "128")
    (few, first), (many, second) = (asked(tmp_path, model, n, *tokens) for n in (37, 4321))
    assert first == second == []
    assert strategies(few) == strategies(many) and len(strategies(few)) >= 5
    width = {"resnet50": 2048}.get(model, 768)
    assert head_of(many, few) == (4321 - 37) * (width + 1)
    assert not list(tmp_path.rglob("*.trace")), "nothing was recorded"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OWN, "torchvision:resnet18"])
def test_what_was_recorded_once_needs_no_torch_for_another_number(tmp_path, name):
    more = [word for one in RECORDED for word in ("--strategy", one)]
    if name in OWN:
        (tmp_path / "config.json").write_text(json.dumps(OWN[name] | {"architectures": [name]}))
        more += ["--tokens-per-sample", "64"] if name.startswith("Bert") else []
    model = str(tmp_path) if name in OWN else name
    (few, first), (many, second) = (asked(tmp_path, model, n, *more) for n in (5, 300))
    assert first and second == []
    assert head_of(many, few) > 0 and few["options"] != many["options"]
