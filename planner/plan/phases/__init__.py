"""The phases of a run, one file each: what surrounds the steps, in hours that sum."""
