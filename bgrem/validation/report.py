"""The report of a validation: one self-contained page, the same for machines, the pictures."""

import base64
import html
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bgrem import __version__
from bgrem.config import ValidateConfig
from bgrem.validation.checks.result import CheckResult, Measure
from bgrem.validation.flow import Validation, result_names
from common.atomic import (
    atomic_write,
    check_writable,
    explain_write_errors,
    scratch_folder,
    write_together,
)
from common.progress.output import plain

REPORT_PAGE = "report.html"  # name of the file
REPORT_JSON = "report.json"  # name of the file
PICTURE_DPI = 110  # dots per inch
# passed -> class and word on the page
VERDICTS = {True: ("pass", "✓ pass"), False: ("fail", "✗ fail"), None: ("none", "? undecided")}
PAGE_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  max-width: 1080px; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem;
  border-top: 1px solid #ddd; padding-top: 1.2rem; } h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
p { margin: .4rem 0; } .quiet, figcaption { color: #555; font-size: .9rem; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e4e4e4;
  vertical-align: top; } th { color: #555; font-weight: 600; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.pass { color: #1e7b34; } .fail { color: #b3261e; font-weight: 600; } .none { color: #777; }
.warning { background: #fff4e0; border-left: 4px solid #d98200; padding: .5rem .8rem; }
figure { margin: .6rem 0; } img { max-width: 100%; height: auto; }
td.group { background: #f6f6f6; font-weight: 600; } a { color: #2c6fbb; }
code { font-size: .85rem; overflow-wrap: anywhere; }
@media print { body { max-width: none; font-size: 11px; padding: 0; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""


def write_report(
    folder: Path,
    done: Validation,
    *,
    extra: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write report.html, report.json and a PNG of each check into a folder, and `extra` files.

    A new folder appears complete or not at all. Into one that is there the files are put
    together; other files in it stay.

    Returns
    -------
    dict of path
        The files by what they are.

    Raises
    ------
    OSError
        If a file is there already and `overwrite` is off, or nothing can be written.
    """
    pictures = {_picture_name(one.name): _png(one) for one in done.results}
    texts = {REPORT_PAGE: _page(done, pictures), REPORT_JSON: _json(done)}
    files = {name: text.encode("utf-8") for name, text in texts.items()} | pictures
    files |= dict(extra or {})
    if folder.exists():
        check_report_folder(folder, files, overwrite=overwrite)
        with write_together():
            for name, content in files.items():
                with atomic_write(folder / name, overwrite) as temporary:
                    temporary.write_bytes(content)
    else:
        _new_folder(folder, files)
    return {name: folder / name for name in files}


def report_names(config: ValidateConfig, *, with_truth: bool) -> list[str]:
    """Return the names of the files that `write_report` will write, without `extra` ones."""
    return [
        REPORT_PAGE,
        REPORT_JSON,
        *map(_picture_name, result_names(config, with_truth=with_truth)),
    ]


def _picture_name(result: str) -> str:
    return f"{result}.png"


def check_report_folder(folder: Path, names: Iterable[str], *, overwrite: bool) -> None:
    """See that files of these names can be written into a folder, before any work.

    Raises
    ------
    OSError
        If it cannot; the message says how to fix it.
    """
    if folder.is_dir():
        for name in names:
            check_writable(folder / name, overwrite)
    elif folder.exists():
        raise NotADirectoryError(
            f"{folder}: is a file, the report needs a folder. Choose another name with -o."
        )
    else:
        check_writable(folder)


def _new_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    with explain_write_errors(folder), scratch_folder(folder.parent) as scratch:
        temporary = scratch / folder.name
        temporary.mkdir()
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        os.rename(temporary, folder)


def _png(result: CheckResult) -> bytes:
    stream = io.BytesIO()
    # matplotlib's version would change the bytes
    result.picture.savefig(stream, dpi=PICTURE_DPI, format="png", metadata={"Software": None})
    return stream.getvalue()


def _json(done: Validation) -> str:
    """Return all figures, parameters and curves; what could not be measured is null."""
    content = {
        "tool": "bgrem validate",
        "version": __version__,
        **done.facts,
        "outside the model's domain": done.warnings,
        "notes": done.notes,
        "frame properties": vars(done.properties),
        "checks": {
            one.name: {
                "title": one.title,
                "measures": [_figures(measure) for measure in one.measures],
                "data": one.data,
                "cards": one.cards,
            }
            for one in done.results
        },
    }
    return json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _figures(one: Measure) -> dict[str, Any]:
    """Return the fields of a measure; the words for an unknown value only where it is."""
    return {name: field for name, field in vars(one).items()
            if name != "unknown" or not np.isfinite(one.value)}  # fmt: skip


def _page(done: Validation, pictures: Mapping[str, bytes]) -> str:
    facts = done.facts
    title = f"Validation of {facts['frame']}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="quiet">bgrem {__version__}, model {_text(facts["model"])}, '
        f"{_text(facts['examined'])} examined</p>",
        *(f'<p class="warning"><b>Outside the model’s training domain.</b> {_text(line)}</p>'
          for line in done.warnings),
        _verdict(done), _summary(done),
        *(f'<p class="quiet">Note: {_text(note)}.</p>' for note in done.notes),
        *(_section(one, pictures[_picture_name(one.name)]) for one in done.results),
        "<h2>Frame, model, settings</h2>", _facts(done),
    ]  # fmt: skip
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{PAGE_STYLE}</style></head>\n<body>\n{body}\n"
        "</body></html>\n"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _verdict(done: Validation) -> str:
    """Return how many goals are met."""
    goals = [one.passed for result in done.results for one in result.measures if one.wanted]
    number = {passed: goals.count(passed) for passed in VERDICTS}
    parts = [f'<span class="pass">{number[True]} of {len(goals)} goals are met</span>']
    if number[False]:
        parts.append(f'<span class="fail">{number[False]} missed</span>')
    if number[None]:
        parts.append(f"{number[None]} undecided")
    return (
        f"<p><b>{', '.join(parts)}.</b> Undecided: met or missed by less than one standard "
        "deviation, or not measured. Figures without a goal are for information.</p>"
    )


def _summary(done: Validation) -> str:
    rows = ["<tr><th>figure</th><th>value</th><th>wanted</th><th>verdict</th></tr>"]
    for result in done.results:
        if result.measures:
            rows.append(f'<tr><td class="group" colspan="4"><a href="#{result.name}">'
                        f"{_text(result.title)}</a></td></tr>")  # fmt: skip
        rows += [_measure_row(one) for one in result.measures]
    return f"<table>{''.join(rows)}</table>"


def _measure_row(one: Measure) -> str:
    kind, word = VERDICTS[one.passed] if one.wanted else ("none", "—")
    return (f'<tr><td>{_text(one.name)}</td><td class="number">{_text(shown(one))}</td>'
            f'<td>{_text(one.wanted or "—")}</td><td class="{kind}">{word}</td></tr>')  # fmt: skip


def shown(one: Measure) -> str:
    """Return a value with its error and unit: two digits of the error, or three of the value."""
    if not np.isfinite(one.value):
        return one.unknown
    unit = f" {one.unit}" if one.unit else ""
    if one.error is None or not np.isfinite(one.error) or one.error <= 0:
        return f"{one.value:.3g}{unit}" if abs(one.value) < 1000 else f"{one.value:.0f}{unit}"
    digits = max(0, 1 - int(np.floor(np.log10(one.error))))
    return f"{one.value:.{digits}f} ± {one.error:.{digits}f}{unit}"


def _section(result: CheckResult, picture: bytes) -> str:
    source = base64.b64encode(picture).decode("ascii")
    alternative = _text(f"{result.title}: {result.caption or result.method}")
    tables = "".join(f"<h3>{_text(title)}</h3>{_table(rows)}" for title, rows in result.tables)
    return (
        f'<h2 id="{result.name}">{_text(result.title)}</h2><p>{_text(result.method)}</p>'
        f'<figure><img alt="{alternative}" src="data:image/png;base64,{source}">'
        f"<figcaption>{_text(result.caption)}</figcaption></figure>{tables}"
    )


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return '<p class="quiet">nothing to show</p>'
    head = "".join(f"<th>{_text(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f'<td class="number">{_text(value)}</td>' for value in row.values())
        + "</tr>" for row in rows
    )  # fmt: skip
    return f"<table><tr>{head}</tr>{body}</table>"


def _facts(done: Validation) -> str:
    """Return everything that is needed to repeat the run."""
    properties = {name: value for name, value in vars(done.properties).items() if value == value}
    cards = {key: value for one in done.results for key, value, _ in one.cards}
    content = {**done.facts, "frame properties": properties, "header keywords": cards}
    rows = "".join(f"<tr><td>{_text(name)}</td><td><code>{_text(_value(value))}</code></td></tr>"
                   for name, value in content.items())  # fmt: skip
    return f"<table>{rows}</table>"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_value(one)}" for name, one in value.items())
    return f"{value:.5g}" if isinstance(value, float) else str(value)
