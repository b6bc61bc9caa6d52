"""What an objective makes of a question."""
