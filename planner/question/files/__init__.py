"""What a file asks: a project's own, or another tool's."""
