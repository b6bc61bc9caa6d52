"""Pictures: what was measured of a device, estimates over measurements."""
