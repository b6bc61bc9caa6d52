"""Questions about devices that share a model's layers."""

from typing import Any

import pytest

from planner import estimate
from planner.errors import QuestionError

ASKED: dict[str, Any] = dict(
    samples=100_000,
    tokens_per_sample=1024,
    gpu="h100-sxm",
    price=2.0,
    strategy=["scratch"],
    gpus=8,
    micro_batch=1,
    global_batch=32,
)
MODEL = "Llama-3.2-1B"


def asked(**fields: Any) -> Any:
    question: Any = ASKED | fields
    return estimate(MODEL, **question)


def said(document):
    return [line["text"] for line in document["first_lines"]]


@pytest.fixture(scope="module")
def both():
    return asked(tensor_parallel=2, pipeline_parallel=2)


def test_one_of_each_is_what_it_was():
    plain = asked()["options"]
    same = asked(tensor_parallel=1, pipeline_parallel=1)["options"]
    assert plain == same and "layers" not in plain[0]["step"]


def test_the_answer_says_what_ranks_send_and_the_bubble(both):
    (option,) = both["options"]
    layers = option["step"]["layers"]
    assert (layers["tensor_parallel"], layers["pipeline_parallel"]) == (2, 2)
    assert option["step"]["gradient_accumulation"] == 16
    assert len(layers["stage_seconds"]) == 2
    assert 0 < layers["bubble_share"] < 0.2 and layers["tensor_sent_bytes"] > 0
    assert option["gpus"] == 8 and option["model"]["total_params"] == 1_235_814_400
    (line,) = [text for text in said(both) if "1F1B" in text]
    assert line.startswith("8 devices: ") and "the bubble" in line


def test_a_pipeline_that_is_not_filled_is_said():
    found = asked(global_batch=2, gpus=4, pipeline_parallel=4)
    assert any("do not fill 4 stages" in text for text in said(found))


@pytest.mark.parametrize(
    "fields, why",
    [
        ({"tensor_parallel": 3}, "multiple of 3"),
        ({"expert_parallel": 2}, "no grouped products of routed experts"),
        ({"pipeline_chunks": 2}, "without a pipeline"),
    ],
)
def test_what_is_not_planned_is_refused(fields, why):
    with pytest.raises(QuestionError, match=why):
        asked(**fields)


def test_adapters_and_odd_divisions_are_refused():
    with pytest.raises(QuestionError, match="not planned together with tensor"):
        asked(strategy=["lora"], tensor_parallel=2)
    with pytest.raises(QuestionError, match="16 layers do not fill 32 stages"):
        asked(gpus=32, pipeline_parallel=32)
