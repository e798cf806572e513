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
