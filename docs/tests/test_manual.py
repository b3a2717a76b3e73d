# SPDX-License-Identifier: Apache-2.0
"""The manual tells the truth: generated pages are current, no block escapes the runner, and links lead somewhere."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from raplica_conformance import load_clauses

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
PAGES = sorted({*ROOT.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("decisions/*.md"), *DOCS.glob("tutorials/*.md")})
#: What conftest.py runs, parses or checks, `text`, which is shown only, and Sphinx's own.
LANGUAGES = {"python", "console", "toml", "json", "yaml", "sh", "c", "go", "text", "{toctree}"}

TOO_LONG = "takes minutes, or makes environments"
REAL_MACHINE = "is about a machine with RAPL, as root"
SETTING_UP = "sets up a machine: .ci/run and .ci/release.py do the same"
#: Blocks that are shown and not run: the page, how the first line begins, why. Nothing else is `text`.
ONLY_SHOWN = (
    ("CONTRIBUTING.md", ".venv/bin/pytest ", TOO_LONG),
    ("README.md", "$ python3 -m venv", SETTING_UP),
    ("README.md", "make run ", "make run is run above; make test runs this test"),
    ("docs/architecture.md", "simulator/raplica_simulator/ ", "a list of folders"),
    ("docs/architecture.md", "raplica_fixtures  <-", "a drawing; import-linter holds it"),
    ("docs/clients.md", "$ apt-get install", SETTING_UP),
    ("docs/exec.md", "$ raplica exec", "names a tool of the reader's"),
    ("docs/fleet.md", "steps:", "a part of a workflow; conformance/tests check the whole one"),
    ("docs/generate.md", "raplica generate kabylake kabylake.umockdev", "needs umockdev; simulator/tests run it"),
    ("docs/generate.md", "// load gives", "a part of docs/examples, which simulator/tests run"),
    ("docs/generate.md", "/// The energy", "a part of docs/examples, which simulator/tests run"),
    ("docs/generate.md", "/* Print the id", "a part of docs/examples, which simulator/tests run"),
    ("docs/live.md", "$ sudo raplica mount", "asks for the device's place, as root; the session below it is run"),
    ("docs/macos.md", "$ raplica exec", "shows a second of time; the session below it is run"),
    ("docs/matrix.md", "$ conformance matrix", TOO_LONG),
    ("docs/performance.md", "tox -e bench", TOO_LONG),
    ("docs/pytest.md", "$ pip install", SETTING_UP),
    ("docs/reader.md", "$ cp -r", REAL_MACHINE),
    ("docs/reader.md", "> py ", "is about Windows"),
    ("docs/real-machines.md", "sudo modprobe msr", REAL_MACHINE),
    ("docs/real-machines.md", "sudo conformance restore", REAL_MACHINE),
    ("docs/real-machines.md", "python3 -m raplica_conformance.plain", REAL_MACHINE),
    ("docs/tutorials/ci-without-hardware.md", "$ python3 -m venv", SETTING_UP),
    ("docs/tutorials/target-machine.md", "$ make bundle", REAL_MACHINE),
    ("docs/wine.md", "tox -e wine", TOO_LONG),
    ("docs/witness.md", "tox -e witness", TOO_LONG),
)


def of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: the language, the text."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^ *```", text, flags=re.MULTILINE)) % 2 == 0, "a block is not closed"
    return re.findall(r"^ *```(\S*).*?\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in an address."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", title)).lower().replace(" ", "-") for title in titles}


def test_the_list_of_clauses_is_what_the_clauses_say(script: Callable[[str], ModuleType]) -> None:
    text = (DOCS / "clauses.md").read_text(encoding="utf-8")
    assert text == script("clauses").page(load_clauses()), "run `tox -e clauses`"


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_code_block_is_run_or_says_that_it_is_only_shown(page: Path) -> None:
    assert {language for language, _ in blocks(page)} <= LANGUAGES


def test_what_is_only_shown_is_listed_with_its_reason_and_nothing_else() -> None:
    shown = [(of(page), text) for page in PAGES for language, text in blocks(page) if language == "text"]
    unlisted = [
        (name, text.splitlines()[0])
        for name, text in shown
        if not any(name == page and text.startswith(start) for page, start, _ in ONLY_SHOWN)
    ]
    assert unlisted == [], "run it (console), or give the reason in ONLY_SHOWN"
    gone = [
        (page, start)
        for page, start, _ in ONLY_SHOWN
        if not any(name == page and text.startswith(start) for name, text in shown)
    ]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_page_links_only_to_what_exists(page: Path, script: Callable[[str], ModuleType]) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    drawn = {f"_build/plots/{name}.svg" for name in script("plots").PLOTS}
    missing = []
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]+))?\)", text):
        place = page.parent / target if target else page
        if target in drawn:
            continue
        if not place.exists() or (anchor and anchor not in anchors(place)):
            missing.append(f"{target}#{anchor}")
    assert missing == []


def test_every_page_is_in_the_table_of_contents(script: Callable[[str], ModuleType]) -> None:
    tables = "\n".join(text for language, text in blocks(DOCS / "index.md") if language == "{toctree}")
    listed = set(re.findall(r"^[a-z][\w/-]*$", tables, flags=re.MULTILINE))
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in (*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md"))}
    made = {f"reference/{name}" for name in script("reference").PAGES}
    assert listed == (pages - {"index"}) | made | {"decisions/index"}


def test_every_wall_of_the_project_has_a_page() -> None:
    listed = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    assert [page.stem for page in DOCS.glob("decisions/*.md") if page.stem not in listed and page.stem != "index"] == []
