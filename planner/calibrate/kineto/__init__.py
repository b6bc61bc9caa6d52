"""Traces of torch.profiler (Kineto): which operation launched what, and how long it took."""
