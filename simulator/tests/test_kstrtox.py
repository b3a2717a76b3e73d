# SPDX-License-Identifier: Apache-2.0
"""What a written text means: the two parsers behind every attribute, held against plain ones written here."""

from collections.abc import Callable
from errno import EINVAL, ENOSYS

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.kernel import KERNELS
from raplica_simulator.linux.kstrtox import kstrtobool, kstrtoull
from raplica_simulator.linux.powercap_sys import ConstraintOps, ZoneOps

MakeMachine = Callable[..., Machine]


def plain_number(data: bytes) -> int | None:
    """Read digit by digit, the way C code does; None for what is refused."""
    data = data.split(b"\0")[0]
    position = 1 if data[:1] == b"+" else 0
    value = digits = 0
    while position < len(data) and ord("0") <= data[position] <= ord("9"):
        value = value * 10 + data[position] - ord("0")
        digits += 1
        position += 1
    rest = data[position:]
    return value if digits and rest in (b"", b"\n") and value < 2**64 else None


def plain_switch(data: bytes) -> bool | None:
    first, second = chr(data[0]) if data else "", chr(data[1]) if len(data) > 1 else ""
    if first in ("o", "O") and second in ("n", "N"):
        return True
    if first in ("o", "O") and second in ("f", "F"):
        return False
    return {"1": True, "y": True, "Y": True, "t": True, "T": True}.get(
        first, {"0": False, "n": False, "N": False, "f": False, "F": False}.get(first)
    )


def parsed(parser: Callable[[bytes], int], data: bytes) -> int | None:
    try:
        return parser(data)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        return None


NUMBER_LIKE = st.one_of(
    st.binary(max_size=24),
    st.text(alphabet="0123456789+- \n\t\r\0xe.", max_size=24).map(str.encode),
    st.builds(
        lambda before, value, behind: before + b"%d" % value + behind,
        st.sampled_from([b"", b"+", b"-", b" ", b"0", b"00000000000000000000", b"++", b"0x"]),
        st.one_of(st.integers(0, 2**65), st.integers(2**64 - 3, 2**64 + 3)),
        st.sampled_from([b"", b"\n", b"\n\n", b" ", b"\r\n", b"\0", b"\0junk", b"\n\0\n", b"x"]),
    ),
)


@given(NUMBER_LIKE)
@example(b"")
@example(b"\n")
@example(b"+\n")
@example(b"18446744073709551615\n")
@example(b"18446744073709551616\n")
def test_a_number_is_what_a_plain_parser_says_it_is(data: bytes) -> None:
    assert parsed(kstrtoull, data) == plain_number(data)


@given(st.one_of(st.binary(max_size=6), st.text(alphabet="yYtT1nNfF0oOeE2 \n", max_size=4).map(str.encode)))
def test_a_switch_is_what_its_first_letters_say(data: bytes) -> None:
    got = parsed(kstrtobool, data)
    assert (None if got is None else bool(got)) == plain_switch(data)


SWITCHES = {"3.13": (b"yY1", b"nN0"), "5.5": (b"yY1", b"nN0"), "7.2": (b"yYtTeE1", b"nNfFdD0")}


@pytest.mark.pitfall("switch-parsing")
@pytest.mark.parametrize("version", SWITCHES)
@given(data=st.text(alphabet="yYtTeE1nNfFdD0oO2 \n", max_size=4).map(str.encode))
def test_other_kernels_know_other_switches(version: str, data: bytes) -> None:
    yes, no = SWITCHES[version]
    wanted = None
    if data:
        wanted = True if data[0] in yes else False if data[0] in no else None
    if version != "3.13" and data[:1] in (b"o", b"O"):
        wanted = {b"n": True, b"N": True, b"f": False, b"F": False}.get(data[1:2])
    got = parsed(lambda text: kstrtobool(text, KERNELS[version]), data)
    assert (None if got is None else bool(got)) == wanted


