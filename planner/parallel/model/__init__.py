"""Devices that share a model's layers: each with its heads (tensor parallelism), each with some of
its layers (pipeline parallelism)."""
