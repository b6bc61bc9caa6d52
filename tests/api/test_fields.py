"""The keyword arguments that editors show are the question's fields, with what these take."""

import datetime
import typing

from benchmarks import question_fields
from planner import Question
from planner.api.fields import QuestionFields
from planner.question.fields import choices, plain_types


def hints():
    return typing.get_type_hints(QuestionFields)


def test_the_file_is_as_it_is_written():
    wanted = question_fields.FILE.read_text(encoding="utf-8")
    assert question_fields.text() == wanted, "python benchmarks/question_fields.py --write"


def test_every_field_is_an_argument():
    assert list(hints()) == [
        name for name in Question.model_fields if name not in ("model", "data")
    ]


def test_an_argument_takes_what_its_field_takes():
    for name, hint in hints().items():
        field = Question.model_fields[name].annotation
        parts, types = set(typing.get_args(hint)) or {hint}, plain_types(field)
        assert (type(None) in parts) == (type(None) in typing.get_args(field)), name
        for kind in (int, float, bool, datetime.datetime):
            assert (kind in parts) == (kind in types), name
        literal = choices(hint)
        assert not literal or literal == choices(field), name
        assert bool(literal) == (bool(choices(field)) and str not in parts), name


def test_lists_are_taken_as_lists_tuples_and_texts():
    for given in ("a,b", ["a", "b"], ("a", "b")):
        assert Question(model="gpt2", samples=3, text_columns=given).text_columns == ["a", "b"]
