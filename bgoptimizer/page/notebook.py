"""`live_page`: the live page of `bgoptimizer` in a notebook."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgoptimizer import __version__
from bgoptimizer.cli import COMMAND, build_parser
from bgoptimizer.command import read_with_help
from bgoptimizer.page.bench import make_bench
from common.page.notebook import call_in_notebook, page_widget
from common.page.session import Session

if TYPE_CHECKING:
    from common.page.widget import PageWidget


def live_page(path: str | Path, output: str | Path = ".", **settings: Any) -> "PageWidget":
    """Return the live page of an image for a notebook: stretch, marks, the fit, the run.

    Parameters
    ----------
    path : path
        A FITS or XISF file.
    output : path, optional
        Folder for what is saved and written.
    **settings
        Those of the command at the start, such as ``protect="strong"`` or ``hdu="SCI"``.

    Returns
    -------
    PageWidget
        Its `marks`, `settings` and `pixels("result")` are those of the page now.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the package anywidget is not installed, or a setting is wrong.
    """
    words = [str(path), "-o", str(output), "--preview"]
    call = call_in_notebook(COMMAND, build_parser(), __version__, words, settings)
    image, given = read_with_help(call, Path(path))
    return page_widget(Session(make_bench(call, Path(path), image, given)))
