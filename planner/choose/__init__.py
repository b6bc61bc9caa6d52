"""``planner choose``: every strategy, device, count and provider."""
