"""Images with boxes, polygons or masks, in the folders that trainers of detectors read."""
