"""Live pages for notebooks: of any images, and what the tools share for theirs."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.command import Call, Command
from common.header import mosaic_pattern
from common.image import AstroImage
from common.page.plane import View
from common.page.viewing import Viewing

if TYPE_CHECKING:
    from common.page.widget import PageWidget


def show_images(
    images: Mapping[str, AstroImage | np.ndarray], *, kinds: Mapping[str, str] | None = None
) -> "PageWidget":
    """Return a page with images of one frame: stretch, histogram, blink, split, marks.

    Parameters
    ----------
    images : mapping of AstroImage or array, shape (H, W) or (H, W, C)
        Label -> linear pixels, NaN = missing. The first one is the input; all have its stretch.
    kinds : mapping of str, optional
        Kind of area -> its label, where something is to be drawn.

    Raises
    ------
    ValueError
        If there is no image, shapes differ, or anywidget is not installed.
    """
    shown = {label: one if isinstance(one, AstroImage) else AstroImage(np.asarray(one))
             for label, one in images.items()}  # fmt: skip
    if not shown:
        raise ValueError("there is no image to show. Give at least one.")
    shape = next(iter(shown.values())).shape
    views = []
    for number, (label, one) in enumerate(shown.items()):
        if one.shape[:2] != shape[:2]:
            raise ValueError(f"{label}: shape {one.shape} differs from that of the first, {shape}.")
        name = "input" if number == 0 else f"view{number}"
        views.append(View(name=name, label=label, pixels=one.pixels, pattern=mosaic_pattern(one)))
    name = Path(next(iter(shown.values())).name).name
    return page_widget(Viewing(name, shape, views, kinds=kinds))


def page_widget(viewing: Viewing) -> "PageWidget":
    """Return the widget of a page; ValueError with one clear line if anywidget is missing."""
    try:
        from common.page.widget import PageWidget
    except ImportError as error:
        if error.name != "anywidget":
            raise
        raise ValueError(
            "the live page in a notebook needs the package anywidget: pip install anywidget."
        ) from None
    return PageWidget(viewing)


def call_in_notebook(
    command: Command, parser: argparse.ArgumentParser, version: str, words: Sequence[str],
    settings: Mapping[str, Any],
) -> Call:  # fmt: skip
    """Return the call that a command line would make, with settings by their names.

    Raises
    ------
    ValueError
        If a setting has another name or a value out of its range.
    """
    call = Call(command, parser.parse_args(list(words)), version, {}, lambda words: 0)
    left = dict(settings)
    for config, found in call.settings.items():
        own = {one.name: left.pop(one.name) for one in fields(config) if one.name in left}
        call.settings[config] = replace(found, **own)
    if left:
        known = sorted({one.name for config in call.settings for one in fields(config)})
        raise ValueError(f"{next(iter(left))} is no setting. There are: {', '.join(known)}.")
    return call
