# SPDX-License-Identifier: Apache-2.0
"""DriverLoader, the program that installs the Scaphandre driver: how it ends, and what it says of that.

As it is since December 2023: what succeeds says little or the wrong thing, and every start that fails blames the
signature, so scripts have its exit status and nothing else.
"""

from typing import Protocol

from raplica_conformance.clause import expect
from raplica_conformance.clauses._windows import LOADER_KIND, Windows, error_of, opened, windows_clause
from raplica_conformance.clauses._windows_service import RUNNING, STOPPED, reopen

__all__: list[str] = []

_SOURCE = "hubblo-org/windows-rapl-driver DriverLoader/DriverLoader.cpp"
_SERVICE, _IMAGE = "ScaphandreDrv", "ScaphandreDrv.sys"
_START_FAILED, _STOP_FAILED, _REMOVE_FAILED = 3, 4, 5
_UNAVAILABLE, _NOT_ELEVATED, _NO_FILE = 6, 8, 9


class LoaderWindows(Windows, Protocol):
    """A Windows on which the loader can be run, in a folder without the driver's image."""

    folder: str

    def loader(self, *words: str, administrator: bool = True) -> tuple[int, str, bool]:
        """Run it: its exit status, what it printed, whether it opened a message box."""


def _put(windows: LoaderWindows, signature: str = "valid") -> None:
    windows.place(f"{windows.folder}\\{_IMAGE}", signature=signature)


@windows_clause(
    "windows.loader.install",
    kind=LOADER_KIND,
    level="must",
    title="install makes a SYSTEM_START service and starts nothing; where it is there already it ends well as well.",
    source=f"{_SOURCE} e92f8ce, 84dba77",
)
def loader_install(windows: LoaderWindows) -> None:
    """The image is that of the current directory. Without a word the loader installs."""
    _put(windows)
    expect(windows.loader("install"), (0, "", False), "how an installation ends")
    process = windows.process()
    config = process.services.query_service_config(reopen(process, _SERVICE).handle)
    expect((int(config.service_type), int(config.start_type)), (1, 1), "type and start type of the service")
    expect(reopen(process, _SERVICE).state().state, STOPPED, "its state")
    expect(windows.loader(), (0, "", False), "how a second one ends")
    windows.reboot()
    expect(error_of(opened, windows, windows.process()), 0, "the error of an open after the next boot")


@windows_clause(
    "windows.loader.no-file",
    kind=LOADER_KIND,
    level="must",
    title="install without the image in the current directory opens a box, ends with 9, and makes no service.",
    source=_SOURCE,
)
def loader_no_file(windows: LoaderWindows) -> None:
    """It looks for the file by opening it."""
    status, _, box = windows.loader("install")
    expect((status, box), (_NO_FILE, True), "exit status, and whether there was a box")
    expect(error_of(reopen, windows.process(), _SERVICE), 1060, "the error of opening the service")


@windows_clause(
    "windows.loader.start",
    kind=LOADER_KIND,
    level="must",
    title="start starts the driver and says so; where that fails it blames the signature, whatever it was: 3.",
    source=_SOURCE,
    threads=("https://github.com/hubblo-org/windows-rapl-driver/issues/1",),
)
def loader_start(windows: LoaderWindows) -> None:
    """Also a second start fails so."""
    _put(windows)
    windows.loader("install")
    status, said, box = windows.loader("start")
    expect((status, "started" in said, box), (0, True, False), "exit status, whether it says started, and a box")
    expect(reopen(windows.process(), _SERVICE).state().state, RUNNING, "the state of the driver")
    status, said, box = windows.loader("start")
    ending = (status, "signed" in said or "signature" in said, box)
    expect(ending, (_START_FAILED, True, False), "a second start: exit status, blame of the signature, box")


@windows_clause(
    "windows.loader.unsigned",
    kind=LOADER_KIND,
    level="must",
    title="start of an image that is not signed ends with 3.",
    source=_SOURCE,
)
def loader_unsigned(windows: LoaderWindows) -> None:
    """Here the signature is to blame indeed."""
    _put(windows, signature="none")
    windows.loader("install")
    expect(windows.loader("start")[0], _START_FAILED, "the exit status of the start")
    expect(reopen(windows.process(), _SERVICE).state().exit_code, 577, "the exit code of the service")


@windows_clause(
    "windows.loader.stop",
    kind=LOADER_KIND,
    level="must",
    title="stop stops the driver and says that it started; one that does not run cannot be stopped: 4.",
    source=_SOURCE,
)
def loader_stop(windows: LoaderWindows) -> None:
    """The text is that of the start, so nobody can go by it."""
    _put(windows)
    windows.loader("install")
    expect(windows.loader("stop")[0], _STOP_FAILED, "the exit status before the driver was started")
    windows.loader("start")
    status, said, _ = windows.loader("stop")
    expect((status, "started" in said), (0, True), "exit status, and whether it says started")
    expect(reopen(windows.process(), _SERVICE).state().state, STOPPED, "the state of the driver")


@windows_clause(
    "windows.loader.remove",
    kind=LOADER_KIND,
    level="must",
    title="remove deletes the service; while it runs it is only marked, and a second time fails: 5.",
    source=_SOURCE,
)
def loader_remove(windows: LoaderWindows) -> None:
    """A service that is stopped is gone when the loader ends."""
    _put(windows)
    windows.loader("install")
    windows.loader("start")
    expect(windows.loader("remove")[0], 0, "the exit status while the driver runs")
    expect(windows.loader("remove")[0], _REMOVE_FAILED, "the exit status of a second time")
    expect(windows.loader("stop")[0], 0, "the exit status of a stop then")
    expect(windows.loader("remove")[0], _UNAVAILABLE, "the exit status once it is gone")
    expect(windows.loader("install")[0], 0, "the exit status of a new installation")


@windows_clause(
    "windows.loader.absent",
    kind=LOADER_KIND,
    level="must",
    title="start, stop and remove without a service open a box and end with 6.",
    source=_SOURCE,
)
def loader_absent(windows: LoaderWindows) -> None:
    """A script that removes first has to live with that."""
    for command in ("start", "stop", "remove"):
        status, _, box = windows.loader(command)
        expect((status, box), (_UNAVAILABLE, True), f"exit status of {command}, and whether there was a box")


@windows_clause(
    "windows.loader.elevated",
    kind=LOADER_KIND,
    level="must",
    title="Who is not elevated gets a box and 8, before anything else is looked at.",
    source=_SOURCE,
)
def loader_elevated(windows: LoaderWindows) -> None:
    """Also for a word that it does not know."""
    _put(windows)
    for command in ("install", "start", "help"):
        status, _, box = windows.loader(command, administrator=False)
        expect((status, box), (_NOT_ELEVATED, True), f"exit status of {command}, and whether there was a box")
    expect(error_of(reopen, windows.process(), _SERVICE), 1060, "the error of opening the service")


@windows_clause(
    "windows.loader.usage",
    kind=LOADER_KIND,
    level="must",
    title="A word that it does not know prints the usage and ends with 0.",
    source=_SOURCE,
)
def loader_usage(windows: LoaderWindows) -> None:
    """So a misspelt command looks like success."""
    for command in ("help", "Install", "--help"):
        status, said, box = windows.loader(command)
        expect((status, "DriverLoader" in said, box), (0, True, False), f"how {command} ends")
