"""Times of products from their shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.operations.products import ProductPriors, joined, product_seconds

SECONDS = st.floats(1e-9, 1e3)
PRIORS = ProductPriors(0.8, 85.0, ((128, 128, 1.0), (128, 64, 0.8)), 0.86, 4e-6, overlap=4.0)


@given(SECONDS, SECONDS, st.floats(1.0, 30.0))
def test_work_and_traffic_joined_take_no_less_than_either_and_no_more_than_both(a, t, power):
    found = float(joined(a, t, power))
    assert max(a, t) * (1 - 1e-9) <= found <= (a + t) * (1 + 1e-9)
    assert found == float(joined(t, a, power))
    assert float(joined(a, t, float("inf"))) == max(a, t)


@given(SECONDS, SECONDS)
def test_a_power_of_four_is_taken_by_roots(a, t):
    assert float(joined(a, t, 4.0)) == pytest.approx(float(joined(a, t, 4.0 + 1e-9)), rel=1e-6)


def test_nothing_takes_no_time():
    assert float(joined(0.0, 0.0, 4.0)) == 0.0
    assert np.allclose(joined(np.array([0.0, 2.0]), 0.0, 4.0), [0.0, 2.0])


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 8192))
def test_a_deeper_product_never_takes_less(m, n, k):
    def seconds(depth: int) -> float:
        moved = 2.0 * (m * depth + depth * n + m * n)
        return float(
            product_seconds(
                1.0,
                m,
                n,
                depth,
                moved_bytes=moved,
                flops_per_s=3e14,
                bytes_per_s=2e12,
                multiprocessors=108,
                priors=PRIORS,
            )
        )

    assert seconds(2 * k) >= seconds(k)
