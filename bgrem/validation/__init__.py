"""Check a model on a frame of the user, with injected sources and the frame's own noise."""

from bgrem.validation.flow import Validation, validate

__all__ = ["Validation", "validate"]
