"""Quantised checkpoints: what a config says of them, and the tensors that they hold."""
