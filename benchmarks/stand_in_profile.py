"""A device profile of the size that 60 seconds of calibration give, filled with the datasheet's
prices: what reading and using one costs can then be measured without the device, on answers that
are the same but for it.

    python benchmarks/stand_in_profile.py h100-sxm stand_in.json
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.operation_tables import as_points, datasheet_seconds  # noqa: E402
from planner.calibrate.suites import suite  # noqa: E402
from planner.devices import profile as device_profiles  # noqa: E402
from planner.devices.curves import fit_curve  # noqa: E402
from planner.devices.lookup import resolve_device  # noqa: E402
from planner.devices.priors import prior  # noqa: E402
from planner.devices.specification import DeviceSpec, on_datasheet  # noqa: E402
from planner.units import MIB  # noqa: E402

CASES = 1800  # a minute's on an H200, by the suite's own guesses
DTYPES = ("bfloat16", "float32", "tf32", "float16")
HOST = (
    "forward_seconds",
    "no_grad_seconds",
    "backward_seconds",
    "optimizer_seconds",
    "tensor_seconds",
    "view_forward_seconds",
    "view_backward_seconds",
    "module_seconds",
    "step_seconds",
    "synchronise_seconds",
)


def stand_in(spec: DeviceSpec, cases: int = CASES) -> device_profiles.DeviceProfile:
    """Nothing in it was measured; it is never shipped."""
    spec = on_datasheet(spec)
    chosen = suite(
        SimpleNamespace(
            kind="cuda", dtypes=lambda: DTYPES, free_bytes=lambda: spec.total_memory_bytes
        )
    )[:cases]
    points = defaultdict(list)
    for one, seconds in zip(chosen, datasheet_seconds(chosen, spec)):
        for family, point in as_points(one, float(seconds)):
            points[family].append(point)
    device = {
        "name": spec.name,
        "key": spec.key,
        "kind": "cuda",
        "vendor": spec.vendor,
        "total_memory_bytes": spec.total_memory_bytes,
        "sm_count": spec.sm_count,
    }
    exact = {
        one.key: float(seconds) for one, seconds in zip(chosen, datasheet_seconds(chosen, spec))
    }
    curves = {family: fit_curve(family, found) for family, found in points.items()}
    return device_profiles.DeviceProfile(
        device,
        {"source": "stand-in: datasheet prices"},
        curves,
        {name: prior(spec, "host", name) for name in HOST},
        {"context_bytes": 400.0 * MIB},
        exact=exact,
    )


def main() -> int:
    name, file = sys.argv[1:]
    path = device_profiles.save(stand_in(resolve_device(name).spec), file)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
