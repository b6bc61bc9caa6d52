"""What transformers models train on: a file each group of tasks, found by ``TASKS``."""
