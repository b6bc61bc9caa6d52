"""The cases, processes and clocks of ``benchmarks/planning_speed.py``."""
