"""How long many machines work before one of them fails, and what that costs a run."""
