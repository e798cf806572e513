"""Siril script: remove the background or the noise of the loaded image with bgoptimizer or bgrem.

Without arguments a window asks what to do. In scripts of Siril:

    pyscript bgtoolkit.py background --operation divide
    pyscript bgtoolkit.py denoise --keep background --strength 0.8

Options after the tool are those of the command. The commands are an installation of their own
(`pipx install` or `uv tool install`): Siril's Python needs no TensorFlow.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import sirilpy

sirilpy.ensure_installed("numpy", "astropy")

import numpy as np  # noqa: E402 - installed by the line above
from astropy.io import fits  # noqa: E402

TITLE = "Background Toolkit"
# tool -> command line without files, and what the undo list says
TOOLS = {
    "background": (["bgoptimizer", "--no-save-mask"], "background removed (bgoptimizer)"),
    "denoise": (["bgrem", "denoise"], "noise removed (bgrem denoise)"),
}
FOLDER_VARIABLE = "BGTOOLKIT_FOLDER"  # environment: where the commands are, if not on the PATH
USUAL_FOLDERS = (Path.home() / ".local" / "bin",)  # of pipx and uv, on all systems
# of Siril's own Python and libraries: another program must not see them
OWN_VARIABLES = (
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
)  # fmt: skip
STRUCTURE = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BZERO", "BSCALE", "END")  # FITS writes them


class Failed(Exception):
    """What the user is told in one line."""


def main(words=None):
    """Connect, run the tool on the loaded image; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Siril's stop: the command ends, too
    words = list(sys.argv[1:] if words is None else words)
    siril = sirilpy.SirilInterface()
    try:
        siril.connect()
    except sirilpy.SirilError as error:
        print(f"{TITLE}: no connection to Siril ({error}). Run the script from Siril.")
        return 1
    try:
        if not siril.is_image_loaded():
            raise Failed("no image is loaded. Open one first.")
        words = words or ask()
        if words:
            apply_tool(siril, *read_words(words))
    except (Failed, sirilpy.SirilError, OSError) as error:
        siril.log(f"{TITLE}: {error}", sirilpy.LogColor.RED)
        siril.error_messagebox(f"{TITLE}: {error}")
        return 1
    finally:
        siril.reset_progress()
        siril.disconnect()
    return 0


def read_words(words):
    """Return the tool, and the options for its command."""
    parser = argparse.ArgumentParser(prog="bgtoolkit.py", description=__doc__.partition("\n")[0])
    parser.add_argument("tool", choices=TOOLS)
    known, options = parser.parse_known_args(words)
    return known.tool, options


def apply_tool(siril, tool, options):
    """Run a tool on the loaded image and put the result in its place, as one step to undo."""
    words, label = TOOLS[tool]
    command = [find_command(words[0]), *words[1:]]
    with siril.image_lock(), tempfile.TemporaryDirectory(prefix="bgtoolkit_") as folder:
        pixels = siril.get_image_pixeldata()
        source, result = Path(folder, "image.fits"), Path(folder, "result.fits")
        write_pixels(source, pixels, siril.get_image_fits_header())
        siril.log(f"{TITLE}: {shlex.join([*words, *options])}")
        files = [str(source), "-o", str(result), "--json"]
        run_command([*command, *files, *options], lambda event: tell(siril, event))
        found, clipped = read_pixels(result, pixels)
        siril.undo_save_state(label)
        siril.set_image_pixeldata(found)
    if clipped:
        siril.log(
            f"{TITLE}: {100 * clipped:.1f} % of the pixels left the range of 16 bits and were "
            "clipped. Set Siril to 32 bits to keep them.", sirilpy.LogColor.SALMON,
        )  # fmt: skip
    siril.log(f"{TITLE}: done, {label}", sirilpy.LogColor.GREEN)


# --- pixels --------------------------------------------------------------------------------------


def write_pixels(path, pixels, header_text):
    """Write pixels (H, W) or (C, H, W) with Siril's header.

    Siril's first row is the lowest one, as is that of a FITS file: rows stay as they are.
    """
    cards = fits.Header.fromstring(header_text or "", sep="\n")
    for name in list(cards):
        if name in STRUCTURE or name.startswith("NAXIS"):
            cards.remove(name, ignore_missing=True, remove_all=True)
    if "ROWORDER" not in cards:
        cards["ROWORDER"] = ("BOTTOM-UP", "the first row is the lowest one")
    fits.PrimaryHDU(np.ascontiguousarray(pixels), cards).writeto(path, output_verify="silentfix")


