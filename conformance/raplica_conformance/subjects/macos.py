# SPDX-License-Identifier: Apache-2.0
"""A simulated Mac as a subject: the stand-in of powermetrics, run in this process, by root and by somebody else."""

import io

from raplica_conformance.clauses._powermetrics import KIND, Printed
from raplica_simulator import Machine
from raplica_simulator.macos import powermetrics
from raplica_simulator.macos.dates import FIRST_BOOT_NS
from raplica_simulator.macos.mac_files import read_mac
from raplica_simulator.macos.meters import MachineMeters
from raplica_simulator.macos.options import read_options

__all__ = ["SimulatedMac"]

_SOMEBODY = 1000
_AS_SOMEBODY = ("-n", "1", "-i", "1")  # what the clause asks that looks at the refusal, and no other one


class SimulatedMac:
    """The Mac of a built-in id, `macbook-m1` for instance; time goes by as fast as it is asked. ValueError for none."""

    kind = KIND
    kernel = None
    can = frozenset({"content", "nobody"})

    def __init__(self, name: str) -> None:
        found = read_mac(name)
        if found is None:
            raise ValueError(f"{name} is no Mac")
        self._profile, self._mac = found
        self.name = f"powermetrics:{name}"
        self.arguments = ("--powermetrics", name)

    def run(self, *words: str) -> Printed:
        """Run it until it ends."""
        if words == _AS_SOMEBODY:
            out = io.BytesIO()
            return Printed(powermetrics.main(words, {}, out, uid=_SOMEBODY), out.getvalue(), b"")
        return Printed(0, self._samples(words), b"")

    def write(self, *words: str) -> tuple[Printed, bytes]:
        """What it prints where the samples go to a file, and the samples."""
        return Printed(0, b"", b""), self._samples(words)

    def _samples(self, words: tuple[str, ...]) -> bytes:
        out: list[bytes] = []
        meters = MachineMeters(Machine.from_profile(self._profile))
        powermetrics.show(meters, self._mac, read_options(words), FIRST_BOOT_NS, out.append)
        return b"".join(out)
