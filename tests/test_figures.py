"""A figure with its uncertainty: the chance of being above a limit."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.figures import Estimate


@given(st.floats(1e-3, 1e9), st.floats(0.01, 1.0), st.floats(0.05, 20.0))
@example(1.0, 1.0, 0.9999999999999999)
def test_the_chance_of_being_above_a_limit(middle, sigma, ratio):
    figure = Estimate.with_spread(middle, sigma)
    chance = figure.chance_above(middle * ratio)
    assert 0 <= chance <= 0.5 if ratio >= 1 else 0.5 <= chance <= 1
    # a limit next to the median rounds to it
    assert chance != 0.5 or ratio == pytest.approx(1, rel=1e-9)
    assert figure.chance_above(figure.p90) == pytest.approx(0.1, abs=1e-6) and figure.chance_above(
        figure.p10
    ) == pytest.approx(0.9, abs=1e-6)
    assert figure.chance_above(middle * ratio * 1.5) <= chance


def test_an_exact_figure_is_above_or_not():
    assert (
        Estimate.exact(5.0).chance_above(5.0) == 0.0
        and Estimate.exact(5.0).chance_above(4.9) == 1.0
    )
