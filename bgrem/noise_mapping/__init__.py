"""DDNN: map streaks, banding and sky of a raw frame, so that satellites remain.

A flow in four steps (`flow`): `units` of the frame; `protection` of points and trails, which must
not become a part of the map; `runs` of the network; `residual_noise`. Protection is built upon
`streaks` (direction and length), `hiding` (masks of points and trails, the sky behind them) and
`neighbours` (light along the streaks).
"""

from bgrem.noise_mapping.flow import NoiseMap, noisemap

__all__ = ["NoiseMap", "noisemap"]
