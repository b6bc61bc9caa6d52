"""Training steps of detectors without data: what depends on what is in an image is taken at stated
numbers, and what the library does image by image is done for all images at once."""
