"""``planner devices``: what was measured where, the pictures, and profiles that cannot be read."""

import dataclasses
import json
import sys

import pytest

from planner.calibrate.fitting import profile_from
from planner.cli import main
from planner.devices import profile
from planner.operations.cases import as_dict, case

SESSION = {
    "record": "session",
    "date": "2026-11-21",
    "device": {
        "name": "NVIDIA H200",
        "kind": "cuda",
        "key": "h200-sxm",
        "sm_count": 132,
        "torch": "2.11.0",
        "total_memory_bytes": 150_000_000_000,
    },
}


def _operation(one, seconds):
    return {
        "record": "operation",
        "key": one.key,
        "case": as_dict(one),
        "seconds": seconds,
        "low": seconds * 0.98,
        "high": seconds * 1.02,
        "watts": 600.0,
    }


def _product(m):
    return case(
        "aten.mm.default",
        [((m, 1024), "bfloat16"), ((1024, 4096), "bfloat16", "t")],
        [((m, 4096), "bfloat16")],
    )


def _add(n):
    return case("aten.add.Tensor", [((n,), "bfloat16")] * 2, [((n,), "bfloat16")])


def _records():
    yield SESSION
    for m in (16, 64, 256, 1024, 4096, 16384):
        yield _operation(_product(m), 5e-6 + 2 * m * 1024 * 4096 / 7e14)
    for n in (2**10, 2**16, 2**20, 2**24, 2**28):
        yield _operation(_add(n), 2e-6 + 6 * n / 4e12)
    yield {"record": "host", "name": "forward_seconds", "value": 6e-6}
    yield {
        "record": "fact",
        "name": "host_to_device_pinned_bytes_per_s",
        "value": 5.5e10,
        "unit": "bytes/s",
    }
    yield {
        "record": "trust",
        "what": "power capped in 40 % of the samples",
        "mend": "Raise the cap",
    }


