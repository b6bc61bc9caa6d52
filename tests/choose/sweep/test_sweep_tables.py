"""A sweep's table in every format, what stands in the way of writing one, and the command."""

import csv
import io
import json

import pytest
from sweeping import GRID, rows, written

from planner.choose.sweep import clusters, table
from planner.choose.sweep.columns import columns
from planner.choose.sweep.order import SHAPED, Shares
from planner.choose.sweep.pace import Pace
from planner.choose.sweep.sweep import Where, sweep
from planner.choose.sweep.table import check_output, write_table
from planner.cli import main
from planner.errors import PlannerError
from planner.question import Question

SMALL = GRID.replace("[64, 200]", "64").replace("[lora, fine_tune]", "lora")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """suffix → the same answers as a file of it."""
    folder = tmp_path_factory.mktemp("tables")
    files = {suffix: folder / f"answers{suffix}" for suffix in table.WRITERS}
    for file in files.values():
        sweep(written(folder, SMALL), file, where=Where(processes=1), documents=True)
    return files


def test_parquet_holds_the_same_as_json_lines(tables):
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(tables[".parquet"]).to_pylist()
    for row, line in zip(found, rows(tables[".jsonl"]), strict=True):
        assert json.loads(row.pop("document")) == line.pop("document")
        assert row == line


