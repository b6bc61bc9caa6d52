"""One training step really run on the meta device and written down; torch is imported from here
on."""
