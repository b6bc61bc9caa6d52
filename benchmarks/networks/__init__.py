"""Measured collectives, what they teach of links, and how far the model lies from them."""
