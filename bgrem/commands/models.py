"""`bgrem models`: the registry, or one card."""

from bgrem.models import DESCRIPTION_FILE, find_model, list_models, read_description
from common import cli
from common.command import Call
from common.progress import events


def run(call: Call) -> int:
    """Print all models, or the card of one."""
    if call.args.model:
        read_description(call.args.model)  # a damaged card is not printed
        cli.put((find_model(call.args.model) / DESCRIPTION_FILE).read_text("utf-8"), end="")
        return cli.EXIT_DONE
    found = list_models()
    if call.args.json:
        events.emit("result", models=found)
        return cli.EXIT_DONE
    for name, description in found.items():
        what = description.get("domain", {}).get("what", "")
        cli.put(f"{name:12} {what}")
    return cli.EXIT_DONE
