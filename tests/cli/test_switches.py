"""``--json``, ``--quiet`` and ``--debug`` on every command, by click's own tree; progress on
standard error."""

import io
import json
import sys
import time
import types
from pathlib import Path

import click
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from made_budget import with_budget  # noqa: E402

from planner.cli import main, progress
from planner.cli.main import run
from planner.cli.progress import Progress
from planner.cli.question_options import question_from
from planner.cli.switches import FLAGS

SAMPLE = Path(__file__).parents[1] / "report" / "sample_answer.json"
TIMES = "step,iter_time_ms\n0,900\n1,120\n2,121\n3,119\n4,120\n"
CONTRACT = "provider,gpu,usd_per_gpu_hour,valid_from\nacme,h100-sxm,1.5,2026-01-01\n"
TAKE = "runs import times.csv --rows-are-steps --map step_seconds=iter_time_ms:ms --model gpt2"
#: How each command is asked here; the runs of the ledger are those of ``TAKE``.
ASKED = {
    "estimate": "estimate m d",
    "report": "report m d -o budget.md",
    "init": "init mine.yaml",
    "devices": "devices",
    "gpus": "gpus --like h100",
    "models": "models --like llama",
    "schema": "schema question",
    "completion": "completion fish",
    "correct": "correct --show",
    "prices": "prices --gpu h100-sxm",
    "prices refresh": "prices refresh",
    "prices import": "prices import contract.csv",
    "runs list": "runs list",
    "runs show": "runs show {run}",
    "runs export": "runs export runs.csv",
    "runs import": TAKE,
    "runs merge": "runs merge other.json",
    "runs rescue": "runs rescue",
}
#: Those that take seconds: the tests where their documents are looked at.
ELSEWHERE = {
    "choose": "test_choose.py",
    "convert": "test_convert.py",
    "recipe": "../recipe/test_loop.py",
    "calibrate": "test_calibrate.py",
    "measure": "test_measure.py",
    "validate": "test_validate.py",
    "data": "test_data.py",
    "explain": "../explain/test_of_a_step.py",
    "trace": "../explain/test_trace_events.py",
    "diff": "../diff/test_diff.py",
    "compare": "../compare/test_compare.py",
    "sweep": "../choose/sweep/test_sweep_tables.py",
}
#: Those that answer others until they are stopped, and print no document.
SERVING = ("serve", "mcp")


def tree(command=main.cli, names=()):
    """(name, command) of every command that answers by itself."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from tree(command.get_command(context, name), (*names, name))
        if not command.invoke_without_command:
            return
    yield " ".join(names), command


COMMANDS = dict(tree())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_them_once(name):
    options = [flag for option in COMMANDS[name].params for flag in option.opts]
    assert [options.count(flag) for flag in FLAGS] == [1] * len(FLAGS)


def test_every_command_is_asked_for_its_document():
    assert set(COMMANDS) - set(ELSEWHERE) - set(SERVING) == set(ASKED) and "runs import" in COMMANDS
    for name in set(ELSEWHERE) & set(COMMANDS):
        assert "--json" in (Path(__file__).parent / ELSEWHERE[name]).read_text()


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    """A ledger with one run, and the engine's answer replaced: (code, stdout, stderr) of a call."""
    answer = json.loads(SAMPLE.read_text())
    engine = types.ModuleType("planner.answer.estimate")
    engine.estimate = lambda question, *, progress=None: answer
    monkeypatch.setitem(sys.modules, "planner.answer.estimate", engine)
    maker = types.ModuleType("planner.budget.make")
    maker.budget = lambda question, progress=None: with_budget(answer)
    monkeypatch.setitem(sys.modules, "planner.budget.make", maker)
    monkeypatch.setitem(
        sys.modules,
        "gpuhunt",
        types.SimpleNamespace(
            Catalog=lambda auto_reload: types.SimpleNamespace(load=lambda: None, catalog={})
        ),
    )
    for name in ("LEDGER", "PRICES", "DEVICES"):
        monkeypatch.setenv(f"PLANNER_{name}", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "times.csv").write_text(TIMES)
    (tmp_path / "contract.csv").write_text(CONTRACT)

    def call(line):
        code = main.run(line.split())
        return code, *capsys.readouterr()

    assert call(TAKE)[0] == 0 and call("runs export other.json")[0] == 0
    call.run = json.loads(call("runs list --json")[1])["runs"][0]["id"][:8]
    return call


@pytest.mark.parametrize("name", ASKED)
def test_json_is_one_document_on_standard_output(planner, name):
    code, out, err = planner(ASKED[name].format(run=planner.run) + " --json")
    assert (code, err) == (0, "") and isinstance(json.loads(out), dict)


@pytest.mark.parametrize("name", ASKED)
def test_quiet_says_no_more_than_without(planner, name):
    asked = ASKED[name].format(run=planner.run)
    code, out, err = planner(asked + " --quiet")
    (Path("mine.yaml").unlink if name == "init" else lambda: None)()
    _, loud, _ = planner(asked)
    assert (code, err) == (0, "") and len(out) <= len(loud)
    # what only confirms what was done is a remark
    if name in ("init", "report", "prices import", "runs export", "runs merge", "runs rescue"):
        assert out == "" and loud != ""


