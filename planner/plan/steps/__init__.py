"""What one micro-batch and one recipe cost on a device: memory, the step, and both together."""
