"""One operation run for real and timed."""
