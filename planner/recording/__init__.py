"""``planner.record`` and the callbacks: runs that somebody else's loop makes."""
