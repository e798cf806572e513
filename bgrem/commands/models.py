"""`bgrem models`: the registry, one card, or a model as an ONNX file."""

from bgrem.models import DESCRIPTION_FILE, find_model, is_exported, list_models, read_description
from common import cli
from common.command import Call
from common.progress import events

EXPORT = "export"  # the word before a model that is written as ONNX


def run(call: Call) -> int:
    """Print all models, or the card of one, or export one."""
    words = call.args.model
    if words[:1] == [EXPORT]:
        return _export(call, words[1:])
    if call.args.output is not None or len(words) > 1:
        raise ValueError(f"{' '.join(words)}: type `bgrem models {EXPORT} NAME -o FILE.onnx`.")
    if words:
        return _print_card(words[0])
    found = list_models()
    if call.args.json:
        events.emit("result", models=found)
        return cli.EXIT_DONE
    for name, description in found.items():
        what = description.get("domain", {}).get("what", "")
        cli.put(f"{name:12} {what}")
    return cli.EXIT_DONE


def _print_card(name: str) -> int:
    card = read_description(name)  # a damaged card is not printed
    if is_exported(name):
        import json

        cli.put(json.dumps(card, indent=2, ensure_ascii=False))
    else:
        cli.put((find_model(name) / DESCRIPTION_FILE).read_text("utf-8"), end="")
    return cli.EXIT_DONE


def _export(call: Call, names: list[str]) -> int:
    """Write one model as an ONNX file, tested against Keras."""
    from bgrem.inference.exported import MAX_DIFFERENCE, export_model

    if len(names) != 1 or call.args.output is None:
        raise ValueError(f"{EXPORT}: type `bgrem models {EXPORT} NAME -o FILE.onnx`.")
    (name,), path = names, call.args.output
    with cli.silenced_stderr():  # TensorFlow announces itself
        _, difference = export_model(name, path, overwrite=call.args.overwrite)
    if call.args.json:
        events.emit("result", model=name, output=path, difference=difference)
    elif not call.args.quiet:
        cli.put(
            f"{name}: wrote {path} (differs from Keras by {difference:.1g} of the output, allowed "
            f"{MAX_DIFFERENCE:.1g})"
        )
    return cli.EXIT_DONE
