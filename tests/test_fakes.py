"""The fakes have the real modules' surface, no more: what a test passes with, the device has."""

import ast
import inspect
from collections.abc import Sequence
from pathlib import Path

import pynvml
import pytest
import torch
from fakes import nvml
from fakes.surface import Surface
from fakes.torch_cuda import CUDA, Event, cuda, on_cuda, properties

from planner.devices.nvml_library import NvmlLibrary

ASKED = [name for name in vars(NvmlLibrary) if not name.startswith("_")]


@pytest.mark.parametrize("name", ASKED)
def test_the_library_has_what_the_planner_asks_of_it(name):
    real, stated = getattr(pynvml, name), vars(NvmlLibrary)[name]
    if isinstance(stated, property):
        assert not callable(real) or issubclass(real, Exception)
        return
    needed = len(inspect.signature(stated).parameters) - 1  # self
    inspect.signature(real).bind(*range(needed))


def test_the_list_is_what_is_asked():
    assert len(ASKED) > 15 and {"nvmlInit", "NVMLError"} <= set(ASKED)


def test_a_name_that_the_module_lacks_is_an_error():
    assert not hasattr(nvml.library(), "nvmlDeviceGetEnergy")
    assert not hasattr(cuda(), "get_memory") and not hasattr(cuda().memory, "snapshot_of")
    # of our own class: what was called on it once, and was not there
    assert not hasattr(nvml.nvml(), "mig_enabled")


def test_a_call_that_the_module_would_not_take_is_an_error():
    with pytest.raises(TypeError):
        nvml.library().nvmlDeviceGetClockInfo("board")
    with pytest.raises(TypeError):
        nvml.library().nvmlDeviceGetPowerState()  # one that no answer is given for
    with pytest.raises(TypeError):
        cuda().mem_get_info(0, 1)
    with pytest.raises(TypeError):
        cuda().memory._snapshot(of=0)


def test_answers_to_questions_that_do_not_exist_are_refused():
    with pytest.raises(AssertionError, match="nvmlDeviceGetEnergy"):
        nvml.library(nvmlDeviceGetEnergy=1)
    with pytest.raises(AssertionError, match="ask"):
        cuda(ask=1)
    with pytest.raises(AssertionError, match="watts"):
        properties(watts=3)


def test_a_call_of_the_library_that_it_does_not_have_is_no_unknown_figure():
    board = nvml.nvml()
    with pytest.raises(AttributeError):
        board._ask(lambda library, handle: library.nvmlDeviceGetWatts(handle))
    with pytest.raises(TypeError):
        board._ask(lambda library, handle: library.nvmlDeviceGetTemperature(handle))
    assert board._ask(lambda library, handle: library.nvmlDeviceGetPowerState(handle)) is None


@pytest.mark.parametrize("name", [n for n in vars(Event) if not n.startswith("_")] + ["__init__"])
def test_an_event_has_torchs_methods(name):
    stated = inspect.signature(getattr(Event, name)).parameters
    real = CUDA.Event.__new__ if name == "__init__" else getattr(CUDA.Event, name)
    assert list(stated)[1:] == list(inspect.signature(real).parameters)[1:]


@pytest.mark.skipif(not hasattr(torch._C, "_CudaDeviceProperties"), reason="no CUDA in this torch")
def test_properties_have_torchs_names():
    assert set(vars(properties())) <= set(dir(torch._C._CudaDeviceProperties))


def test_tensors_of_the_device_lie_on_the_processor(monkeypatch):
    with on_cuda(monkeypatch) as device:
        made = torch.ones(2, device="cuda:0") + torch.ones(2).to(torch.device("cuda"))
        module = torch.nn.Linear(2, 1).to("cuda")
        assert module(made).shape == (1,) and made.device.type == "cpu"
        assert torch.cuda is device and torch.cuda.current_device() == 0
        assert device.asked == ["current_device"]
    assert torch.cuda is CUDA and isinstance(device, Surface)


# ---- what the planner asks of its own wrapper

PLANNER = Path(__file__).resolve().parents[1] / "planner"
#: Names under which a wrapper goes in the planner; in ``telemetry/nvml.py`` the library itself.
WRAPPERS = ("nvml", "_nvml")
ITSELF = PLANNER / "devices" / "telemetry" / "nvml.py"


def asked_of(tree: ast.AST, names: Sequence[str]) -> set[str]:
    """Attributes that are read of a variable or an attribute of one of these names."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = getattr(owner, "id", None) or getattr(owner, "attr", None)
            if name in names and isinstance(owner, (ast.Name, ast.Attribute)):
                found.add(node.attr)
    return found


def test_every_attribute_that_is_asked_of_the_wrapper_is_there():
    """Wherever it is used in the planner: a name that it lacks is found without a GPU."""
    used: dict[str, set[str]] = {}
    for file in sorted(PLANNER.rglob("*.py")):
        if file != ITSELF:
            for name in asked_of(ast.parse(file.read_text(encoding="utf-8")), WRAPPERS):
                used.setdefault(name, set()).add(str(file.relative_to(PLANNER)))
    assert {"joules", "mig", "other_processes", "sm_clock_mhz", "watts"} <= set(used)
    board = nvml.nvml()
    lacking = {name: files for name, files in used.items() if not hasattr(board, name)}
    assert not lacking


def test_the_wrapper_asks_only_what_the_library_is_stated_to_have():
    asked = asked_of(ast.parse(ITSELF.read_text(encoding="utf-8")), ("nvml", "library"))
    used = {name for name in asked if not name.startswith("_")}
    assert len(used) > 10 and not used - set(ASKED)


def test_a_name_that_is_not_there_would_be_found():
    tree = ast.parse("watch._nvml.mig_enabled\nbackend.nvml.watts()\nnvml.joules()")
    assert asked_of(tree, WRAPPERS) == {"mig_enabled", "watts", "joules"}
