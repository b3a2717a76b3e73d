# SPDX-License-Identifier: Apache-2.0
"""The energy meters that Windows 11 shows of a processor without any driver of others: the Energy Metering Interface.

Mirrors the meters that the processor power driver publishes under GUID_DEVICE_ENERGY_METER, as their readers describe
them: one device for each set of package registers, with a channel for each energy register that answers, and one for
each core where cores have registers of their own.  Anybody may open them for reading.

Documented (emi.h) are the codes, the layouts and that energy is accumulated.  Inferred is what stands here besides:

* a buffer that is too short is BUFFER_TOO_SMALL, an unknown code INVALID_DEVICE_REQUEST, a register that faults
  IO_DEVICE_ERROR; a buffer may be longer than the answer;
* a package of several dies, each with registers of its own, is a meter for each die;
* energy counts from the processor's reset and time from power-on;
* the texts of maker and model, and the names of the devices, which are ours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from raplica_simulator.hardware.registers import AMD, HYGON, counter_units
from raplica_simulator.windows.energy_meter_counter import MeterCounter
from raplica_simulator.windows.energy_meter_layout import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    GUID_DEVICE_ENERGY_METER,
    MEASUREMENT_SIZE,
    pack_measurement,
    pack_metadata_size,
    pack_metadata_v1,
    pack_metadata_v2,
    pack_version,
)
from raplica_simulator.windows.io_control import FileObject, Irp
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import NtStatus
from raplica_simulator.windows.processors import Processor

__all__ = ["EnergyMeterDriver"]

_REVISION = 1
# The end of a channel's name, its register, and the kind of domain that the register counts.
_INTEL_UNIT = 0x606
_INTEL = (("PKG", 0x611, "package"), ("PP0", 0x639, "core"), ("PP1", 0x641, "uncore"), ("DRAM", 0x619, "dram"))
_AMD_UNIT = 0xC0010299
_AMD = (("PKG", 0xC001029B, "package"),)
_AMD_CORE = 0xC001029A


@dataclass(frozen=True, slots=True)
class _Channel:
    """One channel of a meter: its name, and the counters that it adds up."""

    name: str
    counters: tuple[MeterCounter, ...]

    def energy_pwh(self) -> int:
        """Everything counted so far.  OSError where a register cannot be read."""
        return sum(counter.energy_pwh() for counter in self.counters)


class EnergyMeterDriver:
    """The energy meters of a machine, as one driver.

    A machine whose processor has no energy registers has no meter, and that is no error.

    Attributes:
        name: what it is called in messages.
        unload: None: the processor's driver is not unloaded while Windows runs.
    """

    name = "EnergyMeter"
    unload: Callable[[Kernel], None] | None = None

    def __init__(
        self,
        *,
        version: Literal[1, 2] = 2,
        names: Literal["rapl", "amd"] = "rapl",
        mirrors: int = 1,
        virtual_machine: bool = False,
        polls: bool = True,
    ) -> None:
        """Say what kind of Windows it is.

        ``version`` 1 has one channel in each device.  With ``names="amd"`` the channels are called as clients met them
        on AMD ("Current Socket Energy", "VDDCR_VDD Energy"), where nothing says "PKG" and the second is part of the
        first.  ``mirrors`` meters show each package, as on AMD processors of several dies, whose dies all show the one
        counter of their socket.  In a ``virtual_machine`` there is no meter.  ``polls`` as :class:`.MeterCounter` has
        it.  ValueError where ``mirrors`` is not at least 1.
        """
        if mirrors < 1:
            raise ValueError(f"mirrors is {mirrors}: each package has one meter at least")
        self._version = version
        self._names = names
        self._mirrors = mirrors
        self._virtual_machine = virtual_machine
        self._polls = polls
        self._meters: dict[str, tuple[_Channel, ...]] = {}
        self._maker = ("", "")

    # What the I/O manager calls.

    def entry(self, kernel: Kernel) -> int:
        """Find the registers that answer and show a device for each meter."""
        identity = kernel.machine.profile.cpu.id
        self._maker = (identity.vendor, f"{identity.family}:{identity.model}:{identity.stepping}")
        self._clock = kernel.machine.clock
        self._meters = {}
        for channels in () if self._virtual_machine else self._found(kernel):
            for shown in [(channel,) for channel in channels] if self._version == 1 else [channels]:
                device = f"\\Device\\EnergyMeter{len(self._meters)}"
                kernel.create_device(device, interface_guid=GUID_DEVICE_ENERGY_METER)
                self._meters[device] = shown
        return NtStatus.SUCCESS

    def create(self, file: FileObject) -> int:  # noqa: ARG002 - any file of any meter
        """Opening always works; whether a request may be made, its code says: all of them need read access."""
        return NtStatus.SUCCESS

    def close(self, file: FileObject) -> None:
        """Nothing belongs to a file."""

    def device_control(self, irp: Irp) -> None:
        """Answer one of the four requests; the input is not looked at."""
        channels = self._channels_of(irp.file)
        metadata = self._metadata(channels)
        answers: dict[int, tuple[int, Callable[[], bytes]]] = {
            GET_VERSION.value: (2, lambda: pack_version(self._version)),
            GET_METADATA_SIZE.value: (4, lambda: pack_metadata_size(len(metadata))),
            GET_METADATA.value: (len(metadata), lambda: metadata),
            GET_MEASUREMENT.value: (MEASUREMENT_SIZE * len(channels), lambda: self._measure(channels)),
        }
        if irp.code.value not in answers:
            irp.refuse(NtStatus.INVALID_DEVICE_REQUEST)
            return
        size, answer = answers[irp.code.value]
        if irp.output_length < size:
            irp.refuse(NtStatus.BUFFER_TOO_SMALL)
            return
        try:
            irp.answer(answer())
        except OSError:
            irp.refuse(NtStatus.IO_DEVICE_ERROR)

    def _channels_of(self, file: FileObject) -> tuple[_Channel, ...]:
        return self._meters[file.device.name if file.device is not None else ""]

    def _metadata(self, channels: tuple[_Channel, ...]) -> bytes:
        if self._version == 1:
            return pack_metadata_v1(*self._maker, _REVISION, channels[0].name)
        return pack_metadata_v2(*self._maker, _REVISION, [channel.name for channel in channels])

    def _measure(self, channels: tuple[_Channel, ...]) -> bytes:
        """All channels at one moment."""
        now_100ns = self._clock.now_ns // 100
        return pack_measurement([(channel.energy_pwh(), now_100ns) for channel in channels])

    # What a machine has.

    def _found(self, kernel: Kernel) -> Iterator[tuple[_Channel, ...]]:
        """The channels of each meter: those of the packages first, then those of single cores."""
        topology = kernel.machine.profile.topology
        amd = kernel.machine.profile.cpu.id.vendor in (AMD, HYGON)
        firsts = [one for one in kernel.processors.active if one.cpu.thread == 0]
        dies = [one for one in firsts if one.cpu.core == 0]
        cores = firsts if amd else []
        if self._names == "amd":
            yield from self._of_sockets(kernel, dies, cores)
            return
        for number, one in enumerate(one for one in dies for _ in range(self._mirrors)):
            channels = tuple(
                _Channel(f"RAPL_Package{number}_{end}", counters)
                for end, register, kind in (_AMD if amd else _INTEL)
                if (counters := self._counters(kernel, [one], register, kind))
            )
            if channels:
                yield channels
        for one in cores:
            if counters := self._counters(kernel, [one], _AMD_CORE, "cpu-core"):
                core = one.cpu.die * topology.cores_per_die + one.cpu.core
                yield (_Channel(f"RAPL_Package{one.cpu.package}_Core{core}_CORE", counters),)

    def _of_sockets(
        self, kernel: Kernel, dies: list[Processor], cores: list[Processor]
    ) -> Iterator[tuple[_Channel, ...]]:
        for one in (one for one in dies for _ in range(self._mirrors)):
            within = [core for core in cores if core.cpu.logical_die == one.cpu.logical_die]
            found = (
                ("Current Socket Energy", self._counters(kernel, [one], _AMD[0][1], "package")),
                ("VDDCR_VDD Energy", self._counters(kernel, within, _AMD_CORE, "cpu-core")),
            )
            if channels := tuple(_Channel(name, counters) for name, counters in found if counters):
                yield channels

    def _counters(
        self, kernel: Kernel, processors: list[Processor], register: int, kind: str
    ) -> tuple[MeterCounter, ...]:
        """The counters behind a register on these processors; none where the register or its unit faults."""
        identity = kernel.machine.profile.cpu.id
        unit = _AMD_UNIT if identity.vendor in (AMD, HYGON) else _INTEL_UNIT
        found = []
        for one in processors:
            try:
                unit_raw = kernel.read_msr(one.index, unit)
                counter = MeterCounter(
                    partial(kernel.read_msr, one.index, register),
                    partial(kernel.machine.msr.counted, one.cpu.number, register),
                    counter_units(identity, unit_raw)[kind],
                    polls=self._polls,
                )
                counter.steps()
            except OSError:
                return ()
            found.append(counter)
        return tuple(found)
