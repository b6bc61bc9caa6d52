"""Records as public datasets and other programs write them: what counts, and as what."""

import csv
import json

import pytest
from shapes_of_records import pick, says, text

from planner.datasets import scan
from planner.datasets.layout.conversations import conversation_of
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import prepare
from planner.datasets.readers.delimited import header
from planner.errors import DataError

COUNT = 20


def understood(build, task=None):
    rows = prepare([build(i) for i in range(COUNT)]).records
    return rows, find_layout(rows, task, None, "data")


def scanned(tmp_path, build, task=None):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(build(i)) for i in range(COUNT)))
    return scan(path, task=task)


def said(profile):
    return "\n".join(line.text for line in profile.first_lines)


def test_a_question_that_stands_in_several_columns_counts_once():
    def orpo(i):
        asked = text((i, "asked"))
        both = [[{"role": "user", "content": asked}, *says((i, n), "assistant")] for n in (0, 1)]
        return {"chosen": both[0], "rejected": both[1], "prompt": asked, "question": asked}

    rows, layout = understood(orpo)
    for row in rows:
        turns = conversation_of(row, layout).turns
        assert [turn.content for turn in turns] == [m["content"] for m in row["chosen"]]


def test_several_answers_by_unknown_authors_are_no_conversation(tmp_path):
    def stack(i):
        answers = [{"author": f"user{i}", "score": n, "text": text((i, n))} for n in range(3)]
        return {"question": text((i, "q")), "answers": answers}

    rows, layout = understood(stack)
    assert layout.record_type == "instruction"
    turns = conversation_of(rows[0], layout).turns
    assert [turn.role for turn in turns] == ["user", "assistant"]
    assert "after the first" in said(scanned(tmp_path, stack))


def test_conversational_completions_still_are_turns():
    def build(i):
        return {"prompt": says(i, "user"), "completion": says((i, 1), "assistant")}

    rows, layout = understood(build)
    assert [t.trained for t in conversation_of(rows[0], layout).turns] == [False, True]


@pytest.mark.parametrize("names", [("query", "positive", "negative"), ("query", "pos", "neg")])
@pytest.mark.parametrize("task", [None, "causal_lm", "contrastive"])
def test_triples_are_compared_and_not_answered(names, task):
    _, layout = understood(lambda i: {name: text((i, name)) for name in names}, task)
    assert (layout.record_type, layout.inputs) == ("pair", names)


@pytest.mark.parametrize("names", ["response_0 response_1", "completion_a completion_b"])
def test_numbered_answers_are_alternatives(names):
    first, second = names.split()
    _, layout = understood(lambda i: {n: text((i, n)) for n in ("prompt", first, second)})
    assert layout.main.roles == {"prompt": ("prompt",), "chosen": (first,), "rejected": (second,)}
    assert "two answers to compare" in layout.main.said[0]


def test_two_conversations_are_alternatives():
    def arena(i):
        talks = {f"conversation_{k}": says((i, k), "user", "assistant") for k in "ab"}
        return talks | {"winner": pick(i, "model_a", "model_b")}

    _, layout = understood(arena)
    assert layout.main.paths("chosen", "rejected") == ("conversation_a", "conversation_b")


def gemini(i):
    talk = [
        {"role": m["role"], "parts": [{"text": m["content"]}]} for m in says(i, "user", "model")
    ]
    return {"systemInstruction": {"role": "system", "parts": [{"text": text(i, 60)}]}} | {
        "contents": talk
    }


def bedrock(i):
    talk = [{**m, "content": [{"text": m["content"]}]} for m in says(i, "user", "assistant")]
    return {"system": [{"text": text(i, 60)}], "messages": talk}


@pytest.mark.parametrize("build", [gemini, bedrock])
def test_system_texts_in_blocks_stand_before_the_first_turn(build):
    rows, layout = understood(build)
    for i, row in enumerate(rows):
        turns = conversation_of(row, layout).turns
        assert [turn.role for turn in turns] == ["system", "user", "assistant"]
        assert turns[0].content == text(i, 60)


def test_passages_in_dictionaries_are_read_with_the_question():
    def rag(i):
        documents = [{"title": "a b", "text": text((i, n))} for n in range(3)]
        return {"question": text((i, "q")), "documents": documents, "answer": text((i, "a"))}

    def hotpot(i):
        sentences = [[text((i, n)), text((i, n, 1))] for n in range(3)]
        context = {"title": ["a b"] * 3, "sentences": sentences}
        return {"question": text((i, "q")), "context": context, "answer": text((i, "a"))}

    for build in (rag, hotpot):
        rows, layout = understood(build)
        for i, row in enumerate(rows):
            asked = conversation_of(row, layout).turns[0].content
            assert all(text((i, n)) in asked for n in range(3))


