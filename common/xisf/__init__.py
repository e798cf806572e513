"""XISF files: header elements, data blocks, images."""
