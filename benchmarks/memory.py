"""Peak memory of the commands of `bgrem`, and of `bgoptimizer`, on large frames.

    python benchmarks/memory.py [--sides 2048 4096 10560] [--colour 6000x4000] [--folder DIR]

A simulated field is laid side by side until the frame is full, over a gradient, and written as
float32 FITS. Each command is a process of its own. Its peak is the largest resident set that the
kernel has seen (`ru_maxrss`); pages of files that are mapped count, too. A process that grows
beyond `--limit` is killed, and the table says so.

With `--small-networks` networks of a few channels with random weights stand for those of the
package: what is measured is all but the network, which adds what TensorFlow needs for its tiles.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from bgrem import simulate_field  # noqa: E402
from common import AstroImage, write_image  # noqa: E402

SEED = 70_900  # of the field; the results' seeds run from 70,000 up
FIELD_PX = 1024  # px; side of the field that is repeated
GRADIENT = 0.5  # of the field's level, from corner to corner
SECONDS_BETWEEN_LOOKS = 0.2  # s; at the size of a child
COMMANDS = {
    "bgrem denoise": ["-m", "bgrem", "denoise"],
    "bgrem denoise --keep background": ["-m", "bgrem", "denoise", "--keep", "background"],
    "bgrem denoise --uncertainty": ["-m", "bgrem", "denoise"],
    "bgrem catalog": ["-m", "bgrem", "catalog"],
    "bgrem enhance": ["-m", "bgrem", "enhance", "--gain", "1"],
    "bgrem noisemap": ["-m", "bgrem", "noisemap"],
    "bgoptimizer": ["-m", "bgoptimizer"],
}
# word of the command -> model whose card a small network has, and its options
SMALL_NETWORKS = {
    "denoise": ("optical", {"name": "attention_unet", "widths": [4], "bottleneck": 6}),
    "catalog": ("optical", {"name": "attention_unet", "widths": [4], "bottleneck": 6}),
    "enhance": ("hst", {"name": "exposure", "widths": [4], "bottleneck": 6}),
    "noisemap": ("streaks", {"name": "residual", "widths": [8], "groups": 8}),
}


@dataclass(frozen=True)
class Measured:
    """One run: size, peak in bytes (None: killed at the limit), processor and wall seconds."""

    command: str
    width: int
    height: int
    channels: int
    peak: int | None
    processor_seconds: float
    seconds: float

    def row(self) -> str:
        """Return the line of the table."""
        pixels = self.width * self.height * self.channels
        size = f"{self.width} x {self.height}" + (" x 3" if self.channels > 1 else "")
        peak = ["killed at the limit", ""]
        if self.peak is not None:
            peak = [f"{self.peak / 1e9:.2f}", f"{self.peak / pixels:.0f}"]
        figures = [*peak, f"{self.processor_seconds:.0f}", f"{self.seconds:.0f}"]
        return f"| {self.command} | {size} | " + " | ".join(figures) + " |"


def make_frame(path: Path, height: int, width: int, channels: int) -> None:
    """Write a frame of float32 pixels, (H, W) or three channels."""
    field = simulate_field(shape=(FIELD_PX, FIELD_PX), seed=SEED).observed
    step = GRADIENT * float(np.median(field)) / (height + width)
    pixels = np.empty((height, width, channels), np.float32)
    for top in range(0, height, FIELD_PX):
        rows = slice(top, min(top + FIELD_PX, height))
        across = np.tile(field, (1, -(-width // FIELD_PX)))[: rows.stop - top, :width]
        ramp = np.add.outer(np.arange(top, rows.stop), np.arange(width))
        for channel in range(channels):
            pixels[rows, :, channel] = np.roll(across, 100 * channel, 1) + step * ramp
    write_image(path, AstroImage(pixels, cards=[("GAIN", 1.0, "electrons per unit")]))


def make_small_model(folder: Path, word: str) -> Path:
    """Write a model with a small network of random weights for a command."""
    from bgrem.models import named_weights, read_description, save_model
    from bgrem.networks.attention_unet import NETWORKS, initialise

    name, network = SMALL_NETWORKS[word]
    options = dict(network)
    made = NETWORKS[options.pop("name")](**options)
    initialise(made, SEED)
    card = read_description(name) | {"network": network, "uncertainty": {}}
    save_model(folder / word, named_weights(made), card)
    return folder / word


def measure(command: str, path: Path, output: Path, limit: float, more: list[str]) -> Measured:
    """Run a command over a frame and return what it took."""
    words = [sys.executable, *COMMANDS[command], str(path), "-o", f"{output}/"]
    words += ["--overwrite", "--quiet", *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    child = subprocess.Popen(words, env=environment)
    killed = False
    while True:
        done, status, usage = os.wait4(child.pid, os.WNOHANG)
        if done:
            break
        if not killed and resident(child.pid) > limit:
            child.send_signal(signal.SIGKILL)
            killed = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode and not killed:
        raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    height, width, channels = shape_of(path)
    return Measured(
        command, width, height, channels, None if killed else usage.ru_maxrss * unit,
        usage.ru_utime + usage.ru_stime, time.perf_counter() - start,
    )  # fmt: skip


def resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def shape_of(path: Path) -> tuple[int, int, int]:
    """Return (H, W, C) of a frame that `make_frame` has written."""
    from astropy.io import fits

    shape = fits.getheader(path)
    return shape["NAXIS2"], shape["NAXIS1"], shape.get("NAXIS3", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="*", default=[2048, 4096, 10560], metavar="PX")
    parser.add_argument("--colour", nargs="*", default=["6000x4000"], metavar="WxH")
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS), choices=COMMANDS)
    parser.add_argument("--limit", type=float, default=8.0, help="GB; larger processes are killed")
    parser.add_argument(
        "--steps", type=int, help="of bgrem denoise; 1: the same memory in less time"
    )
    parser.add_argument("--small-networks", action="store_true", help="in place of the package's")
    parser.add_argument("--folder", type=Path, help="for the frames, which are kept")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [(side, side, 1) for side in args.sides]
    sizes += [(int(h), int(w), 3) for w, h in (one.split("x") for one in args.colour)]
    found = []
    print(
        "| command | pixels | peak, GB | bytes per value | CPU s | s |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for height, width, channels in sizes:
            path = folder / f"frame_{width}x{height}x{channels}.fits"
            if not path.exists():
                make_frame(path, height, width, channels)
            for command in args.commands:
                if command.endswith("background") != (channels > 1) and "bgrem" in command:
                    continue  # pictures keep their background, survey frames do not
                if args.small_networks and command.endswith("uncertainty"):
                    continue  # a small network has no calibration
                output = Path(temporary) / "out"
                more, word = [], COMMANDS[command][2] if "bgrem" in command else ""
                if args.steps and command in ("bgrem denoise", "bgrem catalog"):
                    more = ["--steps", str(args.steps)]
                if command.endswith("uncertainty"):
                    more = ["--uncertainty", str(output / "uncertainty.fits")]
                elif args.small_networks and word and "background" not in command:
                    more += ["--model", str(make_small_model(Path(temporary), word))]
                one = measure(command, path, output, args.limit * 1e9, more)
                found.append(one)
                print(one.row(), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in found], indent=1), "utf-8")


if __name__ == "__main__":
    main()
