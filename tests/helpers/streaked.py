"""Frames with streaks, and with a trail, in units of their noise."""

import numpy as np

from bgrem.simulate.trails import draw_trails

SHAPE = (200, 240)


def streaked(angle, length, *, number=40, seed=3, width=1.1, brightest=60.0):
    """Return a frame in units of its noise, and its light alone."""
    rng = np.random.default_rng(seed)
    light = np.zeros(SHAPE)
    start = rng.uniform(-length, np.array(SHAPE[::-1]) + length, (number, 2))
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    peak = 3 * (brightest / 3) ** rng.uniform(size=number)
    draw_trails(light, start, end, width, peak * np.sqrt(2 * np.pi) * width)
    noise = rng.standard_normal(SHAPE) * np.sqrt(1 + light / 20)
    return (light + noise).astype(np.float32), light


def trail(angle, length, peak):
    """Return one trail through the middle of a frame."""
    light = np.zeros(SHAPE)
    middle = np.array([[120.0, 100.0]])
    half = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    draw_trails(light, middle - half, middle + half, 1.1, [peak * np.sqrt(2 * np.pi) * 1.1])
    return light
