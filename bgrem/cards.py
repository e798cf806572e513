"""What a model's card (model.json) must have: each entry is checked before it is used."""

import re
from typing import Any

from common.checked.json_files import entry, number_list, shown

MAX_WIDTH = 4096  # channels; the published network has 512
MAX_TILE = 1 << 16  # px; the trained models have 64 to 128


def check_description(card: Any, where: str) -> dict[str, Any]:
    """Return a model's card; ValueError where an entry that the commands use is another thing.

    Parameters
    ----------
    card : object
        What was read.
    where : str
        The file, for messages.
    """
    network = entry(card, "network", dict, where)
    entry(network, "name", str, f"{where}: network")
    entry(network, "softening", float, f"{where}: network", default=0.0, least=0, most=1e6)
    number_list(network, "widths", f"{where}: network", least=1, most=MAX_WIDTH, default=None)
    for name in ("bottleneck", "gated_levels", "groups"):
        entry(network, name, int, f"{where}: network", default=1, least=0, most=MAX_WIDTH)
    schedule = entry(card, "schedule", dict, where, default={})
    for name in ("min_signal", "max_signal"):
        entry(schedule, name, float, f"{where}: schedule", default=0.5, least=0, most=1)
    for name in ("version", "task", "background", "scaling"):
        entry(card, name, str, where, default="")
    entry(card, "tile", int, where, default=16, least=16, most=MAX_TILE)
    number_list(card, "ratios", where, least=1, most=1e6, length=2, default=None)
    domain = entry(card, "domain", dict, where, default={})
    for name, limits in domain.items():
        if isinstance(limits, list) and any(isinstance(one, (int, float)) for one in limits):
            number_list(domain, name, f"{where}: domain")
    entry(card, "uncertainty", dict, where, default={})
    sha256 = entry(card, "sha256", str, where)
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"{where}: sha256 is {shown(sha256)}, expected 64 digits from 0 to f.")
    return card
