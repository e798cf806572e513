"""Both commands of this source tree as programs in a folder, for scripts that look for them."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write_commands(folder: Path) -> Path:
    """Write `bgoptimizer` and `bgrem` into a folder and return it."""
    for name in ("bgoptimizer", "bgrem"):
        file = folder / name
        line = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
        main = f"from {name}.__main__ import main; sys.exit(main())"
        file.write_text(f"#!{sys.executable}\n{line}\n{main}\n")
        file.chmod(0o755)
    return folder
