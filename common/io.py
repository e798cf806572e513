"""Read and write an image by its suffix; the place where a file becomes an `AstroImage` and back."""
