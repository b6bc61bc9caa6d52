"""``planner runs``: lists, shows, exports, merges and rescues; every refusal is one line."""

import csv
import io
import json
import subprocess
import sys

import pytest

from planner.cli import main
from planner.ledger.record import RunRecord
from planner.ledger.store import Ledger

HOSTILE = "=cmd|' /C calc'!A0"


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "own" / "runs.sqlite"))

    def call(*arguments):
        code = main.run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def runs(planner):
    figure = {"p10": 0.1, "p50": 0.15, "p90": 0.2}
    made = [
        RunRecord.new(
            "measured",
            "planner measure",
            {
                "model": "meta-llama/Llama-3.2-1B",
                "strategy": "lora",
                "gpu": "NVIDIA H100 80GB HBM3",
                "gpus": 2,
                "lora_targets": ("q_proj", "v_proj"),
                "compile": False,
                "epochs": 2.5,
            },
            {
                "step_seconds": 0.125,
                "peak_reserved_bytes": 10 * 2**30,
                "step_samples": [0.125] * 20,
                "loss_last": -1.5,
            },
            estimate={"basis": "calibrated", "step_seconds": figure, "fits": True},
            question={"model": "x"},
            versions={"torch": "2.13"},
            machine={"cores": 4},
        ),
        RunRecord.new(
            "imported",
            "a log",
            {"model": HOSTILE, "strategy": "fine_tune"},
            {"out_of_memory": True, "steps": 7},
            notes=("-1+1", "two"),
        ),
    ]
    with Ledger() as ledger:
        for run in made:
            ledger.append(run)
    return made


def _one_line(err):
    assert err.startswith("planner: ") and err.count("\n") == 1 and "Traceback" not in err, err
    return err


def test_nothing_recorded_is_an_answer_and_makes_no_file(planner, tmp_path):
    code, out, err = planner("runs")
    assert (code, err) == (0, "") and "No run is recorded yet" in out
    assert json.loads(planner("runs", "list", "--json")[1]) == {"layout": 1, "runs": []}
    assert not (tmp_path / "own").exists()


def test_the_list_shows_measured_beside_estimated(planner, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    code, out, err = planner("runs")
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) <= 110
    row = next(line for line in out.splitlines() if runs[0].id[:6] in line)
    assert (
        "lora" in row
        and "125 ms" in row
        and "150 ms" in row
        and "10.0 GiB" in row
        and "measured" in row
    )
    assert "+20%" in out and "ran out" in out and "\x1b" not in out


@pytest.mark.parametrize(
    "flags, expected",
    [
        (["--model", "llama"], [0]),
        (["--gpu", "h100"], [0]),
        (["--strategy", "fine-tune"], [1]),
        (["--kind", "imported"], [1]),
        (["--since", "2000-01-01"], [1, 0]),
        (["--since", "2990-01-01"], []),
        (["--limit", "1"], [1]),
        ([], [1, 0]),
    ],
)
def test_filters(planner, runs, flags, expected):
    for arguments in (["runs", *flags, "--json"], ["runs", "list", *flags, "--json"]):
        code, out, err = planner(*arguments)
        assert (code, err) == (0, "") and json.loads(out)["runs"] == [
            runs[i].as_dict() for i in expected
        ]


def test_no_run_like_that_and_older_ones_are_said(planner, runs):
    assert "No run is like that" in planner("runs", "--model", "nothing")[1]
    assert (
        "--limit 4" in planner("runs", "--limit", "1")[1]
        and "--limit" not in planner("runs", "--limit", "2")[1]
    )


def test_show_tells_all_of_one_run(planner, runs):
    code, out, err = planner("runs", "show", runs[0].id[:10])
    assert (code, err) == (0, "")
    for said in (
        "meta-llama/Llama-3.2-1B",
        "NVIDIA H100 80GB HBM3",
        "20 values",
        "10.0 GiB",
        "+20 %",
        "150 ms (100–200 ms)",
        "q_proj, v_proj",
    ):
        assert said in " ".join(out.split()), said
    assert json.loads(planner("runs", "show", runs[1].id, "--json")[1]) == runs[1].as_dict()


def test_csv_is_flat_and_runs_no_formula(planner, runs, tmp_path):
    file = tmp_path / "runs.csv"
    code, out, err = planner("runs", "export", file)
    assert (code, err) == (0, "") and "2 runs" in out
    first, second = csv.DictReader(io.StringIO(file.read_text()))
    assert (
        first["model"] == "meta-llama/Llama-3.2-1B"
        and first["measured_step_seconds"] == "0.125"
        and first["estimated_step_seconds_p50"] == "0.15"
    )
    assert (
        first["compile"] == "0"
        and first["measured_loss_last"] == "-1.5"
        and json.loads(first["lora_targets"]) == ["q_proj", "v_proj"]
    )
    assert (
        second["model"] == "'" + HOSTILE
        and second["notes"] == "'-1+1; two"
        and second["measured_step_seconds"] == ""
        and second["measured_out_of_memory"] == "1"
    )
    assert not any(cell[:1] in "=@+" for row in (first, second) for cell in row.values() if cell)


