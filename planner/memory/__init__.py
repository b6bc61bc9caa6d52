"""Bytes: lifetimes, the allocator's replay, the peak, what the runtime takes."""
