# SPDX-License-Identifier: Apache-2.0
"""`raplica serve-windows`: whatever line is sent has an answer, and one that is no request is told what is wrong."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.serve.windows_door import WindowsDoor
from raplica_simulator.serve.windows_drivers import DEFAULT_DRIVERS, install
from raplica_simulator.serve.windows_requests import CALLS, LARGEST_OUTPUT, answer
from raplica_simulator.windows.system import WindowsSystem

from .windows_client import CODE, EMI, SCAPHANDRE, Client


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.fixture
def system(live: LiveMachine) -> WindowsSystem:
    system = WindowsSystem(live.machine, lock=live.held())
    install(system, DEFAULT_DRIVERS)
    return system


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nonsense", "this is no JSON"),
        (b'{"call": "Cpu", "x": NaN}', "this is no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "call: None is not one of CreateFile"),
        (b'{"call": ["Cpu"]}', "is not one of"),
        (b'{"call": "Cpu", "path": ""}', "Cpu: unknown key 'path': it takes nothing else"),
        (b'{"call": "CreateFile"}', "CreateFile: path is missing"),
        (b'{"call": "CreateFile", "path": 5, "access": 0}', "path is 5: give text"),
        (b'{"call": "CreateFile", "path": "x", "access": -1}', "access is -1: give a whole number from 0"),
        (b'{"call": "CreateFile", "path": "x", "access": 4294967296}', "from 0 to 4294967295"),
        (b'{"call": "CreateFile", "path": "x", "access": true}', "access is True"),
        (b'{"call": "CreateFile", "path": "x", "access": 1.5}', "access is 1.5: give a whole number"),
        (b'{"call": "CreateFile", "path": "x", "access": 0, "acess": 0}', "unknown key 'acess': it takes path, access"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "in": "0"}', "bytes in hexadecimal"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "in": "00 11"}', "bytes in hexadecimal"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "in": 7}', "bytes in hexadecimal"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "size": 1048577}', f"from 0 to {LARGEST_OUTPUT}"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "overlapped": 1}', "give true or false"),
        (b'{"call": "CreateService", "manager": 1, "name": "a", "path": "b", "dependencies": "c"}', "a list of names"),
        (b'{"call": "CreateService", "manager": 1, "name": "a", "path": "b", "dependencies": [1]}', "give text"),
        (b'{"call": "OpenSCManager", "database": 1}', "OpenSCManager: database is 1: give text"),
        (b'{"call": "%s"}' % (b"x" * 500), "xxx... is not one of"),
    ],
)
def test_a_line_that_is_no_request_is_a_wrong_parameter_in_one_line_and_the_next_is_answered(
    door: WindowsDoor, line: bytes, said: str
) -> None:
    with Client(door.path) as client:
        refused = client.send(line + b"\n")
        assert (refused["ok"], refused["error"]) == (False, 87)
        assert said in refused["message"]
        assert "\n" not in refused["message"]
        assert client.ask("Cpu")["ok"]


_values: st.SearchStrategy[object] = st.one_of(
    st.integers(min_value=-1, max_value=2**65),
    st.sampled_from(
        [4, 0x510000, CODE, 0x224008, SCAPHANDRE, "ScaphandreDrv", EMI, "00" * 8, "zz", "", None, True, []]
    ),
    st.text(max_size=6),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(list(CALLS)),
            st.dictionaries(st.sampled_from(sorted({key for fields, _ in CALLS.values() for key in fields})), _values),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_whatever_is_asked_the_answer_is_a_result_or_an_error_of_windows(
    system: WindowsSystem, requests: list[tuple[str, dict[str, Any], bool]]
) -> None:
    process = system.process()
    for call, parameters, trimmed in requests:
        fields, _ = CALLS[call]
        kept = {key: value for key, value in parameters.items() if key in fields} if trimmed else parameters
        told = answer(process, {"call": call, **kept})
        assert json.loads(json.dumps(told)) == told
        assert told["ok"] is True or isinstance(told["error"], int)
    process.exit()


def test_every_call_can_be_made_with_what_it_cannot_do_without(door: WindowsDoor) -> None:
    samples: dict[str, object] = {"path": "x", "guid": EMI, "name": "x"}
    with Client(door.path) as client:
        for call, (fields, _) in CALLS.items():
            needed = {key: samples.get(key, 1) for key, field in fields.items() if field.is_required}
            assert "message" not in client.ask(call, **needed)
            for key in needed:
                without = client.ask(call, **{other: needed[other] for other in needed if other != key})
                assert without["message"] == f"{call}: {key} is missing"
