"""What a model asks of its data, and values that answer."""
