"""Tables of collectives: what is read of them, what a fit makes of them, what is left out."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from benchmarks.networks.fit import fitted, left_out, predicted, unfitted, with_value
from benchmarks.networks.measured import SIZES, Timed, timed
from benchmarks.networks.page import before, page
from benchmarks.networks.published import published

NCCL = ("device", "collective", "devices", "nodes", "bytes", "seconds", "setting")
VIDUR = ("device", "collective", "workers", "devices_per_node", "bytes", "seconds")
XLA = ("device", "collective", "devices", "pattern", "bytes", "seconds")
LARGE = [2.0**power for power in range(24, 34)]


def _table(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([columns, *rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    a100, h100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"
    _table(
        tmp_path / "nccl_tests.csv",
        NCCL,
        [
            (h100, "all_reduce", 16, 2, 2**20, 3e-4, "default, 8 NICs a node"),
            ("NVIDIA L40S", "all_reduce", 2, 1, 2**20, 1e-4, "tree"),
            ("NVIDIA L40S", "all_reduce", 2, 1, 8, 1e-5, "default run 1"),
        ],
    )
    _table(
        tmp_path / "vidur_collectives.csv.gz",
        VIDUR,
        [
            (a100, "send_recv", 2, 1, 2**20, 3e-4),
            *((a100, "all_reduce", 8, 8, 2048 * (i + 1), 3e-5 + 1e-8 * i) for i in range(500)),
        ],
    )
    _table(
        tmp_path / "xla_collectives.csv.gz",
        XLA,
        [
            ("NVIDIA B200", "collective-permute", 2, "one way", 2**20, 3e-5),
            ("NVIDIA B200", "collective-permute", 2, "both ways in pairs", 2**20, 3e-5),
            ("NVIDIA B200", "all-gather", 4, "", 2**20, 3e-5),
        ],
    )
    return tmp_path


def test_what_is_read_is_thinned_and_what_is_not_is_said(folder):
    rows, unknown = timed(folder)
    kinds = [(row.source, row.operation, row.ranks, row.nodes) for row in rows]
    assert kinds.count(("vidur", "all_reduce", 8, 1)) <= SIZES
    assert {kind for kind in kinds if kind[0] != "vidur"} == {
        ("nccl-tests", "all_reduce", 16, 2),
        ("xla", "send", 2, 1),
        ("xla", "all_gather", 4, 1),
    }
    assert len(unknown) == 1 and "send among 2 on 2 nodes" in unknown[0]
    crossing = next(row for row in rows if row.nodes == 2)
    assert crossing.network.between is not None and crossing.network.between.kind == "tcpxo"


def made(source: str, device: str, share: float) -> list[Timed]:
    """As the model has it, at a share of the rate."""
    true = with_value(unfitted(), "nvlink", "bandwidth_share", share)
    rows = [Timed(source, device, "all_gather", 8, 8, size, 1.0) for size in LARGE]
    return [
        Timed(*(row.source, row.device, row.operation, 8, 8, row.size_bytes), predicted(row, true))
        for row in rows
    ]


def test_a_fit_finds_the_share_that_the_rows_were_made_with():
    rows = made("a", "a100-sxm-80", 0.65) + made("b", "h100-sxm", 0.65)
    found = fitted(rows)
    for row in rows:
        assert predicted(row, found) == pytest.approx(row.seconds, rel=0.1)
    assert found.kinds["pcie"] == unfitted().kinds["pcie"]


def test_a_row_is_judged_by_neither_its_source_nor_its_generation():
    same = made("a", "a100-sxm-80", 0.62)
    others = made("a", "h100-sxm", 0.9) + made("b", "a100-sxm-40", 0.9)
    judged = left_out([*same, *others])
    unseen = unfitted()  # nothing is left for it to be fitted on
    assert [judged[row] for row in same] == [predicted(row, unseen) for row in same]


def test_the_page_holds_every_table(folder):
    rows, unknown = timed(folder)
    seconds = {row: predicted(row) for row in rows}
    text = page(rows, seconds, seconds, unknown, published(), SIZES)
    assert "| vidur, A100, all_reduce |" in text and "over 2 nodes |" in text
    assert "nccl/issues/527" in text and unknown[0] in text


def test_before_is_the_ring_that_the_planner_had():
    row = Timed("a", "a100-sxm-80", "all_reduce", 8, 8, 2.0 * 26214400, 1.0)
    assert before(row) == pytest.approx(2 * 7 / 8 * 52428800 / (0.75 * 300e9) + 2 * 14 * 2e-5)


def test_published_collectives_lie_near_what_the_planner_says():
    unseen = [one for one in published() if not one.fitted]
    assert len(unseen) >= 12
    assert all(0.5 < one.ours / one.seconds < 2 for one in unseen)
