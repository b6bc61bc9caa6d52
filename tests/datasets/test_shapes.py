"""Every shape of record: which columns count, as what, and what a trainer renders of it."""

import json
import re

import pytest
from shapes_of_records import SHAPES, says, text

from planner.datasets import scan
from planner.datasets.layout.accounting import account
from planner.datasets.layout.cells.walk import joined, strings
from planner.datasets.layout.conversations import conversation_of, conversations_of
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import prepare

COUNT = 12


def understood(records, task=None):
    rows = prepare(records).records
    return rows, find_layout(rows, task, None, "data")


def is_language(value):
    return len(value.split()) > 3


def words(value):
    """Without the marks of speakers, which the turns are told by."""
    return set(re.findall(r"\w+", value)) - {"USER", "ASSISTANT", "Human", "Assistant"}


@pytest.mark.parametrize("name", SHAPES)
def test_columns_have_the_roles_that_their_shape_gives_them(name):
    kind, roles, _, build = SHAPES[name]
    _, layout = understood([build(i) for i in range(COUNT)])
    assert layout.record_type == kind
    found = {role: paths for role, paths in layout.main.roles.items() if paths}
    assert found == roles


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape[2]])
def test_turns_are_what_a_trainer_renders(name):
    _, _, turns, build = SHAPES[name]
    rows, layout = understood([build(i) for i in range(COUNT)])
    for row in rows:
        conversation = conversation_of(row, layout)
        wanted = [turn.partition(":") for turn in turns.split()]
        assert [t.role[0] for t in conversation.turns] == [role for role, _, _ in wanted]
        for (_, _, columns), turn in zip(wanted, conversation.turns):
            if columns:
                texts = [joined(row[path]) for path in columns.split(",")]
                assert turn.content == "\n".join(filter(None, texts))
            assert turn.trained == (turn.role == "assistant")


@pytest.mark.parametrize("name", SHAPES)
def test_no_language_is_lost(name):
    """Each sentence of a record is in what is trained on, or is named as left out."""
    kind, _, _, build = SHAPES[name]
    rows, layout = understood([build(i) for i in range(COUNT)])
    found = account(rows, layout)
    parts = (found.counted, found.copies, sum(found.odd.values()), found.rejected)
    assert sum(parts) + sum(found.left.values()) == found.total
    assert found.left_share < 0.2 and not (found.left and name != "squad")
    if kind not in ("chat", "instruction", "preference"):
        return
    for row in rows:
        spoken = conversations_of(row, layout)
        turns = [(t.content, t.reasoning, t.tool_calls) for c in spoken for t in c.turns]
        said = words(" ".join((*strings(turns), json.dumps([c.tools for c in spoken]))))
        for path in (*layout.main.counted, *layout.main.paths("rejected")):
            for sentence in strings(row.get(path)):
                if is_language(sentence) and name != "squad":  # of SQuAD's answers one is taken
                    assert words(sentence) <= said


def test_a_scan_says_what_it_understood(tmp_path):
    file = tmp_path / "d.jsonl"
    records = [
        {
            "system": text((i, "s")),
            "messages": says(i, "user", "assistant"),
            "note": text((i, "n"), 60),
        }
        for i in range(9)
    ]
    file.write_text("\n".join(map(json.dumps, records)))
    data, left, _ = scan(file).first_lines  # the third: the assumed chat template
    assert data.topic == "data"
    assert data.text.startswith("9 records of chat (messages, with system), mean ")
    assert left.topic == "left_out" and left.warning and "'note' (5" in left.text
    assert "--text-columns" in left.text and "tokens a record" in left.text


def test_a_small_part_that_is_left_out_is_said_without_a_warning(tmp_path):
    file = tmp_path / "d.jsonl"
    records = [
        {"messages": says(i, "user", "assistant", count=60), "note": text((i, "n"), 20)}
        for i in range(9)
    ]
    file.write_text("\n".join(map(json.dumps, records)))
    (line,) = [line for line in scan(file).first_lines if line.topic == "left_out"]
    assert not line.warning and "14% of the text is left out: 'note' (14%)" in line.text


