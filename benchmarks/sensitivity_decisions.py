"""Frames and figures of decisions that sensitivity.py varies: yes or no for a pixel or a frame."""

from typing import Any
from unittest import mock

import background_guided
import background_kinds
import background_unseen
import detection
import enhance_checks
import exposures
import numpy as np
import outside_fields
from scipy import ndimage
from sensitivity_memory import digest
from sensitivity_noisemap import Measured

from bgoptimizer import BackgroundConfig, fit_background
from bgrem.simulate.hubble import simulate_hubble_field
from common.image import AstroImage
from common.robust import difference_noise, mad_sigma, neighbour_differences

DECISION_SEED = 61_400  # of fields and frames; scenes of `background_kinds` have 3010 up
KIND_SEED = 3010
SMALL = (500, 750)  # px, of scenes
FIELD = (512, 512)  # px, of fields
SHARP_KINDS = ("cosmic rays", "trailed", "kolmogorov", "diffraction")
SPOILT = ("rows", "smoothed", "knots")  # noise added to a survey, which the verdict should see
BLEND_KINDS = ("2000 stars", "9000 stars", "trailed", "diffraction", "kolmogorov", "drizzled")
VERDICT_KINDS = ("trailed", "steep sky", "overscan", "glow", "diffraction", "drizzled")
GUIDED_KINDS = ("cirrus", "Milky Way", "narrowband", "dome")
UNCERTAIN_KINDS = ("cirrus", "large galaxy", "undersampled", "filled")
EXPOSURE_RATIO = 2.0  # of the exposure times
GRADIENTS = ("added", "lost", "both")
FILLS = ("border", "hole", "column", "markers", "nothing", "counts", "steps", "saturated")


def sharp_frames(number: int) -> list[str]:
    """Return names "kind seed"."""
    return [f"{kind} {DECISION_SEED + k}" for kind in SHARP_KINDS for k in range(min(2, number))]


def prepare_sharp(name: str) -> tuple[Any, Any, np.ndarray]:
    """Return a field, its planes and the segmentation of its catalogue."""
    from bgrem.cataloguing import catalog
    from bgrem.config import CatalogConfig
    from bgrem.frame.sources import Frame

    kind, seed = name.rsplit(maxsplit=1)
    field = outside_fields.draw_field(kind, FIELD, int(seed))
    found = catalog(AstroImage(field.observed), CatalogConfig())
    done, pixels = found.done, field.observed.astype(float)
    planes = (pixels - done.background.pixels[..., 0], done.result.pixels[..., 0],
              done.sigma[..., 0])  # fmt: skip
    return field, Frame.of(*planes, None), found.segmentation


def measure_sharp(prepared: tuple[Any, Any, np.ndarray]) -> Measured:
    """Return the shares of sources on artefacts, and of others, that are marked as sharp."""
    from bgrem.cataloguing.sharp import sharper_than_stars

    field, planes, segmentation = prepared
    marked = sharper_than_stars(planes, segmentation)
    near = ndimage.maximum_filter(field.artefacts, 3)
    touched = np.bincount(segmentation[near], minlength=len(marked) + 1)[1:] > 0
    return {
        "tracks": float(marked[touched].mean()) if touched.any() else np.nan,
        "stars": float(marked[~touched].mean()),
        "digest": digest(marked),
    }


def exposure_frames(number: int) -> list[str]:
    """Return names of Hubble fields: their seeds."""
    return [f"exposure {DECISION_SEED - 900 + k}" for k in range(min(6, number))]


def prepare_exposure(name: str) -> tuple[Any, Any, np.ndarray, np.ndarray, Any]:
    """Return a pair of exposures, the background, the stabilised input, the network's noise."""
    from bgrem.config import EnhanceConfig
    from bgrem.enhancing.anscombe import stabilise
    from bgrem.enhancing.flow import enhance
    from bgrem.enhancing.withheld import frame_spread
    from bgrem.frame.background import whole_image_statistics

    pair = exposures.draw_pair(simulate_hubble_field(int(name.split()[1])), EXPOSURE_RATIO)
    found = whole_image_statistics(pair.short.astype(float))
    noisy = stabilise(pair.short, found.background, found.sigma)
    # the network alone: a limit that nothing reaches leaves its noise as it is
    with mock.patch("bgrem.enhancing.flow.put_back_stars", lambda _noisy, noise, _spread: noise):
        clean = enhance(pair.short, EnhanceConfig(), ratio=pair.ratio, noise=0.0, gain=1.0).result
    alone = stabilise(clean.pixels[..., 0], found.background, found.sigma)
    spread = frame_spread(
        pair.short, np.zeros(pair.short.shape, bool), found.background, found.sigma
    )
    return pair, found, noisy, noisy - alone, spread


