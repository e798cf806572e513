"""DDNN: map streaks, banding and sky of a raw frame, so that satellites remain."""

from bgrem.noise_mapping.flow import NoiseMap, noisemap

__all__ = ["NoiseMap", "noisemap"]
