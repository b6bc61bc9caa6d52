"""Pricing on a calibration: what was measured counts, what was not says that it is less sure; one
clock and two."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from planner.devices import profile as profiles
from planner.devices.curves import Point, fit_curve
from planner.devices.lookup import find_device, resolve_device
from planner.devices.measured import measured_spec
from planner.devices.priors import prior
from planner.devices.profile import DeviceProfile
from planner.devices.specification import on_datasheet, with_profile
from planner.errors import QuestionError
from planner.models.resolve import resolve
from planner.operations.call import Call, Lengths
from planner.operations.cases import case
from planner.operations.registry import cost, kinds, terms, work
from planner.plan.inputs.hardware import with_basis
from planner.plan.steps.point import evaluate
from planner.step_time.calibrated import CalibratedPrices, sizes_asked
from planner.step_time.clock import StepClock
from planner.step_time.host import HostCosts
from planner.step_time.power import mean_watts
from planner.step_time.roofline import Efficiency
from planner.trace.source import trace_for
from planner.trace.table import PHASES, StepTrace
from planner.training.recipe import Recipe

FACTS = resolve("Llama-3.2-1B")
RECIPE = Recipe(
    strategy="lora",
    task="causal_lm",
    precision="bf16",
    optimizer="adamw",
    gradient_checkpointing="none",
    attention="sdpa",
    compile=False,
    lora_rank=16,
    lora_dropout=0.0,
)
DEVICE = {
    "name": "NVIDIA H100 80GB HBM3",
    "key": "h100-sxm",
    "kind": "cuda",
    "vendor": "nvidia",
    "total_memory_bytes": 79 * 2**30,
    "sm_count": 132,
}
HOST = {
    "forward_seconds": 1e-6,
    "no_grad_seconds": 1e-6,
    "backward_seconds": 1e-6,
    "optimizer_seconds": 1e-6,
    "tensor_seconds": 1e-8,
    "view_forward_seconds": 1e-7,
    "view_backward_seconds": 1e-7,
    "module_seconds": 1e-7,
    "step_seconds": 1e-5,
    "synchronise_seconds": 1e-6,
}


@pytest.fixture(scope="module")
def trace():
    return trace_for(FACTS, RECIPE).at(B=4, S=512)


@pytest.fixture(scope="module")
def profile(trace):
    """Every family that the trace asks for, measured at twice the datasheet's time of these sizes
    and of others."""
    return made(trace, 2.0)


def made(trace, factor: float, leave_out: str = "nothing") -> DeviceProfile:
    spec = on_datasheet(resolve_device("h100-sxm").spec)
    points: dict[str, list[Point]] = {}
    for batch, length in ((2, 128), (4, 512), (8, 1024), (16, 1500)):
        dims = trace.dims(B=np.array([batch]), S=np.array([length]))
        done = work(trace, dims)
        seconds = Efficiency(spec, "bf16").seconds(trace, dims, done)
        for family, asked in sizes_asked(trace, dims, done, "bf16").items():
            for i, index in enumerate(asked.indices):
                if not family.startswith(leave_out):
                    points.setdefault(family, []).append(
                        Point(
                            tuple(float(f[i]) for f in asked.features),
                            float(asked.flops[i]),
                            float(asked.bytes[i]),
                            factor * float(seconds[index, 0]),
                            0,
                            0,
                        )
                    )
    return DeviceProfile(
        DEVICE,
        {"torch": "2.13"},
        {f: fit_curve(f, p) for f, p in points.items()},
        HOST,
        {"idle_watts": 100.0},
        {"matmul": 600.0},
    )


def price(spec, trace, **point):
    return StepClock(spec).price(trace, trace.dims(**point), precision="bf16")


def test_the_measurements_set_the_price(trace, profile):
    spec = measured_spec(profile)
    measured, datasheet = (
        price(spec, trace, B=4, S=512),
        price(on_datasheet(spec), trace, B=4, S=512),
    )
    assert spec.key == "h100-sxm" and spec.pricing == "calibrated"
    assert measured.device_busy_seconds / datasheet.device_busy_seconds == pytest.approx(
        2.0, rel=0.1
    )
    assert measured.host_seconds < datasheet.host_seconds / 5
    assert measured.seconds == pytest.approx(
        measured.forward_seconds + measured.backward_seconds + measured.optimizer_seconds
    )
    assert sum(measured.by_kind.values()) == pytest.approx(measured.device_busy_seconds)
    assert 0 < measured.sigma_log < 0.5 and datasheet.sigma_log == 0.0


def test_a_grid_agrees_with_its_points(trace, profile):
    spec = measured_spec(profile)
    grid = price(spec, trace, B=np.array([2, 4, 8]), S=np.array([512, 512, 512]))
    single = [price(spec, trace, B=b, S=512).device_busy_seconds for b in (2, 4, 8)]
    assert np.allclose(grid.device_busy_seconds, single)


def test_what_was_not_measured_is_less_sure(trace, profile):
    whole = price(measured_spec(profile), trace, B=4, S=512)
    without = price(measured_spec(made(trace, 2.0, leave_out="matmul")), trace, B=4, S=512)
    assert without.sigma_log > 2 * whole.sigma_log
    datasheet = price(on_datasheet(resolve_device("h100-sxm").spec), trace, B=4, S=512)
    assert without.by_kind["matmul"] == pytest.approx(datasheet.by_kind["matmul"])


def test_a_similar_family_stands_in(trace):
    profile = made(trace, 2.0)
    fewer = replace(
        profile, curves={f: c for f, c in profile.curves.items() if f != "matmul.nn.bfloat16"}
    )
    whole, without = (price(measured_spec(p), trace, B=4, S=512) for p in (profile, fewer))
    assert 0.5 < without.by_kind["matmul"] / whole.by_kind["matmul"] < 2.0
    assert without.sigma_log > whole.sigma_log


def test_types_without_a_measurement_scale_with_the_datasheets_peaks():
    m = 4096.0
    curve = fit_curve(
        "matmul.nt.float32",
        [
            Point((1.0, m, m, n), 2 * m * m * n, 4 * 3 * m * n, 2 * m * m * n / 5e13, 0, 0)
            for n in (512.0, 1024.0, 2048.0, 4096.0)
        ],
    )
    spec = measured_spec(DeviceProfile(DEVICE, {}, {curve.family: curve}, HOST))
    _, factor, spread = CalibratedPrices(spec, spec.calibration, "bf16")._curve(
        "matmul.nt.bfloat16"
    )
    assert (
        factor == pytest.approx(spec.peak_flops["fp32"] / spec.peak_flops["bf16"]) and spread > 0.2
    )


def narrow(dtype, sizes, seconds_of):
    """The profile of a recorded step that held products of these sizes alone."""
    points = [
        Point((1.0, m, n, k), 2 * m * n * k, 2 * (m * k + k * n + m * n), seconds_of(m, n, k), 0, 0)
        for m, n, k in sizes
    ]
    curve = fit_curve(f"matmul.nt.{dtype}", points)
    facts = {profiles.RECORDED_STEPS: 3.0}
    return measured_spec(DeviceProfile(DEVICE, {}, {curve.family: curve}, HOST, facts))


def product(m, n, k, dtype):
    sides = [((m, k), dtype), ((k, n), dtype, "t")], [((m, n), dtype)]
    return case("aten.mm.default", *sides, precision="bf16" if dtype == "bfloat16" else "fp32")


def product_seconds(spec, wanted):
    none = np.zeros(0, np.int32)
    trace = StepTrace(
        np.array([[n] for n in wanted.sizes], np.int64), ("1",), (wanted.signature,),
        np.zeros(1, np.int32), np.zeros(1, np.uint8), np.zeros(1, np.int32), (), none, none, none,
        none.astype(np.uint8), none, ("",),
    )  # fmt: skip
    dims = trace.dims().reshape(-1, 1)
    done = work(trace, dims)
    prices = CalibratedPrices(spec, spec.calibration, wanted.precision)
    sheet = Efficiency(spec, wanted.precision).seconds(trace, dims, done)[0, 0]
    seconds, sigma = prices.seconds(trace, dims, done)
    return seconds[0, 0], sigma[0, 0], sheet


def test_a_recorded_step_prices_its_own_sizes_and_leaves_what_lies_far_beyond():
    # three microseconds each, whatever they compute: launches
    spec = narrow("bfloat16", [(8.0, 64.0, 64.0), (16.0, 64.0, 64.0)], lambda m, n, k: 3e-6)
    near, sigma, sheet = product_seconds(spec, product(16, 64, 64, "bfloat16"))
    assert near == pytest.approx(3e-6, rel=0.15) and sigma < 0.45
    far, sigma, sheet = product_seconds(spec, product(8192, 4096, 4096, "bfloat16"))
    assert far == pytest.approx(sheet) and sigma == pytest.approx(0.45)
    whole = replace(spec.calibration, facts={})
    absurd, _, _ = product_seconds(measured_spec(whole), product(8192, 4096, 4096, "bfloat16"))
    assert absurd > 1000 * far


def test_a_recorded_step_says_nothing_of_other_types():
    sizes = [(4096.0, 4096.0, k) for k in (512.0, 1024.0, 4096.0)]
    spec = narrow("bfloat16", sizes, lambda m, n, k: 2 * m * n * k / 6e14)
    other, _, sheet = product_seconds(spec, product(4096, 4096, 1024, "float32"))
    assert other == pytest.approx(sheet)


def test_how_far_sizes_lie_beyond_is_a_sum_of_logarithms():
    curve = narrow("bfloat16", [(8.0, 64.0, 64.0), (16.0, 64.0, 64.0)], lambda *_: 3e-6)
    found = curve.calibration.curves["matmul.nt.bfloat16"].beyond(
        ([1.0, 1.0, 2.0], [8.0, 32.0, 4.0], [64.0, 64.0, 64.0], [64.0, 128.0, 64.0])
    )
    assert found == pytest.approx([0.0, 2 * np.log(2), 2 * np.log(2)])


def test_products_in_8_bits_are_those_in_16_at_the_peak_of_8():
    m = 4096.0
    points = [
        Point((1.0, m, m, n), 2 * m * m * n, 2 * 3 * m * n, 2 * m * m * n / 6e14, 0, 0)
        for n in (512.0, 1024.0, 2048.0, 4096.0)
    ]
    names = ("matmul.nt.bfloat16", "matmul.nt.tf32", "matmul.nt.float32")
    curves = {name: fit_curve(name, points) for name in names}
    spec = with_profile(find_device("h100-sxm"), DeviceProfile(DEVICE, {}, curves, HOST))
    found = CalibratedPrices(spec, spec.calibration, "bf16")._curve("matmul.nt.float8_e4m3fn")
    assert found is not None and found[0].family == "matmul.nt.bfloat16"
    reached = prior(spec, "product_tensor", "float8_share")
    assert found[1] == pytest.approx(0.5 / reached, rel=0.01) and 0.5 < found[1] < 0.6


def test_a_processor_has_one_clock(trace, profile):
    spec = replace(measured_spec(profile), vendor="cpu")
    both = price(spec, trace, B=4, S=512)
    host = StepClock(spec).host(trace, work(trace, trace.dims(B=np.array([4]), S=np.array([512]))))
    assert both.seconds == pytest.approx(
        both.device_busy_seconds
        + host.seconds.sum()
        + host.step_seconds
        + host.wait_seconds * len(host.waits)
    )


def test_a_kinds_own_host_cost_beats_the_common_one(profile):
    spec = measured_spec(
        replace(profile, host=HOST | {"forward_seconds.matmul": 7e-6, "scale": 2.0})
    )
    costs = HostCosts(spec)
    row, names = costs.table[PHASES.index("forward")], list(kinds())
    assert row[names.index("matmul")] == pytest.approx(1.4e-5) and row[
        names.index("softmax")
    ] == pytest.approx(2e-6)
    assert row[names.index("view")] == pytest.approx(2e-7)


def test_exact_times_replace_prices_and_what_cannot_be_timed_keeps_them(trace, profile):
    def timer(trace, dims, precision):
        out = np.full(len(trace.signatures), 1e-3)
        out[::2] = np.nan
        return out

    spec = measured_spec(profile)
    timed = price(replace(spec, pricing="exact", timer=timer), trace, B=4, S=512)
    counts = trace.counts.sum(axis=1)
    assert timed.device_busy_seconds > counts[1::2].sum() * 1e-3 * 0.5
    assert price(
        replace(spec, pricing="exact", timer=lambda *_: np.full(len(trace.signatures), np.nan)),
        trace,
        B=4,
        S=512,
    ).seconds == pytest.approx(price(spec, trace, B=4, S=512).seconds)


def test_bases_are_chosen_by_name(profile):
    spec = measured_spec(profile)
    results = {
        basis: evaluate(FACTS, RECIPE, with_basis(spec, basis), micro_batch=8, sequence_length=1024)
        for basis in ("datasheet", "calibrated")
    }
    assert {basis: r.basis for basis, r in results.items()} == {
        "datasheet": "datasheet",
        "calibrated": "calibrated",
    }
    assert results["calibrated"].step_seconds.p50 > 1.1 * results["datasheet"].step_seconds.p50
    wide = results["datasheet"].step_seconds
    assert (
        results["calibrated"].step_seconds.p90 / results["calibrated"].step_seconds.p50
        < wide.p90 / wide.p50
    )
    with pytest.raises(QuestionError, match="not calibrated"):
        with_basis(replace(spec, calibration=None), "calibrated")


def test_power_is_that_of_the_kinds(trace, profile):
    spec = measured_spec(profile)
    watts = mean_watts(spec, price(spec, trace, B=4, S=512))
    assert (
        100 < watts.p50 <= 600
        and mean_watts(on_datasheet(resolve_device("t4").spec), price(spec, trace, B=4, S=512))
        is None
    )


def test_the_terms_of_a_case_and_of_a_trace_are_one(trace):
    one = case(
        "aten.mm.default",
        [((2048, 2048), "bfloat16"), ((2048, 2048), "bfloat16", "t")],
        [((2048, 2048), "bfloat16")],
    )
    done = cost(one.signature, one.dims)
    assert terms(one.call, done.flops, done.read_bytes + done.write_bytes)[0].family in {
        term.family
        for i, s in enumerate(trace.signatures)
        if s.op == "aten.mm.default"
        for term in terms(Call(s, Lengths(trace.dims(B=4, S=512))), 1.0, 1.0)
    }


def test_a_profile_file_answers_without_torch(tmp_path, profile):
    file = profiles.save(profile, tmp_path / "h100.json")
    code = (
        "import sys, json\nfrom planner.cli.main import run\n"
        "assert run(['estimate', 'Llama-3.2-1B', '--samples', '1000', '--tokens-per-sample', "
        f"'300', '--gpu', {str(file)!r}, '--strategy', 'lora', '--json']) == 0\n"
        "heavy = {'torch', 'transformers', 'pandas'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
    option = json.loads(done.stdout)["options"][0]
    assert option["basis"] == "calibrated" and option["gpu"] == "NVIDIA H100 80GB HBM3"


def test_a_step_that_waits_for_the_host_is_no_surer_than_its_costs(trace, profile):
    slow = {"whole.module_seconds": 1e-3, "whole.error": 0.4}
    spec = measured_spec(replace(profile, host=HOST | slow))
    waiting = price(spec, trace, B=4, S=512)
    assert waiting.host_bound and waiting.sigma_log == 0.4
    grid = price(spec, trace, B=np.array([2, 4]), S=np.array([512, 512]))
    assert grid.sigma_log.tolist() == [0.4, 0.4]
    quick = measured_spec(
        replace(profile, host=HOST | {"whole.module_seconds": 1e-9, "whole.error": 0.4})
    )
    busy = price(quick, trace, B=8, S=1024)
    assert not busy.host_bound and busy.sigma_log < 0.4


def test_an_operation_in_its_place_takes_what_whole_steps_say(profile):
    spec = measured_spec(profile)
    assert HostCosts(spec).no_grad_seconds == HOST["no_grad_seconds"]
    whole = {"whole.forward_factor": 2.0, "whole.launch_seconds": 5e-6}
    spec = measured_spec(replace(profile, host=HOST | whole))
    assert HostCosts(spec).no_grad_seconds == pytest.approx(2 * HOST["no_grad_seconds"] + 5e-6)
