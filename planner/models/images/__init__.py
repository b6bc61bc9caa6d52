"""Images that models are trained on."""
