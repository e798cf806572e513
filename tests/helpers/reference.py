"""Slow reference implementations: plain loops that follow the definitions, for small inputs.

They share no code with the packages; where a definition has a constant, it is an argument.
"""

import itertools
import math

import numpy as np


def mirrored(place, length):
    """Return the index that a place beyond the edge has; the edge pixel counts twice."""
    while not 0 <= place < length:
        place = -1 - place if place < 0 else 2 * length - 1 - place
    return place


def tile_weight(place, side, overlap, first, last):
    """Return the weight of a tile's pixel along one axis.

    Of an overlap the outer quarter is dropped, over the rest but the inner quarter it rises as a
    squared sine.
    """
    drop = overlap // 4
    ramp = overlap - 2 * drop
    weight = 1.0
    for distance, is_border in ((place, first), (side - 1 - place, last)):
        if is_border or not ramp:
            continue
        if distance < drop:
            weight = 0.0
        elif distance < drop + ramp:
            weight *= math.sin(math.pi / 2 * (distance - drop + 0.5) / ramp) ** 2
    return weight


def map_tiles(image, starts, sides, overlap, function):
    """Return for each pixel the weighted mean of what `function` makes of its tiles, (H, W)."""
    height, width = image.shape
    results = []
    for row, column in starts:
        tile = np.empty(sides)
        for y, x in np.ndindex(*sides):
            tile[y, x] = image[mirrored(row + y, height), mirrored(column + x, width)]
        results.append(function(tile[None, ..., None])[0, ..., 0])
    out = np.empty(image.shape)
    for y, x in np.ndindex(*image.shape):
        total = weights = 0.0
        for (row, column), result in zip(starts, results, strict=True):
            place = (y - row, x - column)
            if not all(0 <= one < side for one, side in zip(place, sides, strict=True)):
                continue
            weight = 1.0
            for one, side, start, length in zip(
                place, sides, (row, column), image.shape, strict=True
            ):
                weight *= tile_weight(one, side, overlap, start == 0, start + side >= length)
            total += weight * result[place]
            weights += weight
        out[y, x] = total / weights
    return out


def weighted_moments(places, weights):
    """Return the sum of weights, means of (row, column) and their (co)variances."""
    total = sum(weights)
    mean = [
        sum(w * p[axis] for w, p in zip(weights, places, strict=True)) / total for axis in (0, 1)
    ]
    product = {}
    for a, b in ((0, 0), (1, 1), (0, 1)):
        product[a, b] = sum(
            w * (p[a] - mean[a]) * (p[b] - mean[b]) for w, p in zip(weights, places, strict=True)
        )
    return total, mean, {pair: value / total for pair, value in product.items()}


def segment_ellipse(pixels, segmentation, number, above):
    """Return flux, x, y, a, b, theta of one segment; a and b are NaN where a variance is negative.

    A source of one pixel's width gets that pixel's, 1/12.
    """
    chosen = [
        place
        for place in np.ndindex(*pixels.shape)
        if segmentation[place] == number and pixels[place] > above
    ]
    flux, (y, x), variance = weighted_moments(chosen, [float(pixels[one]) for one in chosen])
    yy, xx, xy = variance[0, 0], variance[1, 1], variance[0, 1]
    if xx * yy - xy**2 < 1 / 12**2:
        xx, yy = xx + 1 / 12, yy + 1 / 12
    small, large = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
    if small <= 0 or flux <= 0:
        small = large = math.nan
    return flux, x, y, math.sqrt(large), math.sqrt(small), 0.5 * math.atan2(2 * xy, xx - yy)


def moments_along(labels, weights, number, angle):
    """Return variances along and across an angle and the covariance of one object."""
    chosen = [place for place in np.ndindex(*labels.shape) if labels[place] == number]
    _, _, variance = weighted_moments(chosen, [float(weights[one]) for one in chosen])
    # the covariance matrix in x, then y
    matrix = np.array([[variance[1, 1], variance[0, 1]], [variance[0, 1], variance[0, 0]]])
    cosine, sine = math.cos(angle), math.sin(angle)
    along, across = np.array([cosine, sine]), np.array([-sine, cosine])
    return along @ matrix @ along, across @ matrix @ across, along @ matrix @ across


