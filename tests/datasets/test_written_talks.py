"""Conversations that only their structure tells: lists of texts, and whole conversations in one
text."""

import csv
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes_of_records import text

from planner.cli.main import main
from planner.datasets import scan
from planner.datasets.layout.accounting import account
from planner.datasets.layout.cells.written import marks_of, turns_of_text
from planner.datasets.layout.conversations import conversation_of, conversations_of
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import prepare

COUNT = 24


def asked(*seed):
    return text(seed, 9)[:-1] + "?"


def rounds(i):
    """Questions and answers of one conversation, one to three of each."""
    return [
        said
        for n in range(random.Random(i).randint(1, 3))
        for said in (asked(i, n, "q"), text((i, n, "a"), 30))
    ]


def written(i, user, assistant, between=""):
    marks = (user, assistant)
    return between.join(f"{marks[n % 2]}{said}" for n, said in enumerate(rounds(i)))


def understood(build, task=None, named=None):
    prepared = prepare([build(i) for i in range(COUNT)], task, named or ())
    layout = find_layout(prepared.records, task, named, "data")
    return prepared, layout


def spoken(prepared, layout):
    return [conversation_of(row, layout).turns for row in prepared.records]


def scanned(tmp_path, build, **reading):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(build(i)) for i in range(COUNT)))
    return scan(path, **reading)


def lines(profile):
    return "\n".join(line.text for line in profile.first_lines)


