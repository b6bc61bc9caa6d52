"""Whose code failed: the model's is named only where it is the model's."""

import json
import sys

import pytest

torch = pytest.importorskip("torch")

import pynvml  # noqa: E402
from fakes import nvml  # noqa: E402
from fakes.torch_cuda import cuda  # noqa: E402

from planner.blame import blamed, culprit, raised_by_planner  # noqa: E402
from planner.cli import main  # noqa: E402
from planner.devices.telemetry.nvml import Nvml  # noqa: E402
from planner.errors import MachineError, ModelError  # noqa: E402
from planner.measure import real_run  # noqa: E402
from planner.measure.real_run import measure  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.trace.recorder import dispatch_mode  # noqa: E402
from planner.trace.recorder.regimes import runner_for  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402

SOURCE = """
import torch
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.layer = how, nn.Linear(8, 8)
    def forward(self, x):
        x = self.layer(x)
        if self.how == "raises":
            raise KeyError("a name that is not there")
        if self.how == "no_attribute":
            return x.no_such_thing
        if self.how == "shapes":
            return x @ torch.ones(7, 7, device=x.device)
        if self.how == "linear":
            return functional.linear(x, torch.ones(5, 7, device=x.device))
        if self.how == "attention":
            k = x[:, None, :, :3]
            return functional.scaled_dot_product_attention(x[:, None], k, x[:, None])
        if self.how == "own_backward":
            return Own.apply(x)
        if self.how == "json":
            import json
            json.loads("{")
        return x.detach() if self.how == "detached" else x

class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, grad):
        raise ValueError("no backward of mine")

def _made(how):
    def batch(B, S):
        return {"x": torch.randn(B, S, 8)}
    return Net(how), batch, lambda module, batch: module(batch["x"]).sum()

def raises(): return _made("raises")
def no_attribute(): return _made("no_attribute")
def shapes(): return _made("shapes")
def linear(): return _made("linear")
def attention(): return _made("attention")
def own_backward(): return _made("own_backward")
def json(): return _made("json")
def detached(): return _made("detached")
def fine(): return _made("fine")
"""
OF_THE_MODEL = ["raises", "no_attribute", "shapes", "linear", "attention", "own_backward", "json"]
RECIPE = Recipe("scratch", "factory", "fp32", "adamw")


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_blame_models.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name: resolve(f"own_blame_models:{name}")
    sys.modules.pop("own_blame_models", None)


def traced(facts):
    return runner_for(facts, RECIPE).record(B=2, S=3)


def trained(facts):
    return measure(facts, RECIPE, micro_batch=2, sequence_length=3, seconds=0.05)


@pytest.mark.parametrize("run", [traced, trained])
@pytest.mark.parametrize("how", OF_THE_MODEL)
def test_the_models_own_code_is_named_with_its_line(own, run, how):
    with pytest.raises(ModelError, match="its own code fails when") as found:
        run(own(how))
    assert "own_blame_models.py, line " in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("run", [traced, trained])
def test_torch_is_not_called_the_models_code(own, run):
    with pytest.raises(ModelError, match="torch fails when .* does not require grad"):
        run(own("detached"))


def test_a_fault_of_the_planner_stays_one(own, monkeypatch):
    monkeypatch.delattr(real_run, "_group")
    with pytest.raises(NameError, match="_group") as found:
        trained(own("fine"))
    assert culprit(found.value) == "planner" and raised_by_planner(found.value)
    assert blamed(found.value).startswith("a fault of the planner itself: NameError")


def test_a_fault_of_the_recorder_under_the_model_is_the_planners(own, monkeypatch):
    """The model's frames are among the callers: what fails is not theirs all the same."""
    assert traced(own("fine")).operations
    monkeypatch.delattr(dispatch_mode, "_raw")
    with pytest.raises(NameError, match="_raw") as found:
        traced(own("fine"))
    assert culprit(found.value) == "planner"


def test_a_device_that_fails_is_the_machines(own, monkeypatch):
    def lost(*_args):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.nn.functional, "linear", lost)
    with pytest.raises(MachineError, match="the device or its library fails when it is trained"):
        trained(own("fine"))


def test_errors_of_device_libraries():
    board = Nvml(library=nvml.library())
    with pytest.raises(pynvml.NVMLError) as refused:
        pynvml.nvmlDeviceGetHandleByIndex(0)  # not started
    assert culprit(refused.value) == "device"
    with pytest.raises(AttributeError) as missing:
        board._ask(lambda library, handle: library.nvmlDeviceGetWatts(handle))
    assert culprit(missing.value) == "model"  # the line is this file's
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)) as unbuilt:
            torch.cuda.current_device()
        assert culprit(unbuilt.value) == "device"
    assert cuda().current_device() == 0


def test_measure_says_that_the_planner_failed(own, monkeypatch, capsys, tmp_path):
    """As it ended once on CUDA: a name that our own class does not have."""
    from planner.devices.telemetry.device_watch import DeviceWatch

    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "runs.sqlite"))
    monkeypatch.delattr(DeviceWatch, "find")
    code = main.run(
        ["measure", "own_blame_models:fine", "--samples", "64", "--tokens-per-sample", "8"]
        + ["--device", "cpu", "--seconds", "0.05", "--micro-batch", "2", "--strategy", "scratch"]
    )
    said = capsys.readouterr().err
    assert code == main.MACHINE_FAILED and "own code" not in said
    assert "unexpected AttributeError: 'DeviceWatch' object has no attribute 'find'" in said


def test_an_error_that_was_never_raised_is_nobodys_model():
    assert culprit(ValueError("x")) == "planner" and not raised_by_planner(ValueError("x"))


def test_what_a_library_raises_for_a_damaged_file_is_not_the_planners():
    with pytest.raises(json.JSONDecodeError) as found:
        json.loads("{")
    assert not raised_by_planner(found.value)
