# SPDX-License-Identifier: Apache-2.0
"""The life of a driver's service: made, started, stopped, deleted, started again by itself; and who may load what."""

from raplica_conformance.clause import expect
from raplica_conformance.clauses._windows import Windows, error_of, opened, protocol_of, windows_clause
from raplica_conformance.clauses._windows_service import (
    DEMAND,
    DISABLED,
    RUNNING,
    STOP_PENDING,
    STOPPED,
    SYSTEM,
    State,
    create,
    manager,
    reopen,
)

__all__: list[str] = []

_MANAGER = "Windows documentation, winsvc.h"
_LINK = "hubblo-org/windows-rapl-driver ScaphandreDrv/Driver.c, DriverUnload"
_NEVER_STARTED = 1077
_INTERROGATE, _PAUSE = 4, 2


@windows_clause(
    "windows.life.whole",
    level="must",
    title="A service is made stopped, runs when StartService returns, and is stopped when its driver is unloaded.",
    source=_MANAGER,
)
def life_whole(windows: Windows) -> None:
    """One that was never started says so (1077). A driver takes STOP and nothing else."""
    service = create(windows)
    expect(service.state(), State(STOPPED, 0, _NEVER_STARTED), "the status of a service that was just made")
    expect(error_of(opened, windows, service.process), 2, "the error of an open before the start")
    service.start()
    expect(service.state(), State(RUNNING, 1, 0), "the status of one that was started")
    handle = opened(windows, service.process)
    service.process.close_handle(handle)
    service.stop()
    expect(service.state(), State(STOPPED, 0, 0), "the status of one that was stopped")
    service.start()
    expect(service.state().state, RUNNING, "the state of one that was started again")
    expect(error_of(opened, windows, service.process), 0, "the error of an open after the second start")


@windows_clause(
    "windows.life.states",
    level="must",
    title="A start while it runs is 1056, a control while it is stopped 1062, a control that it does not take 1052.",
    source=_MANAGER,
)
def life_states(windows: Windows) -> None:
    """It can always be asked how it is while it runs; a control that nobody has defined is 87."""
    service = create(windows)
    for control in (1, _INTERROGATE, _PAUSE):
        expect(error_of(service.control, control), 1062, f"the error of control {control} before the start")
    service.start()
    expect(error_of(service.start), 1056, "the error of a second start")
    expect(error_of(service.control, _INTERROGATE), 0, "the error of INTERROGATE")
    expect(error_of(service.control, _PAUSE), 1052, "the error of PAUSE")
    expect(error_of(service.control, 0), 87, "the error of a control that there is not")


@windows_clause(
    "windows.life.names",
    level="must",
    title="Names count in any case of letters: one that is taken is 1073, a shown one 1078, an unknown one 1060.",
    source=f"{_MANAGER}; hubblo-org/windows-rapl-driver README on 1078",
)
def life_names(windows: Windows) -> None:
    """What is no name at all is 123."""
    process = windows.process()
    create(windows, process, name="Raplica", display="Raplica Driver")
    expect(error_of(create, windows, process, name="RAPLICA", display="x"), 1073, "the error of a name that is taken")
    shown = error_of(create, windows, process, name="Other", display="raplica DRIVER")
    expect(shown, 1078, "the error of a display name that is taken")
    expect(error_of(reopen, process, "raplica"), 0, "the error of opening it by other letters")
    expect(error_of(reopen, process, "Other"), 1060, "the error of opening one that is not there")
    for name in ("", "a/b", "a\\b"):
        expect(error_of(reopen, process, name), 123, f"the error of opening {name!r}")


@windows_clause(
    "windows.life.deletion",
    level="must",
    title="A deletion marks: until it is stopped and every handle is closed it opens, and is not made anew (1072).",
    source=_MANAGER,
)
def life_deletion(windows: Windows) -> None:
    """So an installer that does not close its handles cannot install again."""
    process = windows.process()
    service = create(windows, process)
    service.start()
    service.delete()
    expect(error_of(service.delete), 1072, "the error of a second deletion")
    expect(error_of(create, windows, process), 1072, "the error of making it anew")
    expect(service.state().state, RUNNING, "the state of one that is marked")
    process.close_handle(opened(windows, process))
    other = reopen(process)
    service.close()
    other.stop()
    expect(error_of(other.start), 1072, "the error of a start while it is marked")
    other.close()
    expect(error_of(reopen, process), 1060, "the error of opening it once it is gone")
    expect(error_of(create, windows, process), 0, "the error of making it anew then")


@windows_clause(
    "windows.life.open-handle",
    level="should",
    title="A driver that is stopped while its device is open goes with the last handle; until then it is STOP_PENDING.",
    source="Windows Driver Kit, IoDeleteDevice and DriverUnload; inferred",
)
def life_open_handle(windows: Windows) -> None:
    """The handle goes on to be one, nobody opens the device anew, and there is no second stop (1061)."""
    service = create(windows)
    service.start()
    process = windows.process()
    handle = opened(windows, process)
    service.stop()
    expect(service.state().state, STOP_PENDING, "the state of a driver that is stopped while it is open")
    expect(error_of(opened, windows, process) != 0, True, "whether the device can be opened anew no more")
    expect(error_of(service.stop), 1061, "the error of a second stop")
    expect(error_of(service.start), 1056, "the error of a start meanwhile")
    expect(error_of(process.close_handle, handle), 0, "the error of closing the handle")
    expect(service.state().state, STOPPED, "the state once the handle is closed")


