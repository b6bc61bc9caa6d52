"""Traces of torch.profiler: files that are damaged or hostile give one line, spans nest, and
excerpts of real ones (cited in the files) come to what their events say."""

import gzip
import json
import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.calibrate.kineto import reading
from planner.calibrate.kineto.host import host_records
from planner.calibrate.kineto.modules import Modules
from planner.calibrate.kineto.naming import base_name, kind_of_name, phase_of, unit_of
from planner.calibrate.kineto.recorded import facts_of, recorded
from planner.calibrate.kineto.steps import covered
from planner.errors import PlannerError, ProfileError, QuestionError

DATA = Path(__file__).parents[2] / "data" / "kineto"
H100, MI300X = DATA / "h100.json", DATA / "mi300x.json"


def event(name, ts, dur, cat="cpu_op", tid=1, ph="X", **args):
    return {
        "ph": ph, "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": ts, "dur": dur, "args": args
    }  # fmt: skip


def kernel(name, ts, dur, correlation, stream=7, device=0):
    more = {"device": device, "stream": stream, "correlation": correlation}
    return event(name, ts, dur, "kernel", 0, **more)


def launch(ts, dur, correlation, tid=1):
    return event("cudaLaunchKernel", ts, dur, "cuda_runtime", tid, correlation=correlation)


def write(folder, events, name="trace.json", **header):
    path = folder / name
    text = json.dumps({**header, "traceEvents": events})
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


# ---- files

A_STEP = [event("aten::mm", 0, 10), launch(2, 1, 5), kernel("gemm", 6, 4, 5)]
FILES = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n ", "the file is empty"),
    "not JSON": (b"{oops", "not JSON"),
    "binary": (bytes(range(256)), "not JSON"),
    "cut short": (gzip.compress(b'{"traceEvents": []}' * 99)[:-9], "damaged or cut short"),
    "no gzip after all": (b"\x1f\x8b rest", "damaged or cut short"),
    "no events": (b"{}", "without a list traceEvents"),
    "events of another kind": (b'{"traceEvents": 5}', "without a list traceEvents"),
    "a number": (b"7", "without a list traceEvents"),
    "none of them": (b'{"traceEvents": [1, null, {}]}', "none of its 3 events"),
    "nested": (b"[" * 200_000, "nested too deeply"),
    "annotations alone": (
        json.dumps({"traceEvents": [event("ProfilerStep#1", 0, 9, "user_annotation")]}).encode(),
        "none of its 1 events",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_trace_is_one_line(name, tmp_path):
    data, said = FILES[name]
    path = tmp_path / "trace.json"
    path.write_bytes(data)
    with pytest.raises(ProfileError, match=said) as raised:
        recorded(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    with pytest.raises(QuestionError, match="no such file"):
        recorded(tmp_path / "none.json")
    with pytest.raises(QuestionError, match="is a folder"):
        recorded(tmp_path)


def test_a_file_that_unpacks_without_end_is_left_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000)
    monkeypatch.setattr(reading, "PIECE_BYTES", 1_000)
    path = tmp_path / "trace.json.gz"
    path.write_bytes(gzip.compress(b" " * 1_000_000))
    with pytest.raises(ProfileError, match="more than 0 MiB"):
        recorded(path)


def test_plain_and_compressed_are_told_by_their_bytes(tmp_path):
    plain, packed = write(tmp_path, A_STEP), write(tmp_path, A_STEP, "other.json.gz")
    renamed = packed.rename(tmp_path / "renamed.json")
    assert recorded(plain).by_kind() == recorded(renamed).by_kind()


def test_a_bare_list_of_events_is_a_trace(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(A_STEP))
    assert recorded(path).by_kind() == {"matmul": pytest.approx(4e-6)}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["aten::mm", "aten::add", "ProfilerStep#1", "nn.Module: A_0", "[memory]", "k"]
)
FIELDS = {
    "ph": st.sampled_from(["X", "i", "s"]) | VALUES,
    "cat": st.sampled_from(["cpu_op", "kernel", "cuda_runtime", "python_function"]) | VALUES,
    "name": NAMES | VALUES,
    "ts": st.floats(0, 100) | VALUES,
    "dur": st.floats(0, 100) | VALUES,
    "pid": VALUES,
    "tid": VALUES,
    "args": st.dictionaries(
        st.sampled_from(["correlation", "External id", "device", "stream", "Input Dims"]), VALUES
    )
    | VALUES,
}