@pytest.mark.pitfall("number-parsing")
@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"15000000", 15_000_000),
        (b"15000000\n", 15_000_000),
        (b"+5\n", 5),
        (b"010\n", 10),
        (b"0005", 5),
        (b"5\0junk", 5),
        (b"0", 0),
        (b"00000000000000000000000000000000018446744073709551615", 2**64 - 1),
        (b"0" * 4095 + b"7", 7),
    ],
)
def test_forms_that_the_kernel_takes_for_a_number(data: bytes, value: int) -> None:
    assert kstrtoull(data) == value


@pytest.mark.pitfall("number-parsing")
@pytest.mark.parametrize(
    "data",
    [b" 5", b"5 ", b"\t5", b"5\r\n", b"5\n\n", b"-0", b"-1", b"0x10", b"1e6", b"1.5", b"\n", b"", b"+", b"+-5", b"\0"],
)
def test_forms_that_the_kernel_refuses_as_a_number(data: bytes) -> None:
    with pytest.raises(OSError, match="not an unsigned") as refused:
        kstrtoull(data)
    assert refused.value.errno == EINVAL


@pytest.mark.pitfall("switch-parsing")
@pytest.mark.parametrize(
    ("data", "value"),
    [
        *((text, True) for text in (b"1garbage", b"10", b"yes", b"true", b"on", b"oN", b"On", b"ON", b"T", b"1\n")),
        *((text, False) for text in (b"0x1", b"01", b"no", b"false", b"of", b"off", b"oF", b"Of", b"offline", b"F")),
    ],
)
def test_words_that_the_kernel_takes_for_a_switch(data: bytes, value: bool) -> None:  # noqa: FBT001 - from the table
    assert kstrtobool(data) is value


@pytest.mark.pitfall("switch-parsing")
@pytest.mark.parametrize("data", [b"2", b"-1", b"o", b"ox", b"o\n", b"\n", b" 1", b"", b"enable", b"disable"])
def test_words_that_the_kernel_refuses_as_a_switch(data: bytes) -> None:
    with pytest.raises(OSError, match="not a boolean") as refused:
        kstrtobool(data)
    assert refused.value.errno == EINVAL


@given(NUMBER_LIKE)
def test_an_attribute_hands_its_driver_what_the_plain_parser_reads(make_machine: MakeMachine, data: bytes) -> None:
    machine = make_machine("zen3")
    got: list[int] = []
    ops = ConstraintOps(
        set_power_limit_uw=lambda _zone, _number, value: got.append(value),
        get_power_limit_uw=lambda _zone, _number: 0,
        set_time_window_us=lambda _zone, _number, value: got.append(value),
        get_time_window_us=lambda _zone, _number: 0,
    )
    control_type = machine.powercap.register_control_type("plain")
    monitor = ZoneOps(get_power_uw=lambda _: 0)
    machine.powercap.register_zone(control_type, "zone", monitor, constraints=1, constraint_ops=ops)
    wanted = plain_number(data) if data else None
    for name in ("power_limit_uw", "time_window_us"):
        got.clear()
        path = f"class/powercap/plain:0/constraint_0_{name}"
        if wanted is None and data:
            with pytest.raises(OSError, match=path) as refused:
                machine.sysfs.write(path, data)
            assert refused.value.errno == EINVAL
        else:
            assert machine.sysfs.write(path, data) == len(data)
        assert got == ([] if wanted is None else [wanted])


@given(st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from([b"on", b"off", b"2", b"1", b"0"])))
def test_a_bad_switch_is_told_before_a_missing_driver_function(make_machine: MakeMachine, data: bytes) -> None:
    machine = make_machine("zen3")
    with pytest.raises(OSError) as refused:  # noqa: PT011 - the errno is what is looked at
        machine.sysfs.write("class/powercap/intel-rapl/enabled", data)
    assert refused.value.errno == (EINVAL if plain_switch(data) is None else ENOSYS)