@pytest.mark.parametrize("name", COMMANDS)
def test_debug_shows_the_traceback(planner, monkeypatch, capsys, name):
    def broken(*_args, **_more):
        raise ZeroDivisionError("a bug")

    command = COMMANDS[name]
    asked = ASKED.get(name, name if name in ("calibrate", *SERVING) else f"{name} m")
    monkeypatch.setattr(command, "callback", broken)
    for call, shown in ((f"{asked} --debug", True), (f"--debug {asked}", True), (asked, False)):
        code, out, err = planner(call.format(run="x"))
        assert code == main.MACHINE_FAILED and out == "" and "unexpected ZeroDivisionError" in err
        assert ("Traceback" in err) is shown and ("--debug shows" in err) is not shown


def test_they_stand_before_a_subcommand_too(planner):
    for call in ("--json runs list", "runs --json list", "runs list --json", "runs --json"):
        assert len(json.loads(planner(call)[1])["runs"]) == 1
    assert json.loads(planner("prices --json import contract.csv")[1])["prices"] == 1


# ---- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.delenv("PLANNER_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.02)


def until(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_it_begins_within_half_a_second_though_nobody_was_told():
    assert progress.DELAY_SECONDS < 0.5


def test_what_a_command_imports_is_waited_for_too(monkeypatch):
    """The half second is the user's: it begins with the process."""
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    assert progress._first_wait() == progress.DELAY_SECONDS
    monkeypatch.setattr(progress, "_process_began", 99.8)
    assert progress._first_wait() == pytest.approx(progress.DELAY_SECONDS - 0.2)
    monkeypatch.setattr(progress, "_process_began", 90.0)
    assert progress._first_wait() == 0.0


def test_work_that_says_nothing_is_said_to_go_on(soon, capsys):
    stream = io.StringIO()
    with Progress(stream, doing="importing"):
        until(lambda: stream.getvalue() == "importing\n")
    assert capsys.readouterr() == ("", "")


def test_plain_lines_where_it_is_no_terminal(soon, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with Progress(stream) as report:
        report("reading [red]", 1, 4)
        until(lambda: "reading [red]: 25%\n" in stream.getvalue())
        report("reading [red]", 2, 4)
        until(lambda: "reading [red]: 50%\n" in stream.getvalue())
        report("tracing", 1)
        until(lambda: "tracing\n" in stream.getvalue())
    said = stream.getvalue()
    assert "\r" not in said and "\x1b" not in said and len(said.splitlines()) == 3


def test_a_bar_on_a_terminal(soon):
    stream = Terminal()
    with Progress(stream) as report:
        report("reading [red]", 1, 4)
        until(lambda: "reading [red]" in stream.getvalue())
    assert "\x1b" in stream.getvalue()


@pytest.mark.parametrize("how", ["fast", "quiet", "never"])
def test_nothing_of_fast_work_nor_where_it_is_unwanted(soon, monkeypatch, how):
    monkeypatch.setattr(progress, "DELAY_SECONDS", 60.0 if how == "fast" else 0.0)
    if how == "never":
        monkeypatch.setenv("PLANNER_PROGRESS", "never")
    stream = io.StringIO()
    with Progress(stream, enabled=how != "quiet") as report:
        report("reading", 1, 4)
        time.sleep(0.05)
    assert stream.getvalue() == ""


def test_an_answer_in_json_and_its_progress(planner, soon, monkeypatch):
    """On standard error, beside the one document."""
    slow = sys.modules["planner.answer.estimate"].estimate

    def estimate(question, *, progress=None):
        progress("tracing", 1, 2)
        time.sleep(0.3)
        return slow(question)

    monkeypatch.setattr(sys.modules["planner.answer.estimate"], "estimate", estimate)
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.01)
    code, out, err = planner("estimate m d --json")
    assert code == 0 and json.loads(out) and err == "tracing: 50%\n"
    assert planner("estimate m d --json --quiet")[2] == ""


def test_nothing_is_drawn_while_a_part_of_the_answer_is_printed(soon):
    stream = Terminal()
    with Progress(stream) as report:
        until(lambda: "starting" in stream.getvalue())
        with report.aside():
            before = stream.getvalue()
            time.sleep(0.1)
            assert stream.getvalue() == before
        report("training", 1, 2)
        until(lambda: "training" in stream.getvalue())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--gpu", "l4", "--gpu", "t4"],
            "--gpu: given 2 times, as l4 and t4. Give it once",
        ),
        (["--price", "1", "--price", "2"], "--price: given 2 times, as 1 and 2."),
    ],
)
def test_a_flag_that_is_given_twice_is_not_taken_once(capsys, flags, said):
    """Of two values neither is dropped without a word."""
    assert run(["estimate", "gpt2", "--samples", "10", "--tokens-per-sample", "10", *flags]) == 2
    assert said in capsys.readouterr().err


def test_lists_take_flags_and_commas_alike():
    question = question_from(
        "gpt2",
        None,
        {
            "strategy": ("lora,qlora", "fine_tune"),
            "lora_targets": ("c_attn", "c_proj,c_fc"),
            "gpu": ("t4", "t4"),
            "samples": ("10",),
            "tokens_per_sample": ("10",),
            "offline": True,
        },
    )
    assert question.strategy == ["lora", "qlora", "fine_tune"]
    assert question.lora_targets == ["c_attn", "c_proj", "c_fc"]
    assert question.gpu == "t4"
