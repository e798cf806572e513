"""Settings of the documentation. `make docs` builds it; no page needs the network."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from bgrem import __version__  # noqa: E402

project = "bgrem"
author = "The bgrem developers"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "command_line",
    "from_source",
    "mathml",
    "tutorials",
]
exclude_patterns = ["_extensions"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"bgrem {version}"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_math_renderer = "mathml"

smartquotes = False  # `--flag` must not become a dash
default_role = "literal"  # `name` in docstrings is code
autodoc_typehints = "none"  # numpydoc's sections say the types, with shapes
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True
nitpicky = True
