"""Many devices: what each of them runs and what they send each other."""
