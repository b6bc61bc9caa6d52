"""``planner recipe``: a plan as a folder that runs it, and what its scripts read data with."""
