"""What is shown of a profile that was measured under load."""

from dataclasses import replace

import pytest

from planner.calibrate.summary import summary
from planner.devices.curves import Point, fit_curve
from planner.devices.load import UnderLoad
from planner.devices.profile import DeviceProfile
from planner.report.views import device

FAMILY = "matmul.nt.bfloat16"
POINTS = [Point((1.0, 256.0, 64.0, 64.0), 5e8, 4e6, 3e-6, 3e-6, 3e-6)]
PROFILE = DeviceProfile(
    {"name": "Fake 9000", "kind": "cuda", "total_memory_bytes": 2**34},
    {"torch": "2.13", "date": "2026-11-30", "seconds": 60.0},
    {FAMILY: fit_curve(FAMILY, POINTS)},
)


@pytest.mark.parametrize(
    "load, says",
    [
        (None, "calibrated: timed on such a device"),
        (UnderLoad(0.0, 1.0, 0.0), "calibrated: timed on such a device"),
        (UnderLoad(0.25, 3.0, 0.1), "calibrated: timed on such a device, 25"),
        (UnderLoad(1.0, 9.0, 2.0), "datasheet: it was timed, but 100"),
    ],
)
def test_the_basis_is_what_times_stand_on(load, says):
    record = {**summary(replace(PROFILE, load=load)), "file": "x.json", "shipped": False}
    (basis,) = [
        text
        for section in device.details(record, None)
        for name, text in section.pairs
        if name == "Basis"
    ]
    assert basis.startswith(says) and ("under load" in basis) == ("%" in basis)
    assert (record["load"] is None) == (load is None)
