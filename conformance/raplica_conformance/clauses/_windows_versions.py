# SPDX-License-Identifier: Apache-2.0
"""What is known of each version of the Scaphandre driver, told by how a request to it ends.

From hubblo-org/windows-rapl-driver (Driver.c and msr.c at the commits that stand with each); the tags are ours. What
the versions without an exception guard do when a register faults was reported; that a request without an output buffer
stops the first ones is inferred.
"""

from dataclasses import dataclass, replace

__all__ = ["FUNCTIONS", "PROTOCOLS", "TEST_REGISTERS", "DriverProtocol"]

#: Version 1: the function code of each register that it reads.
FUNCTIONS = {0x606: 0xBEB, 0x610: 0xBEC, 0x611: 0xBED}
#: What two registers that no processor has answer, in the versions that were tested with them; 3 is the time.
TEST_REGISTERS = {1: 0x1111111111111111, 2: 0x2222222222222222}

_INTEL = (
    *(0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C),
    *(0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642),
)
_PLATFORM = (0x64D, 0x65C)
_AMD = (0xC0010299, 0xC001029A, 0xC001029B)


@dataclass(frozen=True, slots=True)
class DriverProtocol:
    """One version.

    Attributes:
        selector: what decides on the register: nothing (and nothing comes), ones (a pattern comes), unit (always that
            register), function (of the control code), input.
        old_name: whether the device is RAPLDriver, which it was until the end of 2021.
        input_length: the one length of input that is taken.
        has_tests: whether `TEST_REGISTERS` answer.
        has_list: whether only some registers may be read, `has_platform` whether the platform's are among them.
        knows_amd: whether that list is AMD's on AMD's processors.
        guarded: whether a register that faults is an error, and not the end of the machine.
        placed: where a request runs: where the caller is (caller, and by an empty mask: empty), where the CPU's index,
            taken for a mask, leads (index), where it should (bit).
        clamps: whether a CPU beyond the last one means the last one.
        leaves_link: whether the name stays when the driver is unloaded.
        careful: whether output buffers that are too short, and other transfer methods, are refused.
    """

    selector: str
    old_name: bool = False
    input_length: int = 0
    has_tests: bool = False
    has_list: bool = False
    has_platform: bool = False
    knows_amd: bool = False
    guarded: bool = False
    placed: str = "caller"
    clamps: bool = False
    leaves_link: bool = False
    careful: bool = False

    def mended(self) -> "DriverProtocol":
        """The same protocol with nothing wrong: a driver that there is not, and might be."""
        placed = "bit" if self.picks_cpu else self.placed
        return replace(self, guarded=True, knows_amd=True, placed=placed, leaves_link=False, careful=True)

    def registers(self, vendor: str) -> tuple[int, ...]:
        """The registers that it lets through, those of version 1, or where it has no list those of the processor."""
        if self.selector == "function":
            return tuple(FUNCTIONS)
        if self.selector != "input":
            return ()
        own = _INTEL if vendor == "GenuineIntel" else _AMD if vendor == "AuthenticAMD" else ()
        if not self.has_list:
            return own
        if vendor != "GenuineIntel" and self.knows_amd:
            return own
        return _INTEL + (_PLATFORM if self.has_platform else ())

    @property
    def picks_cpu(self) -> bool:
        """Whether the input names a CPU."""
        return self.placed != "caller"


#: By the tag of the version.
PROTOCOLS = {
    "v0-none": DriverProtocol("nothing", old_name=True),  # 28d4db1
    "v0-ones": DriverProtocol("ones", old_name=True),  # 059dea4
    "v0-unit": DriverProtocol("unit", old_name=True),  # 1dd6937
    "v1": DriverProtocol("function", old_name=True),  # 351a239
    "v2-4": DriverProtocol("input", old_name=True, input_length=4, has_tests=True),  # 528d297
    "v2-8": DriverProtocol("input", old_name=True, input_length=8, has_tests=True),  # 373c883
    "v2-8-open": DriverProtocol("input", input_length=8, leaves_link=True),  # ffe9bf3
    "v2-8-allow": DriverProtocol("input", input_length=8, has_list=True, leaves_link=True),  # d6a60ab
    "v3": DriverProtocol("input", input_length=8, has_list=True, placed="empty", leaves_link=True),  # a9adb20
    "v3.1": DriverProtocol(  # 18cb52b to 91620ca
        "input",
        input_length=8,
        has_list=True,
        has_platform=True,
        guarded=True,
        placed="index",
        clamps=True,
        leaves_link=True,
    ),
    "v3.2": DriverProtocol(  # a472cf3
        "input",
        input_length=8,
        has_list=True,
        has_platform=True,
        knows_amd=True,
        guarded=True,
        placed="index",
        clamps=True,
        leaves_link=True,
    ),
}
