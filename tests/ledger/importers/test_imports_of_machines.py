"""Past runs out of the logs of nvidia-smi and Slurm."""

import pytest
from run_folders import only

from planner.ledger.importers import sacct
from planner.ledger.importers.reading import read

SMI = """timestamp, name, index, memory.used [MiB], power.draw [W], utilization.gpu [%]
2026/01/01 00:00:00.000, NVIDIA H100 80GB HBM3, 0, 1000 MiB, 100.00 W, 10 %
2026/01/01 00:00:00.000, NVIDIA H100 80GB HBM3, 1, 3 MiB, 60.00 W, 0 %
2026/01/01 00:00:10.000, NVIDIA H100 80GB HBM3, 0, 40000 MiB, 300.00 W, 99 %
2026/01/01 00:00:10.000, NVIDIA H100 80GB HBM3, 1, 3 MiB, [N/A], 0 %
2026/01/01 00:00:20.000, NVIDIA H100 80GB HBM3, 0, 30000 MiB, 500.00 W, 99 %
2026/01/01 00:00:20.000, NVIDIA H100 80GB HBM3, 1, -3 MiB, 1e99999 W, 0 %
2026/01/01 00:00:30.0
"""


def test_nvidia_smi(tmp_path):
    (tmp_path / "smi.log").write_text(SMI)
    taken = read(tmp_path / "smi.log")
    record = only(taken)
    assert taken.format == "nvidia-smi" and record.setup == {
        "gpu": "NVIDIA H100 80GB HBM3",
        "gpus": 1,
    }
    assert record.measurement == {
        "device_used_bytes": 40000 * 2**20,
        "mean_watts": pytest.approx(300),
        "energy_joules": pytest.approx(6000),
        "wall_seconds": 20,
    }
    assert (
        any("1 of 2 devices were idle" in note for note in record.notes)
        and "row 7" in taken.problems[0]
    )


def test_sacct(tmp_path):
    (tmp_path / "jobs.txt").write_text(
        "JobID|JobName|Elapsed|AllocTRES|MaxRSS|ConsumedEnergyRaw|State\n"
        "77|alice-train|1-02:00:30|billing=8,cpu=8,gres/gpu:a100=4,gres/gpu=4,node=1||0|COMPLETED\n"
        "77.batch|batch|1-02:00:30|cpu=8|2048K|7200000|COMPLETED\n"
        "78|x|soon|gres/gpu=1|||FAILED\n79|y|00:10:00|gres/gpu=2|||OUT_OF_MEMORY\n"
    )
    taken = read(tmp_path / "jobs.txt")
    first, second = taken.records
    assert first.measurement == {
        "wall_seconds": 93630,
        "energy_joules": 7.2e6,
        "host_peak_bytes": 2048 * 1024,
    } and first.setup == {"gpus": 4, "gpu": "a100"}
    assert "out_of_memory" not in second.measurement and any(
        "host's memory" in note for note in second.notes
    )
    assert (
        taken.rows_left_out == 1
        and "job 78" in taken.problems[0]
        and "alice" not in first.to_json()
    )


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("00:00:01", 1),
        ("1-00:00:00", 86400),
        ("05:30", 330),
        ("01:00.5", 60.5),
        ("00:00:00", None),
        ("", None),
    ],
)
def test_slurms_times(text, seconds):
    assert sacct.seconds_of(text) == seconds
