"""First screens of five kinds of question as a user reads them: one screen at 80 columns, right at
each width, the decision in them."""

import io
import re

import pytest

from planner.answer.estimate import estimate
from planner.answer.limits import recommended_option
from planner.question import Question
from planner.report.formats.terminal import show

QUESTIONS = {
    "chat": {
        "model": "Llama-3.2-1B",
        "data": "profiles/examples/support_tickets.jsonl",
        "max_usd": 20,
    },
    "encoder": {
        "model": "bert-base-uncased",
        "samples": 20_000,
        "tokens_per_sample": 128,
        "classes": 4,
        "task": "text_classification",
    },
    "vision": {"model": "resnet50", "samples": 5000, "classes": 10, "strategy": ["fine_tune"]},
    "speech": {"model": "whisper-small", "samples": 2000, "audio_hours": 10},
    "nothing fits": {
        "model": "Llama-3.1-8B",
        "samples": 20_000,
        "tokens_per_sample": 500,
        "gpu": "rtx-3060-12",
        "strategy": ["lora", "qlora", "fine_tune"],
        "max_usd": 1,
    },
}
WIDTHS = (60, 80, 100, 140)


@pytest.fixture(scope="module")
def documents():
    return {}


@pytest.fixture(params=QUESTIONS)
def answer(request, documents):
    if request.param not in documents:
        documents[request.param] = estimate(Question(**QUESTIONS[request.param]))
    return documents[request.param]


def printed(document, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    show(document, stream)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_screen_is_right_at_every_width(answer, width, monkeypatch):
    lines = printed(answer, width, monkeypatch)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 40
    text = " ".join(" ".join(lines).split())
    for option in answer["options"]:
        assert option["strategy"] in text
    assert answer["model"]["name"] in text and "Recommended:" in text and "--details:" in text


def test_the_decision_can_be_made_from_it(answer, monkeypatch):
    lines = printed(answer, 80, monkeypatch)
    text = " ".join(" ".join(lines).split())
    header = next(line for line in lines if line.startswith("  Strategy"))
    assert {"Strategy", "Time", "Cost", "p10–p90"} <= set(header.split())
    units = lines[lines.index(header) + 1].split()
    assert units[-1] != "$" or units.count("$") >= 1
    option = recommended_option(answer)
    if option is None:
        assert "Recommended: nothing" in text and "Would fit:" in text and "Budget:" in text
        return
    assert f"> {option['strategy']}" in "\n".join(lines)
    assert re.search(rf"Recommended: {option['strategy']}.* on .*: \$", text)
    assert len(answer["options"]) == 1 or "Runner-up:" in text
    assert "Budget:" in text and re.search(r"\b(samples|images|clips|chats)\b", lines[0] + lines[1])
