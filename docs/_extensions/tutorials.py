"""The directive `tutorial-picture`: a picture that the commands of a tutorial make.

The pages are typed as they stand, each in a folder of its own, when a picture is first wanted, and
again when the page or the packages have changed. A page runs alone with
`python docs/_extensions/tutorials.py PAGE FOLDER`.
"""

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "build" / "tutorials"  # one folder for each page
STAMP = "made_from.txt"  # file there with what the page and the packages were
PACKAGES = ("common", "bgoptimizer", "bgrem")
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"^```\{tutorial-picture\} (\S+)$", re.MULTILINE)


def run_page(text: str, name: str) -> None:
    """Type the blocks of a page in the present folder.

    Raises
    ------
    ValueError
        If a command fails; what it says is on stderr.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for language, block in BLOCK.findall(text):
        if language == "python":
            exec(compile(block, f"{name}.md", "exec"), names)  # noqa: S102 - our own page
            continue
        for line in block.splitlines():
            program, *words = shlex.split(line)
            if code := import_module(f"{program}.cli").main(words):
                raise ValueError(f"{name}.md: exit code {code} of: {line}")


@cache
def packages_digest() -> str:
    """Return a hash of the packages' files."""
    total = hashlib.sha256()
    files = (path for name in PACKAGES for path in (ROOT / name).rglob("*"))
    for path in sorted(path for path in files if path.is_file() and path.suffix != ".pyc"):
        total.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


@cache
def made_folder(page: Path) -> Path:
    """Return the folder with the files of a page; type the page if they are not there yet.

    Raises
    ------
    RuntimeError
        If the page cannot be typed.
    """
    folder, text = RUNS / page.stem, page.read_text("utf-8")
    blocks = "".join(block for _, block in BLOCK.findall(text))
    wanted = hashlib.sha256(f"{packages_digest()} {blocks}".encode()).hexdigest()
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, __file__, str(page), str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{page.name} cannot be typed as it stands: {done.stderr.strip()}")
    stamp.write_text(wanted, "utf-8")
    return folder


def setup(app: Any) -> dict[str, Any]:
    """Register the directive."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class TutorialPicture(SphinxDirective):
        """A picture by its name in the tutorial's folder; the content is its caption."""

        required_arguments = 1
        has_content = True

        def run(self) -> list[nodes.Node]:
            """Return a figure."""
            page = Path(self.env.doc2path(self.env.docname))
            try:
                picture = made_folder(page) / self.arguments[0]
            except RuntimeError as error:
                raise self.error(str(error)) from None
            if not picture.exists():
                raise self.error(f"{self.arguments[0]}: the tutorial makes no such picture")
            text = " ".join(self.content)
            address = os.path.relpath(picture, page.parent)
            figure = nodes.figure("", nodes.image(uri=address, alt=text))
            children, messages = self.state.inline_text(text, self.lineno)
            figure += nodes.caption(text, "", *children)
            return [figure, *messages]

    app.add_directive("tutorial-picture", TutorialPicture)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def main() -> None:
    """Type one page in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="Markdown of a tutorial")
    parser.add_argument("folder", type=Path, help="where its files go")
    args = parser.parse_args()
    text = args.page.read_text("utf-8")
    sys.path.insert(0, str(ROOT))
    os.chdir(args.folder)
    run_page(text, args.page.stem)


if __name__ == "__main__":
    main()
