"""BGRem: remove background and noise from survey images; its files and its uncertainty."""

from bgrem.denoising.flow import Denoised, denoise

__all__ = ["Denoised", "denoise"]
