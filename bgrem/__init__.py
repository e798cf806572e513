"""Learned systems that take background and noise out of survey images."""

__version__ = "0.1.0"
