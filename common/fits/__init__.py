"""FITS files: header cards, HDUs, images, further planes."""
