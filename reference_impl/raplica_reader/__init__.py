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

Modules, from the ground up:

* `files`, `registers`, `perf_event`: how a tree, registers and perf events are touched;
* `counter`, `step`, `possible`: units and periods, wraps and resets, how much power is possible;
* `zone`, `energy_file`, `mirror`, `processor`, `msr_models`: what a zone is, and what there is to know about it;
* `powercap`, `msr` with `register_zones`, `perf`: which zones there are, in each of the three places of Linux;
* `windows_calls`, `windows_api`, `windows_socket`, `windows_device`: how Windows is asked; `windows_emi` and
  `windows_emi_layout`: its energy meters; `windows`, `windows_driver`, `windows_models`: registers behind a driver;
* `powermetrics`, `powermetrics_process`, `powermetrics_output`: what macOS's tool shows, and how it is run and read;
* `source`: which place to take; `windows_words`: what is wrong with those of Windows;
* `sample`, `meter`, `follow`: readings, differences and sums, zones that come and go;
* `overlap`: what adds up to the machine;
* `table`, `report`, `advice`, `watch`, `prometheus`, `stepped`, `arguments`, `cli`: the command.
"""

from raplica_reader.counter import Counter, PowercapCounter, RawCounter
from raplica_reader.files import Files, OsFiles
from raplica_reader.follow import Follower
from raplica_reader.meter import Delta, Meter, Tally, delta
from raplica_reader.overlap import Share, Total, shares, total
from raplica_reader.powercap import Powercap, discover
from raplica_reader.sample import Sample, Sampler
from raplica_reader.source import Choice, Host, Source, choose
from raplica_reader.zone import Gauge, Handle, Zone

__all__ = [
    "Choice",
    "Counter",
    "Delta",
    "Files",
    "Follower",
    "Gauge",
    "Handle",
    "Host",
    "Meter",
    "OsFiles",
    "Powercap",
    "PowercapCounter",
    "RawCounter",
    "Sample",
    "Sampler",
    "Share",
    "Source",
    "Tally",
    "Total",
    "Zone",
    "__version__",
    "choose",
    "delta",
    "discover",
    "shares",
    "total",
]

__version__ = "0.1.0.dev0"
