"""Snapshots of torch's caching allocator: read without unpickling, and what they held when."""
