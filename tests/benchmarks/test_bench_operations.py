"""Tables of timed operations: read as cases, priced by the datasheet, judged on sizes and devices
left out."""

import csv
import dataclasses
import gzip
import json

import numpy as np
import pytest

from benchmarks import fit_transfer, leave_one_out
from benchmarks.operation_tables import (
    DEVICES,
    NEUSIGHT,
    as_points,
    datasheet_seconds,
    neusight,
    spec_of,
)
from planner.devices.lookup import resolve_device
from planner.operations.cases import as_dict, case

V100 = "Tesla V100-PCIE-32GB"
LAUNCH_MS = 0.04


def write_neusight(folder, rows):
    with gzip.open(folder / NEUSIGHT, "wt", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["op", "gpu", "dims", "latency_ms"])
        writer.writerows(rows)


def matmul(m, n, k, kind="float32"):
    return case("aten.mm.default", [((m, k), kind), ((k, n), kind, "t")], [((m, n), kind)])


def convolution(kernel, stride=1, channels=128, size=28, batch=16, kind="float32"):
    after = (size + 2 * (kernel // 2) - kernel) // stride + 1
    return case(
        "aten.convolution.default",
        [((batch, channels, size, size), kind), ((channels, channels, kernel, kernel), kind)],
        [((batch, channels, after, after), kind)],
        stride=(stride, stride),
        padding=(kernel // 2,) * 2,
        dilation=(1, 1),
        transposed=False,
        output_padding=(0, 0),
        groups=1,
    )


def test_the_launch_is_taken_off_and_what_is_shorter_left_out(tmp_path):
    tiny = [("bmm", V100, "B=1;M=8;N=8;K=8", LAUNCH_MS)]
    real = [
        ("bmm", V100, "B=4;M=512;N=256;K=64", LAUNCH_MS + 1.0),
        ("ln", V100, "B=4096;H=1024", LAUNCH_MS + 0.5),
        ("softmax", V100, "B=4096;H=512", LAUNCH_MS + 0.25),
        ("linear", V100, "B=2;M=64;N=128;K=32", LAUNCH_MS + 2.0),
        (
            "conv",
            V100,
            "B=8;Input_Channel=3;Output_Channel=64;Kernel_Szie=3;Input_Size=32;Stride=1;Padding=1",
            LAUNCH_MS + 3.0,
        ),
        ("bmm", "Some other GPU", "B=4;M=512;N=256;K=64", 1.0),
    ]
    write_neusight(tmp_path, tiny + real)
    found = neusight(tmp_path, sample=10)
    assert list(found) == [DEVICES[V100]]
    seconds = {r.op: r.seconds for r in found["v100-pcie-32"]}
    assert seconds == pytest.approx(
        {"bmm": 1e-3, "ln": 5e-4, "softmax": 2.5e-4, "linear": 2e-3, "conv": 3e-3}, rel=0.01
    )
    families = {r.op: as_points(r.case, r.seconds)[0] for r in found["v100-pcie-32"]}
    assert families["bmm"][1].features == (4, 512, 256, 64) and families["linear"][1].features == (
        1,
        128,
        128,
        32,
    )
    assert (
        families["conv"][0] == "convolution.forward.dense.c.float32"
        and families["conv"][1].flops == 2 * 8 * 64 * 32 * 32 * 27
    )


def test_the_datasheet_prices_cases_one_by_one_or_together():
    spec = resolve_device("v100-pcie-32").spec
    cases = [matmul(512, 512, 512), matmul(4096, 4096, 4096), convolution(3), convolution(1)]
    together = datasheet_seconds(cases, spec)
    assert together == pytest.approx(np.concatenate([datasheet_seconds([c], spec) for c in cases]))
    assert 2 * 4096**3 / spec.peak("fp32") < together[1] < 3 * 2 * 4096**3 / spec.peak("fp32")


def test_winograd_is_for_dense_three_by_three_in_float32_and_never_beats_the_memory():
    spec = resolve_device("v100-pcie-32").spec
    (plain,) = datasheet_seconds([convolution(3)], spec)
    # as many multiplications
    (strided,) = datasheet_seconds([convolution(3, stride=2, size=56)], spec)
    assert plain < strided
    with fit_transfer.overridden({"winograd_ratio": 1e9, "winograd_seconds": 1e-9}):
        (free, five), moved = (
            datasheet_seconds([convolution(3), convolution(5)], spec),
            4 * (2 * 16 * 128 * 28 * 28 + 128 * 128 * 9),
        )
    assert free > moved / spec.memory_bandwidth_bytes_per_s
    assert five == pytest.approx(datasheet_seconds([convolution(5)], spec)[0])
    half = datasheet_seconds([convolution(3, kind="float16")], spec)
    with fit_transfer.overridden({"winograd_ratio": 1.0}):
        assert datasheet_seconds([convolution(3, kind="float16")], spec) == pytest.approx(half)


def test_narrow_rows_of_a_softmax_are_read_once():
    spec = resolve_device("v100-pcie-32").spec

    def softmax(rows, width):
        x = ((rows, width), "float32")
        return case("aten._softmax.default", [x], [x], dim=-1, half_to_float=False)

    # as many bytes
    narrow, wide = datasheet_seconds([softmax(1 << 16, 1024), softmax(1 << 15, 2048)], spec)
    assert narrow < wide


def test_a_common_law_is_found_on_devices_left_out():
    generator = np.random.default_rng(3)
    x = generator.uniform(0, 10, size=(400, 2))
    surface = fit_transfer.fit_surface(x, 0.3 * x[:, 0] - 1.0)
    at = generator.uniform(0, 10, size=(50, 2))
    assert np.median(np.abs(surface(at) - (0.3 * at[:, 0] - 1.0))) < 0.15
    assert surface(np.array([[99.0, 5.0]])) == pytest.approx(
        surface(np.array([[x[:, 0].max(), 5.0]]))
    )


def test_overridden_rows_come_back_after_an_error():
    before = dict(fit_transfer.priors._table()["convolution", "winograd_ratio"])
    with pytest.raises(RuntimeError), fit_transfer.overridden({"winograd_ratio": 9.0}):
        raise RuntimeError
    assert fit_transfer.priors._table()["convolution", "winograd_ratio"] == before


def timed(rate=1e13, scatter=0.0, count=60):
    generator = np.random.default_rng(1)
    for m, n, k in 2 ** generator.integers(5, 12, size=(count, 3)):
        one = matmul(int(m), int(n), int(k), "bfloat16")
        seconds = (5e-6 + 2.0 * m * n * k / rate) * float(np.exp(generator.normal() * scatter))
        yield {"record": "operation", "key": one.key, "case": as_dict(one), "seconds": seconds}


def test_curves_of_a_regular_device_predict_the_sizes_left_out():
    rows, _ = leave_one_out.from_records(timed())
    for split in (leave_one_out.halves, leave_one_out.largest):
        fitted, asked = split(next(iter(leave_one_out.by_family(rows).values())))
        assert fitted and asked and not {r.case.key for r in fitted} & {r.case.key for r in asked}
    errors = leave_one_out.judge_curves(rows, leave_one_out.halves, 0).errors["matmul"]
    scattered, _ = leave_one_out.from_records(timed(scatter=0.5))
    worse = leave_one_out.judge_curves(scattered, leave_one_out.halves, 0).errors["matmul"]
    assert np.median(np.abs(errors)) < 0.1 < np.median(np.abs(worse))


def test_largest_means_the_most_work():
    rows, _ = leave_one_out.from_records(timed())
    fitted, asked = leave_one_out.largest(rows)
    assert max(r.point.flops for r in fitted) <= min(r.point.flops for r in asked)


def test_shared_times_and_thin_families_are_left_out_and_counted(tmp_path, capsys, monkeypatch):
    device = {
        "record": "session",
        "device": {"kind": "cuda", "name": "NVIDIA H200", "sm_count": 132},
    }
    lone = matmul(64, 64, 64, "float16")
    lines = [
        device,
        *timed(),
        {"record": "operation", "key": lone.key, "case": as_dict(lone), "seconds": 1e-5},
        {
            "record": "operation",
            "key": "x",
            "case": as_dict(convolution(3)),
            "seconds": 1e-3,
            "shared": True,
        },
    ]
    file = tmp_path / "h200.journal.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr("sys.argv", ["leave_one_out.py", "--journal", str(file)])
    leave_one_out.main()
    printed = capsys.readouterr().out
    assert (
        "## NVIDIA H200 (h200.journal.jsonl)" in printed
        and "| half | 1 families with under 8 sizes" in printed
    )
    assert "| datasheet | matmul |" in printed and "convolution" not in printed


def test_the_devices_of_the_table_are_known():
    assert all(spec_of(key).sm_count and spec_of(key).peak("fp32") for key in DEVICES.values())


def test_winograd_is_cuda_like_devices_own():
    processor = dataclasses.replace(resolve_device("v100-pcie-32").spec, vendor="cpu")
    before = datasheet_seconds([convolution(3)], processor)
    with fit_transfer.overridden({"winograd_ratio": 9.0, "winograd_seconds": 1.0}):
        assert datasheet_seconds([convolution(3)], processor) == pytest.approx(before)
