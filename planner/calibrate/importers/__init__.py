"""Operation tables of other programs become device profiles."""
