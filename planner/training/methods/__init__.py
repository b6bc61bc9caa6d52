"""PEFT's methods applied to a model: its configuration, what is done to the model, what is kept."""
