"""The command line: answers, exit codes, and one helpful line for everything that can be wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.cli import answering, main, question_options
from planner.question import Question
from planner.question.files import project_file

SAMPLE = Path(__file__).parents[1] / "report" / "sample_answer.json"
ANSI = "\x1b["


@pytest.fixture
def planner(capsys, monkeypatch):
    """Run a command in this process with the engine's answer replaced by the sample: (code, stdout,
    stderr, questions)."""
    import types

    asked = []

    def estimate(question, *, progress=None):
        asked.append(question)
        return {**json.loads(SAMPLE.read_text()), "question": question.model_dump(mode="json")}

    module = types.ModuleType("planner.answer.estimate")
    module.estimate = estimate
    monkeypatch.setitem(sys.modules, "planner.answer.estimate", module)
    reports = types.ModuleType("planner.budget.make")
    reports.budget = lambda question, progress: estimate(question, progress=progress)
    reports.budget_of_answer = lambda document, progress: document
    monkeypatch.setitem(sys.modules, "planner.budget.make", reports)

    def call(*arguments):
        code = main.run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err, asked

    return call


def _one_line(err):
    assert err.startswith("planner: ") and err.count("\n") == 1 and "Traceback" not in err, err
    return err


def test_estimate_prints_the_table_and_nothing_on_stderr(planner):
    code, out, err, asked = planner(
        "estimate", "Llama-3.1-8B", "tickets.jsonl", "--gpu", "h100", "--epochs", "2"
    )
    assert code == 0 and err == ""
    assert "Recommended: lora" in out and "29.0" in out and ANSI not in out
    assert asked[0].epochs == 2 and asked[0].gpu == "h100" and asked[0].data == "tickets.jsonl"


def test_json_is_one_document_and_nothing_else(planner):
    code, out, err, _ = planner("estimate", "m", "d", "--json")
    assert code == 0 and err == "" and json.loads(out)["schema"] == 1


def test_quiet_is_shorter(planner):
    full, brief = planner("estimate", "m", "d")[1], planner("estimate", "m", "d", "--quiet")[1]
    assert (
        full.startswith(brief.rstrip()[:400])
        and len(brief) < len(full)
        and "Recommended" in brief
        and "--details" not in brief
    )


def test_details_hold_what_the_first_screen_leaves_out(planner):
    screen, details = (
        planner("estimate", "m", "d")[1],
        planner("estimate", "m", "d", "--details")[1],
    )
    assert len(screen.splitlines()) <= 40 and "--details" in screen
    for title in ("Understood", "Training choices", "Where the figures stand", "Assumptions"):
        assert title not in screen and f"\n{title}\n" in details


def test_every_flag_reaches_the_question(planner):
    given = {
        "strategy": ["lora", "fine_tune"],
        "spot": True,
        "compile": True,
        "float8": "rowwise_with_gw_hp",
        "cached_features": False,
        "lora_targets": ["q_proj", "v_proj"],
        "samples": 20_000,
        "tokens_per_sample": 512.0,
        "precision": "amp_bf16",
        "max_steps": 10,
    }
    flags = [
        "--strategy",
        "lora",
        "--strategy",
        "fine-tune",
        "--spot",
        "--compile",
        "--float8",
        "rowwise-with-gw-hp",
        "--no-cached-features",
        "--lora-targets",
        "q_proj,v_proj",
        "--samples",
        "20k",
        "--tokens-per-sample",
        "512",
        "--precision",
        "amp-bf16",
        "--max-steps",
        "10",
    ]
    code, _, err, asked = planner("estimate", "m", *flags)
    assert (code, err) == (0, "")
    assert {name: getattr(asked[0], name) for name in given} == given


def test_every_field_of_the_question_is_a_flag_with_help(planner):
    _, out, _, _ = planner("estimate", "--help")
    for name in Question.model_fields:
        if name not in question_options.ARGUMENTS:
            assert question_options.flag(name) in out


@pytest.mark.parametrize(
    "flags, code",
    [
        (["--max-usd", "5"], 1),
        (["--max-usd", "50"], 0),
        (["--max-hours", "1"], 1),
        (["--max-hours", "9"], 0),
        (["--deadline", "2020-01-01"], 1),
        (["--deadline", "2990-01-01T10:00"], 0),
    ],
)
def test_limits_decide_the_exit_code(planner, flags, code):
    got, out, err, _ = planner("estimate", "m", "d", *flags)
    assert got == code and "Recommended" in out
    assert (flags[0].strip("-").replace("-", "_") in err) == (code == 1)


WRONG = [
    (["estimate"], "Missing argument 'MODEL'"),
    (["estimate", "m"], "no data"),
    (["estimate", "m", "d", "--precison", "bf16"], "--precision"),
    (["estimate", "m", "d", "--strategy", "lorra"], "Did you mean lora"),
    (["estimate", "m", "d", "--precision", "fp8"], "Allowed: fp32, tf32"),
    (["estimate", "m", "d", "--lora-rank", "0"], "--lora-rank: '0' must be at least 1"),
    (["estimate", "m", "d", "--lora-rank", "many"], "--lora-rank: 'many' is not a whole number"),
    (["estimate", "m", "d", "--epochs", "nan"], "--epochs"),
    (["estimate", "m", "d", "--epochs", "inf"], "--epochs"),
    (["estimate", "m", "d", "--lora-dropout", "1"], "must be less than 1"),
    (["estimate", "m", "d", "--deadline", "soon"], "--deadline"),
    (["estimate", "m", "d", "--samples", "9"], "not both"),
    (["estimate", "m", "d", "--gpus"], "requires an argument"),
    (["estimate", "m", "d", "e"], "unexpected extra argument"),
    (["estmate", "m"], "Did you mean estimate"),
    (["estimate", "nothere.yaml"], "no such project file"),
    (["report", "m", "d", "-o", "x.odt"], "no report format"),
    (["report", "m", "d"], "--output"),
    (["report", "nothere.json", "-o", "x.md"], "no such answer file"),
    (["gpus", "--like", "h1000000"], "unknown GPU"),
    (["models", "--like", "bert-bsae"], "unknown model"),
    (["schema", "ansver"], "answer"),
]


@pytest.mark.parametrize("arguments, says", WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_questions_are_one_line_and_code_2(planner, arguments, says):
    code, out, err, asked = planner(*arguments)
    assert code == 2 and out == "" and not asked
    assert says.lower() in _one_line(err).lower()


PROJECTS = [
    ("model: m\nmodle: n\n", "line 2: unknown key 'modle'. Did you mean model"),
    ("model: m\ndata: d\nmodel: n\n", "line 3: 'model' is given twice, first in line 1"),
    ("model: m\nsamples: -3\n", "line 2: samples: -3 must be at least 1"),
    ("model: [\n", "not YAML"),
    ("model: 'm\n", "not YAML"),
    ("- a\n- b\n", "'key: value'"),
    ("", "'key: value'"),
    ("data: d\n", "'model' is missing"),
    ("model: 7\ndata: d\n", "line 1: model: 7 is not text"),
    ("model: m\ndata: d\nstrategy: [lora, qlorra]\n", "Did you mean qlora"),
    ("model: !!python/object/apply:os.system ['true']\ndata: d\n", "not YAML"),
    ("model: m\ndata: d\nspot: perhaps\n", "is not yes or no"),
    ("model: m\ndata: d\n? [a, b]\n: c\n", "unknown key"),
    ("[" * 20000, "not readable"),
    ("model: m\ndata: d\ntext_columns: {a: 1}\n", "is not a list"),
    ("model: m\ndata: d\nlora_rank: " + "9" * 5000 + "\n", "project.yaml"),
]


@pytest.mark.parametrize("text, says", PROJECTS)
def test_wrong_project_files(planner, tmp_path, text, says):
    path = tmp_path / "project.yaml"
    path.write_text(text)
    code, out, err, _ = planner("estimate", path)
    assert code == 2 and out == ""
    assert says in _one_line(err) and len(err) < 1600


def test_binary_and_folder_project_files(planner, tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00model")
    (tmp_path / "b.yaml").mkdir()
    assert planner("estimate", tmp_path / "a.yaml")[0] == 2
    code, _, err, _ = planner("estimate", tmp_path / "b.yaml")
    assert code == 2 and "cannot be read" in _one_line(err)


def test_flags_win_over_the_project_and_paths_start_from_its_folder(planner, tmp_path):
    (tmp_path / "train.jsonl").write_text("{}\n")
    (tmp_path / "p.yaml").write_text("model: m\ndata: train.jsonl\nepochs: 3\nspot: true\n")
    *_, asked = planner("estimate", tmp_path / "p.yaml", "--epochs", "5", "--no-spot")
    assert (asked[-1].epochs, asked[-1].spot, asked[-1].data) == (
        5,
        False,
        str(tmp_path / "train.jsonl"),
    )
    *_, asked = planner("estimate", tmp_path / "p.yaml", "--samples", "7")
    assert asked[-1].samples == 7 and asked[-1].data is None


def test_init_writes_a_project_that_can_be_asked(planner, tmp_path):
    code, out, err, _ = planner("init", tmp_path)
    path = tmp_path / "project.yaml"
    assert code == 0 and str(path) in out
    values = project_file.read(path, Question.model_fields).values
    assert Question(**values).gpu == "h100"
    text = path.read_text()
    assert all(f"{name}:" in text for name in Question.model_fields)
    path.write_text("mine")
    code, _, err, _ = planner("init", path)
    assert code == 2 and "--force" in _one_line(err) and path.read_text() == "mine"
    assert planner("init", path, "--force")[0] == 0 and path.read_text() == text


def test_every_commented_default_of_init_is_the_questions_default(planner, tmp_path):
    lines = [line.removeprefix("# ") for line in project_file.template().splitlines()]
    names = {
        name
        for name, info in Question.model_fields.items()
        if info.default is not None and not info.is_required()
    }
    wanted = [
        line for line in lines if line.partition(":")[0] in names and line.partition(":")[2].strip()
    ]
    path = tmp_path / "p.yaml"
    path.write_text("\n".join(["model: m", "data: d", *wanted]))
    values = project_file.read(path, Question.model_fields).values
    assert len(wanted) == len(names)
    assert Question(**values) == Question(model="m", data="d")


@pytest.mark.parametrize(
    "suffix, holds",
    [(".md", "# What "), (".html", "<!DOCTYPE html>"), (".json", '"schema": 1')],
)
def test_report_writes_whole_files(planner, tmp_path, suffix, holds):
    target = tmp_path / f"budget{suffix}"
    code, out, err, asked = planner("report", "m", "d", "-o", target)
    assert (code, err) == (0, "") and str(target) in out and len(asked) == 1
    assert holds in target.read_text() and os.listdir(tmp_path) == [target.name]
    code, _, _, asked = planner("report", SAMPLE, "-o", target, "--quiet")
    assert code == 0 and len(asked) == 1


def test_report_refuses_answers_that_are_none(planner, tmp_path):
    bad = tmp_path / "a.json"
    for text in ("{", "[]", '{"schema": 2}', "[" * 100_000, "\x00"):
        bad.write_text(text)
        code, _, err, _ = planner("report", bad, "-o", tmp_path / "x.md")
        assert code == 2 and str(bad) in _one_line(err)
    code, _, err, _ = planner("report", SAMPLE, "--gpu", "h100", "-o", tmp_path / "x.md")
    assert code == 2 and "already made" in _one_line(err) and not (tmp_path / "x.md").exists()


def test_unwritable_outputs(planner, tmp_path):
    code, _, err, _ = planner("report", SAMPLE, "-o", tmp_path / "no" / "x.md")
    assert code == 2 and "no such folder" in _one_line(err)
    (tmp_path / "dir.md").mkdir()
    code, _, err, _ = planner("report", SAMPLE, "-o", tmp_path / "dir.md")
    assert code == 2 and "is a folder" in _one_line(err)
    code, _, err, _ = planner("report", SAMPLE, "-o", "/proc/x.md")
    assert code == 3 and "cannot be written" in _one_line(err)


def test_unexpected_failures_are_one_line_and_code_3(planner, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug\nin two lines \x1b[31m")

    monkeypatch.setattr(answering, "answer", broken)
    code, out, err, _ = planner("estimate", "m", "d")
    assert code == 3 and out == "" and "--debug" in _one_line(err) and ANSI not in err
    code, _, err, _ = planner("--debug", "estimate", "m", "d")
    assert code == 3 and "Traceback" in err


def test_interrupts_leave_with_130(planner, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(answering, "answer", interrupted)
    code, _, err, _ = planner("estimate", "m", "d")
    # click ends the line that ^C stands in
    assert code == 130 and "interrupted" in _one_line(err.lstrip("\n"))


@pytest.mark.parametrize(
    "hostile",
    [
        "[red]",
        "[/]",
        "<script>alert(1)</script>",
        "\x1b[2J\x07",
        "a\nb",
        "\udcff",
        "{{ 7*7 }}",
        "%s%n",
    ],
)
def test_hostile_names_are_refused_or_shown_but_never_obeyed(planner, hostile):
    code, out, err, _ = planner("estimate", hostile, "d", "--strategy", hostile)
    assert code == 2 and ANSI not in _one_line(err)
    code, out, err, _ = planner("estimate", hostile, "d")
    assert code == 0 and ANSI not in out and "49" not in err


@pytest.mark.parametrize("name", ["question", "answer", "data", "explain", "diff", "compare"])
def test_shipped_schemas_are_those_of_the_code(planner, name):
    from planner import tables

    code, out, _, _ = planner("schema", name)
    assert code == 0 and out == tables.path("schema", f"{name}.schema.json").read_text(
        encoding="utf-8"
    ), (
        f"planner schema {name} > profiles/schema/{name}.schema.json brings the shipped schema "
        "up to date"
    )


def test_schemas_accept_and_refuse(planner):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(planner("schema", "answer")[1])
    document = json.loads(SAMPLE.read_text())
    jsonschema.validate(document, schema)
    del document["options"][0]["memory"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
    jsonschema.validate({"model": "m", "samples": 3}, json.loads(planner("schema", "question")[1]))


def test_lists_show_units_and_unknowns(planner):
    code, out, err, _ = planner("gpus", "--like", "h100")
    assert code == 0 and err == "" and "79." in out and "GiB" in out and "$" in out
    records = json.loads(planner("gpus", "--json")[1])["gpus"]
    assert all(record["memory_bytes"] > 2**30 for record in records)
    assert any(record["lowest_usd_per_gpu_hour"] is None for record in records)
    models = json.loads(planner("models", "--json")[1])["models"]
    assert {"bert-base-uncased", "Llama-3.2-1B"} <= {record["name"] for record in models}


def _command(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "planner.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


def test_the_real_process_reports_codes_and_streams(tmp_path):
    done = _command("estimate", "m", "--no-such-flag")
    assert done.returncode == 2 and done.stdout == ""
    _one_line(done.stderr)
    done = _command("report", str(SAMPLE), "-o", str(tmp_path / "b.html"))
    assert (
        done.returncode == 0 and done.stderr == "" and (tmp_path / "b.html").stat().st_size > 10_000
    )
    assert _command("--version").stdout.startswith("planner")


def test_a_reader_that_leaves_is_no_error():
    script = (
        f'"{sys.executable}" -m planner.cli.main gpus --json | head -n 1; echo "${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (
        done.stderr == ""
        and done.stdout.splitlines()[0] == "{"
        and done.stdout.splitlines()[-1] in ("0", "141")
    )


def test_a_narrow_encoding_still_prints():
    done = _command("models", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "bert-base-uncased" in done.stdout


def test_help_and_refusals_load_no_heavy_library():
    script = (
        "import sys; from planner.cli.main import run; run(['estimate', 'x', 'y', "
        "'--lora-rank', '0']); run(['--help']); "
        "heavy = {'torch', 'transformers', 'pandas', 'datasets', 'jinja2', 'pyarrow'} & "
        "set(sys.modules); sys.exit(len(heavy))"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60).returncode
        == 0
    )
