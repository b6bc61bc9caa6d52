"""Counters of this machine: NVML, processor, clocks and power, a watch over somebody else's run."""
