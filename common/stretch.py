"""Midtones transfer function and its exact inverse: the door between linear and stretched pixels.

`MtfStretch` is the stretch of the background fit, reversible; `auto_stf` is a stretch for display
only, the numbers of PixInsight's AutoSTF.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# pixels per channel: np.quantile of 180 Mpx takes seconds; 1e-3 of the spread
QUANTILE_SAMPLES = 4_000_000
PIXELS_AT_ONCE = 1 << 22  # pixels stretched at once: their float64 copies stay near 100 MB


def mtf(x: Any, midtones: Any, ratio: Any = 2.0) -> np.ndarray:
    """Map 0 to 0, `midtones` to 1 / `ratio` and 1 to 1 by a rational curve.

    Parameters
    ----------
    x : array
        Values, meant for [0, 1]; the curve has a pole outside.
    midtones : float or array
        Value in (0, 1) that is mapped to 1 / `ratio`.
    ratio : float or array
        Above 1. The default 2 gives the function of the XISF 1.0 specification, section 8.5.6.

    Returns
    -------
    array
        (1 - m) x / ((1 - r m) x + (r - 1) m).

    Raises
    ------
    ValueError
        If `midtones` is not between 0 and 1 or `ratio` is not above 1.
    """
    x = np.asarray(x)
    m, r = _check_curve(midtones, ratio)
    return (1 - m) * x / ((1 - r * m) * x + (r - 1) * m)


def inverse_mtf(y: Any, midtones: Any, ratio: Any = 2.0) -> np.ndarray:
    """Return the x for which `mtf(x, midtones, ratio)` is `y`.

    The inverse is the same curve with midtones 1 - m and ratio r / (r - 1).
    """
    m, r = _check_curve(midtones, ratio)
    return mtf(y, 1 - m, r / (r - 1))


def _check_curve(midtones: Any, ratio: Any) -> tuple[Any, Any]:
    """Return both as given; numbers stay Python numbers, which keep float32 arrays float32."""
    if not np.all((np.asarray(midtones) > 0) & (np.asarray(midtones) < 1)):
        raise ValueError(f"midtones must lie between 0 and 1. Received: midtones={midtones}")
    if not np.all(np.asarray(ratio) > 1):
        raise ValueError(f"ratio must be above 1. Received: ratio={ratio}")
    return midtones, ratio


class Clipped(NamedTuple):
    """Where a stretch loses values; bool arrays, shape (H, W, C), disjoint."""

    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray


@dataclass(frozen=True, kw_only=True)
class MtfStretch:
    """Stretch that brings the sky to a fixed grey and takes it back.

    x = (linear - pedestal) / scale, clipped to [0, 1]; stretched = mtf(x; midtones, 1 / target).
    Build it with `fit`. Tuples hold one number per channel.

    Parameters
    ----------
    pedestal : tuple of float
        Linear value that becomes 0: the minimum.
    scale : tuple of float
        Linear distance from the pedestal to the value that becomes 1: the quantile.
    midtones : tuple of float
        Scaled value that becomes `target`: the median.
    target : float
        Stretched value of the median, in (0, 1).
    clip : bool
        Saturate what lies outside [0, 1]. If False the curve goes on as a straight line with the
        slope it has at 0 and at 1, so that nothing is lost and nothing meets the pole.
    zeros_missing : bool
        Count exact zeros as missing, as registered frames mark their border.

    Examples
    --------
    >>> import numpy as np
    >>> from common import MtfStretch
    >>> linear = np.linspace(1.0, 5.0, 101).reshape(1, 101, 1)
    >>> stretch = MtfStretch.fit(linear)
    >>> stretched = stretch.forward(linear)
    >>> round(float(np.median(stretched)), 6)  # the median becomes the target
    0.25
    >>> lost = stretch.clipped(linear).high  # above the quantile
    >>> bool(np.allclose(stretch.inverse(stretched)[~lost], linear[~lost]))
    True
    """

    pedestal: tuple[float, ...]
    scale: tuple[float, ...]
    midtones: tuple[float, ...]
    target: float = 0.25
    clip: bool = True
    zeros_missing: bool = True

    @classmethod
    def fit(
        cls,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        quantile: float = 0.95,
        target: float = 0.25,
        linked: bool = False,
        clip: bool = True,
        zeros_missing: bool = True,
        name: str = "image",
    ) -> "MtfStretch":
        """Measure pedestal, scale and midtones on linear pixels.

        The minimum is that of all pixels. Median and quantile are taken on every k-th pixel where
        a channel has more than 4e6, k being the same for the same shape.

        Parameters
        ----------
        pixels : array, shape (H, W, C)
            Linear values. NaN and infinities are missing.
        missing : bool array, shape (H, W), (H, W, 1) or (H, W, C), optional
            Further pixels to leave out.
        quantile : float
            Fraction of the pixels that stay below 1.
        target : float
            Stretched value of the median.
        linked : bool
            One set of numbers for all channels together, which keeps the colours.
        clip, zeros_missing : bool
            See the class.
        name : str
            What error messages call the image.

        Raises
        ------
        ValueError
            If an argument is out of range, a channel has no valid pixel, or its median is not
            between its minimum and its quantile (a constant channel, for one).
        """
        for key, value in (("quantile", quantile), ("target", target)):
            if not 0 < value < 1:
                raise ValueError(f"{key} must lie between 0 and 1. Received: {key}={value}")
        pixels = check_pixels(pixels, name)
        if missing is not None:
            missing = np.asarray(missing, bool)
            if missing.ndim == 2:
                missing = missing[..., None]
            if missing.shape not in (pixels.shape, (*pixels.shape[:2], 1)):
                raise ValueError(
                    f"{name}: missing of shape {missing.shape} does not fit pixels of shape "
                    f"{pixels.shape}. Give (H, W) or (H, W, C)."
                )
        channels = pixels.shape[-1]
        rows: list[tuple[float, float, float]] = []
        groups = [list(range(channels))] if linked else [[c] for c in range(channels)]
        for group in groups:
            where = f"{name}, channel" + (f"s {group} linked" if linked else f" {group[0]}")
            lowest, samples = math.inf, []
            for c in group:
                mask = None if missing is None else missing[..., c % missing.shape[-1]]
                low, values = valid_samples(pixels[..., c], mask, zeros_missing)
                lowest = min(lowest, low)
                samples.append(values)
            rows += [_levels(lowest, np.concatenate(samples), quantile, where)] * len(group)
        pedestal, scale, midtones = zip(*rows, strict=True)
        levels = {"pedestal": pedestal, "scale": scale, "midtones": midtones}
        return cls(**levels, target=target, clip=clip, zeros_missing=zeros_missing)

    def forward(self, linear: np.ndarray) -> np.ndarray:
        """Return the stretched pixels, same shape; float64 stays, all else becomes float32.

        NaN and infinities become NaN. Exact zeros are stretched like any value; `clipped` tells
        that they are missing.
        """

        def curve(x: np.ndarray, m: float, r: float) -> np.ndarray:
            inside = np.clip(x, 0, 1)
            y = np.where(inside < 1, mtf(inside, m, r), 1)  # saturated is 1 to the last bit
            if not self.clip:
                steep = (1 - m) / ((r - 1) * m)  # slope at 0; at 1 it is the reciprocal
                y += np.where(x < 0, x * steep, (x - inside) / steep)
            y[~np.isfinite(x)] = np.nan
            return y

        def channel(values: np.ndarray, c: int) -> np.ndarray:
            x = (values - self.pedestal[c]) / self.scale[c]
            return curve(x, self.midtones[c], 1 / self.target)

        return self._by_channel(linear, channel)

    def inverse(self, stretched: np.ndarray) -> np.ndarray:
        """Return the linear pixels of stretched ones.

        Exact, to the rounding of the stretched dtype, for every pixel that `clipped` does not
        name. Values outside [0, 1], which a model may reach, follow the straight lines that
        continue the curve. NaN stay NaN.
        """

        def channel(values: np.ndarray, c: int) -> np.ndarray:
            m, r = self.midtones[c], 1 / self.target
            steep = (1 - m) / ((r - 1) * m)
            inside = np.clip(values, 0, 1)
            x = inverse_mtf(inside, m, r)
            x += np.where(values < 0, values / steep, (values - inside) * steep)
            return x * self.scale[c] + self.pedestal[c]

        return self._by_channel(stretched, channel)

    def clipped(self, linear: np.ndarray) -> Clipped:
        """Tell which pixels lie under the pedestal, over the quantile, or are missing.

        The answer holds for the values; with `clip=False` none of them is lost.
        """
        pixels = self._check_channels(linear)
        low = np.array(self.pedestal)
        missing = _missing(pixels, self.zeros_missing)
        return Clipped(
            low=(pixels < low) & ~missing,
            high=(pixels > low + np.array(self.scale)) & ~missing,
            missing=missing,
        )

    def _check_channels(self, pixels: np.ndarray) -> np.ndarray:
        pixels = check_pixels(pixels, "image")
        if pixels.shape[-1] != len(self.scale):
            raise ValueError(
                f"the stretch was fitted to {len(self.scale)} channels, the pixels have shape "
                f"{pixels.shape}. Fit it to an image with the same channels."
            )
        return pixels

    def _by_channel(
        self, pixels: np.ndarray, function: Callable[[np.ndarray, int], np.ndarray]
    ) -> np.ndarray:
        """Apply a float64 function to blocks of rows of each channel."""
        pixels = self._check_channels(pixels)
        out = np.empty_like(pixels)
        step = max(1, PIXELS_AT_ONCE // pixels.shape[1])
        with np.errstate(invalid="ignore"):  # infinities, which become NaN
            for c in range(pixels.shape[-1]):
                for row in range(0, pixels.shape[0], step):
                    block = np.asarray(pixels[row : row + step, :, c], np.float64)
                    out[row : row + step, :, c] = function(block, c)
        return out


def check_pixels(pixels: np.ndarray, name: str) -> np.ndarray:
    """Return pixels as an array of shape (H, W, C), or raise ValueError."""
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(
            f"{name}: expected pixels of shape (H, W, C), got {pixels.shape}. "
            "Add the channel axis to a mono image with pixels[..., None]."
        )
    return pixels.astype(np.result_type(pixels.dtype, np.float32), copy=False)


def _missing(values: np.ndarray, zeros_missing: bool) -> np.ndarray:
    missing = ~np.isfinite(values)
    if zeros_missing:
        missing |= values == 0
    return missing


def _stride(height: int, width: int) -> int:
    """Step through the flat pixels that keeps SAMPLES of them and visits every column."""
    step = math.ceil(height * width / QUANTILE_SAMPLES)
    while math.gcd(step, width) > 1:
        step += 1
    return step


def valid_samples(
    plane: np.ndarray, missing: np.ndarray | None, zeros_missing: bool
) -> tuple[float, np.ndarray]:
    """Return the minimum of the valid pixels of a plane (H, W) and a strided sample of them."""
    valid = ~_missing(plane, zeros_missing)
    if missing is not None:
        valid &= ~missing
    lowest = float(np.min(plane, where=valid, initial=math.inf))
    height, width = plane.shape
    flat = np.arange(0, height * width, _stride(height, width))
    picked = flat // width, flat % width
    return lowest, plane[picked][valid[picked]].astype(np.float64)


def _levels(
    lowest: float, samples: np.ndarray, quantile: float, where: str
) -> tuple[float, float, float]:
    if not samples.size:
        raise ValueError(
            f"{where}: no valid pixel to fit the stretch to (all are zero, NaN or masked). "
            "Leave the channel out, or mask less."
        )
    median, top = np.quantile(samples, (0.5, quantile))
    if not lowest < median < top:
        raise ValueError(
            f"{where}: the median must lie between the minimum and the {quantile} quantile, got "
            f"minimum {lowest:g}, median {median:g}, quantile {top:g}: the channel is constant or "
            "mostly one value. Leave the channel out, mask that value, or raise the quantile."
        )
    return lowest, float(top - lowest), float((median - lowest) / (top - lowest))
