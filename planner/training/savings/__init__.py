"""What a run does to hold less at once: losses in chunks, updates within the backward pass, tensors
that wait in the host's memory, kernels written by hand."""
