# SPDX-License-Identifier: Apache-2.0
"""The programs that run under Wine, built with mingw-w64: one client, and a driver image for each way of answering.

An image is `driver.c` with a part that answers, told apart from the others by definitions: a service starts the version
that its path names, as with a real driver.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wine_witness.failure import AbsentError, WitnessError

__all__ = ["COMPILER", "IMAGES", "Image", "build", "compiler_version", "image_path"]

COMPILER = "x86_64-w64-mingw32-gcc"
_NATIVE = Path(__file__).resolve().parent / "native"
_DDK = "/usr/share/mingw-w64/include/ddk"
_WARNINGS = ("-O1", "-Wall", "-Wextra", "-Werror")
#: A driver is a library that starts at DriverEntry and knows no C runtime.
_DRIVER = ("-shared", "-nostdlib", "-fno-stack-protector", "-Wl,--subsystem,native", "-Wl,-e,DriverEntry")
#: No build is told apart from another by the time at which it was made.
_SAME_EVERY_TIME = ("-Wl,--no-insert-timestamp",)


@dataclass(frozen=True)
class Image:
    """A driver image: the sources besides the frame, and the definitions."""

    sources: tuple[str, ...]
    definitions: Mapping[str, str]


_REGISTERS = ("protocol.c", "values.c")
_PROTOCOLS = {"v1": "1", "v2-4": "24", "v2-8": "28", "v3": "3"}

IMAGES = {
    **{name: Image(_REGISTERS, {"PROTOCOL": number, "CHECKED": "1"}) for name, number in _PROTOCOLS.items()},
    **{f"{name}-unchecked": Image(_REGISTERS, {"PROTOCOL": number}) for name, number in _PROTOCOLS.items()},
    "stale-link": Image(_REGISTERS, {"PROTOCOL": "3", "STALE_LINK": "1"}),
    "no-unload": Image(_REGISTERS, {"PROTOCOL": "3", "NO_UNLOAD": "1"}),
    "refuses": Image(_REGISTERS, {"PROTOCOL": "3", "ENTRY_STATUS": "STATUS_DEVICE_NOT_READY"}),
    "status": Image(("status.c",), {"DEVICE_NAME": 'L"RaplicaStatus"'}),
}


def image_path(name: str) -> str:
    r"""Return where a script finds an image: C:\raplica\NAME.sys."""
    return rf"C:\raplica\{name}.sys"


def compiler_version() -> str:
    """Return the compiler's own words; `AbsentError` where there is none."""
    if shutil.which(COMPILER) is None:
        raise AbsentError(f"there is no {COMPILER} on this machine; Debian has it in gcc-mingw-w64-x86-64")
    return _run(COMPILER, "--version").splitlines()[0]


def build(folder: Path) -> None:
    """Build the client and every image into a folder, as client.exe and NAME.sys; a file that is no image too."""
    compiler_version()
    client = ("-o", str(folder / "client.exe"), str(_NATIVE / "client.c"), "-ladvapi32")
    _run(COMPILER, *_WARNINGS, *_SAME_EVERY_TIME, *client)
    for name, image in IMAGES.items():
        definitions = [f"-D{key}={value}" for key, value in image.definitions.items()]
        sources = [str(_NATIVE / source) for source in ("driver.c", *image.sources)]
        made = ("-o", str(folder / f"{name}.sys"), *sources, "-lntoskrnl", "-lhal")
        _run(COMPILER, *_WARNINGS, *_SAME_EVERY_TIME, *_DRIVER, f"-I{_DDK}", *definitions, *made)
    (folder / "corrupt.sys").write_text("This is no image.\n", encoding="ascii")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
        worst = next((line for line in told if "error" in line.lower()), told[-1])
        raise WitnessError(f"building the programs for Wine: {worst}")
    return done.stdout
