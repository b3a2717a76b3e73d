# SPDX-License-Identifier: Apache-2.0
"""A Windows of Wine's, in a temporary folder: it is made, asked, started anew and ended without a trace.

Everything that Wine would otherwise put into the home directory or on a screen goes into that folder, or nowhere.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from raplica_simulator import Machine
from wine_witness.failure import AbsentError, WitnessError
from wine_witness.published import make_machine, pack, shown
from wine_witness.step import Answer, Step

__all__ = ["Prefix", "wine_version"]

#: Far more than anything takes: what is silent for so long will not speak.
_PATIENCE_S = 300
#: What the client may take to end, once its input does.
_LAST_WORDS_S = 10
_VALUES = "raplica-values.bin"
#: What a value of an argument may hold as it is: backslashes, and what names and numbers are made of.
_PLAIN = "\\/:.,-_"


def wine_version() -> str:
    """Return Wine's own words; `AbsentError` where there is none, `WitnessError` where it does not run."""
    for command in ("wine", "wineboot", "wineserver"):
        if shutil.which(command) is None:
            raise AbsentError(f"there is no {command} on this machine; Debian has it in wine and wine64")
    done = subprocess.run(["wine", "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WitnessError(f"wine --version: exit status {done.returncode}: {done.stderr.strip() or 'without a word'}")
    return done.stdout.strip()


class Prefix:
    r"""A Windows with the images in C:\raplica. Use it as a context manager: leaving it ends every process of it."""

    def __init__(self, folder: Path) -> None:
        """Put it into an empty folder, which has to be there."""
        self._folder = folder
        self.drive = folder / "prefix" / "drive_c"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("WINE", "DISPLAY", "WAYLAND"))
        }
        self._environment = kept | {
            "HOME": str(folder),
            "TMPDIR": str(folder),  # where the server's socket is
            "WINEPREFIX": str(folder / "prefix"),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=d",
            "LC_ALL": "C.UTF-8",
        }
        self._registry: dict[Path, bytes] = {}
        self._client: subprocess.Popen[bytes] | None = None
        self._machine: tuple[str, Machine] | None = None

    def __enter__(self) -> Self:
        """Make it. Wine's own set-up has to be over before the first driver starts, or that start may time out."""
        try:
            self._wine("wineboot", "-i")
            self._wine("wineserver", "-w")
            self._registry = {path: path.read_bytes() for path in sorted(self.drive.parent.glob("*.reg"))}
            (self.drive / "raplica").mkdir()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def do(self, step: Step) -> Answer:
        """Let the client make one call. `WitnessError` where it ends or goes silent in it."""
        client = self._client or self._start_client()
        words = [step.call, *(f"{key}={quote(str(value), safe=_PLAIN)}" for key, value in step.arguments.items())]
        if client.stdin is None or client.stdout is None:
            raise WitnessError("the client under Wine was started without pipes")
        try:
            client.stdin.write(" ".join(words).encode() + b"\n")
            client.stdin.flush()
        except BrokenPipeError:
            raise self._ended(step) from None
        if not select.select([client.stdout], [], [], _PATIENCE_S)[0]:
            raise WitnessError(f"the client under Wine said nothing to {step.call} for {_PATIENCE_S} s")
        line = client.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._ended(step)
        told: Answer = json.loads(line)
        return told

    def publish(self, machine: str, seconds: int) -> Answer:
        """Replace the file that the driver reads. A script has one machine, which starts at its time 0."""
        if self._machine is None or self._machine[0] != machine:
            self._machine = (machine, make_machine(machine))
        self._machine[1].clock.advance(seconds=seconds)
        return self._show(self._machine[1])

    def reboot(self) -> Answer:
        """End every process of this Windows. The next call starts it, and with it what starts by itself."""
        self.end()
        if self._machine is None:
            return {}
        self._machine[1].reset()
        return self._show(self._machine[1])

    def clear(self) -> None:
        """Start anew for the next script: without a machine, without services, without what the kernel remembered."""
        self.end()
        for path, content in self._registry.items():
            path.write_bytes(content)
        self._machine = None
        (self.drive / _VALUES).unlink(missing_ok=True)

    def end(self) -> None:
        """End every process, and wait until they are gone."""
        if self._client is not None:
            for pipe in (self._client.stdin, self._client.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                self._client.wait(_LAST_WORDS_S)
            except subprocess.TimeoutExpired:
                self._client.kill()
                self._client.wait()
            self._client = None
        # Ends with 1 where no server runs, which is as well.
        self._wine("wineserver", "-k", check=False)
        self._wine("wineserver", "-w", check=False)

    def _show(self, machine: Machine) -> Answer:
        new = self.drive / f"{_VALUES}.new"
        new.write_bytes(pack(machine))
        new.replace(self.drive / _VALUES)
        return shown(machine)

    def _start_client(self) -> subprocess.Popen[bytes]:
        with (self._folder / "client.log").open("wb") as log:
            self._client = subprocess.Popen(
                ["wine", r"C:\raplica\client.exe"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=self._environment,
            )
        return self._client

    def _ended(self, step: Step) -> WitnessError:
        told = (self._folder / "client.log").read_text(encoding="utf-8", errors="replace").splitlines()
        said = next((line for line in told if line.startswith("client: ")), "without a word")
        return WitnessError(f"the client under Wine ended in {step.call}: {said}")

    def _wine(self, *command: str, check: bool = True) -> None:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self._environment,
                timeout=_PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise WitnessError(f"{' '.join(command)}: did not end within {_PATIENCE_S} s") from None
        if check and done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
            raise WitnessError(f"{' '.join(command)}: exit status {done.returncode}: {told[-1]}")
