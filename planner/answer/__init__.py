"""``planner estimate``: options, advice and recommendation become the JSON document."""