def test_parquet_keeps_types(planner, runs, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "runs.parquet"
    assert planner("runs", "export", file)[0] == 0
    table = parquet.read_table(file)
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (
        kinds["measured_step_seconds"] == "double"
        and kinds["gpus"] == "int64"
        and kinds["measured_out_of_memory"] == "bool"
        and kinds["model"] == "string"
    )
    assert (
        table.column("measured_step_seconds").to_pylist() == [0.125, None]
        and table.column("model").to_pylist()[1] == HOSTILE
    )


def test_an_export_without_runs_is_a_file_all_the_same(planner, runs, tmp_path):
    for suffix in ("csv", "parquet", "json"):
        assert planner("runs", "export", tmp_path / f"none.{suffix}", "--kind", "recorded")[0] == 0
    assert (tmp_path / "none.csv").read_text() == "id,created,kind,source\n"


def test_json_and_ledgers_are_merged_once(planner, runs, tmp_path):
    file, other = tmp_path / "runs.json", tmp_path / "other.sqlite"
    assert planner("runs", "export", file)[0] == 0
    assert (
        "Added 2 runs; 0 were here already" in planner("runs", "merge", file, "--ledger", other)[1]
    )
    assert "Added 0 runs; 2 were here already" in planner("runs", "merge", other)[1]
    assert json.loads(planner("runs", "--ledger", other, "--json")[1]) == json.loads(
        planner("runs", "--json")[1]
    )


def test_a_wrong_run_in_a_json_export_takes_over_none(planner, runs, tmp_path):
    file = tmp_path / "runs.json"
    planner("runs", "export", file)
    document = json.loads(file.read_text())
    document["runs"][1]["measurement"]["steps"] = -1
    file.write_text(json.dumps(document))
    other = tmp_path / "other.sqlite"
    code, _, err = planner("runs", "merge", file, "--ledger", other)
    assert code == 2 and "run 2" in _one_line(err) and "steps" in err
    assert json.loads(planner("runs", "--ledger", other, "--json")[1])["runs"] == []


def test_rescue_from_the_command_line(planner, runs, tmp_path):
    path = tmp_path / "own" / "runs.sqlite"
    assert "is not damaged: 2 runs" in planner("runs", "rescue")[1]
    path.write_bytes(b"\0" * 4096 + path.read_bytes()[4096:])
    code, _, err = planner("runs")
    assert code == 2 and "planner runs rescue" in _one_line(err)
    code, out, err = planner("runs", "rescue")
    assert (code, err) == (0, "") and "Saved 2 runs, none lost; the damaged file is kept as" in out
    assert len(json.loads(planner("runs", "--json")[1])["runs"]) == 2


WRONG = [
    (["lst"], "Did you mean list"),
    (["list", "x"], "unexpected extra argument"),
    (["--kind", "mesured"], "Did you mean measured"),
    (["--strategy", "lorra"], "Did you mean lora"),
    (["--since", "soon"], "not a date"),
    (["--limit", "0"], "limit"),
    (["show"], "Missing argument"),
    (["show", "zz"], "hexadecimal"),
    (["show", "%"], "hexadecimal"),
    (["export", "x.xyz"], "Known: .csv, .parquet, .json"),
    (["export", "nowhere/x.csv"], "no such folder"),
    (["merge", "missing.sqlite"], "there is no ledger"),
    (["merge", "missing.json"], "cannot be read"),
    (["rescue", "missing"], "there is no ledger"),
    (["--ledger", "missing"], "there is no ledger"),
]


@pytest.mark.parametrize(
    "arguments, said", WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_refusals_are_one_line(planner, runs, arguments, said):
    code, out, err = planner("runs", *arguments)
    assert code == 2 and out == "" and said in _one_line(err)


def test_several_runs_of_one_beginning(planner, tmp_path):
    with Ledger() as ledger:
        for tail in "ab":
            ledger.append(RunRecord.new("recorded", "x", {}, {}, id="f" * 31 + tail))
    code, _, err = planner("runs", "show", "fff")
    assert code == 2 and "several runs begin with" in _one_line(err)


def test_a_disk_that_refuses_is_exit_code_3(planner, runs):
    code, out, err = planner("runs", "merge", "/dev/null")
    assert code in (2, 3) and out == "" and _one_line(err)
    code, _, err = planner("runs", "export", "/proc/runs.csv")
    assert code == 3 and "cannot be written" in _one_line(err)


def test_the_list_needs_no_heavy_import(tmp_path, runs):
    code = (
        "import sys\nfrom planner.cli import main\nassert main.run(['runs']) == 0\n"
        "heavy = {'torch', 'transformers', 'pandas', 'pyarrow', 'numpy'} & "
        "set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
