"""Make the update repository of the PixInsight script: a zip and `updates.xri` with its SHA-1.

    python pixinsight/make_repository.py dist/pixinsight

The same sources and the same SOURCE_DATE_EPOCH (seconds; `make pixinsight` takes that of the last
commit) give the same bytes.
"""

import argparse
import configparser
import hashlib
import os
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
INSIDE = "src/scripts/BackgroundToolkit"  # folder of the scripts in PixInsight's own
FIRST_CORE, LAST_CORE = "1.9.4", "1.99.99"  # versions of PixInsight; the engine v8 came in 1.9.4
FIRST_ZIP_YEAR = 1980  # a zip has no earlier time
UPDATES = """<?xml version="1.0" encoding="UTF-8"?>
<xri version="1.0">
   <description>
      <p>{about}</p>
   </description>
   <platform os="all" arch="noarch" version="{first}:{last}">
      <package fileName="{file}" sha1="{sha1}" type="script" releaseDate="{date}">
         <title>Background Toolkit {version}</title>
         <description>
            <p>{about} The commands bgoptimizer and bgrem are installed apart from it.</p>
         </description>
      </package>
   </platform>
</xri>
"""
ABOUT = "Removes the background and the noise of linear images, with bgoptimizer and bgrem."


def main(argv: Sequence[str] | None = None) -> int:
    """Write both files; print their names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="made if missing; files in it are replaced")
    folder = parser.parse_args(argv).folder
    metadata = configparser.ConfigParser()
    metadata.read(HERE.parent / "setup.cfg", encoding="utf-8")
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    for file in make_repository(folder, metadata["metadata"]["version"], seconds):
        print(file)
    return 0


def make_repository(folder: Path, version: str, seconds: float) -> tuple[Path, Path]:
    """Write the zip and `updates.xri`, and return them.

    Parameters
    ----------
    folder : path
        Made if missing.
    version : str
        Of the script.
    seconds : float
        Time of all entries, since 1970.
    """
    folder.mkdir(parents=True, exist_ok=True)
    date = time.gmtime(seconds)
    package = folder / f"BackgroundToolkit-{version}.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for script in sorted(HERE.glob("*.js")):
            entry = zipfile.ZipInfo(
                f"{INSIDE}/{script.name}", max(date, (FIRST_ZIP_YEAR, 1, 1))[:6]
            )
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16  # a file that all may read
            entry.create_system = 3  # Unix, wherever it is made
            archive.writestr(entry, script.read_bytes().replace(b"\r\n", b"\n"))
    sha1 = hashlib.sha1(package.read_bytes(), usedforsecurity=False).hexdigest()
    updates = folder / "updates.xri"
    text = UPDATES.format(
        about=escape(ABOUT), first=FIRST_CORE, last=LAST_CORE, file=package.name, sha1=sha1,
        date=time.strftime("%Y%m%d", date), version=version,
    )  # fmt: skip
    updates.write_text(text, encoding="utf-8", newline="\n")
    return package, updates


if __name__ == "__main__":
    sys.exit(main())
