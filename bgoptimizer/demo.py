"""`python -m bgoptimizer.demo DIR`: simulate a scene, run the command, measure against truth."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bgoptimizer import cli
from bgoptimizer.scenes import Scene, make_scene
from common.image import AstroImage
from common.io import read_image, write_image
from common.progress.steps import shown_command, step

DEMO_SEED = 2024  # of the simulated scene
DEMO_SHAPE = (800, 1200)  # px; rows, columns
OBJECT_LEVEL = 3e-4  # light above it is an object, as in benchmarks/; 1.0 is full well
DEMO_PICTURES = {"before_after": "before_after.png", "animation": "fit.gif"}  # names of the files


def main(argv: Sequence[str] | None = None) -> int:
    """Fill a folder with files, pictures and a table; return the exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m bgoptimizer.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="made if missing; files in it are replaced")
    folder = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    with step(f"simulate {DEMO_SHAPE[1]} x {DEMO_SHAPE[0]} px with a nebula and light pollution"):
        scene = make_scene(DEMO_SEED, shape=DEMO_SHAPE, channels=3, objects="nebula")
        write_image(folder / "scene.xisf", AstroImage(scene.observed), overwrite=True)
    lines = [_row("objective", "rms all", "rms outside", "nebula eaten", "CPU seconds")]
    for objective in ("robust", "original"):
        output = folder if objective == "robust" else folder / objective
        command = [str(folder / "scene.xisf"), "-o", str(output), "--objective", objective]
        command += ["--overwrite", "--quiet"]
        if objective == "robust":
            command += ["--before-after", str(folder / DEMO_PICTURES["before_after"])]
            command += ["--animation", str(folder / DEMO_PICTURES["animation"])]
        start = time.process_time()
        with step(shown_command("bgoptimizer", [command[0], *command[3:5]])):
            code = cli.main(command)
        seconds = time.process_time() - start
        if code:
            return code
        model = read_image(output / "scene_bgModel.xisf").pixels
        everywhere, outside, eaten = measure(model, scene)
        lines.append(
            _row(objective, f"{1e5 * everywhere:.1f}", f"{1e5 * outside:.1f}",
                 f"{100 * eaten:.0f} %", f"{seconds:.1f}")
        )  # fmt: skip
    lines += ["", "rms: error of the model against the simulated background, 1e-5 of full well;"]
    lines += ["outside: where the nebula adds less than 30; eaten: its light that the model took."]
    (folder / "table.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("", *lines, "", sep="\n")
    print(f"look at  {folder / DEMO_PICTURES['before_after']}  before, background, after")
    print(f"         {folder / DEMO_PICTURES['animation']}  the rounds of the fit\n")
    return 0


def measure(model: np.ndarray, scene: Scene) -> tuple[float, float, float]:
    """Return the rms error everywhere, that outside objects, and the objects' share lost.

    Parameters
    ----------
    model : array, shape (H, W, C)
        In units of the scene.
    scene : Scene
    """
    error = model - scene.background.astype(np.float64)
    inside = (scene.objects > OBJECT_LEVEL) & scene.valid[..., None]
    outside = ~inside & scene.valid[..., None]

    def rms(where: np.ndarray) -> float:
        return float(np.sqrt(np.mean(error[where] ** 2)))

    eaten = error[inside].sum() / scene.objects[inside].sum(dtype=np.float64)
    return rms(inside | outside), rms(outside), float(eaten)


def _row(*cells: str) -> str:
    return "".join(f"{cell:>14}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
