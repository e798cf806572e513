"""Astro U-net: make an exposure look longer."""

from bgrem.enhancing.flow import Enhanced, enhance

__all__ = ["Enhanced", "enhance"]
