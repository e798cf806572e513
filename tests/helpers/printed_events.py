"""What a command printed with --json."""

import json


def events_of(text, kind=None):
    """All events on stdout, in order; of one kind without the key `event`."""
    found = [json.loads(line) for line in text.splitlines()]
    if kind is None:
        return found
    return [{key: one[key] for key in one if key != "event"} for one in found
            if one["event"] == kind]  # fmt: skip


def results_of(text):
    """The results, one for each input."""
    return events_of(text, "result")
