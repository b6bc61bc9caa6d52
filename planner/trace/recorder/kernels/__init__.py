"""Kernels of CUDA that meta does not have: shapes, and what they keep."""
