"""Curves: they respect the ceilings, pass near what was measured, hold their efficiency beyond it
and know their error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.devices.curves import EXTRAPOLATED, Point, fit_curve
from planner.devices.priors import tiles
from planner.operations.products import ProductPriors, product_seconds

RATE, BANDWIDTH, LATENCY = 4e13, 1e12, 4e-6


def law(b, m, n, k):
    """A made-up device: efficiency grows with every side."""
    efficiency = 0.9 * m / (m + 200) * n / (n + 80) * k / (k + 60)
    return 2 * b * m * n * k / (RATE * efficiency) + LATENCY


def product(b, m, n, k, seconds=None):
    seconds = law(b, m, n, k) if seconds is None else seconds
    return Point(
        (b, m, n, k), 2 * b * m * n * k, 2 * b * (m * k + k * n + m * n), seconds, seconds, seconds
    )


def sides(seed=0, count=120, low=16, high=8192):
    generator = np.random.default_rng(seed)
    return [
        (1, *(int(round(x)) for x in np.exp(generator.uniform(np.log(low), np.log(high), 3))))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def curve():
    return fit_curve("matmul.nt.bfloat16", [product(*s) for s in sides()])


def ask(curve, *sizes):
    b, m, n, k = sizes
    seconds, sigma = curve.seconds(sizes, 2 * b * m * n * k, 2 * b * (m * k + k * n + m * n))
    return float(seconds[0]), float(sigma[0])


def test_unseen_sizes_are_predicted_as_well_as_the_curve_says(curve):
    errors = np.array([abs(np.log(ask(curve, *s)[0] / law(*s))) for s in sides(seed=1, count=60)])
    assert np.median(errors) < 0.05
    assert np.median(errors) < 2.5 * max(curve.error.median, 0.01)
    assert curve.error.n == 120 and curve.error.median <= curve.error.p95


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), *(st.integers(1, 10**5) for _ in range(3)))
def test_never_faster_than_the_ceilings(curve, b, m, n, k):
    seconds, sigma = ask(curve, b, m, n, k)
    moved = 2 * b * (m * k + k * n + m * n)
    assert seconds >= 2 * b * m * n * k / curve.flops_per_s * (1 - 1e-9)
    assert seconds >= moved / curve.bytes_per_s * (1 - 1e-9)
    assert np.isfinite(seconds) and sigma > 0


def test_beyond_the_measured_sizes_the_efficiency_holds_and_the_spread_widens(curve):
    inside, sure = ask(curve, 1, 8000, 8000, 8000)
    outside, unsure = ask(curve, 1, 64000, 64000, 64000)
    assert outside / inside == pytest.approx(512, rel=0.15)
    assert unsure > sure + 3 * EXTRAPOLATED


def test_one_bad_measurement_does_not_bend_the_curve():
    points = [product(*s) for s in sides()]
    bad = product(1, 900, 1000, 1100, seconds=8 * law(1, 900, 1000, 1100))
    curve = fit_curve("matmul.nt.bfloat16", [*points, bad])
    assert ask(curve, 1, 950, 1000, 1000)[0] == pytest.approx(law(1, 950, 1000, 1000), rel=0.25)


def test_waves_of_tiles_are_used_where_the_measurements_show_them():
    unit = ProductPriors(1.0, 0.0, tiles("product_tensor"), 1.0, 0.0)

    def waves(m, n, k):
        return float(
            product_seconds(
                1,
                m,
                n,
                k,
                moved_bytes=0.0,
                flops_per_s=RATE,
                bytes_per_s=BANDWIDTH,
                multiprocessors=108,
                priors=unit,
            )
        )

    chosen = [s for s in sides(count=90, low=256)]
    curve = fit_curve(
        "matmul.nt.bfloat16",
        [product(*s, seconds=waves(*s[1:]) + LATENCY) for s in chosen],
        multiprocessors=108,
    )
    assert curve.multiprocessors == 108
    smooth = fit_curve("matmul.nt.bfloat16", [product(*s) for s in sides()], multiprocessors=108)
    assert smooth.multiprocessors == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_hardly_a_measurement_still_gives_a_rate_and_says_that_it_is_unsure(count):
    curve = fit_curve(
        "softmax.forward.float32",
        [Point((2.0**i, 512.0), 0.0, 4096.0 * 2**i, 1e-5 * 2**i, 0, 0) for i in range(count)],
    )
    seconds, sigma = curve.seconds((4096, 512), 0.0, 4096.0 * 4096)
    assert seconds[0] == pytest.approx(1e-5 * 4096, rel=0.5) and sigma[0] >= 0.4


def test_without_measurements_there_is_no_curve():
    with pytest.raises(ValueError):
        fit_curve("fill.float32", [])


def test_the_same_size_measured_twice_is_one_point():
    curve = fit_curve(
        "matmul.nt.bfloat16",
        [product(1, 64, 64, 64), product(1, 64, 64, 64), product(1, 128, 64, 64)],
    )
    assert len(curve.points) == 2


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(1e-7, 1e-2)), min_size=1, max_size=9),
    st.integers(0, 1 << 22),
)
def test_measurements_without_work_are_latency_and_never_a_factor(found, asked):
    """A fill of an empty tensor moves nothing, and took its time all the same."""
    points = [
        Point((float(4**n * (n > 0)),), 0.0, float(4**n * (n > 0)), s, s, s) for n, s in found
    ]
    curve = fit_curve("fill.float32", points)
    seconds, spread = curve.seconds((float(asked),), 0.0, float(asked))
    slowest = max(s for _, s in found)
    assert np.isfinite(spread).all()
    assert 0 <= seconds[0] <= 1e3 * slowest * max(1, asked)
