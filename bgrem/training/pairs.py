"""Pairs of the user: an observed image and its clean one, from one file."""

from pathlib import Path

import numpy as np


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
                arrays = {n.lower(): np.asarray(file[n]) for n in file if n.lower() in wanted}
        elif suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {n.lower(): file[n] for n in file.files if n.lower() in wanted}
        else:
            from astropy.io import fits

            with fits.open(path, memmap=False) as hdus:
                arrays = {h.name.lower(): h.data for h in hdus if h.name.lower() in wanted}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable FITS, HDF5 or npz file ({error}).") from None
    clean = arrays.get("clean", arrays.get("sources"))
    observed = arrays.get("observed")
    if observed is None and clean is not None and "background" in arrays:
        observed = clean + arrays["background"] + arrays.get("noise", 0)
    if clean is None or observed is None:
        raise ValueError(
            f"{path}: expected observed and clean, or clean and background. "
            f"Found: {', '.join(arrays) or 'none of them'}."
        )
    if clean.ndim != 2 or clean.shape != observed.shape:
        raise ValueError(f"{path}: shapes {observed.shape} and {clean.shape}, expected one (H, W).")
    if not (np.isfinite(clean).all() and np.isfinite(observed).all()):
        raise ValueError(f"{path}: has missing pixels. Cut them off or fill them first.")
    return observed, clean
