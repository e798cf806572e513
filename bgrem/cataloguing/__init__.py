"""Detect sources on the denoised image, measure them on the original."""

from bgrem.cataloguing.flow import Catalog, catalog

__all__ = ["Catalog", "catalog"]
