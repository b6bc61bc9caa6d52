"""What a calibration assumes of measurements: rows of ``profiles/priors/calibration.csv``."""

from __future__ import annotations

from planner.devices.load import calibration_prior as prior

__all__ = ["prior"]
