"""Where time and memory of a step go, and what each change would buy."""
