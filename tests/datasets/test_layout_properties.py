"""What holds for any records: no byte is lost between the columns, names and order decide no
counting, nothing ends in a traceback."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes_of_records import WORDS

from planner.datasets import scan
from planner.datasets.layout.accounting import account
from planner.datasets.layout.cells.names import role_of
from planner.datasets.layout.cells.values import kind_of_text, size_of
from planner.datasets.layout.cells.walk import strings, text_bytes
from planner.datasets.layout.conversations import conversation_of, conversations_of
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import prepare
from planner.errors import DataError, PlannerError

NAMES = st.sampled_from(
    "text messages prompt completion system history tools label chosen rejected role content "
    "answers question context id url meta zz data turns from value input_ids tokens".split()
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**6)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.lists(st.sampled_from(WORDS), min_size=2, max_size=30).map(" ".join)
    | st.sampled_from(["user", "assistant", "https://a.com/b", "2024-05-01", "a1b2c3d4e5f60718"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.lists(st.dictionaries(NAMES, VALUES, max_size=5), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(RECORDS)
def test_every_byte_is_counted_or_named(records):
    rows = prepare(records).records
    try:
        layout = find_layout(rows, None, None, "data")
    except DataError as error:
        assert "\n" not in str(error)
        return
    found = account(rows, layout)
    parts = found.counted + found.copies + found.rejected
    assert found.total == sum(text_bytes(list(row.values())) for row in rows)
    assert parts + sum(found.odd.values()) + sum(found.left.values()) == found.total
    assert 0 <= found.left_share <= 1 and 0 <= found.rejected_share <= 1
    assert sum(found.shares().values()) == pytest.approx(found.left_share, abs=1e-9)
    for row in rows:
        for conversation in conversations_of(row, layout):
            assert all(turn.content is not None for turn in conversation.turns)


@settings(max_examples=100, deadline=None)
@given(
    RECORDS, st.sampled_from([None, "seq2seq_lm", "text_classification", "token_classification"])
)
def test_any_records_are_counted_or_refused_in_one_line(tmp_path_factory, records, task):
    file = tmp_path_factory.mktemp("any") / "d.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    try:
        found = scan(file, task=task)
    except PlannerError as error:
        assert "\n" not in str(error) and error.exit_code == 2
    else:
        assert found.samples >= found.sampled >= 1 and found.first_lines


def sentences(seed, count):
    return " ".join(random.Random(seed).choices(WORDS, k=count))


COLUMNS = st.lists(st.integers(6, 60), min_size=1, max_size=6)


def unknown(number):
    """A name that says nothing."""
    name = "zq" + "bcdfghjkvx"[number % 10] * (1 + number // 10)
    assert role_of(name) == ("", False)
    return name


def built(sizes, called):
    return [
        {called[n]: sentences((record, n, size).__repr__(), size) for n, size in enumerate(sizes)}
        for record in range(8)
    ]


def counted(records):
    rows = prepare(records).records
    found = account(rows, find_layout(rows, None, None, "data"))
    assert not found.left and not found.odd
    return found.counted + found.copies


@settings(max_examples=60, deadline=None)
@given(COLUMNS, st.permutations(range(20)), st.randoms(use_true_random=False))
def test_neither_names_nor_order_drop_text(sizes, renamed, shuffler):
    names = [unknown(n) for n in range(len(sizes))]
    records = built(sizes, names)
    total = sum(text_bytes(list(record.values())) for record in records)
    assert counted(records) == total
    order = names[:]
    shuffler.shuffle(order)
    assert counted([{name: record[name] for name in order} for record in records]) == total
    others = [unknown(renamed[n]) for n in range(len(sizes))]
    assert counted(built(sizes, others)) == total


@settings(max_examples=60, deadline=None)
@given(COLUMNS)
def test_a_known_shape_keeps_what_unknown_columns_add(sizes):
    names = [unknown(n) for n in range(len(sizes))]
    records = [
        record | {"prompt": sentences(n, 9), "completion": sentences(-n - 1, 9)}
        for n, record in enumerate(built(sizes, names))
    ]
    rows = prepare(records).records
    layout = find_layout(rows, None, None, "data")
    for row in rows:
        said = " ".join(turn.content for turn in conversation_of(row, layout).turns)
        assert all(value in said for value in row.values())


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_bytes_of_a_value_are_those_of_its_texts(value):
    assert text_bytes(value) == sum(len(s.encode("utf-8", "replace")) for s in strings(value))


@pytest.mark.parametrize(
    "text, kind",
    [
        ("a few plain words", "language"),
        ("今天天气很好", "language"),
        ("MKTAYIAKQRQISFVKSHFSRQ" * 4, "language"),
        ("positive", "word"),
        ("2024-05-01", "date"),
        ("May 5, 2021", "date"),
        ("2019-04-25T12:57:54Z", "date"),
        ("https://a.com/b?c=d", "url"),
        ("someone@example.org", "url"),
        ("src/part/file.py", "path"),
        ("C:\\data\\a file.txt", "path"),
        ("photo_01.jpg", "path"),
        ("0.5", "number"),
        ("12 13 14 15 16", "number"),
        ("a1b2c3d4e5f60718", "hash"),
        ("a0b1c2d3-1111-2222-3333-444455556666", "hash"),
        ("iVBORw0KGgoAAAANSUhEUgAA" * 4 + "A1==", "base64"),
        ("train-00012", "identifier"),
        ("", ""),
    ],
)
def test_kinds_of_texts(text, kind):
    assert kind_of_text(text) == kind


@given(st.text())
def test_sizes_are_bytes(text):
    assert size_of(text) == len(text.encode("utf-8", "replace"))