def measure_exposure(prepared: tuple[Any, Any, np.ndarray, np.ndarray, Any]) -> Measured:
    """Return median and scatter of the flux errors of stars at S/N 10 to 30 (long exposure)."""
    from bgrem.enhancing.anscombe import unstabilise
    from bgrem.enhancing.withheld import put_back_stars

    pair, found, noisy, noise, spread = prepared
    better = noisy - put_back_stars(noisy, noise, spread)
    image = unstabilise(better, found.background, found.sigma) * pair.ratio
    chosen, x, y = enhance_checks.isolated_stars(pair)
    level = pair.snr()[chosen]
    inside = (level >= 10) & (level < 30)
    light, true = (exposures.light_in_circles(one, x[inside], y[inside], 3.0, (8.0, 14.0))
                   for one in (image, pair.sources))  # fmt: skip
    error = light / true - 1
    return {
        "bias": float(np.median(error)), "scatter": float(mad_sigma(error)),
        "digest": digest(better),
    }  # fmt: skip


def blend_frames(number: int) -> list[str]:
    """Return names "kind seed"."""
    return [f"{kind} {DECISION_SEED + 20 + k}" for kind in BLEND_KINDS
            for k in range(min(1, number))]  # fmt: skip


def prepare_blends(name: str) -> tuple[Any, Any, Any]:
    """Return a field, its planes and its point-spread function."""
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.frame.sources import Frame
    from bgrem.frame.stars import measure_point_spread

    kind, seed = name.rsplit(maxsplit=1)
    field = outside_fields.draw_field(kind, FIELD, int(seed))
    pixels = field.observed.astype(float)
    done = denoise(AstroImage(field.observed), DenoiseConfig(keep="sources"))
    planes = (pixels - done.background.pixels[..., 0], done.result.pixels[..., 0],
              done.sigma[..., 0])  # fmt: skip
    frame = Frame.of(*planes, field.gain)
    return field, frame, measure_point_spread(frame.signal / frame.sigma, frame.missing)


