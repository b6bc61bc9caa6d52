"""A variant of a strategy on devices: micro-batch, memory, step and run, found by one search."""