def test_parquet_has_one_type_a_column_whatever_is_in_it(tables, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    schema = parquet.read_schema(tables[".parquet"])
    text = "model: gpt2\nsamples: 10\ntokens_per_sample: 5\ngpu: l4\ntask: image_classification\n"
    sweep(written(tmp_path, text), tmp_path / "none.parquet", where=Where(processes=1))
    empty = parquet.read_schema(tmp_path / "none.parquet")
    assert {name: empty.field(name).type for name in schema.names if name in empty.names} == {
        name: schema.field(name).type for name in schema.names if name in empty.names
    }
    assert (
        str(empty.field("hours_p50").type) == "double" and str(empty.field("fits").type) == "bool"
    )


def test_a_long_table_is_written_a_group_at_a_time(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(table, "GROUP", 4)
    monkeypatch.setattr(table, "GROUP_TEXT", 25)
    many = [{"id": str(n), "document": "x" * (10 if n < 6 else 0)} for n in range(15)]
    write_table(tmp_path / "many.parquet", columns(["model"], documents=True), many)
    found = parquet.ParquetFile(tmp_path / "many.parquet")
    groups = [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert groups == [3, 3, 4, 4, 1]
    assert [row["id"] for row in found.read().to_pylist()] == [row["id"] for row in many]


def test_duckdb_opens_it(tables):
    duckdb = pytest.importorskip("duckdb")
    cheapest = duckdb.sql(
        f"select gpu, min(usd_p50) as usd from '{tables['.parquet']}' where fits group by gpu"
    ).fetchall()
    by_gpu = {}
    for row in rows(tables[".jsonl"]):
        by_gpu[row["gpu"]] = min(row["usd_p50"], by_gpu.get(row["gpu"], 1e9))
    assert dict(cheapest) == by_gpu and len(by_gpu) == 2


def test_pandas_opens_it(tables):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    found = pandas.read_parquet(tables[".parquet"])
    assert len(found) == 4 and found.hours_p50.dtype == "float64" and found.fits.all()
    assert list(found.columns) == list(pandas.read_csv(tables[".csv"]).columns)


def test_csv_is_for_spreadsheets(tables):
    found = list(csv.DictReader(tables[".csv"].open(newline="")))
    lines = rows(tables[".jsonl"])
    assert [row["fits"] for row in found] == ["true"] * 4
    assert [float(row["usd_p50"]) for row in found] == [row["usd_p50"] for row in lines]
    assert found[0]["error"] == "" and json.loads(found[0]["document"]) == lines[0]["document"]


def test_a_table_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text("before")

    def broken():
        yield {"id": "1"}
        raise ValueError("in the middle")

    with pytest.raises(ValueError):
        write_table(file, columns(["model"], documents=False), broken())
    assert file.read_text() == "before" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "name, words",
    [
        ("answers.parqet", "Did you mean .parquet"),
        ("answers", "End it in .parquet, .csv, .jsonl"),
        ("nowhere/answers.csv", "no such folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(tmp_path, name, words):
    with pytest.raises(PlannerError, match=words):
        check_output(tmp_path / name)


def test_missing_libraries_are_named_with_their_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PlannerError, match=r"pyarrow.*planner\[sweep\]"):
        check_output(tmp_path / "answers.parquet")
    with pytest.raises(PlannerError, match=r"over Dask needs distributed.*planner\[sweep\]"):
        list(clusters.answered_on_dask([], "tcp://127.0.0.1:1"))
    with pytest.raises(PlannerError, match=r"over Ray needs ray.*planner\[ray\]"):
        list(clusters.answered_on_ray([], None))


# ---- who does what, and how far it is


def test_each_process_stays_with_its_trace_until_others_need_help():
    groups = [["a1", "a2", "a3", "a4"], ["b1", "b2"]]
    shares = Shares(groups)
    taken = [shares.next(process) for process in (0, 1, 0, 1, 1, 0, 0)]
    assert taken == ["a1", "b1", "a2", "b2", "a4", "a3", None]


def test_what_is_neither_trace_nor_rent_is_shape():
    assert {"tokens_per_sample", "micro_batch", "max_length", "epochs"} <= set(SHAPED)
    assert not {"model", "strategy", "precision", "gpu", "price"} & set(SHAPED)
    assert set(SHAPED) <= set(Question.model_fields)


def test_the_pace_says_how_long_it_takes_yet(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    pace = Pace(1000, kept=200)
    assert pace.words == "200 of 1,000 questions"
    for _ in range(10):
        clock[0] += 0.5
        pace.count("answered")
    pace.count("refused")
    pace.count("failed")
    assert pace.words == "212 of 1,000 questions, 2.4/s, 5.47 min left, 1 refused, 1 failed"
    clock[0] += 60  # what was slow long ago is forgotten
    pace.count("answered")
    for _ in range(100):
        clock[0] += 0.1
        pace.count("answered")
    assert pace.per_second == pytest.approx(10, rel=0.05)


# ---- the command


@pytest.fixture
def planner(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, SMALL)

    def call(line):
        code = main.run(line.split())
        return code, *capsys.readouterr()

    return call


def test_the_command_writes_a_table_and_says_so(planner, tmp_path):
    code, out, err = planner("sweep grid.yaml -o answers.csv --processes 1")
    assert (code, err) == (0, "")
    assert out.startswith("wrote answers.csv: 4 questions, in ") and "4 answered\n" in out
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 5


def test_its_document_is_the_summary(planner):
    code, out, err = planner("sweep grid.yaml -o answers.jsonl --processes 1 --json")
    found = json.loads(out)
    assert (code, err) == (0, "") and found["schema"] == 1 and found["wrote"] == "answers.jsonl"
    assert found["answered"] == found["questions"] == 4 and "hours_p50" in found["columns"]
    code, out, err = planner("sweep grid.yaml -o answers.jsonl --processes 1 --quiet")
    assert (code, out, err) == (0, "", "")


@pytest.mark.parametrize(
    "line, words",
    [
        ("sweep grid.yaml", "Missing option '-o'"),
        ("sweep grid.yaml -o a.xlsx", "'.xlsx' is no format of a table"),
        ("sweep nowhere.yaml -o a.csv", "nowhere.yaml: no such"),
        ("sweep grid.yaml -o a.csv --ray --dask tcp://x:1", "exclude each other"),
        ("sweep grid.yaml -o a.csv --processes 0", "0 is not in the range"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_two(planner, line, words):
    code, out, err = planner(line)
    assert code == 2 and out == "" and words in err and err.count("\n") == 1


def test_a_terminal_sees_how_far_it_is_and_a_pipe_does_not(planner, monkeypatch):
    from planner.cli import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("PLANNER_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    assert planner("sweep grid.yaml -o answers.csv --processes 1")[0] == 0
    assert "writing the table" in shown.getvalue()  # the last of what it was told
    piped = io.StringIO()
    monkeypatch.setattr("sys.stderr", piped)
    assert planner("sweep grid.yaml -o answers.csv --processes 1")[0] == 0
    assert piped.getvalue() == ""


def test_timing_on_the_device_wants_one_process(planner):
    code, _, err = planner("sweep exact.yaml -o a.csv --processes 2")
    assert code == 2 and "no such" in err
    with open("exact.yaml", "w") as file:
        file.write("model: gpt2\nsamples: 10\ntokens_per_sample: 5\ngpu: cpu\nexact: true\n")
    code, _, err = planner("sweep exact.yaml -o a.csv --processes 2")
    assert code == 2 and "--exact" in err and "--processes 1" in err
