"""Numbers that YAML 1.1 and people read differently."""

from __future__ import annotations

import pytest

from planner.errors import QuestionError
from planner.question.files.yaml_text import of_yaml


def values(tmp_path, text):
    return of_yaml(text, tmp_path / "p.yaml").values


@pytest.mark.parametrize("text", ["1:30", "1" + ":1" * 400_000, "190:20:30.15"], ids=len)
def test_a_number_with_colons_stays_a_text(tmp_path, text):
    assert values(tmp_path, f"max_hours: {text}") == {"max_hours": text}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0100", "line 2: not YAML: 0100 is 64 to some programs and 100 to others"),
        ("-0_17", "is -15 to some programs and -17 to others"),
        ("0x" + "f" * 9_000, "a number of 9,002 signs"),
        ("9" * 5_000, "a number of 5,000 signs"),
    ],
    ids=["octal", "octal, negative", "hexadecimal", "decimal"],
)
def test_a_number_that_is_none_names_its_line(tmp_path, text, said):
    with pytest.raises(QuestionError, match=said):
        values(tmp_path, f"model: gpt2\nsamples: {text}")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("-0", 0), ("10", 10), ("1_000", 1000), ("0x10", 16), ("0b11", 3), ("0.5", 0.5),
     ("1e3", "1e3"), ("1.0e+3", 1000.0), ("08", "08"), ("00", None)],
)  # fmt: skip
def test_other_numbers_are_read_as_ever(tmp_path, text, value):
    if value is None:
        with pytest.raises(QuestionError, match="00 is 0 to some"):
            values(tmp_path, f"a: {text}")
    else:
        assert values(tmp_path, f"a: {text}") == {"a": value}