def read_pixels(path, before):
    """Return the result in the shape and type of the pixels before, and the part that is clipped.

    Raises
    ------
    Failed
        If it has another shape.
    """
    if not path.exists():
        raise Failed("the command wrote no result. The image is unchanged.")
    found = np.asarray(fits.getdata(path), np.float32)
    if found.size != before.size:
        raise Failed(f"the result has the shape {found.shape}, the image {before.shape}.")
    found = found.reshape(before.shape)
    if before.dtype != np.uint16:
        return np.ascontiguousarray(found, np.float32), 0.0
    whole = np.rint(np.nan_to_num(found))
    inside = np.clip(whole, 0, np.iinfo(np.uint16).max)
    return inside.astype(np.uint16), float(np.mean(whole != inside))


# --- the command ---------------------------------------------------------------------------------


def find_command(name):
    """Return the path of a command: in the user's folder, on the PATH, where pipx and uv put it."""
    given = os.environ.get(FOLDER_VARIABLE)
    folders = [given] if given else [os.environ.get("PATH", ""), *map(str, USUAL_FOLDERS)]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise Failed(
            f"the command {name} was not found in {given or 'the PATH'}. Install it, or set "
            f"{FOLDER_VARIABLE} to its folder."
        )
    return found


def clean_environment():
    """Return the environment without what belongs to Siril's own Python and libraries."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    for name in OWN_VARIABLES:  # an AppImage keeps the user's own value so
        if original := os.environ.get(f"{name}_ORIG"):
            kept[name] = original
    return kept


def run_command(command, on_event):
    """Run a command that prints events; it is ended if the script is.

    Raises
    ------
    Failed
        With the command's own line, if it fails.
    """
    problem = ""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages:
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=messages, env=clean_environment(),
            text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        try:
            for line in run.stdout:
                event = read_event(line)
                if event.get("event") == "error":
                    problem = event.get("message", "")
                on_event(event)
            code = run.wait()
        finally:
            if run.poll() is None:
                run.terminate()
                run.wait()
            run.stdout.close()
        messages.seek(0)
        last = (messages.read().strip().splitlines() or [""])[-1]
    if code:
        raise Failed(problem or last or f"the command ended with code {code}.")


def read_event(line):
    """Return the event of a line; of other lines none."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def tell(siril, event):
    """Show an event in Siril's progress bar or log."""
    kind = event.get("event")
    if kind == "progress":
        siril.update_progress(TITLE, min(max(event["done"] / 100, 0.0), 1.0))
    elif kind == "status":
        siril.update_progress(f"{TITLE}: {event['message']}", -2.0)  # the text alone
    elif kind in ("warning", "info") and "message" in event:
        color = "SALMON" if kind == "warning" else "DEFAULT"
        siril.log(f"{TITLE}: {event['message']}", sirilpy.LogColor[color])
    elif kind == "result":
        for note in event.get("notes", ()):
            siril.log(f"{TITLE}: {note}")


# --- the window ----------------------------------------------------------------------------------


def ask():
    """Return the words of a command line that the user chooses in a window; [] if none."""
    import tkinter
    from tkinter import ttk

    window = tkinter.Tk()
    window.title(TITLE)
    frame = ttk.Frame(window, padding=12)
    frame.grid()
    rows = {
        "tool": ("Tool", tuple(TOOLS)),
        "operation": ("Background: operation", ("subtract", "divide", "auto")),
        "keep": ("Denoise: keep", ("background", "auto", "sources")),
        "strength": ("Denoise: strength", ("1.0", "0.9", "0.8", "0.6", "0.4")),
    }
    chosen = {}
    for number, (name, (text, values)) in enumerate(rows.items()):
        chosen[name] = tkinter.StringVar(window, values[0])
        ttk.Label(frame, text=text).grid(row=number, column=0, sticky="w", pady=3)
        box = ttk.Combobox(frame, textvariable=chosen[name], values=values, width=16)
        box.grid(row=number, column=1, padx=8)
    chosen["more"] = tkinter.StringVar(window, "")
    ttk.Label(frame, text="Further options").grid(row=len(rows), column=0, sticky="w")
    ttk.Entry(frame, textvariable=chosen["more"], width=18).grid(row=len(rows), column=1, padx=8)
    words = []

    def take():
        words.extend(words_of(**{name: one.get() for name, one in chosen.items()}))
        window.destroy()

    ttk.Button(frame, text="Apply", command=take).grid(row=9, column=0, pady=(12, 0))
    ttk.Button(frame, text="Close", command=window.destroy).grid(row=9, column=1, pady=(12, 0))
    window.mainloop()
    return words


def words_of(tool, operation, keep, strength, more):
    """Return the command line for what stands in the window."""
    if tool == "background":
        return [tool, "--operation", operation, *shlex.split(more)]
    return [tool, "--keep", keep, "--strength", strength, *shlex.split(more)]


if __name__ == "__main__":
    sys.exit(main())
