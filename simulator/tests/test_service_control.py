# SPDX-License-Identifier: Apache-2.0
"""The service control manager: rights, names, lives of drivers, deletion, reboot, and which error says no."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from raplica_simulator.machine import Machine
from raplica_simulator.windows.io_control import FileObject, Irp
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import BugCheck, NtStatus, Win32, Win32Error
from raplica_simulator.windows.service_config import image_path
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_database import ControlRefused
from raplica_simulator.windows.service_names import (
    Accepted,
    Control,
    ErrorControl,
    ManagerRight,
    ServiceRight,
    ServiceState,
    ServiceStatus,
    ServiceType,
    StartType,
    needed_right,
)
from raplica_simulator.windows.system import DriverImage, WindowsSystem

DRIVER = ServiceType.KERNEL_DRIVER
READ_CONTROL = 0x20000
GENERIC_READ, GENERIC_WRITE, GENERIC_EXECUTE, GENERIC_ALL = 0x80000000, 0x40000000, 0x20000000, 0x10000000
MAXIMUM_ALLOWED = 0x02000000
FOLDER = "C:\\drivers"


class PlainDriver:
    r"""A driver with one device, ``\\.\NAME``; it may lack an unload routine, or fail to start."""

    def __init__(self, name: str, *, unloads: bool = True, status: int = NtStatus.SUCCESS) -> None:
        self.name = name
        self.status = status
        self.unload: Callable[[Kernel], None] | None = self._unload if unloads else None

    def entry(self, kernel: Kernel) -> int:
        kernel.create_device(f"\\Device\\{self.name}")
        kernel.create_symbolic_link(f"\\DosDevices\\{self.name}", f"\\Device\\{self.name}")
        return self.status

    def _unload(self, kernel: Kernel) -> None:
        kernel.delete_symbolic_link(f"\\DosDevices\\{self.name}")

    def create(self, _file: FileObject) -> int:
        return NtStatus.SUCCESS

    def close(self, _file: FileObject) -> None:
        """Nothing is kept."""

    def device_control(self, irp: Irp) -> None:
        irp.answer(b"")


def image(system: WindowsSystem, name: str, **traits: object) -> str:
    """Put a driver's image on the disk; its path.  Traits are those of PlainDriver, and of DriverImage."""
    unloads, status = bool(traits.pop("unloads", True)), int(str(traits.pop("status", NtStatus.SUCCESS)))
    path = f"{FOLDER}\\{name}.sys"
    system.images[path] = DriverImage(lambda: PlainDriver(name, unloads=unloads, status=status), **traits)  # type: ignore[arg-type]
    return path


@pytest.fixture
def system() -> WindowsSystem:
    return WindowsSystem(Machine.from_profile("kabylake"))


@pytest.fixture
def services(system: WindowsSystem) -> ServiceCalls:
    return system.process().services


def refused(call: Callable[[], object]) -> int:
    """The Win32 error with which a call fails."""
    with pytest.raises(Win32Error) as error:
        call()
    return error.value.winerror


def create(
    services: ServiceCalls,
    path: str,
    name: str = "probe",
    *,
    start: int = StartType.DEMAND,
    display: str | None = None,
    dependencies: tuple[str, ...] = (),
    kind: int = DRIVER,
) -> int:
    manager = services.open_manager()
    return services.create_service(
        manager,
        name,
        display,
        ServiceRight.ALL_ACCESS,
        kind,
        start,
        ErrorControl.NORMAL,
        path,
        dependencies=dependencies,
    )


def state(services: ServiceCalls, handle: int) -> tuple[ServiceState, int]:
    status = services.query_service_status(handle)
    return status.state, status.win32_exit_code


# Handles and rights.


