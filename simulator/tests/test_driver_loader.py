# SPDX-License-Identifier: Apache-2.0
"""DriverLoader: what each version asks of the service manager, how it ends, and what it claims."""

import pytest

from raplica_simulator.machine import Machine
from raplica_simulator.windows.driver_loader import LOADERS, NEWEST_LOADER, DriverLoader, LoaderExit, LoaderResult
from raplica_simulator.windows.nt_status import BugCheck, Win32
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.service_names import ServiceRight, ServiceState, ServiceType, StartType
from raplica_simulator.windows.system import DriverImage, WindowsSystem

CWD = "C:\\scaphandre"
OLD = ["2021-11-11", "2021-11-27", "2021-11-28"]
NEW = ["2022-01-01", "2023-02-24", "2023-07-14", "2023-12-19"]
DEVICE = "\\\\.\\ScaphandreDriver"


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


@pytest.fixture
def system(machine: Machine) -> WindowsSystem:
    """A Windows with a signed driver in the current directory, and an old one where the first loaders look."""
    system = WindowsSystem(machine)
    system.images[f"{CWD}\\ScaphandreDrv.sys"] = DriverImage(ScaphandreDriver)
    for folder in (CWD, "C:\\RAPLDrv"):
        system.images[f"{folder}\\RAPLDrv.sys"] = DriverImage(lambda: ScaphandreDriver("v1"))
    return system


def run(system: WindowsSystem, *words: str, version: str = NEWEST_LOADER, administrator: bool = True) -> LoaderResult:
    return DriverLoader(system.process(administrator=administrator), CWD, version).run(words)


def shown(system: WindowsSystem) -> list[tuple[str, ServiceState, StartType, ServiceType]]:
    """Name, state, start type and type of each service."""
    return [(one.config.name, one.state, one.config.start_type, one.config.service_type) for one in system.services]


def test_install_start_stop_and_remove_as_the_newest_one_does_them(system: WindowsSystem) -> None:
    process = system.process()
    assert run(system, "install") == LoaderResult(LoaderExit.OK)
    installed = ("ScaphandreDrv", ServiceState.STOPPED, StartType.SYSTEM, ServiceType.KERNEL_DRIVER)
    assert shown(system) == [installed]
    config = next(iter(system.services)).config
    assert config.display_name == "Scaphandre Driver Service"
    assert config.image_path == f"\\??\\{CWD}\\ScaphandreDrv.sys"
    started = run(system, "start")
    assert (started.exit_code, started.box) == (LoaderExit.OK, None)
    assert "started" in started.stdout
    process.close_handle(process.create_file(DEVICE, 0))
    assert run(system, "stop") == started  # and says that it was started
    assert shown(system) == [installed]
    removed = run(system, "remove")
    assert removed.exit_code == LoaderExit.OK
    assert "removed" in removed.stdout
    assert shown(system) == []


def test_what_was_installed_is_started_by_the_next_boot(system: WindowsSystem) -> None:
    run(system)
    system.reboot()
    assert [state for _, state, *_ in shown(system)] == [ServiceState.RUNNING]
    assert system.process().create_file(DEVICE, 0)


@pytest.mark.parametrize("words", [["help"], ["INSTALL"], ["--install"], ["stop-it", "start"]])
@pytest.mark.parametrize("version", LOADERS)
def test_what_it_does_not_know_is_answered_with_its_usage_and_success(
    system: WindowsSystem, version: str, words: list[str]
) -> None:
    told = run(system, *words, version=version)
    assert told == LoaderResult(LoaderExit.OK, "Usage: DriverLoader [install|start|stop|remove]\n")
    assert shown(system) == []


@pytest.mark.parametrize("version", LOADERS)
def test_without_a_word_the_first_ones_tell_their_usage_and_the_later_ones_install(
    system: WindowsSystem, version: str
) -> None:
    told = run(system, version=version)
    assert told.exit_code == LoaderExit.OK
    assert len(shown(system)) == (version in NEW)
    assert ("Usage" in told.stdout) == (version in OLD)


@pytest.mark.parametrize("words", [[], ["install"], ["start"], ["nonsense"]])
def test_who_is_not_elevated_is_told_before_anything_else(system: WindowsSystem, words: list[str]) -> None:
    for version in NEW:
        told = run(system, *words, version=version, administrator=False)
        assert told.exit_code == LoaderExit.RESTRICTED_PRIVILEGES
        assert told.box
    for version in OLD if words else []:
        told = run(system, *words, version=version, administrator=False)
        assert told.exit_code == LoaderExit.FAILED_TO_OPEN_MANAGER
        assert told.box is None
        assert told.stdout
    assert shown(system) == []


@pytest.mark.parametrize("command", ["start", "stop", "remove"])
@pytest.mark.parametrize("version", LOADERS)
def test_a_service_that_is_not_there_is_unavailable(system: WindowsSystem, version: str, command: str) -> None:
    told = run(system, command, version=version)
    assert told.exit_code == LoaderExit.UNAVAILABLE
    assert (told.box is None) == (version in OLD)


def test_installing_twice_is_an_error_until_february_2023_and_silent_since(system: WindowsSystem) -> None:
    for version in LOADERS:
        run(system, "install", version=version)
        told = run(system, "install", version=version)
        assert told.exit_code == (LoaderExit.ALREADY_EXISTS if version < "2023-02-24" else LoaderExit.OK)
        assert run(system, "remove", version=version).exit_code == LoaderExit.OK
    assert run(system, "install", version="2023-02-24").box is not None
    assert run(system, "install", version="2023-02-24") == LoaderResult(LoaderExit.OK)


