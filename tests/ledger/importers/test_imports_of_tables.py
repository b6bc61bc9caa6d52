"""Past runs out of tables, whose columns are mapped with their units."""

import pytest
from run_folders import only

from planner.errors import QuestionError, UnknownNameError
from planner.ledger.importers.reading import read


def test_columns_are_mapped_with_their_units(tmp_path):
    (tmp_path / "t.csv").write_text(
        "net;iter_time_ms;peak (GiB);BS\ngpt2;12.5;3.5;8\nbert;20;1e400;8\nvit;-3;1;8\n=cmd|' "
        "/C calc'!A0;1;1;8\nresnet;nan;2;8\n;7;;\nt5;5;2;8;9\n"
    )
    taken = read(
        tmp_path / "t.csv",
        mapping=[
            "step_seconds=iter_time_ms:ms",
            "peak_allocated_bytes=peak (GiB):GiB",
            "model=net",
            "micro-batch=BS",
        ],
    )
    assert [record.setup.get("model") for record in taken.records] == [
        "gpt2",
        None,
    ] and taken.rows_left_out == 5
    assert (
        taken.records[0].measurement["step_seconds"] == pytest.approx(0.0125)
        and taken.records[0].measurement["peak_allocated_bytes"] == 3.5 * 2**30
    )
    assert [line.partition(":")[0] for line in taken.problems] == [
        f"t.csv row {row}" for row in (3, 4, 5, 6, 8)
    ]
    assert "1e400" in taken.problems[0] and "formula" in taken.problems[2]


def test_rows_can_be_the_steps_of_one_run(tmp_path):
    (tmp_path / "t.csv").write_text("ms,mem\n" + "900,5\n" + "100,7\n" * 20 + "oops,9\n")
    taken = read(
        tmp_path / "t.csv",
        mapping=["step_seconds=ms:ms", "peak_allocated_bytes=mem:MB"],
        steps=True,
    )
    found = only(taken).measurement
    assert (
        found["step_seconds"] == pytest.approx(0.1)
        and found["steps"] == 21
        and found["peak_allocated_bytes"] == 7_000_000
        and taken.rows_left_out == 1
    )


def test_the_tables_own_names_need_no_mapping_and_parts_of_a_step_are_not_steps(tmp_path):
    (tmp_path / "t.csv").write_text(
        "model,gpu,strategy,measures,step_seconds,peak_bytes,memory,oom,lora_targets\n"
        "a,h100,fine-tune,step,0.5,100,reserved,0,\nb,h100,lora,forward,0.5,,,0,q "
        "v\nc,h100,lora,step,,,,1,\nd,h100,lora,step,,,,0,\n"
    )
    taken = read(tmp_path / "t.csv")
    first, second, third = taken.records
    assert (
        first.measurement
        == {"step_seconds": 0.5, "peak_reserved_bytes": 100, "out_of_memory": False}
        and first.setup["strategy"] == "fine_tune"
    )
    assert (
        second.measurement["forward_seconds"] == 0.5
        and "step_seconds" not in second.measurement
        and second.setup["lora_targets"] == ["q", "v"]
    )
    assert third.measurement == {"out_of_memory": True} and taken.rows_left_out == 1


@pytest.mark.parametrize(
    "mapping, error, said",
    [
        (["step_seconds"], QuestionError, "NAME=COLUMN"),
        (["step_second=ms"], UnknownNameError, "step_seconds"),
        (["step_seconds=ms:parsec"], QuestionError, "Units"),
        (["step_seconds=nothing"], QuestionError, "no column"),
    ],
)
def test_a_wrong_mapping_says_what_is_possible(tmp_path, mapping, error, said):
    (tmp_path / "t.csv").write_text("ms\n1\n")
    with pytest.raises(error, match=said):
        read(tmp_path / "t.csv", mapping=mapping)
