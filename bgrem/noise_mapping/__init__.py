"""DDNN: map streaks, banding and sky of a raw frame, so that satellites remain.

A flow in five steps (`flow`): `units` of the frame; `star_fit` of its streaks, with the `template`
that they share and the bands of each of its `amplifiers`; `hiding` of points and trails, which must
not become a part of the map; `runs` of the network; `residual_noise`. `detections` is the table of
what remains. `streaks` gives the direction and length of the streaks.
"""

from bgrem.noise_mapping.flow import NoiseMap, noisemap

__all__ = ["NoiseMap", "noisemap"]
