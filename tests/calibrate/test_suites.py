"""The suites cover what shipped traces ask for, within the limits of the device, the most telling
first."""

import json
from collections import Counter, defaultdict
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import tables
from planner.calibrate.suites import suite
from planner.calibrate.suites.order import described, spread, weight
from planner.calibrate.suites.tier import LONGEST_CALL_SECONDS, Tier
from planner.operations.call import Call, Lengths
from planner.operations.cases import as_dict, from_dict
from planner.operations.registry import kind_of, terms, work
from planner.trace import store
from planner.trace.bind import bind

GIB = 1 << 30
DEVICES = {
    "cuda": (("bfloat16", "float32", "tf32", "float16"), 130 * GIB),
    "cpu": (("float32", "bfloat16"), 8 * GIB),
    "mps": (("float32", "float16"), 12 * GIB),
}
OFTEN, FEWEST_SIZES = 20, 4
CLASSES = 10
SAMPLED_TRACES = 24  # of the shipped ones, evenly: loading all takes seconds


@cache
def cases_of(kind):
    dtypes, free = DEVICES[kind]
    return suite(SimpleNamespace(kind=kind, dtypes=lambda: dtypes, free_bytes=lambda: free))


@cache
def sizes_of(kind):
    """Family → the sizes that the suite times."""
    sizes = defaultdict(set)
    for one in cases_of(kind):
        family, features = described(one)
        sizes[family].add(features)
    return sizes


@cache
def families_asked_for():
    """Family → how many of the sampled traces ask for it: what one kind of model alone has often is
    not asked often."""
    # a regression ships with every text classifier, yet few questions ask for one
    found = sorted(tables.path("traces").glob("*.trace"))
    files = [file for file in found if not file.stem.endswith("-c1")]
    asked = Counter()
    for file in files[:: max(1, len(files) // SAMPLED_TRACES)]:
        trace = bind(store.load(file).traces[0], CLASSES)
        dims = trace.dims(
            **{
                s: max(trace.domain.get(s, (2, None))[0] or 2, 64 if s != "B" else 2)
                for s in trace.symbols
            }
        )
        done, lengths = work(trace, dims), Lengths(dims)
        asked.update(
            {
                term.family
                for index, signature in enumerate(trace.signatures)
                for term in terms(Call(signature, lengths), done.flops[index], done.bytes[index])
            }
        )
    return asked


def test_every_family_that_traces_often_ask_for_is_timed_at_several_sizes():
    asked = [
        family
        for family, count in families_asked_for().items()
        if count > OFTEN * SAMPLED_TRACES / 100
    ]
    assert len(asked) > 40
    assert not {
        family: len(sizes_of("cuda")[family])
        for family in asked
        if len(sizes_of("cuda")[family]) < FEWEST_SIZES
    }


@pytest.mark.parametrize(
    "kind, dtype", [("cpu", "float32"), ("mps", "float32"), ("mps", "float16")]
)
def test_other_devices_time_the_same_families_in_their_types(kind, dtype):
    asked = {
        f.replace("bfloat16", dtype)
        for f, count in families_asked_for().items()
        if count > OFTEN * SAMPLED_TRACES / 100 and not f.startswith("dequ")
    }
    assert not {
        family: len(sizes_of(kind)[family])
        for family in asked
        if len(sizes_of(kind)[family]) < FEWEST_SIZES
    }


@pytest.mark.parametrize("kind", DEVICES)
def test_cases_fit_the_device_and_are_there_once(kind):
    dtypes, free = DEVICES[kind]
    tier = Tier(kind, dtypes, free)
    cases = cases_of(kind)
    assert len({one.key for one in cases}) == len(cases)
    assert all(
        tier.call_seconds(one) <= LONGEST_CALL_SECONDS and one.bytes < free / 4 for one in cases
    )
    assert all(
        kind_of(one.signature.op).name not in ("unmodelled", "view", "synchronise") for one in cases
    )
    types = {o.dtype for one in cases for o in (*one.signature.inputs, *one.signature.outputs)}
    assert "float16" in types or "float16" not in dtypes
    assert "tf32" not in types


@pytest.mark.parametrize("kind", DEVICES)
def test_fifteen_seconds_tell_something_of_every_important_family(kind):
    dtypes, free = DEVICES[kind]
    tier, clock, seen = Tier(kind, dtypes, free), 0.0, Counter()
    for one in cases_of(kind):
        clock += tier.measuring_seconds(one)
        if clock > 15:
            break
        seen[described(one)[0]] += 1
    main = "bfloat16" if kind == "cuda" else "float32"
    wanted = [f"matmul.{way}.{main}" for way in ("nn", "nt", "tn")] + [
        f"attention.{way}.causal.{main}" for way in ("forward", "backward")
    ]
    wanted += [f"normalization.layer.{way}.float32" for way in ("forward", "backward")] + [
        "optimizer.foreach.float32"
    ]
    wanted += [f"convolution.grad_weight.dense.{'c' if kind == 'mps' else 'cl'}.{main}"]
    wanted += [
        f"elementwise.light.dense.{main}",
        f"elementwise.heavy.dense.{main}",
        "copy.cast.dense.float32",
        "softmax.backward.float32",
    ]
    assert not [family for family in wanted if seen[family] < 3]


def test_less_memory_leaves_the_large_cases_out():
    small = suite(
        SimpleNamespace(kind="cuda", dtypes=lambda: ("bfloat16",), free_bytes=lambda: GIB)
    )
    assert (
        0 < max(one.bytes for one in small) < GIB / 4 < max(one.bytes for one in cases_of("cuda"))
    )


def test_cases_survive_the_journal():
    for one in cases_of("cuda")[::50]:
        assert from_dict(json.loads(json.dumps(as_dict(one)))).key == one.key


def test_backward_convolutions_compute_one_gradient_each():
    for one in cases_of("cpu"):
        if one.signature.op == "aten.convolution_backward.default":
            assert sum(one.signature.attr("output_mask")) == 1 == len(one.signature.outputs)


def test_the_longest_prefix_weighs():
    assert weight("elementwise.light.dense.bfloat16", "cuda") > weight(
        "elementwise.light.strided.bfloat16", "cuda"
    )
    assert weight("matmul.nn.bfloat16", "cuda") > weight("matmul.nn.float32", "cuda") and weight(
        "matmul.nn.float32", "cpu"
    ) > weight("matmul.nn.bfloat16", "cpu")
    assert weight("fill.int64", "cpu") < weight("fill.float32", "cpu")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**4)), min_size=1, max_size=30))
def test_spread_takes_each_once_and_corners_before_their_neighbours(rows):
    features = np.array(rows, dtype=float)
    order = spread(features)
    assert sorted(order) == list(range(len(rows)))
    points = np.log(features)
    gaps = [
        min(np.abs(points[i] - points[j]).max() for j in order[:position])
        for position, i in enumerate(order)
        if position
    ]
    assert all(later <= earlier + 1e-9 for earlier, later in zip(gaps, gaps[1:]))


@pytest.mark.parametrize("kind", DEVICES)
def test_one_query_a_row_is_timed_as_text_is_written(kind):
    """At several numbers of rows and of what was written, forward alone, in every type of a
    step."""
    written = [
        family
        for family, sizes in sizes_of(kind).items()
        if family.startswith("attention.") and len({size for size in sizes if size[1] == 1}) > 2
    ]
    dtypes, _ = DEVICES[kind]
    assert sorted(written) == sorted(
        f"attention.forward.{mask}.{dtype}"
        for mask in ("full", "masked")
        for dtype in dtypes
        if dtype != "tf32"
    )
