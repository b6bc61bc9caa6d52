"""The memory of hand-made and recorded steps."""

import numpy as np
from handmade_traces import make, traces
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.memory.allocator import AllocatorConfig
from planner.memory.live_bytes import candidate_moments, peak_allocated
from planner.memory.peak import readable_module, replay
from planner.trace.table import Operand, Signature

MIB = 2**20
POINTS = st.fixed_dictionaries({"B": st.integers(1, 40), "S": st.integers(1, 300)})


def naive_peak(trace, point, accumulation):
    """Peak of rounded live bytes by walking every operation of two steps, written from the training
    loop itself."""
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    rounded = [0 if s == 0 else max(512, -(-int(s) // 512) * 512) for s in sizes]
    optimizer_at = (
        int(np.argmax(trace.op_phase == 4)) if (trace.op_phase == 4).any() else trace.op_count
    )
    live, peak = {}, 0
    for j in range(len(trace.birth)):
        if trace.birth[j] < 0 and trace.category[j] in (0, 2):
            live[j] = rounded[j]
    for micro in list(range(accumulation)) * 2:
        last = micro == accumulation - 1
        end = trace.op_count if last else optimizer_at
        for j in range(len(trace.birth)):
            if trace.birth[j] < 0 and trace.category[j] == 3:
                live[j] = rounded[j]
        short = {}
        for i in range(end):
            for j in np.flatnonzero(trace.birth == i):
                if j in live:
                    short[j] = i + 1
                    live[("sum", j)] = rounded[j]
                else:
                    live[j] = rounded[j]
            peak = max(peak, sum(live.values()))
            for j in np.flatnonzero(trace.death == i):
                if trace.category[j] != 0:
                    live.pop(j, None)
            for j in [j for j, until in short.items() if until == i]:
                del short[j], live[("sum", j)]
        for key in list(live):
            j = key[1] if isinstance(key, tuple) else key
            lasting = trace.birth[j] < 0 and trace.category[j] in (0, 2)
            gradient = trace.category[j] == 1 and not isinstance(key, tuple)
            if not lasting and not (gradient and not last):
                del live[key]
        peak = max(peak, sum(live.values()))
    return peak


def start_of(trace, point):
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size][(trace.birth < 0)]
    return int(sum(-(-s // 512) * 512 for s in sizes))


@settings(max_examples=150, deadline=None)
@given(traces(), POINTS, st.integers(1, 4))
def test_grid_and_naive_agree(trace, point, accumulation):
    got = int(peak_allocated(trace, trace.dims(**point), accumulation=accumulation))
    assert got == max(naive_peak(trace, point, accumulation), start_of(trace, point))


@settings(max_examples=150, deadline=None)
@given(traces(), POINTS, st.integers(1, 4))
def test_grid_equals_the_replay_where_blocks_are_split_to_512_bytes(trace, point, accumulation):
    exact = replay(
        trace, point, accumulation=accumulation, config=AllocatorConfig(expandable_segments=True)
    )
    assert (
        int(peak_allocated(trace, trace.dims(**point), accumulation=accumulation))
        == exact.allocated_bytes
        == exact.rounded_bytes
    )


@settings(max_examples=100, deadline=None)
@given(traces(), POINTS, st.integers(1, 3), st.booleans())
def test_the_parts_sum(trace, point, accumulation, expandable):
    peak = replay(trace, point, accumulation=accumulation, config=AllocatorConfig(expandable))
    assert sum(peak.breakdown.values()) == peak.allocated_bytes == sum(b for _, b in peak.by_module)
    assert peak.requested_bytes <= peak.rounded_bytes <= peak.allocated_bytes <= peak.reserved_bytes
    assert peak.fragmentation_bytes >= 0


@settings(max_examples=60, deadline=None)
@given(traces(), st.integers(1, 3))
def test_a_grid_is_its_points(trace, accumulation):
    batches, lengths = np.array([[1], [7], [33]]), np.array([[5, 64, 129]])
    grid = peak_allocated(trace, trace.dims(B=batches, S=lengths), accumulation=accumulation)
    for i, b in enumerate(batches[:, 0]):
        for j, s in enumerate(lengths[0]):
            assert grid[i, j] == peak_allocated(
                trace, trace.dims(B=int(b), S=int(s)), accumulation=accumulation
            )
    assert (np.diff(grid, axis=0) >= 0).all() and (np.diff(grid, axis=1) >= 0).all()


def step():
    """Weights 1 MiB, a saved activation of B·S·64 floats, its gradient, and a state."""
    mm = Signature(
        "aten.mm.default",
        (Operand((2, 3), "float32"), Operand((3, 3), "float32")),
        (Operand((2, 3), "float32"),),
    )
    sizes = [((4, 3), 4), ((2, 3), 4)]  # 1 MiB; 256·B·S bytes
    storages = [
        (0, -1, 4, "weights"),
        (0, -1, 4, "optimizer"),
        (1, 0, 1, "activations"),
        (1, 1, 2, "temporary"),
        (0, 2, 4, "gradients"),
    ]
    return make(
        [(0, "forward"), (0, "backward"), (0, "backward"), (0, "optimizer")], storages, sizes, [mm]
    )


def test_a_step_by_hand():
    peak = replay(step(), {"B": 16, "S": 256})  # 1 MiB of activation
    assert dict(peak.breakdown) == {
        "weights": MIB,
        "gradients": 0,
        "optimizer": MIB,
        "activations": MIB,
        "temporary": MIB,
    }
    assert (peak.allocated_bytes, peak.phase, peak.operation, peak.peak_operation) == (
        4 * MIB,
        "backward",
        "aten.mm.default",
        1,
    )


def test_workspaces_are_taken_at_the_first_products_and_stay():
    without, with_them = (
        replay(step(), {"B": 16, "S": 256}, workspace=w) for w in ((), (8 * MIB, 3 * MIB))
    )
    assert with_them.allocated_bytes - without.allocated_bytes == 11 * MIB
    assert with_them.breakdown["temporary"] == 12 * MIB
    assert dict(with_them.by_module)["workspace"] == 11 * MIB


def test_accumulation_keeps_gradients_through_later_micro_batches():
    once, twice = (replay(step(), {"B": 16, "S": 256}, accumulation=a) for a in (1, 2))
    assert twice.allocated_bytes == once.allocated_bytes + MIB
    assert twice.breakdown["gradients"] == MIB


def test_a_limit_is_reported_not_raised():
    tight = replay(step(), {"B": 16, "S": 256}, limit_bytes=3 * MIB)
    assert not tight.fits and tight.allocated_bytes == 4 * MIB
    assert replay(step(), {"B": 16, "S": 256}, limit_bytes=400 * MIB).fits


def test_few_moments_are_left_of_a_deep_model():
    """A stack of equal blocks: activations go as gradients come, so only the ends can be the
    peak."""
    depth = 200
    operations = [(0, "forward")] * depth + [(0, "backward")] * depth
    storages = [(0, i, 2 * depth - 1 - i, "activations") for i in range(depth)] + [
        (1, depth + i, 2 * depth, "gradients") for i in range(depth)
    ]
    assert len(candidate_moments(make(operations, storages, [((2, 3), 4), ((4, 3), 4)]))) <= 4


def test_module_names_are_cut_at_the_block():
    assert (
        readable_module("base_model.model.layers.3.mlp.gate_proj.lora_A.default")
        == "base_model.model.layers.3"
    )
    assert readable_module("0.conv") == "0"
    assert readable_module("lm_head") == "lm_head"
    assert readable_module("") == "(whole model)"