def _sources(prepared: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """Return what is found, and its partners in the truth."""
    from bgrem.frame import blends
    from bgrem.validation import metrics

    field, frame, spread = prepared
    light = frame.denoised / frame.sigma
    sharpened = blends.Sharpened(light, spread, blends.SHARPENINGS)
    found = blends.find_sources(light, 1.0, sharpened)
    return found, metrics.score(found.places, field.catalogue, field.fwhm)


def measure_blends(prepared: tuple[Any, Any, Any]) -> Measured:
    """Return the share of the listed sources that is found, and false ones."""
    from bgrem.validation import metrics

    found, score = _sources(prepared)
    field = prepared[0]
    return {
        "true": score.true / metrics.listed_number(field.catalogue),
        "false": score.false / field.observed.size * 1e6,
        "digest": digest(found.segmentation),
    }


def measure_profiles(prepared: tuple[Any, Any, Any]) -> Measured:
    """Return the bias of the fluxes of stars at S/N 10 to 20, above 20, and the width of pulls."""
    from bgrem.cataloguing.psf import fit_profiles
    from common.robust import mad_sigma

    field, frame, spread = prepared
    found, score = _sources(prepared)
    fitted, _ = fit_profiles(frame, found.places.x, found.places.y, spread)
    mine = score.partner >= 0
    truth = {name: column[score.partner[mine]] for name, column in field.catalogue.items()}
    ratio, pull = fitted.flux[mine] / truth["flux"], fitted.flux[mine] - truth["flux"]
    pull = pull / fitted.error[mine]
    star = (truth["half_light_radius"] == 0) & np.isfinite(pull)
    faint, bright = star & (truth["snr"] > 10) & (truth["snr"] < 20), star & (truth["snr"] > 20)
    return {
        "faint": float(np.median(ratio[faint])) - 1, "bright": float(np.median(ratio[bright])) - 1,
        "pull": float(mad_sigma(pull[faint | bright])), "digest": digest(fitted.flux, fitted.error),
    }  # fmt: skip


def verdict_frames(number: int) -> list[str]:
    """Return names "kind seed" of outside fields and of the project's own."""
    kinds = (*VERDICT_KINDS, "survey", "crowded", *SPOILT)
    return [f"{kind} {DECISION_SEED + 10 + k}" for kind in kinds for k in range(min(2, number))]


def prepare_verdict(name: str) -> list[Any]:
    """Return what was tried in the windows of a field: stars found and false detections."""
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.inference.run import load_for
    from bgrem.simulate.optical import simulate_field
    from bgrem.validation import verdict

    kind, seed = name.rsplit(maxsplit=1)
    if kind in outside_fields.KINDS:
        pixels = outside_fields.draw_field(kind, FIELD, int(seed)).observed
    else:
        own = "survey" if kind in SPOILT else kind
        pixels = simulate_field(shape=FIELD, seed=int(seed), **detection.KINDS[own]).observed
    if kind in SPOILT:
        rng = np.random.default_rng(int(seed))
        added = rng.normal(size=FIELD if kind != "rows" else (FIELD[0], 1))
        if kind != "rows":
            added = ndimage.gaussian_filter(added, {"smoothed": 1.2, "knots": 3.5}[kind])
        noise = difference_noise(neighbour_differences(pixels, np.ones(FIELD, bool)))
        pixels = pixels + 1.5 * noise * added / added.std()
    config = DenoiseConfig()
    model = load_for(config)
    image, parts = AstroImage(np.asarray(pixels, np.float32)), []
    whole, verdict._verdict = verdict._verdict, lambda tried: parts.extend(tried)
    try:
        verdict.judge_frame(
            image, denoise(image, config, model=model),
            lambda other: denoise(AstroImage(other.astype(np.float32)), config, model=model),
        )  # fmt: skip
    finally:
        verdict._verdict = whole
    return parts


def measure_verdict(parts: list[Any]) -> Measured:
    """Return whether the verdict speaks up, and what it counts."""
    from bgrem.validation.verdict import _verdict

    found = _verdict(parts)
    return {"warned": float(bool(found.problems)), "digest": digest(np.array(found.problems))}


def missing_frames(number: int) -> list[str]:
    """Return names "fill floats|integers seed"."""
    return [f"{fill} {kind} {DECISION_SEED + k}" for fill in FILLS
            for kind in ("floats", "integers") for k in range(min(2, number))]  # fmt: skip


def prepare_missing(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (H, W, 1) of a field of stars, and which of them are filled."""
    fill, kind, seed = name.split()
    rng = np.random.default_rng(int(seed))
    y, x = np.mgrid[: FIELD[0], : FIELD[1]]
    noise = 1.5 if fill == "steps" else rng.uniform(4, 30)
    pixels = 500 + 0.2 * x + rng.normal(0, noise, FIELD)
    for _ in range(200):
        row, column = rng.uniform(4, FIELD[0] - 4, 2)
        near = np.s_[int(row) - 4 : int(row) + 5, int(column) - 4 : int(column) + 5]
        away = (y[near] - row) ** 2 + (x[near] - column) ** 2
        pixels[near] += 10 ** rng.uniform(1.5, 4) * np.exp(-away / 4.5)
    bad = np.zeros(FIELD, bool)
    if fill == "border":
        bad = x + 0.3 * y < 60
    elif fill == "hole":
        bad = np.hypot(y - 300, x - 200) < 9
    elif fill == "column":
        bad = x == 133
    elif fill == "markers":
        bad.flat[rng.choice(bad.size, 40, replace=False)] = True
    elif fill == "counts":
        pixels = rng.poisson(0.4 + 0.001 * pixels).astype(float)
    elif fill == "saturated":
        pixels = np.minimum(pixels, 2500)
        pixels[:300, 250:253] = 2500
    value = rng.choice([-32768.0, -1.0, 0.0, 350.0])
    value = -32768.0 if fill == "markers" else value
    pixels = np.where(bad, value, np.rint(pixels) if kind == "integers" else pixels)
    return pixels.astype(np.float32)[..., None], bad


def measure_missing(prepared: tuple[np.ndarray, np.ndarray]) -> Measured:
    """Return the share of the filled pixels that is missed, and of good ones that is marked."""
    from common.reading.missing import find_missing

    pixels, bad = prepared
    found = np.zeros(bad.shape, bool)
    for one in find_missing(pixels, "border")[:2]:
        if one is not None:
            found |= one[..., 0]
    return {
        "missed": float((~found)[bad].mean()) if bad.any() else np.nan,
        "wrong": float(found[~bad].mean()),
        "digest": digest(found),
    }


def operation_frames(number: int) -> list[str]:
    """Return names "added|lost|both stars seed"."""
    return [f"{kind} {stars} {DECISION_SEED + k}" for kind in GRADIENTS
            for stars in (15000, 40000) for k in range(min(2, number))]  # fmt: skip


def prepare_operation(name: str) -> tuple[AstroImage, Any, str]:
    """Return a frame of stars, its background and what the gradient truly is."""
    kind, stars, seed = name.split()
    rng = np.random.default_rng(int(seed))
    shape = (1000, 1500)
    y, x = np.mgrid[: shape[0], : shape[1]] / shape[0]
    middle = rng.uniform(0.3, 0.7), rng.uniform(0.4, 1.1)
    away = (y - middle[0]) ** 2 + (x - middle[1]) ** 2
    lost = 1 - rng.uniform(0.35, 0.6) * away / away.max()
    points = np.zeros(shape)
    place = tuple((rng.random(int(stars)) * side).astype(int) for side in shape)
    np.add.at(points, place, np.minimum(600 * rng.random(int(stars)) ** (-1 / 0.9), 1e5))
    taken = {"added": np.ones(shape), "lost": lost, "both": np.sqrt(lost)}[kind]
    total = ndimage.gaussian_filter(points, 1.3) * taken + 400 * lost
    image = AstroImage((total + np.sqrt(total) * rng.standard_normal(shape)).astype(np.float32))
    return image, fit_background(image), {"added": "subtract", "lost": "divide"}.get(kind, kind)


def measure_operation(prepared: tuple[AstroImage, Any, str]) -> Measured:
    """Return whether the stars say what is true, and whether they say something wrong."""
    from bgoptimizer.operation import measure_operation as measure

    image, model, truth = prepared
    found = measure(image, model)
    return {
        "right": float(found.kind == truth),
        "wrong": float(found.kind not in (truth, "unknown")),
        "digest": digest(np.array([found.exponent, found.error])) + found.kind,
    }


def guided_frames(number: int) -> list[str]:
    """Return names "kind reference|samples seed"."""
    return [f"{kind}, {how} {KIND_SEED + k}" for kind in GUIDED_KINDS
            for how in ("reference", "samples") for k in range(min(1, number))]  # fmt: skip


def prepare_guided(name: str) -> tuple[Any, AstroImage, dict[str, Any]]:
    """Return a scene, its frame and what the user gives: a cleaner image, or points of sky."""
    kind, seed = name.rsplit(maxsplit=1)
    kind, how = kind.split(", ")
    scene = background_kinds.draw_kind(kind, int(seed), SMALL)
    image = background_unseen.image_of(scene)
    if how == "reference":
        return scene, image, {"reference": background_guided.reference_of(scene, int(seed))}
    return scene, image, {"samples": background_guided.samples_of(scene, int(seed))}


def measure_guided(prepared: tuple[Any, AstroImage, dict[str, Any]]) -> Measured:
    """Return log errors of the background with the user's help."""
    scene, image, given = prepared
    surface = fit_background(image, **given).evaluate()
    every, outside = background_unseen.score(surface, scene)
    return {"every": float(np.log(every)), "outside": float(np.log(outside)),
            "digest": digest(surface)}  # fmt: skip


def uncertain_frames(number: int) -> list[str]:
    """Return names "kind seed"."""
    return [f"{kind} {KIND_SEED + k}" for kind in UNCERTAIN_KINDS for k in range(min(1, number))]


def prepare_uncertain(name: str) -> tuple[Any, AstroImage]:
    """Return a scene and its frame."""
    kind, seed = name.rsplit(maxsplit=1)
    scene = background_kinds.draw_kind(kind, int(seed), SMALL)
    return scene, background_unseen.image_of(scene)


def measure_uncertain(prepared: tuple[Any, AstroImage]) -> Measured:
    """Return the share of the pixels within one standard deviation, their mean error removed."""
    scene, image = prepared
    fitted = fit_background(image, BackgroundConfig(uncertainty=12))
    error, sigma = fitted.evaluate(np.float64) - scene.background, fitted.sigma()
    error -= error[scene.valid].mean(0)
    return {"within": float((np.abs(error) <= sigma)[scene.valid].mean()), "digest": digest(sigma)}
