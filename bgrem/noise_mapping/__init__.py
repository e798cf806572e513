"""DDNN: map streaks, banding and sky of a raw frame, so that satellites remain.

A flow in five steps (`flow`): `units` of the frame; `star_fit` of its streaks, found by
`star_search` and fitted by `linear_fit` with the `template` that they share, less what `saturation`
cuts and the bands of each of its `amplifiers`; `hiding` of points and trails, which must not become
a part of the map; `runs` of the network; `residual_noise`. `detections` is the table of what
remains. `streaks` gives the direction and length of the streaks.
"""

from bgrem.noise_mapping.flow import NoiseMap, noisemap

__all__ = ["NoiseMap", "noisemap"]
