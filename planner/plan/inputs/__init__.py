"""The question understood: model, data, training choices, devices."""