def test_records_of_several_shapes_are_each_understood(tmp_path):
    shapes = [SHAPES[name][3] for name in ("messages", "alpaca", "web text")]
    records = [build(i) for build in shapes for i in range(10)]
    rows, layout = understood(records)
    shares = {shape.record_type: share for shape, share in layout.shapes}
    assert shares == {"chat": 1 / 3, "instruction": 1 / 3, "text": 1 / 3}
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    found = scan(file)
    said = found.first_lines[0].text
    assert "mixed shapes: 33% " in said and "33% chat (messages)" in said
    alone = [scan(_written(tmp_path, [b(i) for i in range(10)])).lengths for b in shapes]
    assert found.lengths.tolist() == [n for part in alone for n in part.tolist()]


def _written(folder, records):
    file = folder / "alone.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    return file


def test_an_optional_column_makes_no_shape_of_its_own():
    records = [
        {
            "instruction": text((i, 1)),
            "output": text((i, 2)),
            **({"input": text((i, 3))} if i % 3 else {}),
            **({"system": text((i, 4))} if i % 5 == 0 else {}),
        }
        for i in range(60)
    ]
    _, layout = understood(records)
    assert len(layout.shapes) == 1


def test_a_rare_column_far_from_the_sample_is_met():
    records = [{"text": text(i)} for i in range(3000)]
    records[1234] = {"seldom": text("x", 300)}
    rows, layout = understood(records)
    assert layout.shape_of(rows[1234]).paths("text") == ("seldom",)


def test_of_many_answers_the_first_is_counted_and_the_others_are_a_warning(tmp_path):
    records = [
        {"prompt": text((i, "p")), "responses": [text((i, n), 30) for n in range(3)]}
        for i in range(9)
    ]
    (line,) = [line for line in scan(_written(tmp_path, records)).first_lines if line.warning]
    assert "'responses after the first' (5" in line.text
    rows, layout = understood(records)
    assert conversation_of(rows[0], layout).turns[1].content == records[0]["responses"][0]


def test_weights_take_turns_out_of_the_loss():
    records = [
        {
            "messages": [
                *says(i, "user"),
                {"role": "assistant", "content": text(i), "weight": 0},
                *says((i, 2), "user", "assistant"),
            ]
        }
        for i in range(5)
    ]
    rows, layout = understood(records)
    assert [t.trained for t in conversation_of(rows[0], layout).turns] == [
        False,
        False,
        False,
        True,
    ]


def test_the_columns_that_are_named_are_those_that_count(tmp_path):
    build = SHAPES["orca"][3]
    file = _written(tmp_path, [build(i) for i in range(9)])
    found = scan(file, text_columns=["question"])
    assert found.columns == {"kind": "text", "inputs": "question"}
    (line,) = [line for line in found.first_lines if line.topic == "left_out"]
    assert not line.warning and "'response'" in line.text
    nested = _written(
        tmp_path, [{"text": text(i), "meta": {"note": text((i, 1))}} for i in range(9)]
    )
    assert any(line.warning for line in scan(nested).first_lines)
    assert scan(nested, text_columns=["text", "meta"]).mean_length > 1.8 * scan(nested).mean_length


@pytest.mark.parametrize(
    "name, task, target",
    [
        ("messages", "seq2seq_lm", 1),
        ("preference of texts", "seq2seq_lm", 1),
        ("no known name", "seq2seq_lm", 1),
        ("languages", "seq2seq_lm", 1),
        ("sentences a and b", "seq2seq_lm", 1),
        ("languages", "causal_lm", 0),
        ("premise and hypothesis", "text_classification", 0),
    ],
)
def test_the_task_decides_whether_there_are_two_sides(tmp_path, name, task, target):
    build = SHAPES[name][3]
    found = scan(_written(tmp_path, [build(i) for i in range(9)]), task=task)
    assert (found.target_lengths is not None) == bool(target)


def test_a_classifier_finds_the_label_without_its_name(tmp_path):
    build = SHAPES["one text of no known name"][3]
    found = scan(_written(tmp_path, [build(i) for i in range(9)]), task="text_classification")
    assert (found.columns["label"], found.classes) == ("kind", 2)


def test_columns_of_flags_are_a_class_each(tmp_path):
    records = [
        {"comment_text": text(i), "toxic": i % 2, "obscene": i // 2 % 2, "threat": 0}
        for i in range(9)
    ]
    found = scan(_written(tmp_path, records), task="text_classification")
    assert found.classes == 3 and found.columns["inputs"] == "comment_text"
    assert any("'threat' is a class" in line.text for line in found.first_lines)
