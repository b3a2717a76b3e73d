# SPDX-License-Identifier: Apache-2.0
"""The manual tells the truth: the generated page is current, and no code block escapes the runner."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from raplica_conformance import load_clauses

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
PAGES = sorted({*ROOT.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("decisions/*.md")})
#: What conftest.py runs or parses, and `text`, which is shown only.
LANGUAGES = {"python", "console", "toml", "json", "text", "{toctree}"}


def clauses_script() -> ModuleType:
    """Load docs/clauses.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("docs_clauses", DOCS / "clauses.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_of_clauses_is_what_the_clauses_say() -> None:
    script = clauses_script()
    assert (DOCS / "clauses.md").read_text(encoding="utf-8") == script.page(load_clauses()), "run `tox -e clauses`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_is_run_or_says_that_it_is_only_shown(page: Path) -> None:
    fences = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(fences) % 2 == 0, "a block is not closed"
    opened = fences[::2]
    assert set(opened) <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_links_only_to_files_that_exist(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_wall_of_the_project_has_a_page() -> None:
    listed = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    assert [page.stem for page in DOCS.glob("decisions/*.md") if page.stem not in listed and page.stem != "index"] == []