def block_reduce(plane, factor, statistic):
    """Return the median or mean of the measured pixels of each block.

    NaN where fewer than a quarter of a block's pixels (rounded down, but one at least) are.
    """
    rows, columns = (math.ceil(length / factor) for length in plane.shape)
    out = np.empty((rows, columns))
    for row, column in np.ndindex(rows, columns):
        values = []
        pixels = 0
        for y, x in itertools.product(range(factor), repeat=2):
            place = row * factor + y, column * factor + x
            if place[0] < plane.shape[0] and place[1] < plane.shape[1]:
                pixels += 1
                if math.isfinite(plane[place]):
                    values.append(float(plane[place]))
        if len(values) < max(1, pixels // 4):
            out[row, column] = math.nan
        elif statistic == "mean":
            out[row, column] = sum(values) / len(values)
        else:
            values.sort()
            out[row, column] = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
    return out


def reflected(place, length):
    """Return the index that a place beyond the edge has; the edge pixel counts once."""
    while not 0 <= place < length:
        place = -place if place < 0 else 2 * (length - 1) - place
    return place


def spline_coefficients(image):
    """Return the cubic B-spline through an image that is mirrored at its edge pixels' centres."""
    coefficients = np.asarray(image, float)
    for axis in (0, 1):
        length = coefficients.shape[axis]
        matrix = np.zeros((length, length))
        for k in range(length):
            for step, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
                matrix[k, reflected(k + step, length)] += weight
        coefficients = np.moveaxis(
            np.linalg.solve(matrix, np.moveaxis(coefficients, axis, 0)), 0, axis
        )
    return coefficients


def b_spline(distance):
    """Return the cubic B-spline's weight at a distance in pixels."""
    distance = abs(distance)
    if distance < 1:
        return 2 / 3 - distance**2 + distance**3 / 2
    return max(2 - distance, 0) ** 3 / 6


def interpolate(coefficients, y, x):
    """Return the spline's value at any (row, column)."""
    value = 0.0
    for row in range(math.floor(y) - 1, math.floor(y) + 3):
        for column in range(math.floor(x) - 1, math.floor(x) + 3):
            place = tuple(
                reflected(*one) for one in zip((row, column), coefficients.shape, strict=True)
            )
            value += coefficients[place] * b_spline(y - row) * b_spline(x - column)
    return value


def neighbours(image, angle, first, last):
    """Return medians of the pixels `first` to `last` px away and means of the nearest two.

    Both (2, H, W): with falling and with rising distance along an angle from x towards y.
    """
    coefficients = spline_coefficients(image)
    every, nearest = np.empty((2, *image.shape)), np.empty((2, *image.shape))
    for side, sign in enumerate((1, -1)):
        for y, x in np.ndindex(*image.shape):
            values = [
                interpolate(
                    coefficients,
                    y + sign * distance * math.sin(angle),
                    x + sign * distance * math.cos(angle),
                )
                for distance in range(first, last + 1)
            ]
            every[side, y, x] = np.median(values)
            nearest[side, y, x] = np.mean(values[:2])
    return every, nearest


def scatter(values, brightness, shares, fewest):
    """Return the robust standard deviation of values on pixels as bright.

    Ranges of brightness begin at its quantiles `shares`; in each with `fewest` pixels the standard
    deviation is 1.4826 times the median of the absolute values, and no less than in fainter ones.
    Between the ranges' medians it is interpolated.
    """
    edges = np.quantile(brightness, shares)
    centres, widths = [], []
    for k, low in enumerate(edges):
        high = edges[k + 1] if k + 1 < len(edges) else math.inf
        chosen = [place for place in np.ndindex(*values.shape) if low <= brightness[place] < high]
        if len(chosen) >= fewest:
            centres.append(np.median([brightness[one] for one in chosen]))
            width = 1.4826 * np.median([abs(values[one]) for one in chosen])
            widths.append(max([width, *widths]))
    return np.interp(brightness, centres, widths)


def light_along(image, angle, first, last, shares, fewest, agree):
    """Return the light that the neighbours on both sides along streaks give, (H, W).

    Where the sides differ by `agree` times the noise a streak ends: there it is a pixel's own
    light as far as it lies between the nearest neighbours'.
    """
    every, nearest = neighbours(image, angle, first, last)
    noise = scatter(image - every.mean(0), every.max(0), shares, fewest)
    out = np.empty(image.shape)
    for place in np.ndindex(*image.shape):
        sides = every[:, *place]
        if abs(sides[0] - sides[1]) > agree * noise[place]:
            out[place] = min(max(image[place], nearest[:, *place].min()), nearest[:, *place].max())
        else:
            out[place] = sides.mean()
    return out


def match(found, truth, visible_from, listed_from, radius):
    """Return each detection's source (-1: none) and whether it is a false one, both (N,).

    One to one, the nearest pair (in units of its radius) first. A detection that is near a source
    too faint for the list is neither true nor false.
    """
    pairs = []
    partner, excused = [-1] * len(found), [False] * len(found)
    for k, (x, y) in enumerate(found):
        for source in range(len(truth["x"])):
            distance = math.hypot(x - truth["x"][source], y - truth["y"][source])
            if truth["snr"][source] < visible_from or distance > radius[source]:
                continue
            if truth["snr"][source] < listed_from:
                excused[k] = True
            else:
                pairs.append((distance / radius[source], k, source))
    for _, k, source in sorted(pairs):
        if partner[k] < 0 and source not in partner:
            partner[k] = source
    return partner, [p < 0 and not e for p, e in zip(partner, excused, strict=True)]


def autocorrelation(values, good, largest):
    """Return the mean product of all pairs of good pixels by their rounded distance, 1 at 0."""
    mean = values[good].mean()
    places = list(zip(*np.nonzero(good), strict=True))
    products = [[] for _ in range(largest + 1)]
    for (y1, x1), (y2, x2) in itertools.product(places, repeat=2):
        if max(abs(y1 - y2), abs(x1 - x2)) <= largest:
            distance = round(math.hypot(y1 - y2, x1 - x2))
            if distance <= largest:
                products[distance].append((values[y1, x1] - mean) * (values[y2, x2] - mean))
    covariance = np.array([np.mean(one) for one in products])
    return covariance / covariance[0]
