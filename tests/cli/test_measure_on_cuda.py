"""``planner measure`` on a CUDA device, without one: NVML and torch.cuda answer with exactly the
surface of the installed modules, so that a name that they lack fails here."""

import importlib.util
import sys

import pytest

torch = pytest.importorskip("torch")
if not all(importlib.util.find_spec(name) for name in ("transformers", "peft", "safetensors")):
    pytest.skip("the model libraries are not installed", allow_module_level=True)

from fakes import nvml  # noqa: E402
from fakes.torch_cuda import GIB, on_cuda  # noqa: E402
from test_measure import LLAMA, folder_of  # noqa: E402

from planner.cli import main  # noqa: E402
from planner.devices.telemetry.nvml import Nvml  # noqa: E402
from planner.ledger.store import Ledger  # noqa: E402
from planner.trace.table import CATEGORIES  # noqa: E402

ASKED = (
    *("--samples", "64", "--tokens-per-sample", "20", "--length-spread", "0"),
    *("--seconds", "0.05"),
)
ASKED += ("--micro-batch", "2", "--global-batch", "2")


@pytest.fixture
def measured(monkeypatch, tmp_path, capsys):
    """Exit code, standard error, the runs that were kept, and what torch.cuda was asked."""
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "runs.sqlite"))
    llama = folder_of(tmp_path / "llama", LLAMA)

    def call(*more, board=None, **answers):
        counter = iter(range(10**6, 10**9, 10**5))  # millijoules
        answered = dict(
            nvmlDeviceGetHandleByUUID=lambda uuid: (
                "board" if uuid == "GPU-ab-12" else nvml.Refused()()
            ),
            nvmlDeviceGetTotalEnergyConsumption=lambda _board: next(counter),
            nvmlDeviceGetMemoryInfo=nvml.memory(80 * GIB),
        )
        monkeypatch.setitem(sys.modules, "pynvml", nvml.library(**answered | (board or {})))
        with on_cuda(monkeypatch, **answers) as device:
            code = main.run(["measure", str(llama), *ASKED, *more])
        kept = list(Ledger().records()) if (tmp_path / "runs.sqlite").exists() else []
        err = capsys.readouterr().err
        return code, err, kept, device.asked

    return call


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16", "amp_fp16"])
def test_a_run_is_measured_with_all_its_counters(measured, precision):
    code, err, (run,), asked = measured("--strategy", "fine_tune", "--precision", precision)
    assert (code, err) == (0, "")
    found = run.measurement
    assert found["steps"] >= 5 and found["step_seconds"] > 0
    assert (found["peak_allocated_bytes"], found["peak_reserved_bytes"]) == (5 * GIB, 6 * GIB)
    assert found["device_used_bytes"] == 10 * GIB and found["energy_joules"] > 0
    assert set(found["phase_seconds"]) == {"forward", "backward", "optimizer", "data"}
    assert set(found["category_bytes"]) >= {*CATEGORIES, "fragmentation", "context"}
    assert found["category_bytes"]["fragmentation"] == GIB
    assert run.machine["device"] == "NVIDIA H100 80GB HBM3" and run.machine["driver"] == "570.1"
    assert run.setup["gpu"] == "NVIDIA H100 80GB HBM3"
    assert not [note for note in run.notes if "not profiled" in note or "broken down" in note]
    assert {"reset_peak_memory_stats", "synchronize", "memory_stats", "empty_cache"} <= set(asked)


def test_the_local_device_is_found_by_what_its_driver_says(measured):
    code, err, (run,), _ = measured("--gpu", "local", "--strategy", "lora")
    assert (code, err) == (0, "")
    assert run.setup["gpu"] == "NVIDIA H100 80GB HBM3" and run.measurement["energy_joules"] > 0


@pytest.mark.parametrize("strategy", ["lora", "partial_fine_tune", "scratch"])
def test_strategies(measured, strategy):
    code, err, (run,), _ = measured("--strategy", strategy)
    assert (code, err) == (0, "") and run.setup["strategy"] == strategy


def test_a_slice_of_a_board_and_other_processes(measured):
    code, _, (run,), _ = measured(
        "--strategy",
        "fine_tune",
        board=dict(
            nvmlDeviceGetHandleByUUID=lambda uuid: (
                "part" if uuid == "MIG-ab-12" else nvml.Refused()()
            ),
            nvmlDeviceGetDeviceHandleFromMigDeviceHandle="board",
            nvmlDeviceGetComputeRunningProcesses=[nvml.process(1), nvml.process(2)],
        ),
    )
    assert code == 0 and "energy_joules" not in run.measurement
    assert any("other processes were on the device" in note for note in run.notes)


def test_a_driver_that_refuses_everything_leaves_the_figures_out(measured):
    refused = {name: nvml.Refused() for name in nvml.QUIET if name.startswith("nvmlDevice")}
    refused |= dict(nvmlDeviceGetCount=1, nvmlDeviceGetHandleByIndex="board")
    refused |= dict(nvmlDeviceGetName="NVIDIA H100 80GB HBM3")
    code, _, (run,), _ = measured("--strategy", "fine_tune", board=refused)
    assert code == 0 and "energy_joules" not in run.measurement and run.measurement["steps"] >= 5


def test_out_of_memory_is_a_result(measured, monkeypatch):
    def full(*_args, **_more):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(torch.Tensor, "backward", full)
    code, _, (run,), _ = measured("--strategy", "fine_tune")
    assert code == 0 and run.measurement["out_of_memory"] is True


def test_a_name_that_is_not_there_is_the_planners_fault(measured, monkeypatch):
    """It was blamed on the model once, and no test saw it."""
    monkeypatch.delattr(Nvml, "joules")
    code, err, runs, _ = measured("--strategy", "fine_tune")
    assert code == main.MACHINE_FAILED and not runs
    assert "unexpected AttributeError: 'Nvml' object has no attribute 'joules'" in err


def test_a_call_that_torch_does_not_have_is_found(measured, monkeypatch):
    from planner.devices.telemetry.device_watch import DeviceWatch

    monkeypatch.setattr(DeviceWatch, "measured", lambda self: {"x": self.cuda.peak_of(0)})
    code, err, _, _ = measured("--strategy", "fine_tune")
    assert code != 0 and "has no attribute 'peak_of'" in err


def test_the_device_that_fails_is_the_machines_failure(measured):
    def dead(*_args):
        raise RuntimeError("CUDA error: unspecified launch failure")

    code, err, _, _ = measured("--strategy", "fine_tune", synchronize=dead)
    assert code == main.MACHINE_FAILED and "the device or its library fails" in err
