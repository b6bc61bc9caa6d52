"""Device profiles: what is written is read back and prices the same; what is damaged, newer or
something else is one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from planner.devices import profile as profiles
from planner.devices.curves import Point, fit_curve
from planner.devices.lookup import resolve_device
from planner.devices.profile import DeviceProfile
from planner.devices.seal import DIGEST
from planner.errors import MachineError, ProfileError

DEVICE = {
    "name": "NVIDIA Imaginary 9000",
    "kind": "cuda",
    "vendor": "nvidia",
    "total_memory_bytes": 24 * 2**30,
    "sm_count": 80,
    "compute_capability": "8.9",
}


def streamed(family, sizes=(2**10, 2**14, 2**18, 2**22, 2**26), rate=5e11):
    return fit_curve(
        family, [Point((float(s),), s / 4, float(s), s / rate + 3e-6, 0, 0) for s in sizes]
    )


def made(**changes) -> DeviceProfile:
    products = [
        Point((1.0, m, m, m), 2.0 * m**3, 6.0 * m**2, 2.0 * m**3 / 3e13 + 5e-6, 0, 0)
        for m in (64.0, 256.0, 1024.0, 4096.0)
    ]
    curves = [
        fit_curve("matmul.nt.bfloat16", products),
        fit_curve("matmul.nt.float32", products),
        streamed("elementwise.light.dense.bfloat16"),
    ]
    fields = {
        "device": DEVICE,
        "provenance": {"torch": "2.13.0", "date": "2026-11-21"},
        "curves": {c.family: c for c in curves},
        "host": {"forward_seconds": 1e-5, "forward_seconds.matmul": 2e-5},
        "facts": {"context_bytes": 4e8},
        "watts": {"matmul": 300.0},
        "doubts": (("the clock drifted", "Wait until it is cool"),),
        "exact": {"ab" * 10: 1.25e-4},
    }
    return DeviceProfile(**(fields | changes))


def test_what_is_written_is_read_back_and_prices_the_same(tmp_path):
    one = made()
    again = profiles.load(profiles.save(one, tmp_path / "one.json"))
    assert (again.device, again.host, again.facts, again.watts, again.doubts, again.exact) == (
        one.device,
        one.host,
        one.facts,
        one.watts,
        one.doubts,
        one.exact,
    )
    sizes = np.array([100.0, 3e5, 1e9])
    for family, curve in one.curves.items():
        features = (sizes,) if len(curve.points[0].features) == 1 else (1.0, sizes, 64.0, 64.0)
        before, after = (
            curve.seconds(features, sizes * 10, sizes),
            again.curves[family].seconds(features, sizes * 10, sizes),
        )
        assert np.allclose(before[0], after[0], rtol=1e-3) and np.allclose(
            before[1], after[1], rtol=1e-3
        )


def test_the_file_names_its_columns_and_its_layout(tmp_path):
    written = json.loads(profiles.save(made(), tmp_path / "one.json").read_text())
    assert written[profiles.MARK] == profiles.FORMAT
    assert written["curves"][0]["columns"][-3:] == ["seconds", "low_seconds", "high_seconds"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda w: w.update({profiles.MARK: profiles.FORMAT + 1}), "newer planner"),
        (lambda w: w.pop(profiles.MARK), "not a device profile"),
        (lambda w: w.pop("curves"), "damaged"),
        (lambda w: w["curves"][0]["points"].pop(), "does not fit its points"),
        (lambda w: w["curves"][0].update(mean_log=float("nan")), "no measurement gives"),
        (lambda w: w["host"].update(forward_seconds=-1.0), "forward_seconds"),
        (lambda w: w["exact"].update(x="fast"), "damaged"),
    ],
)
def test_damage_is_one_line(tmp_path, damage, said):
    file = profiles.save(made(), tmp_path / "one.json")
    written = json.loads(file.read_text())
    written.pop(DIGEST)
    damage(written)
    file.write_text(json.dumps(written))
    with pytest.raises(ProfileError) as error:
        profiles.load(file)
    assert (
        said in str(error.value) and "\n" not in str(error.value) and str(file) in str(error.value)
    )


def test_a_changed_number_is_noticed(tmp_path):
    file = profiles.save(made(), tmp_path / "one.json")
    written = json.loads(file.read_text())
    file.write_text(json.dumps(written))  # laid out anew, and the same
    profiles.load(file)
    name = next(iter(written["host"]))
    written["host"][name] *= 1.001
    file.write_text(json.dumps(written, indent=1))
    with pytest.raises(ProfileError, match="changed since it was written"):
        profiles.load(file)
    del written[DIGEST]
    file.write_text(json.dumps(written, indent=2))
    assert profiles.load(file).host[name] == pytest.approx(made().host[name] * 1.001, rel=1e-5)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[1, 2", b"{}", b"null", b"[" * 100_000]
)
def test_what_is_no_profile_is_one_line(tmp_path, content):
    file = tmp_path / "one.json"
    file.write_bytes(content)
    with pytest.raises(ProfileError):
        profiles.load(file)


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path, monkeypatch):
    file = profiles.save(made(), tmp_path / "one.json")
    before = file.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profiles.os, "fsync", full)
    with pytest.raises(MachineError, match="No space left"):
        profiles.save(made(host={}), file)
    assert file.read_text() == before and list(tmp_path.iterdir()) == [file]


def test_a_profile_is_a_device_even_where_nobody_knows_it(tmp_path):
    spec = resolve_device(str(profiles.save(made(), tmp_path / "one.json"))).spec
    assert (
        spec.name == "NVIDIA Imaginary 9000"
        and spec.pricing == "calibrated"
        and spec.total_memory_bytes == 24 * 2**30
    )
    assert 2e13 < spec.peak("bf16") <= 3e13 and spec.memory_bandwidth_bytes_per_s > 1e11
    spec.check_trainable("bf16")


def test_the_users_own_measurement_is_taken_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    # a shipped one may be there
    assert resolve_device("h200-sxm").spec.pricing in ("datasheet", "calibrated")
    device = DEVICE | {"name": "NVIDIA T4", "key": "t4", "total_memory_bytes": 15 * 2**30}
    profiles.save(made(device=device), tmp_path / f"{profiles.file_name(device)}.json")
    spec = resolve_device("t4").spec
    assert (
        spec.key == "t4" and spec.pricing == "calibrated" and spec.total_memory_bytes == 15 * 2**30
    )


def test_the_newest_exact_times_are_kept():
    one = made(exact={})
    many = one.remembering({f"{i:020d}": 1.0 for i in range(profiles.MOST_EXACT + 10)})
    assert (
        len(many.exact) == profiles.MOST_EXACT and f"{profiles.MOST_EXACT + 9:020d}" in many.exact
    )
