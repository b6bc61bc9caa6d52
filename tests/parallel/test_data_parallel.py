from dataclasses import replace

import pytest

from planner.devices.lookup import resolve_device
from planner.devices.priors import prior
from planner.errors import QuestionError
from planner.parallel.data_parallel import all_reduce_seconds, bucket_bytes, exposed_seconds
from planner.parallel.network import network_of

A100, T4 = resolve_device("a100-sxm-80").spec, resolve_device("t4").spec
BUCKET = prior(A100, "data_parallel", "bucket_bytes")


def test_one_device_sums_nothing():
    assert (
        exposed_seconds(1e9, 1, A100, 0.1)
        == all_reduce_seconds(1e9, 1, A100)
        == bucket_bytes(1e9, 1)
        == 0
    )


def test_gradients_are_summed_bucket_after_bucket():
    network = network_of(A100, 8)
    each, rest = (network.time("all_reduce", size, 8) for size in (BUCKET, BUCKET / 4))
    assert all_reduce_seconds(40.25 * BUCKET, 8, A100) == pytest.approx(40 * each + rest)
    assert all_reduce_seconds(40 * BUCKET, 8, A100) == pytest.approx(40 * each)


def test_what_hides_behind_the_backward_pass_costs_little():
    alone, long_backward, none = (
        all_reduce_seconds(2e9, 8, A100),
        exposed_seconds(2e9, 8, A100, 10.0),
        exposed_seconds(2e9, 8, A100, 0.0),
    )
    assert long_backward < 0.2 * alone and none == pytest.approx(alone)
    assert exposed_seconds(2e9, 8, A100, 0.01) <= none


def test_pci_express_is_slower_and_no_link_is_refused():
    assert all_reduce_seconds(1e9, 4, T4) > 8 * all_reduce_seconds(1e9, 4, A100)
    with pytest.raises(QuestionError, match="no sourced link"):
        all_reduce_seconds(1e9, 4, replace(T4, pcie_generation=None))


def test_more_devices_than_a_node_holds_pay_for_the_network_between():
    one, two, eight = (all_reduce_seconds(2e9, devices, A100) for devices in (8, 16, 64))
    assert 1.2 * one < two < eight
    assert all_reduce_seconds(2e9, 16, T4) > 10 * two
