"""`planner sweep`: a grid of questions answered in processes of their own, and one table of all."""
