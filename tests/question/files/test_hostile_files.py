"""Files that are no configuration, or were made to harm: one line, exit code 2, and soon."""

import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cli.main import run
from planner.errors import QuestionError
from planner.question.files.document import COMMANDS, JSON, TOML, YAML
from planner.question.files.reading import read
from planner.question.importers import importer_of
from planner.question.parsing import question_from

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
GOOD = "base_model: gpt2\nsequence_len: 64\nmicro_batch_size: 2\n"
CASES = {
    "empty.yaml": ("", "a project file is a list of 'key: value' lines"),
    "spaces.yml": ("\n\n# nothing\n", "a project file is a list of 'key: value' lines"),
    "list.yaml": ("- a\n- b\n", "a project file is a list of 'key: value' lines"),
    "text.yaml": ("just words", "a project file is a list of 'key: value' lines"),
    "large.yaml": (GOOD + "x: " + "y" * 10_000_000, "larger than 1000000 bytes"),
    "laughs.yaml": (GOOD + LAUGHS, "its aliases make more than 20000 values of it"),
    "circle.yaml": (GOOD + "a: &a [*a]\n", "a value that holds itself"),
    "twice.yaml": (GOOD + "sequence_len: 9\n", "'sequence_len' is given twice, first in line 2"),
    "inside.yaml": (GOOD + "fsdp_config:\n  a: 1\n  a: 2\n", "line 6: 'a' is given twice"),
    "tag.yaml": (GOOD + "x: !!python/object/apply:os.system [ls]\n", "not YAML"),
    "deep.yaml": (GOOD + "x: " + "[" * 5000, "not readable as YAML"),
    "broken.yaml": ("base_model: [", "not YAML"),
    "key.yaml": (GOOD + "? [a, b]\n: 1\n", "unknown key, which is no name"),
    "two.yaml": (GOOD + "---\nx: 1\n", "not YAML"),
    "number.yaml": (GOOD.replace("64", "many"), "'many' is not a whole number"),
    "negative.yaml": (GOOD.replace("64", "-64"), "must be at least 1"),
    "type.yaml": (GOOD.replace("gpt2", "[1, 2]"), "names no model that is known here"),
    "twice.json": (
        '{"model_name_or_path": "a", "model_name_or_path": "b"}',
        "'model_name_or_path' is given twice",
    ),
    "list.json": ("[1, 2]", None),
    "twice.toml": ("a = 1\na = 2\n", "not TOML: Cannot overwrite a value"),
    "broken.toml": ("a = \n", "not TOML"),
    "quote.sh": ("accelerate launch train.py --a='x\n", "not a command line"),
    "empty.sh": ("", "holds no training command"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_in_one_line(name, tmp_path, capsys):
    text, words = CASES[name]
    path = tmp_path / name
    path.write_text(text)
    began = time.monotonic()
    code = run(["estimate", str(path), "--samples", "9", "--tokens-per-sample", "9", "--offline"])
    assert code == 2 and time.monotonic() - began < 20
    lines = capsys.readouterr().err.strip().splitlines()
    (line,) = [each for each in lines if each.startswith("planner: ")]
    assert len(line) < 2500 and (words is None or words in line)


def test_a_pickle_is_never_read(tmp_path, capsys):
    class Harm:
        def __reduce__(self):
            return (exec, ("raise SystemError('it ran')",))

    path = tmp_path / "training_args.bin"
    path.write_bytes(pickle.dumps(Harm()))
    assert run(["estimate", str(path), "--samples", "9", "--tokens-per-sample", "9"]) == 2
    error = capsys.readouterr().err
    assert "is a pickle, which runs what is in it when it is read" in error
    assert "to_json_string()" in error


def test_a_reference_to_itself_ends(tmp_path):
    path = tmp_path / "tune.yaml"
    path.write_text(
        "a: ${b}\nb: ${a}\ncheckpointer: {x: 1}\ntokenizer: {max_seq_len: '${a}'}\nmodel:\n"
        "  _component_: torchtune.models.llama3_2.llama3_2_1b\nbatch_size: 2\n"
    )
    with pytest.raises(QuestionError, match="max_seq_len"):
        question_from(str(path), None, {"samples": 9, "tokens_per_sample": 9})


def test_a_merged_key_is_read_and_is_no_double(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("x: &x {micro_batch_size: 2, sequence_len: 8}\n<<: *x\nbase_model: gpt2\n")
    question = question_from(str(path), None, {"samples": 9, "tokens_per_sample": 9})
    assert question.micro_batch == 2 and question.max_length == 8


@pytest.mark.parametrize("suffix", [YAML[0], JSON[0], TOML[0], COMMANDS[0]])
@given(text=st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(suffix, text, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / f"x{suffix}"
    path.write_text(text, encoding="utf-8")
    try:
        importer_of(read(path).values)
    except QuestionError as error:
        assert "\n" not in str(error)
