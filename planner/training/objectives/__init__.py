"""One file an objective and nothing else."""
