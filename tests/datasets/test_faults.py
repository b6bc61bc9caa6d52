"""Data that were once misunderstood, from public reports: what is counted, and what is said."""

from pathlib import Path

import pytest

from planner.datasets import scan
from planner.datasets.layout.conversations import conversation_of, conversations_of
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import prepare
from planner.datasets.readers import Budget, registry

FAULTS = Path(__file__).parent.parent / "data" / "faults"
#: case → (records, tokens a record that the reports ask for, kind, roles of a record's turns)
CASES = {
    "alpaca-history-system/data.jsonl": (4, 790, "instruction", "suauaua"),
    "array-in-jsonl/data.jsonl": (4, 97, "instruction", "ua"),
    "chat-system-column/data.jsonl": (4, 280, "chat", "sua"),
    "chat-tools-column/data.jsonl": (4, 1000, "chat", "suata"),
    "cols-dict-prompt/data.jsonl": (4, 290, "instruction", "sua"),
    "cols-orca-dpo/data.jsonl": (4, 273, "preference", "sua"),
    "cols-question-response/data.jsonl": (4, 430, "instruction", "sua"),
    "dpo-explicit-prompt/data.jsonl": (4, 700, "preference", "sua"),
    "nested-squad/data.json": (40, 214, "instruction", "ua"),
}
RATIO = 0.2  # tokens by bytes without a tokenizer, and without the template that is really rendered


def prepared(file):
    reader = next(r for r in registry() if file.suffix in r.suffixes)
    records = prepare(reader.read([file], file.parent, Budget()).records).records
    return records, find_layout(records, None, None, str(file))


@pytest.mark.parametrize("case", CASES)
def test_every_text_is_counted(case):
    records, tokens, kind, roles = CASES[case]
    found = scan(FAULTS / case)
    assert (found.samples, found.columns["kind"]) == (records, kind)
    assert found.mean_length == pytest.approx(tokens, rel=RATIO)
    assert not [line for line in found.first_lines if line.warning]
    rows, layout = prepared(FAULTS / case)
    conversation = conversation_of(rows[0], layout)
    assert "".join(turn.role[0] for turn in conversation.turns) == roles
    assert all(turn.trained == (turn.role == "assistant") for turn in conversation.turns)


def test_every_round_of_a_history_is_trained_and_the_system_stands_first():
    rows, layout = prepared(FAULTS / "alpaca-history-system" / "data.jsonl")
    turns = conversation_of(rows[0], layout).turns
    record = rows[0]
    assert turns[0].content == record["system"]
    assert [t.content for t in turns[1:5]] == [text for pair in record["history"] for text in pair]
    assert [t.content for t in turns[5:]] == [record["instruction"], record["output"]]


def test_schemas_of_tools_are_a_part_of_the_conversation():
    rows, layout = prepared(FAULTS / "chat-tools-column" / "data.jsonl")
    conversation = conversation_of(rows[0], layout)
    assert [tool["function"]["name"] for tool in conversation.tools][:2] == ["f0", "f1"]


def test_the_rejected_answers_are_named_and_reachable():
    for case in ("cols-orca-dpo", "dpo-explicit-prompt"):
        file = FAULTS / case / "data.jsonl"
        (line,) = [line for line in scan(file).first_lines if line.topic == "left_out"]
        assert "rejected answers" in line.text and "preference training" in line.text
        rows, layout = prepared(file)
        chosen, rejected = conversations_of(rows[0], layout)
        assert chosen.turns[:-1] == rejected.turns[:-1] and chosen.turns[-1] != rejected.turns[-1]


def test_a_question_of_squad_is_a_record_with_its_context():
    rows, layout = prepared(FAULTS / "nested-squad" / "data.json")
    (user, answer) = conversation_of(rows[0], layout).turns
    assert rows[0]["paragraphs.context"] in user.content
    assert rows[0]["paragraphs.qas.question"] in user.content
    assert answer.content == rows[0]["paragraphs.qas.answers"][0]["text"]
