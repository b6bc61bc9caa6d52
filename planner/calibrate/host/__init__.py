"""What the host needs to enqueue operations."""