def test_counters_beside_a_response_are_no_answer():
    def logged(i):
        message = {"role": "assistant", "content": text((i, "a"))}
        response = {"choices": [{"message": message}], "usage": {"total_tokens": i}}
        return {"request": {"messages": says(i, "user")}, "response": response}

    rows, layout = understood(logged)
    assert not any("usage" in path for path in layout.text_paths)
    assert conversation_of(rows[3], layout).turns[-1].content == text((3, "a"))


def test_no_answer_at_all_is_warned_of(tmp_path):
    profile = scanned(tmp_path, lambda i: {"messages": says(i, "user")})
    assert any(
        line.warning and "loss is taken on nothing" in line.text for line in profile.first_lines
    )
    profile = scanned(tmp_path, lambda i: {"messages": says(i, "user", "assistant")})
    assert "loss is taken on nothing" not in said(profile)


@pytest.mark.parametrize(
    "build",
    [
        lambda i: {"messages": says(i, "user", "assistant"), "category": "chat"},
        lambda i: {"prompt": text(i), "completion": text((i, 1)), "label": i % 2 == 0},
        lambda i: {"instruction": text(i), "output": text((i, 1)), "tags": ["a", "b"]},
        lambda i: {"text": text(i), "label": "one"},
    ],
)
def test_classes_are_told_only_of_what_is_classified(tmp_path, build):
    assert "classes" not in said(scanned(tmp_path, build))
    labelled = scanned(tmp_path, lambda i: {"text": text(i), "label": i % 3})
    assert "3 classes" in said(labelled)


def test_labels_in_lists_are_classes_and_those_of_a_decoder_are_not():
    _, layout = understood(lambda i: {"text": text(i), "labels": [i % 5, 7]}, "text_classification")
    assert layout.label == "labels"
    _, layout = understood(lambda i: {"input_ids": [1, 2, i] * 4, "labels": [1, 2, i] * 4})
    assert layout.label is None


def test_a_label_known_by_its_last_word_is_found():
    _, layout = understood(
        lambda i: {
            "annotator_labels": ["neutral"],
            "gold_label": pick(i, "neutral", "entailment"),
            "sentence1": text(i),
            "sentence2": text((i, 2)),
        },
        "text_classification",
    )
    assert layout.label == "gold_label"


def write(path, rows, delimiter="\t"):
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def test_a_first_row_of_data_is_no_header(tmp_path):
    spam = write(tmp_path / "spam.tsv", [(pick(i, "ham", "spam"), text(i, 4)) for i in range(30)])
    with pytest.raises(DataError, match="is also in|is a sentence"):
        header(spam)
    german = write(tmp_path / "pairs.tsv", [(text(i, 6), text((i, 1), 6)) for i in range(9)])
    with pytest.raises(DataError, match="is a sentence, not a name"):
        header(german)


def test_names_that_are_sentences_or_come_again_stay_names(tmp_path):
    names = ["Text", "How do you like our new service?"]
    rows = [names, *((text(i), "well") for i in range(9))]
    assert header(write(tmp_path / "survey.csv", rows, ","))[0] == names
    twice = write(tmp_path / "joined.csv", [*rows, *rows, *rows], ",")
    assert header(twice)[0] == names


@pytest.mark.parametrize("names", ["option_a option_b option_c option_d", "opa opb opc opd"])
def test_options_do_not_answer_each_other(names):
    options = names.split()
    _, layout = understood(lambda i: {n: text((i, n), 6) for n in ("question", *options)})
    assert layout.record_type == "text"
    assert set(layout.inputs) == {"question", *options}
    _, layout = understood(lambda i: {n: text((i, n), 6) for n in ("question", *options, "exp")})
    assert layout.main.paths("answer") == ("exp",)


def test_names_of_users_are_no_texts():
    _, layout = understood(lambda i: {"user": f"anna_{i}", "tweet": text(i)})
    assert layout.text_paths == ("tweet",)
    _, layout = understood(lambda i: {"user": text(i), "assistant": text((i, 1))})
    assert layout.main.roles == {"prompt": ("user",), "answer": ("assistant",)}
