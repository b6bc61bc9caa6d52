"""Tables of kernels: what is read of them, and what the products' fit makes of devices left out."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fit_products, kernel_tables

VIDUR = ("device", "dtype", "model", "part", "kind", "tokens", "n", "k", "seconds")
XLA = ("device", "dtype", "batch", "m", "n", "k", "seconds")
LIGER = ("device", "kernel", "provider", "mode", "dtype", "x_name", "x_value", "shape")
LIGER_ALL = (*LIGER, "metric", "p50")


def _table(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with gzip.open(path, "wt", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerows([columns, *rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    h100 = "NVIDIA H100 (sm_90, model not stated)"
    _table(
        tmp_path / "xla_matmul.csv.gz",
        XLA,
        [
            (h100, "bfloat16", 1, 4096, 4096, 4096, 1.8e-4),
            (h100, "float32", 4, 1024, 1024, 1024, 4e-5),
            ("NVIDIA B200", "bfloat16", 1, 256, 256, 256, 5e-6),
            ("NVIDIA B200", "float8_e4m3 x e5m2", 1, 256, 256, 256, 5e-6),
        ],
    )
    shape = ("NVIDIA A100 80GB", "float16", "m", "p", "matmul", 512, 4096, 4096)
    tiny = (*shape[:5], 1, 64, 64)
    _table(
        tmp_path / "vidur_operations_a100.csv.gz",
        VIDUR,
        [(*shape, 7e-5), (*shape, 9e-5), (*tiny, 2e-6)],
    )
    _table(tmp_path / "vidur_operations_h100.csv.gz", VIDUR, [(*shape[:4], "rope", *shape[5:], 1)])
    a100 = "NVIDIA A100-SXM4-80GB"
    norm = ("bfloat16", "H", "4096", '{"M": 2048, "eps": 1e-06}', "seconds", "0.0002")
    _table(
        tmp_path / "liger_operations.csv.gz",
        LIGER_ALL,
        [
            (a100, "rms_norm", "huggingface", "forward", *norm),
            (a100, "rms_norm", "liger", "forward", *norm),
            (a100, "rms_norm", "huggingface", "backward", *norm),
            (a100, "rms_norm", "huggingface", "forward", *norm[:-1], ""),
        ],
    )
    return tmp_path


def test_only_what_runs_eagerly_and_is_long_enough_is_read(folder):
    found = kernel_tables.kernels(folder, 10)
    assert {key: sorted((r.source, r.kind) for r in rows) for key, rows in found.items()} == {
        "a100-sxm-80": [("liger", "rms_norm"), ("vidur", "matmul float16")],
        "b200": [("xla", "matmul bfloat16")],
        "h100-sxm": [("xla", "matmul bfloat16"), ("xla", "matmul tf32")],
    }
    vidur = next(r for r in found["a100-sxm-80"] if r.source == "vidur")
    assert vidur.seconds == pytest.approx(8e-5)  # the median of one shape's rows


def test_a_missing_table_is_said(tmp_path):
    with pytest.raises(OSError, match="xla_matmul"):
        kernel_tables.kernels(tmp_path, 10)


def test_prices_are_sums_over_the_operations_of_a_row(folder):
    rows = kernel_tables.kernels(folder, 10)["a100-sxm-80"]
    prices = kernel_tables.prices("a100-sxm-80", rows)
    for price, row in zip(prices, rows):
        each = [
            kernel_tables.prices(
                "a100-sxm-80", [kernel_tables.Kernels(row.source, row.kind, (one,), 1.0)]
            )[0]
            for one in row.cases
        ]
        assert price == pytest.approx(sum(each)) and price > 0


def test_a_device_left_out_does_not_teach(folder):
    data = fit_products.products(kernel_tables.kernels(folder, 10))
    assert {one.device for one in data} == {"a100-sxm-80", "b200", "h100-sxm"}
    first = fit_products.without(data, "b200", rounds=30)
    slower = [
        one
        if one.device != "b200"
        else fit_products.Products(
            one.device,
            one.kind,
            one.sizes,
            one.moved_bytes,
            one.seconds * 2,
            one.flops_per_s,
            one.tf32,
        )
        for one in data
    ]
    again = fit_products.without(slower, "b200", rounds=30)
    for kind, errors in first.items():
        np.testing.assert_allclose(errors - again[kind], np.log(2.0))


def test_a_fit_is_no_worse_than_its_start(folder):
    data = fit_products.products(kernel_tables.kernels(folder, 10))
    own = fit_products.ceilings()

    def loss(x):
        return np.mean(
            [np.mean(np.abs(fit_products.log_errors(one, x, own[one.device]))) for one in data]
        )

    found = fit_products.fit(data, rounds=40)
    assert loss(found) <= loss(fit_products.START)
    assert np.all(found >= fit_products.LEAST) and np.all(found <= fit_products.MOST)
