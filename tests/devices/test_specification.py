import dataclasses
import re
import sys
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest
from fakes.nvml import Refused, library, memory
from hypothesis import given as for_all
from hypothesis import strategies as st

from planner import tables
from planner.devices import specification
from planner.devices.curves import Point, fit_curve
from planner.devices.lookup import find_device, local_device, resolve_device
from planner.devices.measured import measured_spec
from planner.devices.profile import DeviceProfile
from planner.devices.specification import (
    MATMUL_TYPES,
    all_devices,
    visible_memory_ratio,
    with_profile,
)
from planner.errors import MachineError, PlannerError, QuestionError, UnknownNameError
from planner.memory.runtime import runtime_memory

GIB = 2**30
CUDA_LIKE = [spec for spec in all_devices() if spec.is_cuda_like]


@pytest.mark.parametrize(
    "name, key",
    [
        ("h100-sxm", "h100-sxm"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("rtx 4090", "rtx-4090"),
        ("RTX4090", "rtx-4090"),
        ("NVIDIA H200", "h200-sxm"),
        ("a100 pcie 80gb", "a100-pcie-80"),
        ("nvidia a100-sxm4-40gb", "a100-sxm-40"),
        ("H100 NVL", "h100-nvl"),
        ("MI300X", "mi300x"),
        ("Tesla T4", "t4"),
        ("3090", "rtx-3090"),
        ("tpu v5e", "tpu-v5e"),
        ("GeForce RTX 3060", "rtx-3060-12"),
    ],
)
def test_names_that_mean_one_device(name, key):
    found = resolve_device(name)
    assert found.spec.key == key and found.assumption is None


@pytest.mark.parametrize(
    "name, key",
    [
        ("h100", "h100-sxm"),
        ("A100", "a100-sxm-80"),
        ("A100 80GB", "a100-sxm-80"),
        ("a100-40gb", "a100-sxm-40"),
        ("V100", "v100-sxm2-16"),
    ],
)
def test_an_alias_is_told(name, key):
    found = resolve_device(name)
    assert found.spec.key == key and name in found.assumption and key in found.assumption


@pytest.mark.parametrize("name", ["rtx 6000", "a100 pcie", "rtx pro 6000", "rtx", "h800"])
def test_an_ambiguous_name_lists_its_candidates(name):
    if name == "h800":
        with pytest.raises(QuestionError, match="h800-sxm, h800-pcie"):
            find_device(name)
        return
    with pytest.raises(QuestionError, match="could be"):
        find_device(name)


@pytest.mark.parametrize("name", ["4075 ti", "rtx 3080 12gb", "gpu", "", "h1000", "nvidia"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(PlannerError):
        find_device(name)


def test_a_near_miss_is_offered():
    with pytest.raises(UnknownNameError, match="h100-sxm"):
        find_device("h100-sxn")


@pytest.mark.parametrize("spec", all_devices(), ids=lambda spec: spec.key)
def test_every_device_is_found_by_key_and_driver_name(spec):
    assert find_device(spec.key) is spec
    assert find_device(spec.name).name == spec.name
    assert hash(spec) == hash(dataclasses.replace(spec))


def test_units_of_a_known_row():
    spec = find_device("a100-sxm-80")
    assert spec.peak("amp_bf16") == spec.peak("bf16") == 312e12
    assert spec.peak("fp32") == 19.5e12 and spec.peak("tf32") == 156e12
    assert spec.memory_bandwidth_bytes_per_s == 2039e9
    assert spec.interconnect_bytes_per_s == 300e9  # one way of NVLink3's 600
    assert (
        spec.l2_bytes == 40 * 2**20
        and spec.sm_count == 108
        and spec.tdp_watts == 400
        and spec.capability == (8, 0)
    )
    assert 79 * GIB < spec.total_memory_bytes < 80e9 * 1.074 and not spec.memory_is_nominal


@pytest.mark.parametrize(
    "key, precision, runs",
    [
        ("v100-sxm2-16", "amp_bf16", False),
        ("v100-sxm2-16", "amp_fp16", True),
        ("v100-sxm2-16", "tf32", False),
        ("t4", "bf16", False),
        ("p100-pcie-16", "fp16", True),
        ("a100-sxm-40", "amp_bf16", True),
        ("rtx-3090", "tf32", True),
        ("mi250x", "bf16", True),
        ("mi210", "tf32", False),
        ("tpu-v5e", "bf16", True),
        ("t4", "fp32", True),
    ],
)
def test_supported_precisions(key, precision, runs):
    assert find_device(key).supports(precision) is runs


def test_unknown_precision_and_untrainable_devices_are_refused():
    with pytest.raises(QuestionError, match="precision"):
        find_device("t4").peak("fp12")
    with pytest.raises(QuestionError, match="does not run"):
        find_device("t4").check_trainable("bf16")
    with pytest.raises(QuestionError, match="CUDA-like"):
        find_device("tpu-v5e").check_trainable("bf16")
    with pytest.raises(QuestionError, match="no sourced"):
        find_device("rtx-pro-6000-server").check_trainable("bf16")
    find_device("h100").check_trainable("amp_bf16")


@pytest.mark.parametrize("spec", all_devices(), ids=lambda spec: spec.key)
def test_nominal_memory_is_taken_conservatively(spec):
    row = next(row for row in tables.rows("gpus", "gpus.csv") if row["key"] == spec.key)
    nominal = float(row["memory_gb_nominal"])
    assert spec.total_memory_bytes <= nominal * GIB
    assert spec.total_memory_bytes >= visible_memory_ratio(row["memory_group"]) * nominal * GIB - 1
    assert spec.memory_is_nominal == (row["memory_gib_visible"] == "")


@for_all(st.sampled_from(all_devices()), st.sampled_from(sorted(MATMUL_TYPES)))
def test_a_known_rate_means_support(spec, precision):
    if spec.peak(precision) is not None:
        assert spec.supports(precision) and spec.peak(precision) > 0


@for_all(st.text(max_size=30))
def test_any_text_is_answered_or_refused_in_one_line(text):
    try:
        find_device(text)
    except PlannerError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("spec", CUDA_LIKE, ids=lambda spec: spec.key)
def test_runtime_memory_of_every_device(spec):
    found = runtime_memory(spec)
    assert 200 * 2**20 < found.context_bytes.p50 < 2 * GIB and found.source
    assert len(found.workspace) == found.workspaces == 2


def test_workspaces_follow_torch():
    assert runtime_memory(find_device("a100")).workspace == (8519680, 8519680)
    assert runtime_memory(find_device("h100")).cublas_workspace_bytes == 32 * 2**20
    assert runtime_memory(find_device("mi300x")).cublas_workspace_bytes == 128 * 2**20
    assert runtime_memory(find_device("mi210")).cublas_workspace_bytes == 32 * 2**20
    assert runtime_memory(find_device("b200")).context_bytes.p50 == 612 * 2**20
    with pytest.raises(QuestionError):
        runtime_memory(find_device("gaudi2"))


def test_the_local_device_is_matched_by_the_drivers_name(monkeypatch):
    def driver(**answers):
        monkeypatch.setitem(
            sys.modules, "pynvml", library(nvmlDeviceGetMemoryInfo=memory(150754820096), **answers)
        )

    driver(nvmlDeviceGetName="NVIDIA H200")
    spec, said = local_device()
    assert spec.key == "h200-sxm" and find_device("local") is spec
    assert (said.count, said.driver_version) == (1, "570.1")
    assert (said.total_memory_bytes, said.power_limit_watts) == (150754820096, 700.0)
    driver(nvmlDeviceGetName="NVIDIA H200", nvmlDeviceGetEnforcedPowerLimit=Refused())
    assert local_device()[1].power_limit_watts is None
    driver(nvmlDeviceGetName=Refused(pynvml.NVML_ERROR_GPU_IS_LOST))
    with pytest.raises(MachineError, match="Check nvidia-smi"):
        local_device()
    driver(nvmlDeviceGetName="NVIDIA Z9")
    with pytest.raises(QuestionError, match="name_reported"):
        local_device()
    driver(nvmlDeviceGetCount=0)
    assert local_device() is None
    driver(nvmlInit=Refused(pynvml.NVML_ERROR_DRIVER_NOT_LOADED))
    assert local_device() is None
    with pytest.raises(QuestionError, match="no NVIDIA driver"):
        find_device("local")


# ---- how fast the memory is

DEVICE = {"name": "NVIDIA H100 80GB HBM3", "key": "h100-sxm", "total_memory_bytes": 8 << 30}


def test_each_basis_has_one_bandwidth():
    row = resolve_device("h100-sxm").spec
    assert row.bandwidth_bytes_per_s() == row.bandwidth_bytes_per_s("datasheet") == 3.352e12
    assert row.bandwidth_bytes_per_s("calibrated") is None  # nobody measured it
    measured = with_profile(
        row, DeviceProfile(DEVICE, {}, {}, facts={"memory_bytes_per_s": 2.9e12})
    )
    assert measured.bandwidth_bytes_per_s("calibrated") == 2.9e12
    assert measured.bandwidth_bytes_per_s("exact") == 2.9e12
    assert measured.bandwidth_bytes_per_s() == 3.352e12  # what shares are shares of


def test_without_a_row_the_datasheets_bandwidth_is_what_was_measured():
    curve = fit_curve(
        "copy.plain.dense.float32",
        [Point((n,), 0.0, n, n / (2e11 if n < 1e6 else 1e11), 0.0, 0.0) for n in (1e4, 1e8)],
    )
    unknown = DeviceProfile({**DEVICE, "name": "Unheard-of 1", "key": None}, {}, {"copy": curve})
    spec = measured_spec(replace(unknown, curves={curve.family: curve}))
    # of the largest operands: the small ones are in a cache
    assert spec.bandwidth_bytes_per_s() == spec.bandwidth_bytes_per_s("calibrated") == 1e11
    assert spec.calibration.fastest_bytes_per_s == 2e11
    copied = replace(unknown, curves={}, facts={"memory_bytes_per_s": 9e10})
    assert measured_spec(copied).bandwidth_bytes_per_s() == 9e10


def test_nobody_reads_a_bandwidth_past_the_accessor():
    package = Path(specification.__file__).parent.parent
    field = re.compile(r"\.memory_bandwidth_bytes_per_s|(\[|get\()[\"']memory_bytes_per_s")
    readers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if field.search(file.read_text(encoding="utf-8"))
    }
    assert readers == {"devices/specification.py", "devices/profile.py"}


@pytest.mark.parametrize("written", ["RTX2080Ti", "2080ti", "rtx 2080ti", "RTX 2080 TI"])
def test_ti_may_stand_with_or_without_its_space(written):
    assert find_device(written).key == "rtx-2080-ti"
