"""Recorded steps and allocators judged: tables of kernels become operations, tables of allocator
events become snapshots."""

import csv
import gzip
import pickle
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.recorded_snapshots import snapshot_of  # noqa: E402
from benchmarks.recorded_steps import judged, main, price_of  # noqa: E402
from planner.compare.snapshot.held import held  # noqa: E402
from planner.compare.snapshot.reading import read_snapshot  # noqa: E402
from planner.devices.lookup import resolve_device  # noqa: E402
from planner.operations.cases import case  # noqa: E402

H100 = Path(__file__).parents[1] / "data" / "kineto" / "h100.json"
STEPS = ("trace", "device", "step", "host_step_seconds", "kernels_listed")
KERNELS = (
    "trace",
    "step",
    "phase",
    "op",
    "shapes",
    "dtypes",
    "class",
    "kernel",
    "start",
    "seconds",
)


def test_a_trace_is_judged_by_the_datasheet():
    found = judged(H100)
    assert found.device == "h100-sxm" and 0.9 < found.understood <= 1
    assert sum(found.by_kind.values()) == pytest.approx(found.work_seconds)
    for price, seconds in found.prices["matmul"]:
        assert 0.05 < price / seconds < 20


def write(path, columns, rows, opened):
    with opened(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(dict(zip(columns, row)) for row in rows)


def test_kernels_of_one_operation_are_judged_together(tmp_path, capsys):
    sizes, types = "1024x1024;1024x1024", "c10::BFloat16;c10::BFloat16"
    mm = ("t", 1, "forward", "aten::mm", sizes, types, "matmul")
    kernels = [
        (*mm, "gemm", 0.0, 3e-6),
        (*mm, "splitKreduce", 4e-6, 2e-6),
        ("t", 1, "", "", "", "", "memset", "Memset", 7e-6, 1e-6),
    ]
    write(tmp_path / "trace_t.csv.gz", KERNELS, kernels, gzip.open)
    write(tmp_path / "trace_steps.csv", STEPS, [("t", "NVIDIA H100 80GB HBM3", 1, 1e-5, 1)], open)
    found = judged(tmp_path / "trace_t.csv.gz")
    product = case(
        "aten.mm.default",
        [((1024, 1024), "bfloat16")] * 2,
        [((1024, 1024), "bfloat16")],
        precision="bf16",
    )
    price = price_of(product, resolve_device("h100-sxm").spec)
    assert found.prices["matmul"] == [(pytest.approx(price), pytest.approx(5e-6))]
    assert found.busy_share == pytest.approx(0.6) and found.understood == pytest.approx(5 / 6)
    assert main([str(tmp_path / "trace_t.csv.gz")]) == 0
    assert "understood 83.3%" in capsys.readouterr().out


def test_a_file_that_is_none_is_one_line_and_the_others_go_on(tmp_path, capsys):
    assert main([str(tmp_path / "none.json"), str(H100)]) == 1
    out, err = capsys.readouterr()
    assert "no such file" in err and "h100" in out


def test_events_of_a_table_are_a_snapshot(tmp_path):
    names = ("action", "segment", "offset", "size", "block_size", "stream", "t_us", "op", "where")
    table = [
        ("init_segment", "s0", "0", "2097152", "", "0", "", "", ""),
        ("init_block", "s0", "0", "1000", "1024", "0", "", "", ""),
        ("alloc", "s0", "1024", "500", "512", "0", "1", "linear", "model.py:3"),
        ("segment_alloc", "s1", "0", "20971520", "", "0", "2", "", ""),
        ("alloc", "s1", "0", "20000000", "20000256", "0", "2", "mm", "model.py:9"),
        ("free_completed", "s0", "1024", "500", "512", "0", "3", "", ""),
        ("free_completed", "s1", "0", "20000000", "", "0", "4", "", ""),
        ("segment_free", "s1", "0", "20971520", "", "0", "5", "", ""),
    ]
    made = snapshot_of([dict(zip(names, row)) for row in table])
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(pickle.dumps(made))
    seen = held(read_snapshot(path), path)
    assert seen.peak_allocated_bytes == 1024 + 512 + 20000256
    assert seen.peak_reserved_bytes == 2097152 + 20971520
    assert seen.end_allocated_bytes == 1024
    assert seen.by_place() == {
        "model.py:9 mm": 20000256, "before the recording": 1024, "model.py:3 linear": 512
    }  # fmt: skip
