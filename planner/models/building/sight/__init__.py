"""Models that write about images: how they read one, and their towers without data."""
