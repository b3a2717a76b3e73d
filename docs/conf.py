# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds the manual: MyST Markdown, the furo theme, every warning an error (see tox.ini)."""

import importlib
import importlib.metadata
import sys
from pathlib import Path

import sphinx.application

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "raplica"
author = "The raplica authors"
project_copyright = "The raplica authors, Apache-2.0"
release = importlib.metadata.version("raplica")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "tests"]
nitpicky = True

myst_heading_anchors = 3
myst_enable_extensions = ["deflist", "colon_fence"]

html_theme = "furo"
html_title = f"raplica {release}"
html_copy_source = False
html_show_sphinx = False


def _make_pages(_app: sphinx.application.Sphinx) -> None:
    """Make what the manual shows of the code itself, before Sphinx looks which pages there are."""
    importlib.import_module("plots").draw_all()
    importlib.import_module("reference").write_all()


def setup(app: sphinx.application.Sphinx) -> dict[str, bool]:
    """Let Sphinx make these pages at each build."""
    app.connect("builder-inited", _make_pages)
    return {"parallel_read_safe": True}