@pytest.mark.parametrize("version", NEW)
def test_a_driver_that_is_not_in_the_current_directory_is_missed_at_once(system: WindowsSystem, version: str) -> None:
    del system.images[f"{CWD}\\ScaphandreDrv.sys"]
    told = run(system, "install", version=version)
    assert told.exit_code == LoaderExit.FILE_NOT_FOUND
    assert told.box is not None
    assert "ScaphandreDrv.sys" in told.box
    assert shown(system) == []


def test_the_first_ones_install_a_driver_that_is_not_there_and_fail_to_start_it(system: WindowsSystem) -> None:
    system.images.clear()
    for version in OLD:
        assert run(system, "install", version=version).exit_code == LoaderExit.OK
        assert run(system, "start", version=version).exit_code == LoaderExit.START_FAILED
        assert run(system, "remove", version=version).exit_code == LoaderExit.OK


@pytest.mark.parametrize("signature", ["none", "test", "blocked"])
@pytest.mark.parametrize("version", LOADERS)
def test_every_start_that_fails_blames_the_signature(system: WindowsSystem, version: str, signature: str) -> None:
    for path, found in list(system.images.items()):
        system.images[path] = DriverImage(found.make, signature)  # type: ignore[arg-type]
    run(system, "install", version=version)
    blamed = run(system, "start", version=version)
    assert blamed.exit_code == LoaderExit.START_FAILED
    assert "not signed" in blamed.stdout
    system.images.clear()
    assert run(system, "start", version=version) == blamed


def test_a_service_that_cannot_be_created_is_told_with_its_error(system: WindowsSystem) -> None:
    services = system.process().services
    manager = services.open_manager()
    old = services.create_service(
        manager, "lingers", "Scaphandre Driver Service", ServiceRight.ALL_ACCESS, 1, 3, 1, "C:\\x.sys"
    )
    told = run(system, "install")
    assert told.exit_code == LoaderExit.CREATE_FAILED
    assert told.box is not None
    assert told.box.endswith(f"Error code: {Win32.DUPLICATE_SERVICE_NAME:d}")
    services.delete_service(old)
    services.close(old)
    assert run(system, "install").exit_code == LoaderExit.OK


def test_a_marked_service_counts_as_installed_and_then_vanishes(system: WindowsSystem) -> None:
    run(system, "install")
    services = system.process().services
    held = services.open_service(services.open_manager(), "ScaphandreDrv")
    assert run(system, "remove").exit_code == LoaderExit.OK
    assert run(system, "remove").exit_code == LoaderExit.REMOVE_FAILED
    assert run(system, "start").exit_code == LoaderExit.START_FAILED
    assert run(system, "install").exit_code == LoaderExit.OK
    services.close(held)
    assert shown(system) == []


def test_stopping_what_does_not_run_fails_and_removing_what_runs_waits_for_the_stop(system: WindowsSystem) -> None:
    run(system, "install")
    assert run(system, "stop").exit_code == LoaderExit.STOP_FAILED
    run(system, "start")
    assert run(system, "start").exit_code == LoaderExit.START_FAILED
    assert run(system, "remove").exit_code == LoaderExit.OK
    assert [name for name, *_ in shown(system)] == ["ScaphandreDrv"]
    assert run(system, "stop").exit_code == LoaderExit.OK
    assert shown(system) == []


def test_the_very_first_one_installs_a_file_system_driver_and_cannot_stop_it(system: WindowsSystem) -> None:
    first = "2021-11-11"
    run(system, "install", version=first)
    config = next(iter(system.services)).config
    assert (config.name, config.service_type, config.start_type) == (
        "RAPLDrvService",
        ServiceType.FILE_SYSTEM_DRIVER,
        StartType.DEMAND,
    )
    assert config.image_path == "\\??\\C:\\RAPLDrv\\RAPLDrv.sys"
    assert run(system, "start", version=first).exit_code == LoaderExit.OK
    assert run(system, "stop", version=first).exit_code == LoaderExit.STOP_FAILED  # it sends control 0
    assert run(system, "stop", version="2021-11-27").exit_code == LoaderExit.OK


@pytest.mark.parametrize("version", LOADERS)
def test_test_signing_was_switched_on_for_eighteen_months(system: WindowsSystem, version: str) -> None:
    run(system, "install", version=version)
    assert not system.test_signing
    system.reboot()
    assert system.test_signing == ("2022-01-01" <= version < "2023-07-14")


@pytest.mark.parametrize("version", LOADERS)
def test_a_success_was_told_in_a_box_for_two_years(system: WindowsSystem, version: str) -> None:
    assert (run(system, "install", version=version).box is not None) == ("2022-01-01" <= version < "2023-12-19")


def test_a_crash_of_the_machine_is_no_answer_of_the_loader(system: WindowsSystem) -> None:
    with pytest.raises(BugCheck):
        system.kernel.bug_check(0x3B, "a driver")
    with pytest.raises(BugCheck):
        run(system, "install")


def test_a_version_that_there_was_not_is_refused(system: WindowsSystem) -> None:
    with pytest.raises(ValueError, match="name one of 2021-11-11, "):
        DriverLoader(system.process(), CWD, "2024-01-01")
