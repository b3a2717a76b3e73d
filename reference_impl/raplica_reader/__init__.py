# SPDX-License-Identifier: Apache-2.0
"""The reference reader: what a right reader of energy counters does, small, boring and in the open.

It needs the standard library and nothing else, knows nothing of the simulator, and can be copied to a server as it
stands. So when it and another reader disagree on a machine, it can serve as a witness.

    import raplica_reader

    with raplica_reader.Sampler(raplica_reader.discover("/sys")) as sampler:
        before = sampler.sample()
        work()
        for spent in raplica_reader.delta(before, sampler.sample()):
            print(spent.zone.path, spent.energy_uj, spent.power_w, spent.error)

Modules: `files` (how the tree is touched), `powercap` (which zones there are), `counter` (units and wraps), `sample`
(readings and differences), `overlap` (what adds up to the machine), `cli` (the command).
"""

from raplica_reader.counter import Counter
from raplica_reader.files import Files, OsFiles
from raplica_reader.overlap import Share, Total, shares, total
from raplica_reader.powercap import Zone, discover
from raplica_reader.sample import Delta, Meter, Sample, Sampler, delta

__all__ = [
    "Counter",
    "Delta",
    "Files",
    "Meter",
    "OsFiles",
    "Sample",
    "Sampler",
    "Share",
    "Total",
    "Zone",
    "__version__",
    "delta",
    "discover",
    "shares",
    "total",
]

__version__ = "0.1.0.dev0"
