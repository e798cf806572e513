"""What the user knows of a frame: a mask, points of sky, objects, a reference image."""
