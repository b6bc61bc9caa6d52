"""An operation kind is one file: a toy one from outside is counted, priced, measured and run; what
nobody declared is refused."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from planner.calibrate.fitting import profile_from
from planner.calibrate.operations.backends import backend
from planner.calibrate.operations.execute import calls
from planner.calibrate.operations.timing import time_case
from planner.calibrate.suites import suite
from planner.calibrate.suites.order import weight
from planner.devices.curves import Point, fit_curve
from planner.devices.lookup import resolve_device
from planner.devices.measured import measured_spec
from planner.devices.priors import prior
from planner.devices.profile import DeviceProfile, as_written, parse
from planner.errors import ProfileError
from planner.operations import kinds as package
from planner.operations import registry
from planner.operations.cases import as_dict
from planner.operations.kind import OperationKind
from planner.step_time.clock import StepClock
from planner.trace.table import Operand, Signature, StepTrace

#: All that an author of a new kind writes: one file.
TOY = '''
from planner.operations import streams
from planner.operations.bench import Substitute
from planner.operations.call import Cost
from planner.operations.cases import case
from planner.operations.kind import OperationKind, Term


def mixed(call):
    """Seven FLOP an element, each read twice."""
    return Cost(7 * call.elements, 2 * call.read_all, call.write_all)


def terms(operation, precision):
    x = operation.call.inputs[0]
    rows, width = operation.call.shape(x)
    return [Term(f"mixing.plain.{x.dtype}", (rows, width), operation.flops, operation.bytes)]


def suite(device):
    for rows, width in device.sizes(((4, 8), (16, 32), (64, 8), (8, 128)), ((512, 512),)):
        x = ((rows, width), "float32")
        yield case("toy.mix.default", [x], [x])


def run(bench):
    import torch

    x = bench.named("x")["x"]
    return lambda: torch.flip(x, (0,)) + x


KIND = OperationKind(
    name="mixing",
    place=85,
    formulas={"toy.mix": mixed},
    price=lambda operation, device: 3 * device.memory_seconds(operation.bytes, 0.5),
    terms=terms,
    suite=suite,
    features=("rows", "width"),
    weights={"": 2.0, "plain": 5.0},
    substitutes={"toy.mix": Substitute(run)},
)
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Puts files beside the shipped kinds, from another folder."""
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])

    def put(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        registry.read_again()

    yield put
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(f"{package.__name__}.{file.stem}", None)
    monkeypatch.undo()
    registry.read_again()


@pytest.fixture
def toy(outside):
    outside("mixing", TOY)
    return registry.kind_named("mixing")


def toy_trace() -> StepTrace:
    """A forward and a backward operation of the toy kind, and one that no kind lists; x is
    [B·S, 64] in float32."""
    x = Operand((0, 1), "float32")
    names = ("toy.mix.default", "toy.mix.default", "toy.other.default")
    signatures = (Signature(names[0], (x,), (x,)), Signature(names[2], (x,), (x,)))
    none = np.zeros(0, dtype=np.int32)
    return StepTrace(
        forms=np.array([[0, 1], [64, 0]]),
        monomials=("1", "BS"),
        signatures=signatures,
        op_signature=np.array([0, 0, 1], dtype=np.int32),
        op_phase=np.array([0, 3, 3], dtype=np.uint8),
        op_module=np.zeros(3, dtype=np.int32),
        sizes=(),
        size=none,
        birth=none,
        death=none,
        category=none.astype(np.uint8),
        storage_module=none,
        modules=("",),
    )


def test_a_toy_kind_is_counted_in_a_trace(toy):
    trace = toy_trace()
    done = registry.work(trace, trace.dims(B=4, S=8))
    elements = 4 * 8 * 64
    assert done.kinds == ("mixing", "unmodelled")
    assert (done.flops[0], done.read_bytes[0], done.write_bytes[0]) == (
        7 * elements,
        2 * 4 * elements,
        4 * elements,
    )
    assert list(registry.kinds()).index("mixing") == list(registry.kinds()).index("elementwise") + 1


def test_a_toy_kind_is_priced_from_the_datasheet(toy):
    spec = resolve_device("v100-pcie-32").spec
    trace = toy_trace()
    found = StepClock(spec).price(trace, trace.dims(B=4096, S=512), precision="fp32")
    moved = 3 * 4 * 4096 * 512 * 64  # bytes, far beyond L2
    resident, bandwidth = spec.l2_bytes / 2, spec.bandwidth_bytes_per_s() * 0.5
    once = (moved - resident) / bandwidth + resident / (bandwidth * prior(spec, "any", "l2_ratio"))
    assert found.by_kind["mixing"] == pytest.approx(2 * 3 * once)
    assert 0 < found.unmodelled_share < 1
    assert found.device_busy_seconds == pytest.approx(sum(found.by_kind.values()))


def test_a_toy_kind_is_listed_by_the_suite_and_run_by_its_substitute(toy):
    found = suite(
        SimpleNamespace(kind="cpu", dtypes=lambda: ("float32",), free_bytes=lambda: 2**33)
    )
    mine = [case for case in found if case.signature.op == "toy.mix.default"]
    assert len(mine) == 4 and weight("mixing.plain.float32", "cpu") == 5.0
    here = backend("cpu")
    (call,) = calls(mine[0], here, copies=1)
    assert tuple(call().shape) == mine[0].shape(mine[0].signature.inputs[0])
    assert time_case(mine[0], here, budget_seconds=0.02).seconds > 0


def test_a_toy_kind_becomes_a_curve_that_prices_it(toy):
    device = SimpleNamespace(kind="cpu", dtypes=lambda: ("float32",), free_bytes=lambda: 2**33)
    mine = [case for case in suite(device) if case.signature.op == "toy.mix.default"]
    records = [
        {"record": "session", "device": {"name": "Toy 1", "kind": "cuda", "total_memory_bytes": 1}},
        *(
            {"record": "operation", "key": c.key, "case": as_dict(c), "seconds": 1e-6 * c.bytes}
            for c in mine
        ),
    ]
    profile = profile_from(records)
    curve = profile.curves["mixing.plain.float32"]
    assert curve.error.n == 4
    trace, again = toy_trace(), parse(as_written(profile), "here")  # through its file and back
    spec = measured_spec(DeviceProfile({**profile.device, "vendor": "Toy"}, {}, again.curves))
    with pytest.raises(Exception, match="toy.other.default was not measured"):
        StepClock(spec).price(trace, trace.dims(B=1, S=64), precision="fp32")
    alone = StepTrace(**{**vars_of(trace), "op_signature": trace.op_signature[:2] * 0,
                         "op_phase": trace.op_phase[:2], "op_module": trace.op_module[:2],
                         "signatures": trace.signatures[:1]})  # fmt: skip
    found = StepClock(spec).price(alone, alone.dims(B=1, S=64), precision="fp32")
    assert found.by_kind["mixing"] == pytest.approx(2 * 2 * 64 * 64 * 4 * 1e-6, rel=0.3)


def vars_of(trace: StepTrace) -> dict:
    return {name: getattr(trace, name) for name in trace.__dataclass_fields__ if name != "memo"}


# ---- what is refused


def test_without_its_file_the_toy_is_not_modelled():
    assert registry.kind_of("toy.mix.default").name == "unmodelled"
    assert "mixing" not in registry.kinds()


@pytest.mark.parametrize(
    "ask",
    [
        registry.kind_named,
        lambda name: registry.features_of(f"{name}.plain.float32"),
        lambda name: weight(f"{name}.plain.float32", "cuda"),
        lambda name: fit_curve(f"{name}.float32", [Point((1.0,), 1.0, 1.0, 1.0, 1.0, 1.0)] * 9, 80),
    ],
)
def test_an_undeclared_kind_is_refused_in_one_line(ask):
    with pytest.raises(ProfileError, match="operation kind 'magic' is not declared") as refusal:
        ask("magic")
    assert "\n" not in str(refusal.value) and "matmul" in str(refusal.value)


def test_a_profile_of_an_undeclared_kind_is_refused(toy):
    curve = fit_curve("mixing.plain.float32", [Point((1.0, 2.0), 1.0, 1.0, 1.0, 1.0, 1.0)])
    written = as_written(DeviceProfile({"name": "x"}, {}, {curve.family: curve}))
    assert parse(written, "here").curves
    written["curves"][0]["family"] = "magic.plain.float32"
    with pytest.raises(ProfileError, match="'magic' is not declared"):
        parse(written, "here")


@pytest.mark.parametrize("missing", ["price", "terms"])
def test_a_kind_that_runs_kernels_says_what_they_cost(missing):
    toy = {"price": lambda *_: 0.0, "terms": lambda *_: [], "suite": None}
    declared = {"name": "silent", "place": 1, "formulas": {}, **toy, missing: None}
    with pytest.raises(ProfileError, match=f"'silent' runs kernels and declares no {missing}"):
        OperationKind(**declared)
    assert OperationKind(**{**declared, "price": None, "terms": None}, runs_kernel=False).name


def test_two_kinds_of_one_name_or_of_one_operation_are_refused(outside):
    outside("mixing", TOY)
    outside("mixing_again", TOY)
    with pytest.raises(ProfileError, match="two files declare operation kind 'mixing'"):
        registry.kinds()
    outside("mixing_again", TOY.replace('"mixing"', '"blending"').replace("toy.mix", "aten.mm"))
    sys.modules.pop(f"{package.__name__}.mixing_again")
    registry.read_again()
    with pytest.raises(ProfileError, match="two formulas for aten.mm: kinds matmul and blending"):
        registry.kind_of("aten.mm.default")


def test_every_kind_that_runs_is_measured_but_the_unmodelled():
    unmeasured = {k.name for k in registry.kinds().values() if k.runs_kernel and k.suite is None}
    # libraries that are not ours, a compiler's kernels, copies, whose link is measured itself, and
    # what the host does
    assert unmeasured == {"unmodelled", "scan", "fused", "transfer", "host_update"}


def test_every_substitute_is_of_an_operation_that_its_kind_lists():
    for kind in registry.kinds().values():
        assert set(kind.substitutes) <= set(kind.formulas)
