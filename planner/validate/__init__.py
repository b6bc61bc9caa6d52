"""``planner validate`` and ``planner correct``: measured runs against estimates, and what they
teach."""
