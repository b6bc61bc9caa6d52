"""Whole training runs on this machine, stamped phase by phase, beside the plan made before."""
