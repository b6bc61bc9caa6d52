"""Shapes of datasets as people have them, each with what a trainer makes of its records."""
