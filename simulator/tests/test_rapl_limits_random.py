# SPDX-License-Identifier: Apache-2.0
"""Random sequences of writes to limits, windows and switches, against a plain model of three registers."""

from collections.abc import Callable, Mapping
from errno import ENODATA

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
PACKAGE, CORE = "intel-rapl:0", "intel-rapl:0:0"
PACKAGE_LIMIT, CORE_LIMIT, PEAK = 0x610, 0x638, 0x601
LOCKS = {PACKAGE_LIMIT: 1 << 63, CORE_LIMIT: 1 << 31, PEAK: 1 << 31}
ALL_BITS = 2**64 - 1
U64 = st.integers(0, ALL_BITS)

# Zone and constraint: the register, and where the limit and its window lie.
FIELDS = {
    (PACKAGE, 0): (PACKAGE_LIMIT, 0, 0x7FFF, 17),
    (PACKAGE, 1): (PACKAGE_LIMIT, 32, 0x7FFF, 49),
    (PACKAGE, 2): (PEAK, 0, 0x1FFF, None),
    (CORE, 0): (CORE_LIMIT, 0, 0x7FFF, 17),
}
SWITCHES = {PACKAGE: (PACKAGE_LIMIT, (15, 16, 47, 48)), CORE: (CORE_LIMIT, (15, 16))}


