"""Programs that judge the planner: accuracy against measured runs, planning speed, and what its
error bars rest on."""
