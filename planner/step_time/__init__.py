"""Seconds of a step: operations priced, two clocks, power."""
