"""Deep rooms name fields; how a field is called is decided in one place."""

import ast
import re
from pathlib import Path

import click
import pytest

from planner.cli.main import COMMANDS, cli
from planner.errors import FieldName, QuestionError, fields_spelled
from planner.question import Question
from planner.question.parsing import question_from

PACKAGE = Path(__file__).parents[2] / "planner"
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
#: A command that is cited whole is copied into a shell, whoever asks.
CITED = re.compile(r"planner ((?:[a-z]+ )+)(?:[A-Z]+ )*--([a-z-]+)")
#: Flags of other programs.
OTHERS = ("--format=csv", "docker run --shm-size")


#: Files whose flags are not the planner's: git's, the names of colours in a style sheet, and those
#: of the scripts that a recipe writes.
FOREIGN = ("diff/git.py", "serve/api/pages.py", "recipe/readme.py", "recipe/launching/files.py")
#: A program of its own, which torchrun starts.
PROGRAM = "calibrate/collectives/"


def deep_files():
    files = {f.relative_to(PACKAGE).as_posix(): f for f in sorted(PACKAGE.rglob("*.py"))}
    assert set(FOREIGN) <= set(files)
    return [
        f
        for name, f in files.items()
        if not name.startswith(("cli/", PROGRAM)) and name not in FOREIGN
    ]


def texts(file):
    """The strings of a file, docstrings apart."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bodies = (ast.Module, ast.FunctionDef, ast.ClassDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, bodies) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.value


def options_of(command) -> set[str]:
    own = {
        name.removeprefix("--")
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    if not isinstance(command, click.Group):
        return own
    context = click.Context(command)
    return own.union(
        *(options_of(command.get_command(context, name)) for name in command.list_commands(context))
    )


def command_named(words: str):
    found = cli
    for word in words.split():
        found = found.get_command(click.Context(found), word)
    return found


@pytest.mark.parametrize("file", deep_files(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_only_the_command_line_writes_flags(file):
    for text in texts(file):
        for words, flag in CITED.findall(text):
            assert flag in options_of(command_named(words)), f"no such command: {text}"
        rest = CITED.sub("", text)
        assert not FLAG.search(rest) or any(other in rest for other in OTHERS), (
            f"{file.name}: {rest!r} writes a flag; name the field: FieldName"
        )


def test_every_field_that_is_named_is_one():
    known = set(Question.model_fields) | {o.replace("-", "_") for o in options_of(cli)}
    named = 0
    for file in deep_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "FieldName":
                names = [each.value for each in node.args if isinstance(each, ast.Constant)]
                assert set(names) <= known, f"{file.name} line {node.lineno}: {names}"
                named += len(names)
    assert named > 50 and COMMANDS


def test_a_field_is_called_as_who_asks_calls_it():
    error = QuestionError(
        "nothing to learn from", where=FieldName("teacher", "samples"), mend="Give one"
    )
    assert str(error) == "--teacher, --samples: nothing to learn from. Give one"
    assert error.fields == ("teacher", "samples")
    assert f"use {FieldName('cached_features', off=True)}" == "use --no-cached-features"
    labels = {"teacher": "Teacher model"}
    with fields_spelled(lambda name, off: labels[name]):
        assert str(QuestionError("is missing", where=FieldName("teacher"))) == (
            "Teacher model: is missing"
        )
    assert FieldName("teacher") == "--teacher"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"lora_rank": "many"}, "lora_rank"),
        ({"optimizer": "adamx"}, "optimizer"),
        ({"strategy": ["loraa"]}, "strategy"),
        ({"gpus": "0"}, "gpus"),
        ({"epochs": "x"}, "epochs"),
        ({"samples": "20q"}, "samples"),
    ],
)
def test_a_refusal_says_which_field_is_wrong(given, field):
    with pytest.raises(QuestionError) as refused:
        question_from("gpt2", None, {"samples": "9", "tokens_per_sample": "9"} | given)
    assert refused.value.fields == (field,)


def test_a_form_names_its_places():
    with pytest.raises(QuestionError) as refused:
        question_from(
            "gpt2", None, {"samples": "9", "gpus": "x"}, places={"gpus": "Number of GPUs"}
        )
    assert str(refused.value) == "Number of GPUs: 'x' is not a whole number"
