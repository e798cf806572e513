"""What Python users call, as scripts for `recording_cases`."""

API_NAMES = """
import importlib, inspect
for package in ("bgrem", "bgoptimizer", "common"):
    module = importlib.import_module(package)
    print(package, *module.__all__)
    for name in module.__all__:
        print(f"{package}.{name}:")
        try:
            parameters = inspect.signature(getattr(module, name)).parameters.values()
        except ValueError:
            continue
        for one in parameters:
            default = getattr(one.default, "__name__", one.default)
            default = "(required)" if one.default is one.empty else default
            print(f"    {one.kind.name} {one.name} = {default}")
"""
API_RUNS = """
import numpy as np
from bgoptimizer import BackgroundConfig, correct_background, fit_background, make_scene
from bgrem import (CatalogConfig, DenoiseConfig, EnhanceConfig, NoiseMapConfig, SimulateConfig,
    catalog, denoise, denoised_uncertainty, enhance, list_models, load_calibration, load_model,
    noisemap, simulate_field)
from common import AstroImage, MtfStretch, read_image, write_image

def keep(name, *arrays):
    for number, array in enumerate(arrays):
        array = getattr(array, "pixels", array)
        np.save(f"{name}_{number}.npy", np.asarray(array))

image = read_image("field.fits")
pixels = image.pixels[..., 0].astype(np.float64)
done = denoise(pixels, DenoiseConfig(steps=1))
keep("denoise", done.result, done.background, done.residual, done.sigma)
calibrated = denoise(image, twin=True)
calibration = load_calibration(DenoiseConfig(), load_model("optical").description)
keep("uncertainty", *denoised_uncertainty(calibrated, calibration))
found = catalog(image, threshold=1.5, done=calibrated)
keep("catalog", found.segmentation, found.table["FLUX_AUTO"], found.table["X_IMAGE"])
longer = enhance(read_image("hubble.fits", hdu="SCI"), EnhanceConfig(ratio=2.5, noise=0.1))
keep("enhance", longer.result)
mapped = noisemap(read_image("streaks.fits"), NoiseMapConfig(runs=1))
keep("noisemap", mapped.residual, mapped.map, mapped.deviation, mapped.rms)
simulated = simulate_field(SimulateConfig(preset="ztf", shape=(96, 112), seed=4))
keep("simulate", simulated.observed, simulated.sources, simulated.background, simulated.noise)
nebula = read_image("nebula_colour.fits")
model = fit_background(nebula, BackgroundConfig(uncertainty=2))
correction = correct_background(nebula, model)
keep("background", model.evaluate(), model.sigma(), correction.result, correction.model)
write_image("nebula_flat.fits", correction.result)
write_image("nebula_flat.xisf", correction.result)
layer = model.keras_layer()
places = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 7)), -1).reshape(-1, 2)
keep("layer", layer(places[None].astype(np.float32)))
stretch = MtfStretch.fit(nebula.pixels, target=0.2)
keep("stretch", stretch.forward(nebula.pixels), stretch.inverse(stretch.forward(nebula.pixels)))
scene = make_scene(3, shape=(120, 160))
keep("scene", scene.observed, scene.background, scene.objects, scene.valid)
print(sorted(vars(scene)), list_models().keys())
print(AstroImage(pixels).shape, image.shape, image.name, int(image.missing.sum()))
print(sorted(name for name in vars(MtfStretch) if name[0] != "_"))
"""
