"""One file an operation kind: its ``KIND`` declares all that the planner knows of it."""
