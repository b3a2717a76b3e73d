# SPDX-License-Identifier: Apache-2.0
"""The service control manager: names, types and image paths that CreateService lets in."""

from functools import partial

import pytest

from raplica_simulator.windows.nt_status import Win32
from raplica_simulator.windows.service_config import image_path
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_names import ErrorControl, ServiceRight, ServiceType, StartType

from .plain_driver import DRIVER, create, refused


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
