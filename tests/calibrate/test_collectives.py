"""What devices take to send each other something: measured for real, kept, and preferred."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.calibrate.collectives.__main__ import main
from planner.calibrate.collectives.asked import Asked, Place, asked
from planner.calibrate.collectives.keeping import kept, known_profile
from planner.calibrate.collectives.measuring import group_sizes
from planner.calibrate.collectives.operations import whole_bytes
from planner.calibrate.retention import with_remembered
from planner.devices import profile as profiles
from planner.devices.collectives import CollectiveCurve, merged
from planner.devices.lookup import find_device
from planner.devices.processors import local_processor
from planner.devices.profile import DeviceProfile
from planner.devices.specification import on_datasheet, with_profile
from planner.errors import MachineError, ProfileError, QuestionError
from planner.parallel.data_parallel import all_reduce_seconds
from planner.parallel.network import OPERATIONS, network_of

ROOT = Path(__file__).resolve().parents[2]
REDUCED = CollectiveCurve(
    "all_reduce", 2, 1, "gloo", "2026-11-30", ((1e3, 1e-4, 9e-5), (1e6, 1e-3, 9e-4))
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    return tmp_path


def profile_with(*curves, device=None):
    return DeviceProfile(
        device or local_processor(), {"date": "2026-11-30"}, {}, collectives=curves
    )


# ---- for real


@pytest.mark.slow
def test_two_processes_measure_and_the_planner_prices_by_what_they_found(folder):
    command = "-m torch.distributed.run --nproc-per-node 2 -m planner.calibrate.collectives"
    sizes = "--backend gloo --least-bytes 4096 --most-bytes 65536 --seconds 0.01"
    done = subprocess.run(
        [sys.executable, *command.split(), *sizes.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" among 2: ") == len(OPERATIONS)
    (file,) = folder.glob("*.json")
    assert f"written into {file}" in done.stdout
    curves = {curve.operation: curve for curve in profiles.load(file).collectives}
    assert set(curves) == set(OPERATIONS)
    spec = find_device("cpu")
    network = network_of(spec, 2)
    for operation, curve in curves.items():
        assert [size for size, _, _ in curve.points] == [4096.0 * 2**i for i in range(5)]
        assert all(0 < least <= middle < 1 for _, middle, least in curve.points)
        for size, middle, _ in curve.points:
            assert network.time(operation, size, 2) == pytest.approx(middle)
    assert all_reduce_seconds(4096, 2, spec) == pytest.approx(curves["all_reduce"].points[0][1])


# ---- asked


def test_without_torchrun_it_says_how_to_start_it(monkeypatch, capsys):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert main([]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Start it with torchrun --nproc-per-node 2 -m" in said


@pytest.mark.parametrize(
    ("processes", "arguments", "said"),
    [
        (1, [], "nobody to talk to"),
        (2, ["--least-bytes", "0"], "sizes from 0"),
        (2, ["--least-bytes", "9", "--most-bytes", "8"], "the smaller first"),
        (2, ["--seconds", "nan"], "nan seconds a size"),
        (2, ["--backend", "mpi"], "invalid choice: 'mpi'"),
        (2, ["--seconds", "x"], "invalid float value"),
        (64, ["--backend", "nccl"], "GPUs here for 64 processes"),
    ],
)
def test_what_cannot_be_measured_is_one_line(monkeypatch, capsys, processes, arguments, said):
    values = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_sizes_double_and_are_whole_for_every_rank():
    assert Asked(least_bytes=1024, most_bytes=5000).sizes("gloo") == [1024, 2048, 4096]
    assert asked(["--most-bytes", "2048"]).sizes("nccl") == [1024, 2048]
    for ranks in (2, 3, 8, 72):
        assert whole_bytes(1024, ranks) % (4 * ranks) == 0
        assert whole_bytes(1, ranks) == 4 * ranks


def test_groups_are_powers_of_two_of_a_machine_and_all_ranks():
    assert group_sizes(Place(0, 2, 0, 2)) == [2]
    assert group_sizes(Place(0, 16, 0, 8)) == [2, 4, 8, 16]
    assert group_sizes(Place(0, 6, 0, 6)) == [2, 4, 6]
    assert group_sizes(Place(0, 3, 0, 1)) == [3]


# ---- kept


def test_a_newer_curve_takes_the_place_of_its_like():
    newer = dataclasses.replace(REDUCED, date="2026-12-01")
    others = [dataclasses.replace(REDUCED, ranks=4), dataclasses.replace(REDUCED, nodes=2)]
    assert set(merged([REDUCED, *others], [newer])) == {newer, *others}


def test_curves_come_back_from_the_file_and_leave_the_rest(folder):
    before = profile_with()
    before = dataclasses.replace(before, facts={"memory_bytes_per_s": 1e10})
    file = kept(before, folder / "p.json", [REDUCED])
    again = profiles.load(file)
    assert again.collectives == (REDUCED,) and again.facts == before.facts


@pytest.mark.parametrize(
    "points", [[], [[1, 0, 0]], [[2, 1, 1], [1, 1, 1]], [[1, float("nan"), 1]], [[1, 1]]]
)
def test_a_damaged_curve_is_a_damaged_profile(folder, points):
    file = kept(profile_with(), folder / "p.json", [REDUCED])
    written = json.loads(file.read_text())
    del written["digest"]
    written["collectives"][0]["points"] = points
    file.write_text(json.dumps(written))
    with pytest.raises(ProfileError, match="damaged device profile"):
        profiles.load(file)


def test_calibrating_again_keeps_collectives(folder):
    file = kept(profile_with(), folder / "p.json", [REDUCED])
    for again in (False, True):
        assert with_remembered(profile_with(), file, again).collectives == (REDUCED,)
    other = profile_with(device={**local_processor(), "name": "another"})
    assert with_remembered(other, file, False).collectives == ()


def test_a_profile_of_another_device_is_not_written_into(folder):
    device = {"name": "NVIDIA L4", "kind": "cuda", "key": "l4", "total_memory_bytes": 1}
    file = profiles.save(profile_with(device=device), folder / "l4.json")
    with pytest.raises(QuestionError, match="profile of NVIDIA L4, not of"):
        known_profile(local_processor(), file)
    profile, place = known_profile(device, None)
    assert place == file and profile.device == device


def test_a_gpu_that_nothing_else_is_known_of_is_calibrated_first(folder):
    with pytest.raises(QuestionError, match="neither in the table of GPUs nor calibrated"):
        known_profile({"name": "NVIDIA X1", "kind": "cuda", "total_memory_bytes": 1}, None)


def test_a_disk_that_refuses_is_one_line(folder):
    (folder / "no").write_text("a file, no folder")
    with pytest.raises(MachineError, match="cannot write the device profile"):
        kept(profile_with(), folder / "no" / "p.json", [REDUCED])


# ---- used


def spec_with(*curves):
    spec = find_device("a100-sxm-80")
    device = {"name": spec.name, "kind": "cuda", "key": spec.key}
    return with_profile(spec, profile_with(*curves, device=device))


def test_between_two_sizes_a_power_below_and_above_what_was_measured():
    assert REDUCED.seconds(1) == 1e-4
    assert REDUCED.seconds(1e3 * 1000**0.5) == pytest.approx(1e-4 * 10**0.5)
    assert REDUCED.seconds(4e6) == pytest.approx(4e-3)


def test_a_measured_curve_is_preferred_for_its_own_ranks_alone():
    plain, spec = find_device("a100-sxm-80"), spec_with(REDUCED)
    assert spec.pricing == "datasheet"  # no operation was timed
    known, modelled = network_of(spec, 8), network_of(plain, 8)
    assert known.time("all_reduce", 1e6, 2) == 1e-3
    for operation, ranks in (("all_reduce", 4), ("all_gather", 2)):
        assert known.time(operation, 1e6, ranks) == modelled.time(operation, 1e6, ranks)
    apart = network_of(spec, 16)
    assert apart.time("all_reduce", 1e6, 2, stride=8) != 1e-3  # on two machines


def test_on_the_datasheet_nothing_measured_is_used():
    assert network_of(on_datasheet(spec_with(REDUCED)), 2).measured == ()


def test_where_no_link_is_known_only_what_was_measured_is_answered(folder):
    file = kept(profile_with(), folder / "p.json", [REDUCED])
    spec = find_device(str(file))
    assert all_reduce_seconds(1e6, 2, spec) == pytest.approx(1e-3)
    with pytest.raises(QuestionError, match="no sourced link between devices. Measure them"):
        network_of(spec, 4).time("all_reduce", 1e6, 4)
