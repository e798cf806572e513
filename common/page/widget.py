"""The live page inside a notebook (extra `notebook`): the page's own module, messages for a server.

Import it through `common.page.notebook`, which says what to install where anywidget is missing.
"""

from collections.abc import Mapping
from typing import Any

import anywidget
import numpy as np
import traitlets

from common import cli
from common.page.assets import body, joined_module, styles
from common.page.marks import Marks
from common.page.session import Session
from common.page.viewing import Viewing
from common.progress.output import plain


class PageWidget(anywidget.AnyWidget):
    """The live page as a widget: shown where it is the last line of a cell.

    Parameters
    ----------
    viewing : Viewing
        What is shown; a `Session` also fits, denoises, saves and runs.

    Attributes
    ----------
    marks : Marks
        What is drawn now; `marks.draw(kind, shape)` gives its pixels.
    settings : config or None
        The settings of the form; None where there is none.
    stretch : dict
        `quantile`, `shadows` (sigma below the median, None: the minimum), `midtones`, `linked`;
        empty before the page is shown.
    """

    _esm = joined_module("widget.js")
    body = traitlets.Unicode(body()).tag(sync=True)
    styles = traitlets.Unicode(styles()).tag(sync=True)

    def __init__(self, viewing: Viewing) -> None:
        super().__init__()
        self._viewing = viewing
        self._kept: Mapping[str, Any] = {}
        self.on_msg(self._hear)

    @property
    def marks(self) -> Marks:
        """What is drawn now."""
        if "marks" not in self._kept:
            return self._viewing.marks
        return Marks.read(self._kept["marks"], list(self._viewing.kinds))

    @property
    def settings(self) -> Any:
        """The settings of the form."""
        if not isinstance(self._viewing, Session):
            return None
        return self._viewing.read({"values": self._kept.get("values", {})})[0]

    @property
    def stretch(self) -> dict[str, Any]:
        """The stretch of the screen."""
        return dict(self._kept.get("stretch", {}))

    def pixels(self, name: str) -> np.ndarray:
        """Return the pixels of a view, shape (H, W, C), such as "input" or, after a fit, "result".

        Raises
        ------
        ValueError
            If there is no such view (yet).
        """
        try:
            return self._viewing.view(name).pixels
        except KeyError:
            shown = ", ".join(one["name"] for one in self._viewing.state()["views"])
            raise ValueError(f"there is no view {name!r}, there are: {shown}.") from None

    def close(self) -> None:
        """Stop what runs, and take the page away."""
        if isinstance(self._viewing, Session):
            self._viewing.close()
        super().close()

    def _hear(self, _: Any, message: Any, buffers: Any) -> None:
        """Answer a message of the page: the number of the request comes back with the answer."""
        if not isinstance(message, dict) or not isinstance(message.get("content"), dict):
            return
        number, name, content = message.get("id"), str(message.get("name")), message["content"]
        try:
            if name.startswith("plane/"):
                data = self._viewing.plane(name.removeprefix("plane/"))
                self.send({"id": number}, [data])
                return
            answer = self._keep(content) if name == "keep" else self._viewing.ask(name, content)
            self.send({"id": number, "answer": plain(answer)})
        except KeyError:
            self.send({"id": number, "error": f"there is no {name}"})
        except FileExistsError as error:
            self.send({"id": number, "error": str(error), "exists": True})
        except (ValueError, OSError) as error:
            self.send({"id": number, "error": cli.describe_error(error)[1]})

    def _keep(self, content: Mapping[str, Any]) -> dict[str, Any]:
        Marks.read(content.get("marks", {}), list(self._viewing.kinds))
        if isinstance(self._viewing, Session):
            self._viewing.read(content)
        self._kept = content
        return {}
