"""Run a network over an image: tiles, memory, precision, device."""
