# SPDX-License-Identifier: Apache-2.0
"""Build the wheel and the sdist and check both: `python .ci/release.py FOLDER`, run by `tox -e release`.

The wheel must hold every file of the packages, the manual pages and shell completion, and nothing else (no tests, no
recordings); the sdist must hold what a packager needs, recordings included. On every supported Python that is here,
both must install alone into an empty environment and their commands start, and what needs no installation must run
with the standard library alone: the reader's folder, and the one file that `make bundle` makes.
"""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import bundle
import pythons

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "simulator/raplica_simulator",
    "conformance/raplica_conformance",
    "reference_impl/raplica_reader",
    "reference_impl/raplica_mutants",
    "fixtures/raplica_fixtures",
)
LEFT_BEHIND = {"__pycache__", ".benchmarks", ".hypothesis", ".pytest_cache"}
#: Where the wheel puts what is no library, each from a folder of the checkout (pyproject.toml, shared-data).
SHARED = {
    "docs/man": "share/man/man1",
    "docs/completion/bash": "share/bash-completion/completions",
    "docs/completion/fish": "share/fish/vendor_completions.d",
    "docs/completion/zsh": "share/zsh/site-functions",
}
COMMANDS = (
    ("raplica", "--version"),
    ("raplica", "--help"),
    ("raplica", "machines"),
    ("raplica", "decode", "0x610", "0x00428440001B83E8", "--unit", "0xA0E03"),
    ("raplica-reader", "--version"),
    ("raplica-reader", "--help"),
    ("conformance", "--version"),
    ("conformance", "list"),
    ("conformance", "run", "--machine", "skylake-sp-2s"),
)
#: Those that the other Pythons start: each command once, and a run that imports most of what there is.
QUICK = (("raplica", "machines"), ("raplica-reader", "--version"), ("conformance", "run", "--machine", "kabylake"))


def fail(message: str) -> None:
    """End with one line on stderr and status 1."""
    sys.exit(f"release: {message}")


def run(*command: str | Path, quiet: bool = False) -> str:
    """Run a command in the checkout; on failure show what it printed and end."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    if not quiet:
        sys.stdout.write(done.stdout)
    return done.stdout


def files_below(folder: str) -> set[str]:
    """Files below a folder, relative to the checkout, without what Python and the tests leave behind."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not LEFT_BEHIND.intersection(path.parts)
    }


def check_wheel(wheel: Path) -> None:
    """Compare the wheel's files with the packages' files."""
    wanted = set()
    for package in PACKAGES:
        root = package.split("/")[0] + "/"
        wanted |= {name.removeprefix(root) for name in files_below(package)}
    data = f"{'-'.join(wheel.name.split('-')[:2])}.data/data/"
    for folder, place in SHARED.items():
        wanted |= {f"{data}{place}{name.removeprefix(folder)}" for name in files_below(folder)}
    present = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if wanted != present:
        fail(f"the wheel lacks {sorted(wanted - present)} and should not hold {sorted(present - wanted)}")
    for package in PACKAGES:
        if package.split("/")[1] + "/py.typed" not in present:
            fail(f"{package} has no py.typed")
    names = ",".join(package.split("/")[1] for package in PACKAGES)
    # Five packages in one distribution are meant: with --toplevel these names are checked instead of one asked for.
    run(Path(sys.executable).with_name("check-wheel-contents"), "--no-config", "--toplevel", names, wheel, quiet=True)
    sys.stdout.write(
        f"release: {wheel.name} holds {len(present)} files, manual pages included, {wheel.stat().st_size} bytes\n"
    )


def check_sdist(sdist: Path) -> None:
    """Check that tests, documents and recordings are in the sdist."""
    with tarfile.open(sdist) as archive:
        present = {member.name.partition("/")[2] for member in archive.getmembers()}
    wanted = {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "pyproject.toml",
        "tox.ini",
        "Makefile",
        "action.yml",
        ".ci/run",
        ".ci/venv",
    }
    for folder in ("simulator", "conformance", "reference_impl", "fixtures"):
        wanted |= files_below(folder)
    if wanted - present:
        fail(f"the sdist lacks {sorted(wanted - present)}")
    if not any(name.startswith("fixtures/recordings/") for name in present):
        fail("the sdist holds no recording")
    sys.stdout.write(f"release: {sdist.name} holds {len(present)} files, recordings included\n")


def check_installed(
    python: Path, wheel: Path, sdist: Path, folder: Path, commands: tuple[tuple[str, ...], ...]
) -> None:
    """Install the wheel alone into an empty environment and start its commands; then the sdist in its place."""
    run(python, "-I", "-m", "venv", "--clear", "--without-pip", folder, quiet=True)
    # Compiled is what the commands then import, and that is a small part.
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python")
    install = (*pip, "install", "-qq", "--no-compile")
    run(*install, wheel, quiet=True)
    for name, *arguments in commands:
        run(folder / "bin" / name, *arguments, quiet=True)
    for place in SHARED.values():
        if not any((folder / place).iterdir()):
            fail(f"nothing was installed in {place}")
    run(*install, "--no-deps", "--force-reinstall", sdist, quiet=True)
    run(folder / "bin" / "raplica", "--version", quiet=True)


def check_alone(python: Path, folder: Path) -> None:
    """What needs no installation, under a Python that looks at nothing else: the reader's folder and the one file."""
    tree, alone = folder / "tree", folder / "alone"
    if not alone.exists():
        (installed,) = (folder / "venv" / "lib").glob("python3.*/site-packages/raplica_reader")
        shutil.copytree(installed, alone / "raplica_reader")
        run(folder / "venv" / "bin" / "raplica", "generate", "skylake-sp-2s", tree, "--force", quiet=True)
        bundle.write(folder / "raplica.pyz")
    run(python, "-I", "-S", alone / "raplica_reader", "list", "--sysfs", tree, quiet=True)
    run(python, "-I", "-S", folder / "raplica.pyz", "run", "--tree", tree, quiet=True)
    run(python, "-I", "-S", folder / "raplica.pyz", "read", "--sysfs", tree, "--interval", "0.01", quiet=True)


def main(work: Path) -> None:
    """Build into `work`/dist and check."""
    out = work / "dist"
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, quiet=True)
    (wheel,), (sdist,) = list(out.glob("*.whl")), list(out.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, quiet=True)
    check_wheel(wheel)
    check_sdist(sdist)
    shutil.rmtree(work / "alone", ignore_errors=True)
    here = sys.version_info[:2]
    found = {here: Path(sys.executable), **{at: python for at, python in pythons.find().items() if at != here}}
    for version, python in found.items():
        name = "venv" if version == here else f"venv-{version[0]}.{version[1]}"
        check_installed(python, wheel, sdist, work / name, COMMANDS if version == here else QUICK)
        check_alone(python, work)
    told = ", ".join(f"{major}.{minor}" for major, minor in found)
    sys.stdout.write(f"release: wheel and sdist install alone, reader and bundle run alone, on Python {told}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