@given(st.lists(st.fixed_dictionaries({}, optional=FIELDS) | VALUES, max_size=12))
def test_whatever_the_events_are_the_end_is_a_trace_or_one_line(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("kineto") / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    try:
        seen = recorded(path)
    except PlannerError as error:
        assert "\n" not in str(error)
    else:
        assert sum(seen.by_kind().values()) >= 0


# ---- spans


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=30))
def test_what_encloses_a_span_is_there_when_it_begins(tmp_path_factory, found):
    events = [event(f"aten::x{i}", ts, dur) for i, (ts, dur) in enumerate(found)]
    path = write(tmp_path_factory.mktemp("kineto"), events)
    for span in reading.read(path).host:
        assert span.parent is None or span.parent.start <= span.start < span.parent.end
        assert span.parent is None or span in span.parent.children


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=20))
def test_covered_counts_each_moment_once(found):
    moments = {m for start, length in found for m in range(start, start + length)}
    assert covered((s, s + length) for s, length in found) == len(moments)


# ---- names


@pytest.mark.parametrize(
    "names, unit",
    [
        (["aten::linear", "aten::addmm"], "aten::addmm"),
        (["aten::to", "aten::_to_copy", "aten::copy_"], "aten::_to_copy"),
        (["aten::conv2d", "aten::convolution", "aten::_convolution"], "aten::convolution"),
        (["autograd::engine::evaluate_function: MmBackward0", "aten::mm"], "aten::mm"),
        (["aten::matmul"], "aten::matmul"),
        (["fbgemm::split", "fbgemm::inner"], "fbgemm::inner"),
        (["my annotation"], None),
        (["aten::scaled_dot_product_attention", "aten::_scaled_dot_product_attention_math",
          "aten::matmul", "aten::bmm"], "aten::bmm"),
    ],
)  # fmt: skip
def test_the_outermost_operation_that_torch_keeps_whole_counts(names, unit):
    place = unit_of(names)
    assert (None if place is None else names[place]) == unit


def test_names_of_libraries_are_those_of_traces():
    assert base_name("aten::_scaled_dot_product_flash_attention_backward") == (
        "planner.attention_backward"
    )
    assert base_name("aten::cudnn_batch_norm") == "aten.native_batch_norm"
    assert kind_of_name("aten::_scaled_dot_product_efficient_attention") == "attention"
    assert kind_of_name("c10d::allreduce_") == "communication"
    assert kind_of_name("triton_poi_fused_add_0") == "fused"


def test_what_is_said_to_be_taken_apart_is_taken_apart_by_torch():
    torch = pytest.importorskip("torch")
    from planner.calibrate.kineto.naming import TAKEN_APART
    from planner.operations.registry import operation_names

    def composite(name):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            full = f"aten::{name}" + (f".{overload}" if overload != "default" else "")
            try:
                yield torch._C._dispatch_has_kernel_for_dispatch_key(
                    full, "CompositeImplicitAutograd"
                )
            except RuntimeError:  # of overloads that only TorchScript has
                pass

    for name in TAKEN_APART:
        assert any(composite(name)), name
    known = {name.removeprefix("aten.") for name in operation_names() if name.startswith("aten.")}
    whole = {n for n in known if hasattr(torch.ops.aten, n) and all([*composite(n)] or [False])}
    # CUDA has a kernel of its own for it
    assert whole - TAKEN_APART == {"_fused_rms_norm"}


def test_phases_follow_the_engine_and_the_optimizer():
    assert phase_of(["ProfilerStep#3", "aten::mm"]) == "forward"
    assert phase_of(["autograd::engine::evaluate_function: MmBackward0"]) == "backward"
    assert phase_of(["ProfilerStep#3", "Optimizer.step#AdamW.step"]) == "optimizer"


# ---- steps


def two_steps():
    mark = "user_annotation"
    return [
        event("ProfilerStep#1", 0, 100, mark),
        event("aten::linear", 10, 20),
        event("aten::addmm", 12, 15),
        launch(15, 5, 1),
        kernel("gemm", 22, 30, 1),
        event("ProfilerStep#2", 100, 100, mark),
        event("aten::linear", 110, 20),
        event("aten::addmm", 112, 15),
        launch(115, 5, 2),
        kernel("gemm", 122, 50, 2),
        kernel("nobody's", 180, 4, None),
        kernel("from before", 1, 3, 0),
    ]