@pytest.mark.parametrize("column", ["data", "zqb", "texts"])
def test_lists_of_texts_are_turns_where_they_alternate(column, tmp_path):
    def ultrachat(i):
        return {"id": str(i), column: rounds(i)}

    prepared, layout = understood(ultrachat)
    assert layout.record_type == "chat"
    for i, turns in enumerate(spoken(prepared, layout)):
        assert [t.content for t in turns] == rounds(i)
        assert [t.role for t in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert [t.trained for t in turns] == [False, True] * (len(turns) // 2)
    said = lines(scanned(tmp_path, ultrachat))
    assert f"{column!r} are taken as turns of user and assistant" in said


def test_turns_as_json_in_a_cell_are_read(tmp_path):
    path = tmp_path / "talks.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "data"])
        writer.writerows((i, json.dumps(rounds(i))) for i in range(COUNT))
    found = scan(path)
    assert found.columns["kind"] == "chat" and "taken as turns" in lines(found)


def test_a_line_that_is_a_list_is_a_conversation_too(tmp_path):
    found = scanned(tmp_path, rounds)
    assert found.columns["kind"] == "chat" and "taken as turns" in lines(found)


@pytest.mark.parametrize(
    "items",
    [
        lambda i: [text((i, n)) for n in range(2 + i % 4)],  # of any number
        lambda i: [text((i, n)) for n in range(4)],  # always four, none of which asks
        lambda i: [asked(i, n) for n in range(2)],  # all of them ask
    ],
)
def test_lists_that_do_not_alternate_are_one_text_and_the_choice_is_said(items, tmp_path):
    _, layout = understood(lambda i: {"data": items(i)})
    assert layout.record_type == "text"
    assert "each list under 'data' is taken as one text" in lines(
        scanned(tmp_path, lambda i: {"data": items(i)})
    )


def test_even_numbers_that_vary_are_no_chance():
    _, layout = understood(lambda i: {"zqb": [text((i, n)) for n in range(2 + 2 * (i % 3))]})
    assert layout.record_type == "chat"
    _, layout = understood(lambda i: {"sentences": [text((i, n)) for n in range(2 + 2 * (i % 3))]})
    assert layout.record_type == "text"


def test_endings_beside_what_they_end_are_no_turns_and_what_is_left_out_is_warned_of(tmp_path):
    def hellaswag(i):
        return {"ctx": text((i, "c"), 30), "endings": [text((i, n), 9) for n in range(4)]}

    found = scanned(tmp_path, hellaswag)
    assert found.columns["kind"] == "instruction"
    warned = [line.text for line in found.first_lines if line.warning]
    assert any("'endings after the first'" in said and "left out" in said for said in warned)


STYLES = {
    "guanaco": ("### Human: ", "### Assistant: ", ""),
    "hashes alone": ("### Instruction:\n", "\n\n### Response:\n", "\n\n"),
    "lines": ("User: ", "Bot: ", "\n"),
    "question and answer": ("Q: ", "A: ", "\n"),
    "bold": ("**Customer:** ", "**Agent:** ", "\n\n"),
    "angles": ("<human>: ", "<bot>: ", "\n"),
    "capitals": ("USER: ", "ASSISTANT: ", " "),
    "inst": ("[INST] ", "[/INST] ", " </s><s>"),
    "chatml": ("<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n"),
    "bars": ("<|prompter|>", "<|assistant|>", "</s>"),
    "gemma": ("<start_of_turn>user\n", "<start_of_turn>model\n", "<end_of_turn>\n"),
    "llama 3": (
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_conversations_in_one_text_are_taken_apart(style, tmp_path):
    def build(i):
        return {"text": written(i, *STYLES[style]), "source": f"web_{i}"}

    prepared, layout = understood(build)
    assert layout.record_type == "chat"
    for i, turns in enumerate(spoken(prepared, layout)):
        assert [t.content for t in turns] == rounds(i)
        assert [t.role for t in turns] == ["user", "assistant"] * (len(turns) // 2)
    found = scanned(tmp_path, build)
    assert "the turns in 'text' are told by" in lines(found)
    assert not [line for line in found.first_lines if line.warning]


def test_where_not_all_texts_are_conversations_their_share_is_said(tmp_path):
    def build(i):
        return {"text": written(i, "User: ", "Bot: ", "\n") if i % 4 else text((i, "plain"), 40)}

    assert "'User:' and 'Bot:' in 75% of the records" in lines(scanned(tmp_path, build))
    prepared, layout = understood(build)
    plain = spoken(prepared, layout)[0]
    assert [(t.role, t.content) for t in plain] == [("assistant", text((0, "plain"), 40))]
    few = scanned(tmp_path, lambda i: build(i * 4 if i % 3 else i * 4 + 1))
    assert few.columns["kind"] == "text" and "told by" not in lines(few)


def test_the_flag_that_is_named_counts_the_text_as_it_stands(tmp_path):
    def build(i):
        return {"text": written(i, *STYLES["guanaco"])}

    whole = scanned(tmp_path, build, text_columns=["text"])
    assert whole.columns["kind"] == "text" and "told by" not in lines(whole)
    encoder = scanned(tmp_path, build, task="masked_lm")
    assert encoder.columns["kind"] == "text"


def test_what_stands_before_the_first_mark_is_the_system_text():
    turns = turns_of_text("A chat with a helper. USER: Who? ASSISTANT: Me.</s>", "assistant")
    assert [(t.role, t.content) for t in turns] == [
        ("system", "A chat with a helper."),
        ("user", "Who?"),
        ("assistant", "Me."),
    ]
    llama = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWho? [/INST] Me. </s>"
    assert [(t.role, t.content) for t in turns_of_text(llama, "assistant")] == [
        ("system", "Be brief."),
        ("user", "Who?"),
        ("assistant", "Me."),
    ]


def test_what_a_speaker_says_is_not_taken_apart():
    said = "It is simple.\nQuestion: none.\nAnswer: 42.\nNote: a: b"
    turns = turns_of_text(f"Human: What is it?\n\nAssistant: {said}\n\nHuman: Thanks", "assistant")
    assert [t.content for t in turns] == ["What is it?", said, "Thanks"]
    assert not marks_of("Question: which?\nA: one\nB: two")
    assert not marks_of("Amanda: hi\nJerry: hello") and not marks_of("Human: only one")


def hh(i):
    *before, last = rounds(i)
    marks = ("\n\nHuman: ", "\n\nAssistant: ")
    shared = "".join(f"{marks[n % 2]}{said}" for n, said in enumerate(before)) + marks[1]
    return {"chosen": shared + last, "rejected": shared + text((i, "other"), 30)}


def test_pairs_of_whole_conversations_share_their_prompt(tmp_path):
    prepared, layout = understood(hh)
    assert layout.record_type == "preference"
    for i, row in enumerate(prepared.records):
        chosen, rejected = conversations_of(row, layout)
        assert [t.content for t in chosen.turns] == rounds(i)
        assert chosen.turns[:-1] == rejected.turns[:-1]
        assert chosen.turns[-1].trained and rejected.turns[-1].content == text((i, "other"), 30)
    said = lines(scanned(tmp_path, hh))
    assert "the turns in 'chosen' and 'rejected' are told by 'Human:' and 'Assistant:'" in said


def test_a_marked_prompt_beside_its_answers_is_turns():
    def build(i):
        whole = hh(i)
        cut = len(whole["chosen"]) - len(rounds(i)[-1])
        before = whole["chosen"][:cut]
        return {"prompt": before, **{key: value[cut:] for key, value in whole.items()}}

    prepared, layout = understood(build)
    assert layout.record_type == "preference"
    for i, turns in enumerate(spoken(prepared, layout)):
        assert [t.content for t in turns] == rounds(i)


def test_a_dialogue_that_is_summarized_stays_a_source():
    def build(i):
        return {"dialogue": written(i, "Doctor: ", "Patient: ", "\n"), "summary": text((i, "s"))}

    _, layout = understood(build)
    assert layout.record_type == "transfer"


def test_a_prompt_rendered_beside_its_columns_counts_once():
    def build(i):
        ask, answer = asked(i), text((i, "a"), 30)
        whole = f"### Instruction:\n{ask}\n\n### Response:\n{answer}"
        return {"instruction": ask, "output": answer, "text": whole}

    prepared, layout = understood(build)
    assert layout.record_type == "instruction" and layout.main.copies == ("text",)


WORD = st.text("abcdefghijklmnoprstuvwxyz", min_size=2, max_size=9)
SAID = st.lists(WORD, min_size=3, max_size=12).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(STYLES)), st.lists(SAID, min_size=2, max_size=8))
def test_every_style_gives_back_what_was_written(style, said):
    user, assistant, between = STYLES[style]
    marked = between.join(f"{(user, assistant)[n % 2]}{one}" for n, one in enumerate(said))
    turns = turns_of_text(marked, "assistant")
    assert [turn.content for turn in turns] == said


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SAID, min_size=1, max_size=6), min_size=4, max_size=12))
def test_no_text_of_a_list_is_lost(lists):
    records = prepare([{"zqb": items} for items in lists]).records
    found = account(records, find_layout(records, None, None, "data"))
    assert not found.left and found.counted + sum(found.odd.values()) == found.total


def test_the_command_shows_the_turns(tmp_path, capsys):
    path = tmp_path / "hh.jsonl"
    path.write_text("\n".join(json.dumps(hh(i)) for i in range(COUNT)))
    with pytest.raises(SystemExit) as ended:
        main(["data", str(path)])
    assert not ended.value.code
    out = " ".join(capsys.readouterr().out.split())
    assert "are told by 'Human:' and 'Assistant:'" in out and "preference pairs (chosen)" in out