@windows_clause(
    "windows.life.link",
    level="must",
    title="After a stop the device cannot be opened (2, or 3 where its name has stayed), and after a start it can.",
    source=_LINK,
)
def life_link(windows: Windows) -> None:
    """Since January 2022 the driver deletes the wrong name. Which of the two numbers Windows gives is unknown."""
    errors = (2, 3) if protocol_of(windows).leaves_link else (2,)
    service = create(windows)
    process = windows.process()
    for number in range(1, 4):
        service.start()
        process.close_handle(opened(windows, process))
        service.stop()
        error = error_of(opened, windows, process)
        expect(error if error not in errors else "one of them", "one of them", f"the error after stop {number}")


@windows_clause(
    "windows.life.reboot",
    level="must",
    title="A SYSTEM_START driver runs after the next boot, one for demand does not, and a deletion is then done.",
    source=f"{_MANAGER}; hubblo-org/windows-rapl-driver DriverLoader.cpp installs SYSTEM_START",
)
def life_reboot(windows: Windows) -> None:
    """Installing starts nothing."""
    create(windows, start=DEMAND)
    expect(error_of(opened, windows, windows.process()), 2, "the error of an open after an installation")
    windows.reboot()
    process = windows.process()
    demand = reopen(process)
    expect(demand.state(), State(STOPPED, 0, _NEVER_STARTED), "the status of a driver for demand after a boot")
    demand.delete()
    windows.reboot()
    process = windows.process()
    expect(error_of(reopen, process), 1060, "the error of opening what was marked before the boot")
    create(windows, process, start=SYSTEM)
    windows.reboot()
    process = windows.process()
    expect(reopen(process).state().state, RUNNING, "the state of a SYSTEM_START driver after a boot")
    expect(error_of(opened, windows, process), 0, "the error of an open after that boot")


@windows_clause(
    "windows.life.disabled",
    level="must",
    title="A driver that is disabled is not started, by nobody (1058).",
    source=_MANAGER,
)
def life_disabled(windows: Windows) -> None:
    """Nor by a boot."""
    service = create(windows, start=DISABLED)
    expect(error_of(service.start), 1058, "the error of the start")
    windows.reboot()
    expect(reopen(windows.process()).state().state, STOPPED, "the state after a boot")


@windows_clause(
    "windows.life.rights",
    level="must",
    title="Who is no administrator can look at the manager, and make, start, stop and delete nothing (5).",
    source=f"{_MANAGER}, Service Security and Access Rights",
)
def life_rights(windows: Windows) -> None:
    """To have every right of the manager or of a service takes an administrator."""
    create(windows).start()
    user = windows.process(administrator=False)
    expect(error_of(manager, user), 5, "the error of opening the manager with every right")
    connected = user.services.open_manager(None, 1)
    start_stop_delete = (0x10, 0x20, 0x10000)
    for right in start_stop_delete:
        error = error_of(user.services.open_service, connected, "RaplicaDriver", right)
        expect(error, 5, f"the error of opening the service with right {right:#x}")
    look = user.services.open_service(connected, "RaplicaDriver", 4)
    expect(error_of(user.services.query_service_status, look), 0, "the error of asking how it is")
    expect(error_of(user.services.start_service, look), 5, "the error of a start by a handle without that right")


@windows_clause(
    "windows.life.signature",
    level="must",
    title="An image that is not signed for production is refused (577) unless test signing was on at the last boot.",
    source="hubblo-org/windows-rapl-driver README; community.osr.com/discussion/293274",
    threads=("https://github.com/hubblo-org/windows-rapl-driver/issues/1",),
)
def life_signature(windows: Windows) -> None:
    """The loader that is shipped with the driver blames the signature whatever the reason is."""
    windows.place(windows.image, signature="test")
    service = create(windows)
    expect(error_of(service.start), 577, "the error of a start")
    expect(service.state(), State(STOPPED, 0, 577), "the status after it")
    windows.set_test_signing(on=True)
    expect(error_of(service.start), 577, "the error of a start after bcdedit and before a boot")
    windows.reboot()
    service = reopen(windows.process())
    expect(error_of(service.start), 0, "the error of a start after that boot")


@windows_clause(
    "windows.life.image",
    level="must",
    title="A start fails where the image is missing (2 or 3), is none (193), or is on Microsoft's blocklist (1275).",
    source=f"{_MANAGER}, StartService; which of 2 and 3 is unknown",
)
def life_image(windows: Windows) -> None:
    """Nothing of the driver is left then."""
    windows.place(r"C:\raplica\none.sys", corrupt=True)
    windows.place(r"C:\raplica\blocked.sys", signature="blocked")
    process = windows.process()
    for name, errors in (("absent", (2, 3)), ("none", (193,)), ("blocked", (1275,))):
        service = create(windows, process, name=name, image=rf"C:\raplica\{name}.sys")
        error = error_of(service.start)
        expect(error if error not in errors else "one of them", "one of them", f"the error of {name}, of {errors}")
        expect(service.state().state, STOPPED, f"the state of {name} after it")
    expect(error_of(opened, windows, process), 2, "the error of an open after all that")
