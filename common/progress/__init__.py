"""What a run tells while it works: a bar for people, events for programs."""

from common.progress.passes import Passes, expect_passes
from common.progress.reporter import Reporter

__all__ = ["Passes", "Reporter", "expect_passes"]
