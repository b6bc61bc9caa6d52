"""Operation tables: rows become the cases that traces hold, and files that are damaged or hostile
give one clear line."""

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.calibrate.importers.operation_cases import _BUILDERS, CannotMap, cases_of
from planner.calibrate.importers.operation_table import NEEDED, records
from planner.errors import PlannerError, ProfileError
from planner.operations.cases import from_dict
from planner.operations.registry import cost, kind_of, terms

H200 = "NVIDIA H200"


def row(op, direction="forward", dtype="bf16", us=100.0, device=H200, status="ok", **shape):
    return {
        "status": status,
        "op": op,
        "direction": direction,
        "dtype": dtype,
        "shape": json.dumps(shape),
        "device_us_median": us,
        "device_us_p10": float(us or 0) * 0.9,
        "device_us_p90": float(us or 0) * 1.2,
        "host_us_median": 7.0,
        "repeats": 50,
        "device": device,
        "torch": "2.11.0",
    }


def write(folder, rows, name="ops.csv"):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def operations(path, **how):
    return [r for r in records(path, **how) if r["record"] == "operation"]


def families(record):
    case = from_dict(record["case"])
    done = cost(case.signature, case.dims)
    return [
        t.family
        for t in terms(case.call, done.flops, done.read_bytes + done.write_bytes, case.precision)
    ]


@pytest.mark.parametrize(
    "direction, family, sides",
    [
        ("forward", "matmul.nt.bfloat16", (64, 32, 16)),
        ("grad_input", "matmul.nn.bfloat16", (64, 16, 32)),
        ("grad_weight", "matmul.tn.bfloat16", (32, 16, 64)),
    ],
)
def test_each_pass_of_a_linear_layer_is_its_own_product(tmp_path, direction, family, sides):
    (record,) = operations(write(tmp_path, [row("linear", direction, m=64, n=32, k=16)]))
    assert families(record) == [family]
    case = from_dict(record["case"])
    (term,) = terms(case.call, *_work(case))
    assert term.features[1:] == sides
    assert _work(case)[0] == 2 * 64 * 32 * 16


def _work(case):
    done = cost(case.signature, case.dims)
    return done.flops, done.read_bytes + done.write_bytes


def test_times_are_seconds_and_the_key_is_the_cases_own(tmp_path):
    (record,) = operations(write(tmp_path, [row("linear", us=250.0, m=8, n=8, k=8)]))
    assert (record["seconds"], record["low"], record["high"]) == pytest.approx(
        (2.5e-4, 2.25e-4, 3e-4)
    )
    assert record["host_seconds"] == pytest.approx(7e-6) and record["repeats"] == 50
    assert record["key"] == from_dict(record["case"]).key


def test_tf32_is_float32_that_may_use_it(tmp_path):
    plain, tf32 = operations(
        write(tmp_path, [row("linear", dtype=d, m=8, n=8, k=8) for d in ("fp32", "tf32")])
    )
    assert (families(plain), families(tf32)) == (["matmul.nt.float32"], ["matmul.nt.tf32"])
    assert plain["key"] != tf32["key"]


def test_gradients_of_a_convolution_are_told_apart_and_layouts_kept(tmp_path):
    sizes = {"n": 2, "c": 8, "hw": 14, "o": 16, "k": 3, "stride": 1, "groups": 1}
    found = operations(
        write(
            tmp_path,
            [
                row("conv2d", d, layout=layout, **sizes)
                for d in ("forward", "grad_input", "grad_weight")
                for layout in ("nhwc", "nchw")
            ],
        )
    )
    assert [families(r)[0] for r in found] == [
        f"convolution.{d}.dense.{x}.bfloat16"
        for d in ("forward", "grad_input", "grad_weight")
        for x in ("cl", "c")
    ]
    assert {float(_work(from_dict(r["case"]))[0]) for r in found} == {
        2.0 * 2 * 16 * 14 * 14 * 8 * 9
    }


def test_an_optimizer_step_is_shared_by_bytes(tmp_path):
    found = operations(
        write(tmp_path, [row("adamw", dtype="fp32", us=2000.0, total=1 << 20, tensors=4)])
    )
    moved = [_work(from_dict(r["case"]))[1] for r in found]
    assert len(found) == 7  # of eight kernels two are the same work
    assert {round(m / r["seconds"] / 1e6) for m, r in zip(moved, found)} == {
        round(21 * 4 * (1 << 20) / 2e-3 / 1e6)
    }
    assert {f for r in found for f in families(r)} == {
        "optimizer.foreach.float32",
        "optimizer.foreach_new.float32",
    }


def test_backward_of_a_cross_entropy_is_two_kernels_whose_times_add_up(tmp_path):
    found = operations(
        write(
            tmp_path,
            [row("cross_entropy", "backward", dtype="fp32", us=80.0, rows=512, width=1000)],
        )
    )
    assert [kind_of(r["case"]["op"]).name for r in found] == ["loss", "softmax"]
    assert sum(r["seconds"] for r in found) == pytest.approx(8e-5)
    assert all(r["shared"] and r["host_seconds"] is None for r in found)


