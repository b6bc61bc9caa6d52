"""Stacks of equal blocks: two or three are recorded, the others repeat what they did, exactly."""
