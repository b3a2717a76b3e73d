# SPDX-License-Identifier: Apache-2.0
"""Build the wheel and the sdist and check both: `python .ci/release.py FOLDER`, run by `tox -e release`.

The wheel must hold every file of the packages and nothing else (no tests, no recordings); the sdist must hold what
a packager needs, recordings included; installed alone into an empty environment, the wheel's commands must start.
"""

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "simulator/raplica_simulator",
    "conformance/raplica_conformance",
    "reference_impl/raplica_reader",
    "reference_impl/raplica_mutants",
    "fixtures/raplica_fixtures",
)
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
    """Files of the checkout below a folder, relative to the checkout, without what Python leaves behind."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def check_wheel(wheel: Path) -> None:
    """Compare the wheel's files with the packages' files."""
    wanted = set()
    for package in PACKAGES:
        root = package.split("/")[0] + "/"
        wanted |= {name.removeprefix(root) for name in files_below(package)}
    present = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if wanted != present:
        fail(f"the wheel lacks {sorted(wanted - present)} and should not hold {sorted(present - wanted)}")
    for package in PACKAGES:
        if package.split("/")[1] + "/py.typed" not in present:
            fail(f"{package} has no py.typed")
    sys.stdout.write(
        f"release: {wheel.name} holds the {len(present)} files of the packages, {wheel.stat().st_size} bytes\n"
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


def check_installed(wheel: Path, folder: Path) -> None:
    """Install the wheel alone into an empty environment and start its commands."""
    venv.create(folder, with_pip=True, clear=True)
    run(
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        wheel,
        quiet=True,
    )
    for name, *arguments in COMMANDS:
        run(folder / "bin" / name, *arguments, quiet=True)
    sys.stdout.write(f"release: installed alone, {len(COMMANDS)} commands of the wheel work\n")


def main(work: Path) -> None:
    """Build into `work`/dist and check."""
    out = work / "dist"
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, quiet=True)
    (wheel,), (sdist,) = list(out.glob("*.whl")), list(out.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, quiet=True)
    check_wheel(wheel)
    check_sdist(sdist)
    check_installed(wheel, work / "venv")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
