"""The first screen of an answer: what a decision needs, and how much more there is."""
