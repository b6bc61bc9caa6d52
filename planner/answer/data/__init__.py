"""``planner data``: what was understood of a dataset, as one JSON document."""
