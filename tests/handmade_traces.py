"""Small StepTraces written by hand, and a strategy that makes arbitrary ones."""

import hypothesis.strategies as st
import numpy as np

from planner.trace.table import CATEGORIES, PHASES, Operand, Signature, StepTrace

#: forms: 0 → 1, 1 → B, 2 → B·S, 3 → 64, 4 → 4096, 5 → S
FORMS = np.array(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [64, 0, 0, 0], [4096, 0, 0, 0], [0, 0, 1, 0]],
    dtype=np.int64,
)
MONOMIALS = ("1", "B", "S", "BS")


def make(operations, storages, sizes, signatures=None, modules=("",)) -> StepTrace:
    """``operations``: (signature, phase name); ``storages``: (size, birth, death, category
    name)."""
    signatures = signatures or (
        Signature("aten.mul.Tensor", (Operand((2, 3), "float32"),), (Operand((2, 3), "float32"),)),
    )
    ints = [
        [o[0] for o in operations],
        [PHASES.index(o[1]) for o in operations],
        [0] * len(operations),
    ]
    columns = list(zip(*storages)) or [(), (), (), ()]
    return StepTrace(
        FORMS,
        MONOMIALS,
        tuple(signatures),
        np.array(ints[0], np.int32),
        np.array(ints[1], np.uint8),
        np.array(ints[2], np.int32),
        tuple(sizes),
        np.array(columns[0], np.int32),
        np.array(columns[1], np.int32),
        np.array(columns[2], np.int32),
        np.array([CATEGORIES.index(c) for c in columns[3]], np.uint8),
        np.zeros(len(storages), np.int32),
        modules,
    )


@st.composite
def traces(draw) -> StepTrace:
    """Any lifetimes that a recorded step can have."""
    sizes = draw(
        st.lists(
            st.tuples(
                st.lists(st.integers(0, 5), max_size=3).map(tuple), st.sampled_from([1, 2, 4])
            ),
            min_size=1,
            max_size=5,
        )
    )
    forward, backward, update = (
        draw(st.integers(1, 6)),
        draw(st.integers(1, 6)),
        draw(st.integers(0, 3)),
    )
    operations = (
        [(0, "forward")] * forward + [(0, "backward")] * backward + [(0, "optimizer")] * update
    )
    end, size = len(operations), st.integers(0, len(sizes) - 1)
    storages = [
        (draw(size), -1, end, category)
        for category in draw(
            st.lists(st.sampled_from(["weights", "optimizer", "activations"]), max_size=4)
        )
    ]
    for _ in range(draw(st.integers(0, 12))):
        category = draw(st.sampled_from(["gradients", "activations", "temporary"]))
        if category == "gradients":
            storages.append(
                (draw(size), draw(st.integers(forward, forward + backward - 1)), end, category)
            )
        else:
            birth = draw(st.integers(0, end - 1))
            storages.append((draw(size), birth, draw(st.integers(birth, end)), category))
    return make(operations, storages, sizes)