@pytest.fixture(scope="module")
def measured():
    return profile_from(_records())


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path / "own"))
    monkeypatch.setattr(profile, "shipped_folder", lambda: tmp_path / "shipped")

    def call(*arguments):
        code = main.run(["devices", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def two(measured, tmp_path):
    profile.save(measured, tmp_path / "own" / "h200-sxm.json")
    other = dataclasses.replace(
        measured,
        device={**measured.device, "name": "Some <b>chip</b> [red]", "key": "chip-1"},
        doubts=(),
    )
    profile.save(other, tmp_path / "shipped" / "chip-1.json")


def test_nothing_measured_says_what_to_do(planner):
    code, out, err = planner()
    assert code == 0 and err == "" and "planner calibrate" in out
    assert json.loads(planner("--json")[1]) == {"devices": [], "unreadable": []}


def test_all_devices_with_date_error_and_doubts(planner, two):
    code, out, err = planner()
    flat = " ".join(out.split())
    assert code == 0 and err == ""
    for said in (
        "NVIDIA H200",
        "h200-sxm",
        "2026-11-21",
        "2.11.0",
        "11",
        " own ",
        "shipped",
        "[red]",
    ):
        assert said in flat, said
    records = json.loads(planner("--json")[1])["devices"]
    assert [(r["key"], r["shipped"], len(r["doubts"])) for r in records] == [
        ("h200-sxm", False, 1),
        ("chip-1", True, 0),
    ]
    assert all(0 <= r["median_relative_error"] <= r["p95_relative_error"] < 1 for r in records)


@pytest.mark.parametrize("name", ["h200-sxm", "H200", "nvidia h200", "own/h200-sxm.json"])
def test_one_device_in_full_by_any_name(planner, two, tmp_path, name):
    code, out, err = planner(tmp_path / name if "/" in name else name)
    flat = " ".join(out.split())
    assert code == 0 and err == ""
    for said in (
        "matmul",
        "elementwise",
        "6 µs",
        "55 GB/s",
        "600 W",
        "power capped in 40 % of the samples. Raise the cap",
        "140 GiB",
    ):
        assert said in flat.replace("6.00 µs", "6 µs"), said
    kinds = {k["kind"]: k for k in json.loads(planner("h200-sxm", "--json")[1])["kinds"]}
    assert kinds["matmul"]["fastest_flops_per_s"] == pytest.approx(7e14, rel=0.05) and kinds[
        "elementwise"
    ]["most_bytes"] == pytest.approx(6 * 2**28, rel=1e-5)


def test_a_device_that_nobody_measured_is_known_by_its_datasheet(planner):
    code, out, _ = planner("a100-pcie-40")
    assert code == 0 and "nobody has calibrated" in " ".join(out.split()) and "312 TFLOP/s" in out
    assert json.loads(planner("a100-pcie-40", "--json")[1])["basis"] == "datasheet"


def test_names_never_seen_and_names_of_several(planner, two):
    code, out, err = planner("h200-smx")
    assert code == 2 and out == "" and "Did you mean h200-sxm" in err and err.count("\n") == 1
    code, _, err = planner("i")  # in both names
    assert code == 2 and "could be" in err


@pytest.mark.parametrize(
    "content, says",
    [
        ("{", "damaged"),
        ("[]", "not a device profile"),
        (json.dumps({profile.MARK: 99}), "newer planner"),
        ("\x00\xff", "damaged"),
    ],
)
def test_profiles_that_cannot_be_read_are_a_line_beside_the_others(
    planner, two, tmp_path, content, says
):
    (tmp_path / "own" / "broken.json").write_text(content)
    code, out, err = planner()
    assert code == 0 and "NVIDIA H200" in out and says in err and err.count("\n") == 1
    code, out, err = planner("broken")
    assert code == 2 and out == "" and says in err and err.count("\n") == 1
    assert says in json.loads(planner("--json")[1])["unreadable"][0]


@pytest.mark.parametrize("suffix, starts", [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_pictures(planner, two, tmp_path, suffix, starts):
    pytest.importorskip("matplotlib")
    file = tmp_path / f"h200{suffix}"
    code, out, err = planner("h200-sxm", "--plot", file)
    assert (
        (code, err) == (0, "")
        and str(file) in out.replace("\n", "")
        and file.read_bytes().startswith(starts)
    )
    if suffix == ".svg":
        text = file.read_text()
        assert (
            "NVIDIA H200" in text
            and "nt.bfloat16" in text
            and "light.dense.bfloat16" in text
            and "Roofline" in text
        )
        planner("h200-sxm", "--plot", file)
        assert file.read_text() == text
    code, out, _ = planner("h200-sxm", "--plot", file, "--json")
    assert json.loads(out)["key"] == "h200-sxm"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["own", "shipped", file.name])


def test_pictures_that_cannot_be_drawn(planner, two, tmp_path, monkeypatch):
    code, _, err = planner("h200-sxm", "--plot", tmp_path / "x.pdf")
    assert code == 2 and ".svg" in err
    code, _, err = planner("h200-sxm", "--plot", tmp_path / "no" / "x.png")
    assert code == 2 and "no such folder" in err
    code, _, err = planner("a100-pcie-40", "--plot", tmp_path / "x.png")
    assert code == 2 and "nothing to draw" in err
    code, _, err = planner("--plot", tmp_path / "x.png")
    assert code == 2 and "h200-sxm, chip-1" in err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = planner("h200-sxm", "--plot", tmp_path / "x.png")
    assert code == 2 and "planner[plots]" in err and not (tmp_path / "x.png").exists()


def test_a_picture_of_lines_keeps_under_the_measured_ceilings(measured):
    from planner.report.formats.device_plots import _line

    for curve in measured.curves.values():
        computing = curve.family.startswith("matmul")
        sizes, rates = _line(curve, curve.points, computing)
        best = max((p.flops if computing else p.bytes) / p.seconds for p in curve.points) / 1e9
        assert (
            (sizes > 0).all()
            and (rates <= best * 1.001).all()
            and rates[-1] == pytest.approx(best, rel=0.3)
        )
