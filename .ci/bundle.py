# SPDX-License-Identifier: Apache-2.0
"""Make one file to copy to a machine that has python3 and nothing else: `python .ci/bundle.py OUT`, `make bundle`.

The file is a zipapp of the reader, the clauses, the loop without pytest and what they import. Which modules these are
is found by following imports from where a run begins, those inside functions as well, and a module that needs a package
stops the build: so the file cannot come to need one unseen.

The same checkout gives the same bytes wherever it is made: sorted, dated 1980, and stored uncompressed, since zlibs
differ in what they make of the same text, and a small Python may have none.
"""

import ast
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "raplica_conformance": ROOT / "conformance",
    "raplica_fixtures": ROOT / "fixtures",
    "raplica_reader": ROOT / "reference_impl",
}
MAIN = ROOT / ".ci" / "bundle_main.py"
SHEBANG = b"#!/usr/bin/env python3\n"
OLDEST = (1980, 1, 1, 0, 0, 0)  # what a zip file can say

#: Where a run begins, and what is imported by names that are put together. A star: every module of a package.
BEGINNINGS = (
    "raplica_conformance.plain",
    "raplica_conformance.clauses.*",
    "raplica_conformance.reader_clauses",
    "raplica_conformance.reports.badge",
    "raplica_conformance.reports.json",
    "raplica_conformance.reports.junit",
    "raplica_conformance.reports.ktap",
    "raplica_conformance.reports.tap",
    "raplica_reader.*",
)
DATA = ("LICENSE", "fixtures/raplica_fixtures/schema/*.json")


class BundleError(Exception):
    """The file cannot be made: one line that says which module is in the way."""


def file_of(module: str) -> Path | None:
    """The file of one of our modules or packages; None where there is none of that name."""
    package, _, _ = module.partition(".")
    place = SOURCES[package].joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def expanded(name: str) -> Iterator[str]:
    """The modules that a beginning names."""
    package, star, _ = name.partition(".*")
    yield package
    if star:
        folder = file_of(package)
        if folder is None:
            raise BundleError(f"there is no package {package}")
        yield from (f"{package}.{path.stem}" for path in sorted(folder.parent.glob("*.py")) if path.stem != "__init__")


def imported(module: str, path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it does; of `from a import b` both a and a.b."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes(), str(path))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise BundleError(f"{module} imports by a relative name, which this does not follow")
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not _for_types(node):
            waiting.extend(ast.iter_child_nodes(node))


def _for_types(node: ast.AST) -> bool:
    """Whether a branch is seen by type checkers alone."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def modules() -> dict[str, Path]:
    """Every module that goes in, with its file; BundleError where one needs more than the standard library."""
    found: dict[str, Path] = {}
    waiting = [name for beginning in BEGINNINGS for name in expanded(beginning)]
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if path is None:
            raise BundleError(f"there is no module {name}")
        if name in found:
            continue
        found[name] = path
        above = name.rpartition(".")[0]
        for wanted in (*imported(name, path), *([above] if above else [])):
            top = wanted.partition(".")[0]
            if top in SOURCES:
                waiting.extend([wanted] if file_of(wanted) is not None else [])
            elif top not in sys.stdlib_module_names:
                raise BundleError(f"{name} imports {top}, and only the standard library is where the file goes")
    return found


def entries() -> dict[str, bytes]:
    """The names in the archive, sorted, with what is in them."""
    held = {"__main__.py": MAIN.read_bytes()}
    for name, path in modules().items():
        held[path.relative_to(SOURCES[name.partition(".")[0]]).as_posix()] = path.read_bytes()
    for pattern in DATA:
        for path in ROOT.glob(pattern):
            package = path.relative_to(ROOT).as_posix()
            held[package.removeprefix("fixtures/")] = path.read_bytes()
    return dict(sorted(held.items()))


def write(out: Path) -> int:
    """Write the file, whole or not at all, and return how many modules are in it."""
    held = entries()
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".{out.name}.new")
    with half.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in held.items():
                entry = zipfile.ZipInfo(name, OLDEST)
                entry.external_attr = 0o644 << 16
                entry.create_system = 3  # Unix, also where this is made on another system
                archive.writestr(entry, content)
    half.chmod(0o755)
    half.replace(out)
    return sum(name.endswith(".py") for name in held)


def main(arguments: list[str]) -> int:
    """Write what the command line names."""
    if len(arguments) != 1:
        sys.stderr.write("bundle: name one file to write, like dist/raplica.pyz\n")
        return 2
    out = Path(arguments[0])
    try:
        count = write(out)
    except BundleError as error:
        sys.stderr.write(f"bundle: {error}\n")
        return 1
    sys.stdout.write(f"{out}: {count} modules, {out.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
