"""`planner serve`: a local page and an API for the same question."""
