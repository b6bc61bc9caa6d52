"""Prices between a curve and the datasheet, each by how sure it is."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.calibrate.fitting import profile_from
from planner.devices import profile as profiles
from planner.devices.beside import Beside
from planner.devices.lookup import resolve_device
from planner.devices.measured import measured_spec
from planner.devices.specification import on_datasheet
from planner.errors import ProfileError
from planner.operations.cases import Case, as_dict, case
from planner.operations.registry import cost, terms, work
from planner.step_time.calibrated import CalibratedPrices
from planner.step_time.roofline import Efficiency
from planner.trace.table import StepTrace

SESSION = {
    "record": "session",
    "device": {
        "name": "NVIDIA H100 80GB HBM3",
        "key": "h100-sxm",
        "kind": "cuda",
        "vendor": "nvidia",
        "total_memory_bytes": 79 * 2**30,
        "sm_count": 132,
    },
    "torch": "2.13.0",
}
SIZES = (96, 256, 640, 1536, 3000)
SPEC = on_datasheet(resolve_device("h100-sxm").spec)


def product(m, n=None, k=None) -> Case:
    n, k = n or m, k or m
    kind = "bfloat16"
    return case("aten.mm.default", [((m, k), kind), ((k, n), kind)], [((m, n), kind)])


def datasheet(one: Case) -> float:
    done = cost(one.signature, one.dims)
    moved = float(done.read_bytes + done.write_bytes)
    return Efficiency(SPEC, "bf16").one(one.signature, one.dims, float(done.flops), moved)


def journal(times) -> list[dict]:
    """A session and one record a case."""
    return [
        SESSION,
        *(
            {"record": "operation", "key": one.key, "case": as_dict(one), "seconds": seconds}
            for one, seconds in times
        ),
    ]


def priced(profile, one: Case) -> tuple[float, float]:
    none = np.zeros(0, dtype=np.int32)
    small = none.astype(np.uint8)
    forms = np.array(one.sizes, dtype=np.int64)[:, None]
    trace = StepTrace(
        forms, ("1",), (one.signature,), none, small, none, (), none, none, none, small, none, ()
    )
    dims = one.dims[:, None]
    seconds, sigma = CalibratedPrices(measured_spec(profile), profile, "bf16").seconds(
        trace, dims, work(trace, dims)
    )
    return float(seconds[0, 0]), float(sigma[0, 0])


def family(one: Case) -> str:
    done = cost(one.signature, one.dims)
    return terms(one.call, float(done.flops), 1.0, "bf16")[0].family


def test_a_device_that_is_evenly_slower_is_known_to_be():
    times = [(product(m), 1.7 * datasheet(product(m))) for m in SIZES]
    found = profile_from(journal(times)).datasheet[family(product(96))]
    assert found.log_ratio == pytest.approx(math.log(1.7)) and found.n == len(SIZES)
    # what is believed of datasheets counts as two sizes
    assert found.sigma_log == pytest.approx(math.sqrt(2 * 0.45**2 / (len(SIZES) + 1)))


def test_sizes_that_scatter_about_the_datasheet_leave_the_price_to_the_curve():
    even = [(product(m), 1.7 * datasheet(product(m))) for m in SIZES]
    factors = (0.3, 5.0, 0.4, 4.0, 1.0)
    uneven = [(p, f * datasheet(p)) for f, (p, _) in zip(factors, even)]
    name = family(product(96))
    assert (
        profile_from(journal(uneven)).datasheet[name].sigma_log
        > 2 * profile_from(journal(even)).datasheet[name].sigma_log
    )


@given(st.floats(-1.0, 1.0), st.floats(0.05, 2.0), st.integers(100, 4000), st.integers(100, 4000))
def test_a_price_lies_between_the_curve_and_the_datasheet_and_is_surer_than_either(
    ratio, spread, m, n
):
    times = [(product(s), 1.4 * datasheet(product(s))) for s in SIZES]
    alone = replace(profile_from(journal(times)), datasheet={})
    one = product(m, n)
    name = family(one)
    both = replace(alone, datasheet={name: Beside(ratio, spread, 9)})
    (curve, sure), (seconds, sigma) = priced(alone, one), priced(both, one)
    other = datasheet(one) * math.exp(ratio)
    assert min(curve, other) * (1 - 1e-9) <= seconds <= max(curve, other) * (1 + 1e-9)
    assert sigma <= max(sure, 0.02) + 1e-9 and sigma <= spread + 1e-9


def test_two_sizes_tell_nothing_of_the_datasheet():
    times = [(product(m), datasheet(product(m))) for m in SIZES[:2]]
    assert profile_from(journal(times)).datasheet == {}


def test_a_device_without_a_datasheet_has_nothing_to_be_held_against():
    strange = {**SESSION, "device": {"name": "Nobody's Card", "kind": "mps"}}
    records = [strange, *journal([(product(m), 1e-4) for m in SIZES])[1:]]
    profile = profile_from(records)
    assert family(product(96)) in profile.curves
    for one in profile.datasheet.values():
        assert math.isfinite(one.log_ratio) and one.sigma_log > 0


def test_it_is_written_and_read_back(tmp_path):
    times = [(product(m), 1.7 * datasheet(product(m))) for m in SIZES]
    one = profile_from(journal(times))
    again = profiles.load(profiles.save(one, tmp_path / "one.json"))
    name = family(product(96))
    assert again.datasheet[name].log_ratio == pytest.approx(one.datasheet[name].log_ratio, rel=0.01)
    assert again.datasheet[name].n == len(SIZES)
    written = json.loads((tmp_path / "one.json").read_text())
    del written["digest"]
    written["datasheet"][name]["sigma_log"] = -1
    with pytest.raises(ProfileError, match="no measurement gives"):
        profiles.parse(written, "one.json")
    del written["datasheet"]
    assert profiles.parse(written, "one.json").datasheet == {}
