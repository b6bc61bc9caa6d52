"""What the newer families of models are held against: torch's own tracker, published figures."""
