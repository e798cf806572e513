"""Keras layers and networks, and the equations of diffusion."""
