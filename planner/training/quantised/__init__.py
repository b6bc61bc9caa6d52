"""Stand-ins on meta for layers whose weights are stored in few bits, and which layers they are."""