def window_code(window_us: int, kernel: str) -> int:
    """The seven bits that a window is stored as."""
    units = window_us // 976
    if units == 0:
        return 0
    exponent = units.bit_length() - 1
    if kernel == "6.12":
        return 0x7F if exponent > 31 else exponent + 32 * (4 * (units - 2**exponent) // 2**exponent)
    two = 1 << exponent % 32 if exponent % 32 < 31 else 2**64 - 2**31
    return exponent % 32 + 32 * ((4 * (units - two) % 2**64) // two % 4)


def window_us(code: int) -> int:
    two = 2 ** (code % 32) if code % 32 < 31 else 2**64 - 2**31
    return two * (4 + code // 32) * 976 % 2**64 // 4


class Model:
    """Three registers and what a write of an attribute does to them: the accesses it makes are given back."""

    def __init__(self, kernel: str, masks: Mapping[int, tuple[int, int]], registers: Mapping[int, int]) -> None:
        self.kernel = kernel
        self.masks = masks  # which bits can be written, and which drop every write while they are set
        self.registers = dict(registers)

    def put(self, register: int, mask: int, bits: int) -> tuple[str, int, int]:
        old = self.registers[register]
        writable, dropping = self.masks[register]
        if not old & dropping:
            new = old & ~mask | bits
            self.registers[register] = old & ~writable | new & writable
        return ("w", register, mask)

    def limit(self, zone: str, constraint: int, limit_uw: int) -> list[tuple[str, int, int]]:
        register, low, mask, _ = FIELDS[zone, constraint]
        return [self.put(register, mask << low, (limit_uw // 125_000 & mask) << low)]

    def window(self, zone: str, constraint: int, us: int) -> list[tuple[str, int, int]] | None:
        register, _, _, low = FIELDS[zone, constraint]
        if low is None:
            return None
        return [self.put(register, 0x7F << low, window_code(us, self.kernel) << low)]

    def switch(self, zone: str, on: bool) -> list[tuple[str, int, int]]:  # noqa: FBT001 - what is written
        register, (enable, *others) = SWITCHES[zone]
        accesses = [self.put(register, 1 << enable, on << enable)]
        if self.kernel == "6.12":
            accesses.append(("r", register, 1 << enable))
            if bool(self.registers[register] >> enable & 1) != on:
                return accesses
        return accesses + [self.put(register, 1 << bit, on << bit) for bit in others]

    def texts(self) -> dict[str, bytes | None]:
        """Every file of the constraints and switches, None where it reads ENODATA."""
        numbers: dict[str, int | None] = {}
        for (zone, constraint), (register, low, mask, window_low) in FIELDS.items():
            raw = self.registers[register]
            numbers[f"{zone}/constraint_{constraint}_power_limit_uw"] = (raw >> low & mask) * 125_000
            none = 0 if self.kernel == "6.1" else None
            us = none if window_low is None else window_us(raw >> window_low & 0x7F)
            numbers[f"{zone}/constraint_{constraint}_time_window_us"] = us
        for zone, (register, bits) in SWITCHES.items():
            numbers[f"{zone}/enabled"] = self.registers[register] >> bits[0] & 1
        return {name: None if number is None else b"%d\n" % number for name, number in numbers.items()}


def read(machine: Machine, name: str) -> bytes | None:
    try:
        return machine.sysfs.read(f"class/powercap/{name}")
    except OSError as error:
        if error.errno != ENODATA:
            raise
        return None


def accesses(machine: Machine) -> list[tuple[str, int, int]]:
    return [(access.op, access.register, access.mask) for access in machine.msr.log]


def run(machine: Machine, model: Model, steps: list[tuple[str, tuple[str, int], int]]) -> None:
    for what, (zone, constraint), value in steps:
        if what == "poke":
            register = FIELDS[zone, constraint][0]
            machine.msr.poke(0, register, value)
            model.registers[register] = value
        else:
            name = {
                "limit": f"constraint_{constraint}_power_limit_uw",
                "window": f"constraint_{constraint}_time_window_us",
            }
            text = b"%d\n" % (value if what != "switch" else value & 1)
            if what == "limit":
                wanted: list[tuple[str, int, int]] | None = model.limit(zone, constraint, value)
            elif what == "window":
                wanted = model.window(zone, constraint, value)
            else:
                wanted = model.switch(zone, bool(value & 1))
            path = f"class/powercap/{zone}/{name.get(what, 'enabled')}"
            if wanted is None:
                with pytest.raises(OSError, match=path) as refused:
                    machine.sysfs.write(path, text)
                assert refused.value.errno == ENODATA
            else:
                assert machine.sysfs.write(path, text) == len(text)
            assert accesses(machine) == (wanted or [])
        assert {register: machine.msr.read(0, register) for register in model.registers} == model.registers
    texts = model.texts()
    assert {name: read(machine, name) for name in texts} == texts


VALUES = st.one_of(
    st.integers(0, 300_000_000),
    st.integers(0, 2**33),
    U64,
    st.integers(0, 64).map(lambda exponent: (2**exponent * 976) & ALL_BITS),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["limit", "window", "switch", "limit", "window", "switch", "poke"]),
              st.sampled_from(sorted(FIELDS)), VALUES),
    max_size=12,
)  # fmt: skip


@pytest.mark.pitfall("windows-of-two-limits-are-apart")
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
@given(
    steps=STEPS,
    masks=st.tuples(
        *[
            st.tuples(
                st.sampled_from([ALL_BITS, 0x7FFF, 0xFFFF_0000_7FFF]) | U64, st.sampled_from([0, 1 << 63, 1 << 31])
            )
        ]
        * 3
    ),
)
def test_on_a_table_any_writes_leave_the_registers_that_the_model_has(
    make_machine: MakeMachine,
    kernel: str,
    steps: list[tuple[str, tuple[str, int], int]],
    masks: tuple[tuple[int, int], ...],
) -> None:
    registers = {PACKAGE_LIMIT: 0x00428440001B83E8, CORE_LIMIT: 0, PEAK: 0x3F0}
    machine = make_machine("alderlake", kernel, registers=registers)
    of_register = dict(zip(registers, masks, strict=True))
    for register, (writable, dropping) in of_register.items():
        machine.msr.write_mask(0, register, writable)
        machine.msr.ignore_when_locked(0, register, dropping)
    run(machine, Model(kernel, of_register, registers), steps)


@pytest.mark.pitfall("lock-set-after-load")
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
@given(steps=STEPS)
def test_on_silicon_any_writes_leave_the_registers_that_the_model_has(
    make_machine: MakeMachine, kernel: str, steps: list[tuple[str, tuple[str, int], int]]
) -> None:
    # Reserved bits never change, because the driver writes back what it read; a lock that comes later drops writes.
    registers = {PACKAGE_LIMIT: 0x00428440001B83E8, CORE_LIMIT: 0, PEAK: 0x3F0}
    machine = make_machine("alderlake", kernel, registers=registers, rules="silicon")
    masks = {register: (ALL_BITS, lock) for register, lock in LOCKS.items()}
    run(machine, Model(kernel, masks, registers), steps)
