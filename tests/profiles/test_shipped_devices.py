"""Every shipped device profile can be read, is named by its device's key, and prices without a gap
in its own kinds."""

import json

import pytest

from planner import tables
from planner.devices import profile as device_profiles
from planner.devices.measured import measured_spec
from planner.devices.specification import all_devices

FILES = sorted(tables.path("devices").glob("*.json"))


def test_the_folder_says_what_it_holds():
    assert tables.path("devices", "README.md").is_file()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_profile_is_whole(file):
    one = device_profiles.load(file)
    assert (
        file.stem in {spec.key for spec in all_devices()}
        and device_profiles.file_name(one.device) == file.stem
    )
    assert file.stat().st_size < 10**6 and one.provenance["torch"] and one.provenance["date"]
    assert {"matmul", "attention", "normalization", "elementwise"} <= {
        family.split(".")[0] for family in one.curves
    }
    assert measured_spec(one).pricing == "calibrated" and {
        "forward_seconds",
        "backward_seconds",
    } <= set(one.host)
    assert json.loads(file.read_text())[device_profiles.MARK] == device_profiles.FORMAT
