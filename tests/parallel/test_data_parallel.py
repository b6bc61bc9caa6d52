from dataclasses import replace

import pytest

from planner.devices.lookup import resolve_device
from planner.devices.priors import prior
from planner.errors import QuestionError
from planner.parallel.data_parallel import (
    all_reduce_seconds,
    bucket_bytes,
    exposed_seconds,
    link_bytes_per_s,
)

A100, T4 = resolve_device("a100-sxm-80").spec, resolve_device("t4").spec


def test_one_device_sums_nothing():
    assert (
        exposed_seconds(1e9, 1, A100, 0.1)
        == all_reduce_seconds(1e9, 1, A100)
        == bucket_bytes(1e9, 1)
        == 0
    )


def test_the_ring_moves_twice_the_gradients_but_one_share():
    latency = 40 * 2 * 7 * prior(A100, "data_parallel", "latency_seconds")
    assert all_reduce_seconds(40 * 26214400, 8, A100) == pytest.approx(
        2 * 7 / 8 * 40 * 26214400 / link_bytes_per_s(A100) + latency
    )


def test_what_hides_behind_the_backward_pass_costs_little():
    alone, long_backward, none = (
        all_reduce_seconds(2e9, 8, A100),
        exposed_seconds(2e9, 8, A100, 10.0),
        exposed_seconds(2e9, 8, A100, 0.0),
    )
    assert long_backward < 0.2 * alone and none == pytest.approx(alone)
    assert exposed_seconds(2e9, 8, A100, 0.01) <= none


def test_pci_express_is_slower_and_no_link_is_refused():
    assert link_bytes_per_s(T4) < link_bytes_per_s(A100) / 10
    with pytest.raises(QuestionError, match="no sourced link"):
        link_bytes_per_s(replace(T4, pcie_generation=None))