def test_kernels_belong_to_the_operation_that_launched_them(tmp_path):
    seen = recorded(write(tmp_path, two_steps()))
    assert [(step, unit.name) for step, unit in seen.units] == [
        (0, "aten::addmm"),
        (1, "aten::addmm"),
    ]
    assert seen.step_seconds == pytest.approx(100e-6)
    assert seen.by_kind() == {
        "matmul": pytest.approx(40e-6), "no operation": pytest.approx(2e-6)
    }  # fmt: skip
    assert seen.busy_seconds == pytest.approx((30e-6 + 54e-6) / 2)
    assert seen.latency_seconds == pytest.approx(2e-6)


def test_several_devices_need_a_name(tmp_path):
    events = [*two_steps(), launch(130, 1, 9), kernel("gemm", 140, 30, 9, device=3)]
    path = write(tmp_path, events)
    with pytest.raises(ProfileError, match="several devices: cuda:0, cuda:3.*--device cuda:0"):
        recorded(path)
    assert recorded(path, 3).work_seconds == pytest.approx(30e-6)
    with pytest.raises(ProfileError, match="nothing ran on cuda:7"):
        recorded(path, 7)


def test_nothing_inside_the_steps_is_one_line(tmp_path):
    events = [event("ProfilerStep#1", 0, 5, "user_annotation"), event("aten::mm", 50, 5)]
    with pytest.raises(ProfileError, match="nothing ran on the device inside its steps"):
        recorded(write(tmp_path, events))


def test_a_processor_computes_what_the_planner_knows_and_leaves_of_what_nobody_knows(tmp_path):
    events = [
        event("aten::linear", 0, 30),
        event("aten::t", 1, 2),
        event("aten::addmm", 5, 20),
        event("aten::copy_", 6, 3),
        event("mine::kernel", 40, 7),
        event("aten::empty", 41, 1),
        event("aten::view", 60, 5),
    ]
    seen = recorded(write(tmp_path, events))
    assert seen.on_processor
    assert {u.name: round(u.seconds * 1e6) for _, u in seen.units} == {
        "aten::addmm": 20, "mine::kernel": 7
    }  # fmt: skip


def test_the_hosts_time_is_what_lies_between_operations(tmp_path):
    mark = "user_annotation"
    events = [
        event("ProfilerStep#1", 0, 400, mark),
        event("aten::mm", 0, 20), launch(1, 2, 1), kernel("gemm", 30, 9, 1),
        event("aten::view", 40, 6),
        event("aten::mm", 100, 20), launch(101, 2, 2), kernel("gemm", 130, 9, 2),
        event("cudaDeviceSynchronize", 150, 100, "cuda_runtime"),
        event("aten::mm", 300, 20), launch(301, 2, 3), kernel("gemm", 330, 9, 3),
    ]  # fmt: skip
    costs = {r["name"]: r["value"] for r in host_records(recorded(write(tmp_path, events)))}
    assert costs["view_forward_seconds"] == pytest.approx(6e-6)
    # 100 less the view, 200 less the wait
    assert costs["forward_seconds"] == pytest.approx((94e-6 + 100e-6) / 2)
    assert "backward_seconds" not in costs and costs["step_seconds"] == 0.0


def test_what_autocast_casts_is_apart_from_what_it_then_calls(tmp_path):
    float32, bfloat16 = {"Input type": ["float", "float"]}, {"Input type": ["c10::BFloat16"] * 2}
    events = [
        event("aten::bmm", 0, 60, **float32),
        event("aten::to", 1, 20),
        event("aten::_to_copy", 2, 18),
        event("aten::copy_", 5, 10),
        event("aten::bmm", 30, 20, **bfloat16),
        event("aten::mul", 100, 9, **bfloat16),
        event("aten::mul", 101, 7, **bfloat16),
    ]
    seen = recorded(write(tmp_path, events))
    assert [(u.name, round(u.seconds * 1e6)) for _, u in seen.units] == [
        ("aten::_to_copy", 18), ("aten::bmm", 20), ("aten::mul", 9)
    ]  # fmt: skip


# ---- steps that no mark tells


def update(ts, dur=10, tid=1):
    return event("Optimizer.step#AdamW.step", ts, dur, "user_annotation", tid)


def backward(ts, dur=20):
    return event("autograd::engine::evaluate_function: MmBackward0", ts, dur, tid=2)


