"""The live page of `bgoptimizer`: what it shows, fits and keeps."""
