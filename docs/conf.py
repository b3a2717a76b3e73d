# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds the manual: MyST Markdown, the furo theme, every warning an error (see tox.ini)."""

import importlib.metadata

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
