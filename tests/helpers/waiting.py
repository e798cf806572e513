"""Wait for what another thread or process does."""

import time


def wait_until(holds, seconds=60.0):
    """Return when `holds()` is true; fail after so many seconds."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds
        time.sleep(0.01)
