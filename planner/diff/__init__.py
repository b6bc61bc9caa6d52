"""Two answers side by side: what changed and why."""
