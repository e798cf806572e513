"""`live_page`: the live page of `bgrem denoise` in a notebook."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgrem import __version__
from bgrem.commands import COMMANDS
from bgrem.commands.base import read_input
from bgrem.commands.denoise import choose_model
from bgrem.commands.page.denoise import make_bench
from bgrem.config import InputConfig
from common.command import build_parser
from common.page.notebook import call_in_notebook, page_widget
from common.page.session import Session

if TYPE_CHECKING:
    from common.page.widget import PageWidget


def live_page(path: str | Path, output: str | Path = ".", **settings: Any) -> "PageWidget":
    """Return the live page of an image for a notebook: stretch, the denoising, the run.

    Parameters
    ----------
    path : path
        A FITS or XISF file.
    output : path, optional
        Folder for what is saved and written.
    **settings
        Those of `bgrem denoise` at the start, such as ``steps=1`` or ``hdu="SCI"``.

    Returns
    -------
    PageWidget
        Its `settings` and `pixels("result")` are those of the page now.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the package anywidget is not installed, or a setting is wrong.
    """
    words = ["denoise", str(path), "-o", str(output), "--preview", "--quiet"]
    parser = build_parser("bgrem", "", __version__, COMMANDS)
    call = call_in_notebook(COMMANDS["denoise"], parser, __version__, words, settings)
    image = read_input(Path(path), call.settings[InputConfig], mosaics=True)
    return page_widget(Session(make_bench(call, Path(path), image, choose_model)))
