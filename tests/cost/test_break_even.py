"""Where two ways of answering requests cost the same, held against a search over loads."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.cost.break_even import MOST_SERVERS, WORTH, cheapest_by_load, crossing
from planner.cost.token_bills import CostCurve

by_token = st.builds(
    CostCurve, up_front_usd=st.floats(0, 1e3), usd_per_request=st.floats(1e-6, 1e-2)
)
served = st.builds(
    CostCurve,
    up_front_usd=st.floats(0, 1e3),
    usd_per_server_month=st.floats(10, 1e4),
    requests_per_server_month=st.floats(1e4, 1e7),
)
store = st.builds(
    CostCurve,
    usd_per_request=st.floats(1e-6, 1e-2),
    usd_per_month=st.floats(0, 10),
    metered_usd_per_request=st.floats(1e-6, 1e-3),
    least_usd_per_month=st.floats(20, 100),
)


def test_a_crossing_by_hand():
    """$0.001 a request against $1,000 a month and $50 once: over a year the same at 1,004,167
    requests a month."""
    api, own = (
        CostCurve(usd_per_request=0.001),
        CostCurve(up_front_usd=50, usd_per_server_month=1000, requests_per_server_month=5e6),
    )
    met = crossing(("api", "own"), (api, own), 12)
    assert (met.below, met.above, met.again) == ("api", "own", False)
    assert met.requests_per_month == pytest.approx(
        12050 / 12 / 0.001, rel=1e-5
    ) and met.project_usd == pytest.approx(12050, rel=1e-5)
    assert crossing(("own", "api"), (own, api), 12) == met


def test_stairs_of_servers_cross_more_than_once():
    api, own = (
        CostCurve(usd_per_request=0.0003),
        CostCurve(usd_per_server_month=1000, requests_per_server_month=5e6),
    )
    assert crossing(("api", "own"), (api, own), 12).again


def test_what_is_cheaper_at_every_load_has_no_crossing():
    assert (
        crossing(("a", "b"), (CostCurve(usd_per_request=1e-3), CostCurve(usd_per_request=2e-3)), 12)
        is None
    )
    assert crossing(("a", "a"), (CostCurve(usd_per_request=1e-3),) * 2, 12) is None


def test_a_reversal_that_is_over_before_the_next_server_is_found():
    """Just past its seventh step, where the load divided by a server's requests rounds to seven,
    the eighth server makes the served way dearer until the next-but-one load."""
    api = CostCurve(up_front_usd=437.36104548606625, usd_per_request=1e-6)
    own = CostCurve(usd_per_server_month=10.0, requests_per_server_month=4764335.922817869)
    met = crossing(("api", "own"), (api, own), 10.0)
    assert (met.below, met.above, met.again) == ("own", "api", True)
    assert met.requests_per_month == pytest.approx(7 * 4764335.922817869, rel=1e-9)


@given(st.one_of(by_token, store), served, st.floats(0.5, 60))
@example(
    CostCurve(up_front_usd=1e-6, usd_per_request=1e-6),
    CostCurve(up_front_usd=0.0, usd_per_server_month=10.0, requests_per_server_month=1e7),
    1.0,
)
def test_a_crossing_is_the_first_load_at_which_the_order_turns(one, other, months):
    names, ways = ("one", "other"), {"one": one, "other": other}
    met = crossing(names, (one, other), months)
    limit = MOST_SERVERS * other.requests_per_server_month
    loads = [limit ** (i / 400) for i in range(401)]
    if met is None:
        signs = {
            one.usd(load, months) < other.usd(load, months)
            for load in loads
            if one.usd(load, months) != pytest.approx(other.usd(load, months))
        }
        assert len(signs) <= 1
        return
    for load in loads:
        if load < met.requests_per_month * (1 - 1e-6):
            assert ways[met.below].usd(load, months) <= ways[met.above].usd(load, months) * (
                1 + 1e-6
            )
    # the order turns at the load (two lines meet) or behind it (a server is added); a stretch that
    # ends with the next server may be shorter than any step that is looked behind
    at = met.requests_per_month
    assert any(
        ways[met.above].usd(load, months) <= ways[met.below].usd(load, months) * (1 + 1e-6)
        for load in (at, at * (1 + 1e-12), at * (1 + 2e-6) + 1e-6)
    )


@given(
    st.lists(st.one_of(by_token, served, store), min_size=1, max_size=4),
    st.floats(1, 24),
    st.floats(0, 1),
)
def test_the_lower_edge_is_never_beaten_by_more_than_is_worth_a_change(lines, months, where):
    ways = {f"way {i}": line for i, line in enumerate(lines)}
    edge = cheapest_by_load(ways, months)
    assert edge[0].from_requests_per_month == 1.0 and [
        e.from_requests_per_month for e in edge
    ] == sorted(e.from_requests_per_month for e in edge)
    limit = min(
        [
            1e6,
            *(
                MOST_SERVERS * line.requests_per_server_month
                for line in lines
                if line.usd_per_server_month
            ),
        ]
    )
    load = limit**where
    way = [e.way for e in edge if e.from_requests_per_month <= load][-1]
    assert (
        ways[way].usd(load, months)
        <= min(line.usd(load, months) for line in lines) * (1 + WORTH) * (1 + 1e-5) + 1e-6
    )


def test_a_way_that_got_cheaper_long_before_the_next_step_takes_over():
    ways = {
        "api": CostCurve(usd_per_request=0.001),
        "own": CostCurve(usd_per_server_month=1000, requests_per_server_month=1e9),
    }
    edge = cheapest_by_load(ways, 12)
    assert [e.way for e in edge] == ["api", "own"] and edge[
        1
    ].from_requests_per_month == pytest.approx(1e6 * (1 + WORTH), rel=1e-4)
