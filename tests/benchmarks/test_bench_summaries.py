"""The statistics of accuracy against hand-made figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.validate.summaries import Comparison, Verdict, by, judge, quantile, summarise


def comparison(measured, p50, low=None, high=None, **kw):
    given_ = dict(
        case_id=f"{measured}/{p50}",
        table="t",
        quantity="time",
        basis="datasheet",
        strategy="lora",
        gpu="g",
        family="f",
        modality="text",
        split="fit",
    )
    return Comparison(
        **{**given_, **kw},
        measured=measured,
        p10=p50 if low is None else low,
        p50=p50,
        p90=p50 if high is None else high,
    )


def test_errors_bias_and_worst():
    summary = summarise([comparison(10, 11), comparison(10, 8), comparison(10, 20)])
    assert summary.count == 3
    assert summary.median == pytest.approx(0.2)
    assert summary.worst == pytest.approx(1.0) and summary.worst_case == "10/20"
    assert summary.p90 == pytest.approx(0.2 + 0.8 * (1.0 - 0.2))
    assert summary.bias_log == pytest.approx(
        math.log(1.1)
    ) and summary.bias_percent == pytest.approx(10)


def test_coverage_counts_the_ends():
    group = [
        comparison(10, 10, 9, 11),
        comparison(11, 10, 9, 11),
        comparison(11.001, 10, 9, 11),
        comparison(8.9, 10, 9, 11),
    ]
    assert summarise(group).coverage == pytest.approx(0.5)


def test_a_prediction_of_nothing_is_an_error_of_one():
    summary = summarise([comparison(10, 0.0)])
    assert summary.median == 1.0 and summary.bias_percent == -100


def test_groups_keep_apart():
    groups = by(
        [comparison(10, 11), comparison(10, 12, gpu="h"), comparison(10, 13, quantity="allocated")],
        "quantity",
        "gpu",
    )
    assert list(groups) == [("allocated", "g"), ("time", "g"), ("time", "h")]
    assert groups["time", "h"].median == pytest.approx(0.2)


def test_nothing_to_summarise():
    assert summarise([]) is None and by([], "gpu") == {}
    with pytest.raises(ValueError):
        quantile([], 0.5)


def test_verdicts():
    summary = judge(
        [
            Verdict("a", "t", True, True),
            Verdict("b", "t", True, False),
            Verdict("c", "t", False, False),
            Verdict("d", "t", False, True),
            Verdict("e", "t", False, None),
        ]
    )
    assert summary.false_fits == ("a",) and summary.false_refusals == ("c",)
    assert (summary.ran, summary.ran_out, summary.no_verdict) == (3, 2, 1)
    assert summary.false_refusal_share == pytest.approx(1 / 3)
    assert judge([]).false_refusal_share is None


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_quantile_lies_among_the_values_and_agrees_with_numpy(values, share):
    import numpy as np

    got = quantile(values, share)
    assert min(values) <= got <= max(values) or math.isclose(got, max(values))
    assert got == pytest.approx(float(np.quantile(values, share)), rel=1e-9)


@given(
    st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e3)), min_size=1, max_size=20),
    st.floats(0.01, 100),
)
def test_errors_do_not_depend_on_the_unit(pairs, scale):
    one = summarise([comparison(m, p) for m, p in pairs])
    other = summarise([comparison(m * scale, p * scale) for m, p in pairs])
    assert one.median == pytest.approx(
        other.median, rel=1e-6, abs=1e-9
    ) and one.bias_log == pytest.approx(other.bias_log, rel=1e-6, abs=1e-9)
