"""One file a strategy; each holds its ``STRATEGY``."""
