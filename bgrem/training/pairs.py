"""Pairs of the user: an observed image and its clean one, from one file."""

from pathlib import Path
from typing import Any

import numpy as np

from common.checked.archives import read_arrays

# bytes of a dataset for each byte of its file; deflate reaches 1032
MAX_DATASET_EXPANSION = 1040
MIN_DATASET_BYTES = 1 << 26  # bytes that any dataset may have


def _dataset(one: Any, size: int) -> np.ndarray:
    """Return a dataset of HDF5, whose declared shape may be larger than any memory."""
    if len(getattr(one, "shape", ())) != 2:
        raise ValueError(f"{one.name} is no plane (H, W)")
    if one.nbytes > MIN_DATASET_BYTES + MAX_DATASET_EXPANSION * size:
        raise ValueError(f"{one.name} declares {one.shape}, the file has {size} bytes")
    return np.asarray(one)


def read_pair(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (observed, clean), shape (H, W), of a FITS, HDF5 or npz file.

    Names of extensions, datasets or arrays: `observed` and `clean` (or `sources`), or `clean`
    and `background` (with its noise), in any case.
    """
    wanted = {"observed", "clean", "sources", "background", "noise"}
    arrays: dict[str, np.ndarray] = {}
    suffix = path.suffix.lower()
    try:
        if suffix in (".h5", ".hdf5"):
            import h5py

            with h5py.File(path, "r") as file:
                for name in file:
                    if name.lower() in wanted:
                        arrays[name.lower()] = _dataset(file[name], path.stat().st_size)
        elif suffix == ".npz":
            found = read_arrays(path, str(path))
            arrays = {n.lower(): array for n, array in found.items() if n.lower() in wanted}
        else:
            from common.fits.parts import read_planes

            planes = read_planes(path, [name.upper() for name in wanted])
            arrays = {name.lower(): plane for name, plane in planes.items()}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:  # of HDF5, too
        raise ValueError(f"{path}: not a readable FITS, HDF5 or npz file ({error}).") from None
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or array.ndim != 2:
            raise ValueError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}, expected numbers (H, W)."
            )
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{path}: shapes {shapes}, expected one (H, W).")
    clean = arrays.get("clean", arrays.get("sources"))
    observed = arrays.get("observed")
    if observed is None and clean is not None and "background" in arrays:
        observed = clean + arrays["background"] + arrays.get("noise", 0)
    if clean is None or observed is None:
        raise ValueError(
            f"{path}: expected observed and clean, or clean and background. "
            f"Found: {', '.join(arrays) or 'none of them'}."
        )
    if not (np.isfinite(clean).all() and np.isfinite(observed).all()):
        raise ValueError(f"{path}: has missing pixels. Cut them off or fill them first.")
    return observed, clean