def test_without_marks_a_step_ends_with_each_update(tmp_path):
    events = []
    for start in (0, 100, 200):
        events += [event("aten::mm", start, 20), backward(start + 30), update(start + 60)]
        events += [update(start + 70, 5)]  # of a second optimizer, with no pass between
    events.append(event("aten::mm", 290, 5))  # a step that was not finished
    seen = recorded(write(tmp_path, events))
    assert not seen.windows.marked and len(seen.steps) == 3
    assert [step for step, _ in seen.units] == [0, 1, 2]
    assert seen.outside_seconds == pytest.approx(5e-6)


def test_without_marks_one_update_is_one_step(tmp_path):
    events = [event("aten::mm", 0, 20), backward(30), update(60), event("aten::mm", 90, 5)]
    seen = recorded(write(tmp_path, events))
    assert len(seen.steps) == 1 and seen.outside_seconds == 0


def test_marks_of_one_name_are_several_steps_and_those_inside_another_are_none(tmp_path):
    mark = "user_annotation"
    events = [
        event("ProfilerStep#1", 0, 50, mark), event("aten::mm", 5, 10),
        event("ProfilerStep#1", 60, 50, mark), event("aten::mm", 65, 10),
        event("ProfilerStep#2", 62, 20, mark, tid=9),
    ]  # fmt: skip
    seen = recorded(write(tmp_path, events))
    assert [step.seconds for step in seen.steps] == pytest.approx([50e-6, 50e-6])


# ---- what is left out, and what is several


@pytest.mark.parametrize("dur", [None, "5", -1, float("nan"), float("inf"), 1e13, 10**400, True])
def test_operations_without_a_time_are_counted(dur, tmp_path):
    events = [event("aten::mm", 0, 10), event("aten::mm", 20, dur), event("other", 3, dur, "x")]
    seen = recorded(write(tmp_path, events))
    assert seen.document.timeless == 1 and len(seen.units) == 1
    with pytest.raises(ProfileError, match="none of its 1 events .* those of 1 are none"):
        recorded(write(tmp_path, events[1:2]))


def test_joined_traces_of_several_processes_are_refused(tmp_path):
    events = [event("aten::mm", 0, 10), {**event("aten::mm", 0, 10), "pid": 7}]
    with pytest.raises(ProfileError, match="of several processes: 1, 7. Give the trace that one"):
        recorded(write(tmp_path, events))


def test_deeper_than_any_program_is_refused(tmp_path):
    deep = [event("mine::op", i, 5000 - 2 * i) for i in range(1001)]
    with pytest.raises(ProfileError, match="more than 1,000 deep"):
        recorded(write(tmp_path, deep))
    assert recorded(write(tmp_path, deep[:-1])).units


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = write(tmp_path, A_STEP)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert recorded(path).by_kind()


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
def test_what_has_no_end_is_no_file(place, tmp_path):
    path = tmp_path / "pipe" if place == "pipe" else Path(place)
    if place == "pipe":
        os.mkfifo(path)
    with pytest.raises(QuestionError, match="is no regular file"):
        recorded(path)


# ---- real ones


def test_a_real_trace_of_an_h100(tmp_path):
    seen = recorded(H100)
    events = json.loads(H100.read_text())["traceEvents"]
    ran = sum(e["dur"] for e in events if e["cat"] in ("kernel", "gpu_memcpy")) * 1e-6
    assert sum(seen.by_kind().values()) == pytest.approx(ran)
    assert seen.device["key"] == "h100-sxm" and seen.device["compute_capability"] == "9.0"
    assert seen.device["cuda"] == "12.4" and seen.device["driver"] == "12.9"
    assert {"matmul", "attention", "embedding", "normalization"} <= set(seen.by_kind())
    assert all(unit.phase == "forward" for _, unit in seen.units)
    assert 1e-6 < seen.latency_seconds < 5e-6
    modules = Modules(seen)
    linear = next(unit for _, unit in seen.units if unit.name == "aten::addmm")
    assert modules.of(linear)[-1].startswith("Linear_")


def test_a_real_backward_pass_of_an_mi300x():
    seen = recorded(MI300X)
    phases = defaultdict(set)
    for _, unit in seen.units:
        phases[unit.phase].add(unit.name)
    assert phases["backward"] >= {"aten::convolution_backward", "aten::native_batch_norm_backward"}
    assert phases["optimizer"] == {"aten::_foreach_add_"}
    assert len(seen.steps) == 2 and seen.by_kind()["communication"] > 1e-3
    assert seen.device["key"] == "mi300x"


def test_traces_of_two_devices_are_not_one_profile():
    with pytest.raises(ProfileError, match="of several devices"):
        facts_of([recorded(H100), recorded(MI300X)])
