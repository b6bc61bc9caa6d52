"""Models that no library holds under one name: usual architectures, as factories of our own."""