def test_everybody_may_connect_and_look_and_only_administrators_may_create(system: WindowsSystem) -> None:
    user, administrator = system.process(administrator=False).services, system.process().services
    looks = ManagerRight.CONNECT | ManagerRight.ENUMERATE_SERVICE | ManagerRight.QUERY_LOCK_STATUS
    for access in (0, looks, GENERIC_READ, MAXIMUM_ALLOWED, READ_CONTROL):
        assert user.open_manager(None, access)
    for access in (ManagerRight.CREATE_SERVICE, ManagerRight.ALL_ACCESS, GENERIC_WRITE, GENERIC_EXECUTE, GENERIC_ALL):
        assert refused(partial(user.open_manager, None, access)) == Win32.ACCESS_DENIED
        assert administrator.open_manager("ServicesActive", access)
    assert refused(lambda: administrator.open_manager(None, 0x01000000)) == Win32.ACCESS_DENIED


def test_there_is_one_database(services: ServiceCalls) -> None:
    assert services.open_manager("SERVICESACTIVE")
    assert refused(lambda: services.open_manager("ServicesFailed")) == Win32.DATABASE_DOES_NOT_EXIST


def test_everybody_may_ask_a_service_and_only_administrators_may_start_stop_and_delete_it(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    create(services, image(system, "probe"))
    user = system.process(administrator=False).services
    manager = user.open_manager(None, ManagerRight.CONNECT)
    handle = user.open_service(manager, "probe", GENERIC_READ | ServiceRight.USER_DEFINED_CONTROL)
    assert state(user, handle) == (ServiceState.STOPPED, Win32.SERVICE_NEVER_STARTED)
    for access in (
        ServiceRight.START,
        ServiceRight.STOP,
        ServiceRight.DELETE,
        ServiceRight.ALL_ACCESS,
        GENERIC_EXECUTE,
    ):
        assert refused(partial(user.open_service, manager, "probe", access)) == Win32.ACCESS_DENIED
    highest = user.open_service(manager, "probe", MAXIMUM_ALLOWED)
    assert refused(lambda: user.start_service(highest)) == Win32.ACCESS_DENIED
    assert user.query_service_config(highest).name == "probe"


@pytest.mark.parametrize(
    ("right", "call", "error"),
    [
        (ServiceRight.START, lambda services, handle: services.start_service(handle), None),
        (
            ServiceRight.STOP,
            lambda services, handle: services.control_service(handle, Control.STOP),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (
            ServiceRight.INTERROGATE,
            lambda services, handle: services.control_service(handle, Control.INTERROGATE),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (
            ServiceRight.PAUSE_CONTINUE,
            lambda services, handle: services.control_service(handle, Control.PAUSE),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (
            ServiceRight.USER_DEFINED_CONTROL,
            lambda services, handle: services.control_service(handle, 128),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (ServiceRight.DELETE, lambda services, handle: services.delete_service(handle), None),
        (ServiceRight.QUERY_STATUS, lambda services, handle: services.query_service_status(handle), None),
        (ServiceRight.QUERY_CONFIG, lambda services, handle: services.query_service_config(handle), None),
    ],
)
def test_each_call_needs_the_right_that_the_handle_was_opened_with(
    system: WindowsSystem,
    services: ServiceCalls,
    right: ServiceRight,
    call: Callable[[ServiceCalls, int], object],
    error: int | None,
) -> None:
    create(services, image(system, "probe"))
    manager = services.open_manager()
    without = services.open_service(manager, "probe", ServiceRight.ALL_ACCESS & ~right)
    assert refused(lambda: call(services, without)) == Win32.ACCESS_DENIED
    allowed = services.open_service(manager, "probe", right)
    if error is None:
        call(services, allowed)
    else:
        assert refused(lambda: call(services, allowed)) == error


def test_a_handle_that_is_none_closed_or_of_the_other_kind_is_invalid(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    service = create(services, image(system, "probe"))
    manager = services.open_manager()
    closed = services.open_service(manager, "probe")
    services.close(closed)
    for handle in (0, 4, closed, manager):
        for call in (
            services.start_service,
            services.delete_service,
            services.query_service_status,
            services.query_service_config,
        ):
            assert refused(partial(call, handle)) == Win32.INVALID_HANDLE
        # Before the control is looked at.
        assert refused(partial(services.control_service, handle, 0)) == Win32.INVALID_HANDLE
    for handle in (0, closed, service):
        assert refused(partial(services.open_service, handle, "probe")) == Win32.INVALID_HANDLE
    assert refused(lambda: services.close(closed)) == Win32.INVALID_HANDLE
    assert refused(lambda: system.process().services.query_service_status(service)) == Win32.INVALID_HANDLE


def test_create_needs_the_right_to_create(system: WindowsSystem, services: ServiceCalls) -> None:
    path = image(system, "probe")
    manager = services.open_manager(None, ManagerRight.CONNECT)
    arguments = (None, ServiceRight.ALL_ACCESS, DRIVER, StartType.DEMAND, ErrorControl.NORMAL, path)
    assert refused(lambda: services.create_service(manager, "probe", *arguments)) == Win32.ACCESS_DENIED
    assert refused(lambda: services.create_service(0, "probe", *arguments)) == Win32.INVALID_HANDLE
    assert list(system.services) == []


def test_a_call_that_fails_leaves_its_error_to_the_thread_that_made_it(system: WindowsSystem) -> None:
    process = system.process()
    refused(lambda: process.services.open_service(process.services.open_manager(), "none"))
    assert process.get_last_error() == Win32.SERVICE_DOES_NOT_EXIST
    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(process.get_last_error()))
    thread.start()
    thread.join()
    assert other == [0]


# Names and what CreateService lets in.


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "x" * 257, "a\0b"])
def test_a_name_that_is_none_is_refused_wherever_it_is_given(services: ServiceCalls, name: str) -> None:
    assert refused(lambda: create(services, "C:\\x.sys", name)) == Win32.INVALID_NAME
    assert refused(lambda: services.open_service(services.open_manager(), name)) == Win32.INVALID_NAME


def test_the_longest_name_works_and_names_are_found_in_any_case_and_kept_as_they_were_written(
    services: ServiceCalls,
) -> None:
    create(services, "C:\\x.sys", "Xy" * 128)
    manager = services.open_manager()
    assert services.query_service_config(services.open_service(manager, "xY" * 128)).name == "Xy" * 128
    assert refused(lambda: create(services, "C:\\x.sys", "long", display="x" * 257)) == Win32.INVALID_NAME
    assert refused(lambda: services.open_service(manager, "unknown")) == Win32.SERVICE_DOES_NOT_EXIST


@pytest.mark.parametrize(
    ("kind", "start", "severity", "path"),
    [
        (0, StartType.DEMAND, 1, "C:\\x.sys"),
        (3, StartType.DEMAND, 1, "C:\\x.sys"),
        (DRIVER, 5, 1, "C:\\x.sys"),
        (DRIVER, StartType.DEMAND, 4, "C:\\x.sys"),
        (DRIVER, StartType.DEMAND, 1, ""),
        (ServiceType.WIN32_OWN_PROCESS, StartType.BOOT, 1, "C:\\x.exe"),
        (ServiceType.WIN32_OWN_PROCESS, StartType.SYSTEM, 1, "C:\\x.exe"),
        (ServiceType.WIN32_SHARE_PROCESS, StartType.SYSTEM, 1, "C:\\x.exe"),
    ],
)
def test_what_makes_no_sense_is_a_wrong_parameter(
    services: ServiceCalls, kind: int, start: int, severity: int, path: str
) -> None:
    manager = services.open_manager()
    access = ServiceRight.ALL_ACCESS
    call = lambda: services.create_service(manager, "probe", None, access, kind, start, severity, path)  # noqa: E731
    assert refused(call) == Win32.INVALID_PARAMETER


@pytest.mark.parametrize("kind", ServiceType)
def test_every_type_and_start_type_that_fits_is_let_in_and_shown(services: ServiceCalls, kind: ServiceType) -> None:
    for start in StartType if kind <= ServiceType.FILE_SYSTEM_DRIVER else list(StartType)[2:]:
        handle = create(services, "C:\\x.sys", f"{kind}-{start}", start=start, kind=kind)
        config = services.query_service_config(handle)
        assert (config.service_type, config.start_type, config.error_control) == (kind, start, ErrorControl.NORMAL)


def test_names_that_are_taken(services: ServiceCalls) -> None:
    create(services, "C:\\x.sys", "probe", display="The Probe")
    assert refused(lambda: create(services, "C:\\x.sys", "PROBE")) == Win32.SERVICE_EXISTS
    for display in ("the probe", "PROBE"):
        assert refused(partial(create, services, "C:\\x.sys", "b", display=display)) == 1078
    assert create(services, "C:\\x.sys", "b", display="b")


@pytest.mark.parametrize(
    ("written", "kept", "found"),
    [
        ("C:\\d\\x.sys", "\\??\\C:\\d\\x.sys", "C:\\d\\x.sys"),
        ("\\??\\C:\\d\\x.sys", "\\??\\C:\\d\\x.sys", "C:\\d\\x.sys"),
        ("System32\\drivers\\x.sys", "System32\\drivers\\x.sys", "C:\\Windows\\System32\\drivers\\x.sys"),
        ("\\SystemRoot\\x.sys", "\\SystemRoot\\x.sys", "C:\\Windows\\x.sys"),
        ("\\Device\\x.sys", "\\Device\\x.sys", "\\Device\\x.sys"),
    ],
)
def test_an_image_path_is_kept_as_the_registry_has_it_and_found_from_the_system_root(
    services: ServiceCalls, written: str, kept: str, found: str
) -> None:
    assert services.query_service_config(create(services, written)).image_path == kept
    assert image_path(kept) == found


# The life of a driver.


def test_a_service_goes_from_never_started_to_running_and_back_and_its_device_with_it(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    process = system.process()
    handle = create(services, image(system, "probe"))
    assert services.query_service_status(handle) == ServiceStatus(
        DRIVER, ServiceState.STOPPED, Accepted.NOTHING, Win32.SERVICE_NEVER_STARTED
    )
    assert refused(lambda: process.create_file("\\\\.\\probe", 0)) == Win32.FILE_NOT_FOUND
    for _ in range(2):
        services.start_service(handle)
        running = ServiceStatus(DRIVER, ServiceState.RUNNING, Accepted.STOP, 0)
        assert services.query_service_status(handle) == running
        assert services.control_service(handle, Control.INTERROGATE) == running
        process.close_handle(process.create_file("\\\\.\\probe", 0))
        assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_ALREADY_RUNNING
        stopped = services.control_service(handle, Control.STOP)
        assert stopped == services.query_service_status(handle)
        assert stopped == ServiceStatus(DRIVER, ServiceState.STOPPED, Accepted.NOTHING, 0)
        assert refused(lambda: process.create_file("\\\\.\\probe", 0)) == Win32.FILE_NOT_FOUND


def test_controls_of_a_stopped_service_and_those_that_a_driver_does_not_take_come_with_its_status(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    handle = create(services, image(system, "probe"))
    for control in (*Control, 128, 255):
        with pytest.raises(ControlRefused) as error:
            services.control_service(handle, control)
        assert error.value.winerror == Win32.SERVICE_NOT_ACTIVE
        assert error.value.status.state == ServiceState.STOPPED
    services.start_service(handle)
    for control in {*Control, 128, 255} - {Control.STOP, Control.INTERROGATE}:
        with pytest.raises(ControlRefused) as error:
            services.control_service(handle, control)
        assert error.value.winerror == Win32.INVALID_SERVICE_CONTROL
        assert error.value.status.state == ServiceState.RUNNING
    for control in (0, 5, 11, 127, 256):
        assert needed_right(control) is None
        assert refused(partial(services.control_service, handle, control)) == Win32.INVALID_PARAMETER


def test_a_driver_without_an_unload_routine_cannot_be_stopped(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe", unloads=False))
    services.start_service(handle)
    assert services.query_service_status(handle).controls_accepted == Accepted.NOTHING
    with pytest.raises(ControlRefused) as error:
        services.control_service(handle, Control.STOP)
    assert error.value.winerror == Win32.INVALID_SERVICE_CONTROL
    assert error.value.status.state == ServiceState.RUNNING


def test_open_handles_put_a_stop_off_until_the_last_of_them_is_closed(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    process = system.process()
    handle = create(services, image(system, "probe"))
    services.start_service(handle)
    files = [process.create_file("\\\\.\\probe", 0xC0000000) for _ in range(2)]
    assert services.control_service(handle, Control.STOP).state == ServiceState.STOP_PENDING
    for control in (Control.STOP, Control.INTERROGATE):
        with pytest.raises(ControlRefused) as error:
            services.control_service(handle, control)
        assert error.value.winerror == Win32.SERVICE_CANNOT_ACCEPT_CTRL
        assert error.value.status.state == ServiceState.STOP_PENDING
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_ALREADY_RUNNING
    with pytest.raises(Win32Error):
        process.create_file("\\\\.\\probe", 0)
    assert process.device_io_control(files[0], 0x222000).ok  # what is open goes on
    process.close_handle(files[0])
    assert state(services, handle)[0] == ServiceState.STOP_PENDING
    process.exit()
    assert state(services, handle) == (ServiceState.STOPPED, 0)
    services.start_service(handle)
    assert state(services, handle) == (ServiceState.RUNNING, 0)


@pytest.mark.parametrize(
    ("traits", "code"),
    [
        ({"corrupt": True}, Win32.BAD_EXE_FORMAT),
        ({"signature": "none"}, Win32.INVALID_IMAGE_HASH),
        ({"signature": "test"}, Win32.INVALID_IMAGE_HASH),
        ({"signature": "blocked"}, Win32.DRIVER_BLOCKED),
        ({"status": NtStatus.INSUFFICIENT_RESOURCES}, Win32.NO_SYSTEM_RESOURCES),
        ({"status": NtStatus.UNSUCCESSFUL}, Win32.GEN_FAILURE),
        ({"status": NtStatus.NO_SUCH_DEVICE}, Win32.NO_SUCH_DEVICE),
    ],
)
def test_a_start_that_fails_gives_the_error_of_the_image_or_of_its_entry_and_keeps_it_as_exit_code(
    system: WindowsSystem, services: ServiceCalls, traits: dict[str, object], code: Win32
) -> None:
    handle = create(services, image(system, "probe", **traits))
    for _ in range(2):
        assert refused(lambda: services.start_service(handle)) == code
        assert state(services, handle) == (ServiceState.STOPPED, code)
    image(system, "probe")
    services.start_service(handle)
    assert state(services, handle) == (ServiceState.RUNNING, 0)


def test_an_image_or_a_program_that_is_not_there_is_not_found(services: ServiceCalls) -> None:
    for kind in ServiceType:
        handle = create(services, f"{FOLDER}\\none.sys", kind.name, kind=kind)
        assert refused(partial(services.start_service, handle)) == Win32.FILE_NOT_FOUND


def test_a_disabled_service_does_not_start(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe"), start=StartType.DISABLED)
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DISABLED
    assert state(services, handle) == (ServiceState.STOPPED, Win32.SERVICE_NEVER_STARTED)


# Dependencies.


def test_what_a_service_needs_is_started_first_and_cannot_be_stopped_before_it(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    base = create(services, image(system, "base"), "base")
    middle = create(services, image(system, "middle"), "middle", dependencies=("BASE",))
    top = create(services, image(system, "top"), "top", dependencies=("middle", "base"))
    services.start_service(top)
    for handle in (base, middle, top):
        assert state(services, handle) == (ServiceState.RUNNING, 0)
    for handle in (base, middle):
        assert refused(partial(services.control_service, handle, Control.STOP)) == 1051
    for handle in (top, middle, base):
        assert services.control_service(handle, Control.STOP).state == ServiceState.STOPPED
    assert services.query_service_config(top).dependencies == ("middle", "base")


def test_a_dependency_that_is_gone_marked_or_fails_lets_the_start_fail(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    handle = create(services, image(system, "top"), "top", dependencies=("base",))
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DEPENDENCY_DELETED
    base = create(services, image(system, "base", signature="none"), "base")
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DEPENDENCY_FAIL
    assert state(services, handle) == (ServiceState.STOPPED, Win32.SERVICE_DEPENDENCY_FAIL)
    assert state(services, base) == (ServiceState.STOPPED, Win32.INVALID_IMAGE_HASH)
    services.delete_service(base)
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DEPENDENCY_DELETED


def test_services_cannot_need_each_other_in_a_circle(services: ServiceCalls) -> None:
    assert refused(lambda: create(services, "C:\\x.sys", "a", dependencies=("A",))) == Win32.CIRCULAR_DEPENDENCY
    create(services, "C:\\x.sys", "a", dependencies=("b",))
    create(services, "C:\\x.sys", "b", dependencies=("c",))
    assert refused(lambda: create(services, "C:\\x.sys", "c", dependencies=("a",))) == Win32.CIRCULAR_DEPENDENCY
    assert refused(lambda: create(services, "C:\\x.sys", "c", dependencies=("a/b",))) == Win32.INVALID_NAME


def test_however_many_ways_lead_from_one_service_to_another_nobody_waits(services: ServiceCalls) -> None:
    for number in range(60):  # 2^60 ways from the first to the last
        create(services, "C:\\x.sys", f"s{number}", dependencies=(f"s{number + 1}",) * 2)
    assert refused(lambda: create(services, "C:\\x.sys", "s60", dependencies=("s0",))) == Win32.CIRCULAR_DEPENDENCY
    assert create(services, "C:\\x.sys", "s60")


# Deletion.


def test_a_deleted_service_is_marked_until_its_handles_are_closed(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    path = image(system, "probe")
    first = create(services, path)
    manager = services.open_manager()
    second = services.open_service(manager, "probe")
    services.delete_service(first)
    assert refused(lambda: services.delete_service(second)) == Win32.SERVICE_MARKED_FOR_DELETE
    assert refused(lambda: create(services, path, "Probe")) == Win32.SERVICE_MARKED_FOR_DELETE
    assert refused(lambda: create(services, path, "new", display="probe")) == Win32.DUPLICATE_SERVICE_NAME
    assert refused(lambda: services.start_service(second)) == Win32.SERVICE_MARKED_FOR_DELETE
    third = services.open_service(manager, "probe")
    for handle in (first, second, third):
        assert services.open_service(manager, "probe")
        services.close(handle)
    services.close_all()
    assert refused(lambda: services.open_service(services.open_manager(), "probe")) == Win32.SERVICE_DOES_NOT_EXIST
    assert create(services, path)


def test_a_process_that_ends_closes_its_handles_to_services_too(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe"))
    other = system.process()
    other.services.delete_service(other.services.open_service(other.services.open_manager(), "probe"))
    services.close(handle)
    assert [one.marked for one in system.services] == [True]
    other.exit()
    assert list(system.services) == []


def test_a_deleted_service_that_runs_stays_until_it_is_stopped(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe"))
    services.start_service(handle)
    services.delete_service(handle)
    services.close(handle)
    handle = services.open_service(services.open_manager(), "probe")
    assert state(services, handle) == (ServiceState.RUNNING, 0)
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_MARKED_FOR_DELETE
    assert services.control_service(handle, Control.STOP).state == ServiceState.STOPPED
    services.close(handle)
    assert list(system.services) == []


def test_a_key_that_somebody_takes_out_of_the_registry_counts_from_the_next_boot(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    path = image(system, "probe")
    create(services, path, display="The Probe")
    system.services.remove_key("PROBE")
    assert refused(lambda: system.services.remove_key("probe")) == Win32.FILE_NOT_FOUND
    assert refused(lambda: system.services.remove_key("none")) == Win32.FILE_NOT_FOUND
    assert refused(lambda: create(services, path, "new", display="The Probe")) == Win32.DUPLICATE_SERVICE_NAME
    system.reboot()
    assert create(system.process().services, path, "new", display="The Probe")


# Reboot and crashes.


def test_a_reboot_starts_boot_and_system_drivers_before_the_managers_own_and_forgets_what_was_marked(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    loaded: list[str] = []
    kinds = (StartType.AUTO, StartType.DEMAND, StartType.SYSTEM, StartType.BOOT, StartType.DISABLED)
    for start in kinds:
        create(services, image(system, start.name), start.name, start=start)
    # The manager starts what an AUTO service needs; the kernel knows of no such thing.
    create(services, image(system, "needs"), "needs", start=StartType.AUTO, dependencies=("demand",))
    create(services, image(system, "early"), "early", start=StartType.SYSTEM, dependencies=("nobody",))
    create(services, image(system, "bad", signature="none"), "bad", start=StartType.SYSTEM)
    for path, known in list(system.images.items()):
        make = known.make

        def noted(make: Callable[[], object] = make) -> object:
            driver = make()
            loaded.append(getattr(driver, "name", ""))
            return driver

        system.images[path] = DriverImage(noted, known.signature)  # type: ignore[arg-type]
    marked = create(services, image(system, "marked"), "marked", start=StartType.AUTO)
    services.delete_service(marked)
    system.reboot()
    assert loaded == ["BOOT", "SYSTEM", "early", "AUTO", "DEMAND", "needs"]
    after = system.process().services
    manager = after.open_manager()
    states = {
        one.config.name: after.query_service_status(after.open_service(manager, one.config.name))
        for one in system.services
    }
    assert {
        name: status.win32_exit_code for name, status in states.items() if status.state == ServiceState.STOPPED
    } == {
        "DISABLED": Win32.SERVICE_NEVER_STARTED,
        "bad": Win32.INVALID_IMAGE_HASH,
    }
    assert "marked" not in states
    for call in (services.query_service_status, services.close):
        assert refused(partial(call, marked)) == Win32.INVALID_HANDLE
    system.reboot()
    assert loaded[6:] == loaded[:6]


def test_test_signing_counts_from_the_next_boot(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe", signature="test"), start=StartType.SYSTEM)
    system.boot_test_signing = True
    assert refused(lambda: services.start_service(handle)) == Win32.INVALID_IMAGE_HASH
    system.reboot()
    services = system.process().services
    handle = services.open_service(services.open_manager(), "probe")
    assert state(services, handle) == (ServiceState.RUNNING, 0)
    system.boot_test_signing = False
    assert state(services, handle) == (ServiceState.RUNNING, 0)
    system.reboot()
    services = system.process().services
    handle = services.open_service(services.open_manager(), "probe")
    assert state(services, handle) == (ServiceState.STOPPED, Win32.INVALID_IMAGE_HASH)


def test_where_the_machine_has_crashed_every_call_says_so_until_it_is_rebooted(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    handle = create(services, image(system, "probe"), start=StartType.SYSTEM)
    with pytest.raises(BugCheck):
        system.kernel.bug_check(0x3B, "probe: a fault that nobody caught")
    for call in (services.start_service, services.query_service_status, services.delete_service, services.close):
        with pytest.raises(BugCheck, match="nobody caught"):
            call(handle)
    with pytest.raises(BugCheck):
        services.open_manager()
    services.close_all()
    system.reboot()
    services = system.process().services
    assert state(services, services.open_service(services.open_manager(), "probe")) == (ServiceState.RUNNING, 0)


def test_many_threads_create_start_stop_and_delete_at_once_and_nothing_is_lost(system: WindowsSystem) -> None:
    paths = {f"probe-{number}": image(system, f"probe-{number}") for number in range(16)}
    errors: list[BaseException] = []

    def live(name: str, path: str) -> None:
        try:
            services = system.process().services
            for _ in range(3):
                handle = create(services, path, name)
                services.start_service(handle)
                assert services.control_service(handle, Control.STOP).state == ServiceState.STOPPED
                services.delete_service(handle)
                services.close(handle)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=live, args=pair) for pair in paths.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(system.services) == []
    assert system.kernel.drivers == ()
