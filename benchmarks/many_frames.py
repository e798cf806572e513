"""A plan for many frames: how many workers for how many hours, from measured seconds and rates.

    python benchmarks/many_frames.py                                       # a simulated frame
    python benchmarks/many_frames.py a.fits b.fits --command "bgoptimizer" # real frames
    python benchmarks/many_frames.py --frames 100000 --terabytes 45 --workers 1 100 1000

The command works on the first frame alone and then on all of them, in processes of their own. The
difference is the processor time of the others, without the start and the load of the model. Time
goes with the pixels: a frame of the plan has as many as its bytes hold at 4 bytes each. A worker is
one core of this machine. Reading and writing are measured in the folder for temporary files; the
plan also has a shared file system of `--rate`.
"""

import argparse
import json
import os
import resource
import shlex
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
from bgrem.inference.device import name_device  # noqa: E402
from common import AstroImage, read_image, write_image  # noqa: E402

SEED = 70_950  # of the field; the results' seeds run from 70,000 up
FIELD_PX = 1024  # px; side of the simulated frame
RATE_FILE_BYTES = 1 << 28  # bytes of the file that the rates are measured with
PIXEL_BYTES = 4  # of float32, in which frames are written


@dataclass(frozen=True)
class Measured:
    """What the plan is computed from.

    Attributes
    ----------
    processor_seconds : float
        For one million pixels, on one core.
    start_seconds : float
        Processor time of a run less that of its frames.
    written : float
        Bytes of all outputs by bytes of 4 for each pixel.
    write_rate, read_rate : float
        Bytes in a second; the read one is of a file that is not in memory, if the system lets go.
    """

    processor_seconds: float
    start_seconds: float
    written: float
    write_rate: float
    read_rate: float


def run_command(words: list[str], files: list[Path], folder: Path) -> tuple[float, int]:
    """Return processor seconds of a run, and bytes of its outputs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", *words, *map(str, files), "-o", str(folder), "--quiet"]
    subprocess.run(command, check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, sum(file.stat().st_size for file in folder.iterdir())


def measure_rates(folder: Path) -> tuple[float, float]:
    """Return bytes in a second of writing, brought to the disk, and of reading."""
    file, content = folder / "rate", os.urandom(RATE_FILE_BYTES)
    start = time.perf_counter()
    with file.open("wb") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
        written = time.perf_counter() - start
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.perf_counter()
    file.read_bytes()
    read = time.perf_counter() - start
    file.unlink()
    return RATE_FILE_BYTES / written, RATE_FILE_BYTES / read


def measure(words: list[str], files: list[Path], folder: Path) -> Measured:
    """Run the command on the first file and on all, and measure the disk."""
    pixels = [read_image(file).pixels.size for file in files]
    first, _ = run_command(words, files[:1], folder / "first")
    total, written = run_command(words, files, folder / "all")
    each = (total - first) / sum(pixels[1:])
    rates = measure_rates(folder)
    return Measured(
        each * 1e6, first - each * pixels[0], written / (PIXEL_BYTES * sum(pixels)), *rates
    )


def hours_of(
    measured: Measured, frames: int, size: float, workers: int, rate: float
) -> list[float]:
    """Return hours of computing, of reading and writing at a shared rate, and of both at once."""
    pixels = size / PIXEL_BYTES
    seconds = frames * measured.processor_seconds * pixels / 1e6 / workers
    traffic = frames * size * (1 + measured.written)
    return [seconds / 3600, traffic / rate / 3600, max(seconds, traffic / rate) / 3600]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "files", nargs="*", type=Path, help="two frames or more (default: simulated)"
    )
    parser.add_argument("--command", default="bgrem denoise", help="and its options")
    parser.add_argument("--frames", type=int, default=100_000, help="of the plan")
    parser.add_argument("--terabytes", type=float, default=45.0, help="of all frames together")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--rate", type=float, default=2000.0, help="MB/s of a shared file system")
    parser.add_argument("--json", type=Path, help="write all figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name), args.files
        if not files:
            field = simulate_field(shape=(FIELD_PX, FIELD_PX), seed=SEED)
            files = [folder / "a.fits", folder / "b.fits"]
            for file in files:
                write_image(file, AstroImage(np.asarray(field.observed, np.float32)))
        measured = measure(shlex.split(args.command), files, folder)
    size = args.terabytes * 1e12 / args.frames
    processor = name_device(None)
    print(f"{args.command} on {processor}, {os.cpu_count()} cores")
    print(f"{measured.processor_seconds:.1f} processor seconds for a million pixels, "
          f"{measured.start_seconds:.1f} to start; outputs {measured.written:.1f} x the input; "
          f"disk {measured.write_rate / 1e6:.0f} MB/s to write, "
          f"{measured.read_rate / 1e6:.0f} MB/s to read")  # fmt: skip
    print(f"{args.frames} frames of {size / 1e6:.0f} MB\n")
    rate = args.rate * 1e6
    print(f"| workers | computing, h | read and write at {args.rate:.0f} MB/s, h | together, h "
          "| MB/s that keep them busy |")  # fmt: skip
    print("|---|---|---|---|---|")
    for workers in args.workers:
        computing, traffic, both = hours_of(measured, args.frames, size, workers, rate)
        needed = traffic * args.rate / computing
        print(f"| {workers} | {computing:.0f} | {traffic:.1f} | {both:.0f} | {needed:.1f} |")
    if args.json:
        content = {
            "measured": asdict(measured), "command": args.command, "frames": args.frames,
            "frame_bytes": size, "processor": processor, "files": [file.name for file in files],
        }  # fmt: skip
        args.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