def test_copies_and_allocations_become_facts(tmp_path):
    path = write(
        tmp_path,
        [
            row("host_to_device_pinned", dtype="bytes", us=2.0, bytes=4096),
            row("host_to_device_pinned", dtype="bytes", us=1000.0, bytes=1 << 25),
            row("device_malloc", dtype="bytes", us=300.0, bytes=1 << 21),
        ],
    )
    facts = {r["name"]: r for r in records(path) if r["record"] == "fact"}
    assert facts["host_to_device_pinned_bytes_per_s"]["value"] == pytest.approx((1 << 25) / 1e-3)
    assert facts["host_to_device_seconds"]["value"] == pytest.approx(2e-6)
    assert (facts["malloc_seconds"]["value"], facts["malloc_seconds"]["bytes"]) == (
        pytest.approx(3e-4),
        1 << 21,
    )


def test_the_session_knows_the_device_from_the_table(tmp_path):
    session = next(iter(records(write(tmp_path, [row("add", elements=256)]))))
    assert (
        session["record"] == "session"
        and session["device"]["key"] == "h200-sxm"
        and session["torch"] == "2.11.0"
    )
    unknown = next(
        iter(
            records(write(tmp_path, [row("add", elements=256, device="Quantum 9000")], "other.csv"))
        )
    )
    assert unknown["device"] == {"kind": "cuda", "name": "Quantum 9000"}


def test_bad_rows_are_left_out_and_counted(tmp_path):
    rows = [
        row("add", elements=256),
        row("add", elements=512, us="nan"),
        row("add", elements=512, us=-1),
        row("add", elements=512, us="inf"),
        row("add", elements=512, us=""),
        row("add", elements=512, status="oom"),
        row("fly", elements=4),
        row("add", elements=-4),
        row("add", elements=2**60),
        row("add", dtype="int3", elements=4),
        row("linear", m=4),
        row("linear", "sideways", m=1, n=1, k=1),
        row("attention", dtype="fp32", b=1, h=4, hk=2, s=8, d=8, causal=True),
        {**row("add"), "shape": "[" * 3000},
        {**row("add"), "shape": "[" * 1500},
        {**row("add"), "shape": "7"},
    ]
    *_, found, trust = records(write(tmp_path, rows))
    assert found["record"] == "operation" and found["case"]["inputs"][0][0] == [256]
    assert trust["record"] == "trust" and trust["what"].startswith(
        f"{len(rows) - 1} rows of ops.csv"
    )
    assert "4 no time" in trust["what"] and "1 out of memory" in trust["what"]


def test_a_device_is_chosen_by_any_of_its_names(tmp_path):
    path = write(tmp_path, [row("add", elements=256), row("add", elements=512, device="Tesla T4")])
    (found,) = operations(path, gpu="h200")
    assert found["case"]["inputs"][0][0] == [256]
    with pytest.raises(ProfileError, match="several devices: NVIDIA H200, Tesla T4"):
        list(records(path))
    with pytest.raises(ProfileError, match="no row of 'a100'"):
        list(records(path, gpu="a100"))


@pytest.mark.parametrize(
    "content, line",
    [
        (b"", "no column"),
        (b"a,b\n1,2\n", "no column"),
        (",".join(NEEDED).encode() + b"\n", "no complete row"),
        (b"\xff\xfe\x00", "cannot read"),
        (",".join(NEEDED).encode() + b"\n" + b"x" * 200_000 + b"\n", "cannot read"),
        (",".join(NEEDED).encode() + b"\nok,add\n", "no complete row"),
        (
            ",".join(NEEDED).encode() + b'\nok,add,forward,bf16,"{""elements"":0}",1,cpu\n',
            "none of its 1 rows is usable: 1 no sizes",
        ),
    ],
)
def test_hostile_files_give_one_line(tmp_path, content, line):
    path = tmp_path / "ops.csv"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=line) as caught:
        list(records(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ProfileError, match="cannot read"):
        list(records(tmp_path / "nowhere.csv"))


SIZES = st.dictionaries(
    st.sampled_from(
        "m n k b h hk s d c hw o stride groups layout elements rows width vocab total tensors "
        "causal bytes".split()
    ),
    st.one_of(st.integers(1, 2**40), st.booleans(), st.sampled_from(["nhwc", "nchw"])),
)


@settings(max_examples=200, deadline=None)
@given(
    op=st.sampled_from(sorted(_BUILDERS)),
    direction=st.sampled_from(["forward", "backward", "grad_input", "grad_weight"]),
    shape=SIZES,
)
def test_whatever_the_sizes_a_row_is_mapped_or_refused(op, direction, shape, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("any"), [row(op, direction, **shape)])
    try:
        found = operations(path)
    except PlannerError:
        return
    assert found and all(families(r) for r in found)


def test_reasons_name_what_is_unknown():
    with pytest.raises(CannotMap, match="unknown operation 'fly'"):
        cases_of("fly", "forward", "bf16", {})
