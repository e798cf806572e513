"""The live page of a command: stretch, masks, points and settings in a browser on this machine."""
