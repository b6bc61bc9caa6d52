"""``torchrun … -m planner.calibrate.collectives``: what devices take to send each other something,
measured and written into the device's profile."""
