"""Modules as a tree: sums, and equal blocks as one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.explain.rows import time_rows
from planner.explain.tree import tree_of


def amounts(**paths):
    return {name.replace("__", "."): np.array([float(value)]) for name, value in paths.items()}


def named(nodes):
    return [(n.name, n.count, float(n.total[0]), named(n.children)) for n in nodes]


def test_equal_blocks_become_one_and_sums_stay():
    found = tree_of(
        amounts(
            m__embed=1, m__layers__0__a=2, m__layers__0__b=3, m__layers__1__a=4, m__layers__1__b=5
        ),
        1,
    )
    assert named(found) == [
        ("m", 1, 15.0, [
            ("embed", 1, 1.0, []),
            ("layers.0–1", 2, 14.0, [("a", 2, 6.0, []), ("b", 2, 8.0, [])]),
        ])
    ]  # fmt: skip
    assert found[0].children[1].path == "m.layers.0"


def test_a_block_that_is_built_otherwise_stands_alone():
    found = tree_of(amounts(l__0__a=1, l__0__down=1, l__1__a=1, l__2__a=1), 1)
    assert named(found)[0][3] == [
        ("0", 1, 2.0, [("a", 1, 1.0, []), ("down", 1, 1.0, [])]),
        ("1–2", 2, 2.0, [("a", 2, 2.0, [])]),
    ]


def test_blocks_that_hold_one_list_are_folded_too():
    """As T5's: block.N.layer.M."""
    paths = {f"block.{n}.layer.{m}": np.array([1.0]) for n in range(3) for m in range(2)}
    (top,) = tree_of(paths, 1)
    assert (top.name, top.count, float(top.total[0])) == ("block.0–2", 3, 6.0)


def test_numbers_are_ordered_as_numbers():
    paths = {f"l.{n}": np.array([1.0]) for n in (10, 2, 9, 1, 0, 11, 3, 4, 5, 6, 7, 8)}
    assert tree_of(paths, 1)[0].name == "l.0–11"


@given(
    st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "0", "1", "2"]), min_size=1, max_size=4).map(".".join),
        st.integers(1, 9),
        max_size=20,
    )
)
def test_nothing_is_lost(found):
    tops = tree_of({path: np.array([float(size)]) for path, size in found.items()}, 1)
    assert sum(float(top.total[0]) for top in tops) == sum(found.values())


def test_small_parts_are_added_up():
    def node(name, seconds, children=()):
        return {
            "name": name, "path": name, "count": 1, "seconds": seconds, "share": seconds / 100,
            "waiting_seconds": 0.0, "by_kind": {"matmul": seconds}, "children": list(children),
        }  # fmt: skip

    document = {"time": {"tree": [node("a", 99.0, [node("b", 98.2), node("c", 0.5),
                                                   node("d", 0.3)]), node("e", 1.0)]}}  # fmt: skip
    rows = time_rows(document)
    assert [(r.depth, r.name, r.smaller) for r in rows] == [
        (0, "a", 0), (1, "b", 0), (1, "", 2), (0, "e", 0),
    ]  # fmt: skip
    assert rows[2].amount == 0.8
