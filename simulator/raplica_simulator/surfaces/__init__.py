# SPDX-License-Identifier: Apache-2.0
"""Ways for the outside world to meet a machine: a directory, an archive."""

from raplica_simulator.surfaces.archive import stream_archive, write_archive
from raplica_simulator.surfaces.directory import write_tree
from raplica_simulator.surfaces.selection import Selection
from raplica_simulator.surfaces.snapshot import Unreadable, Written
from raplica_simulator.surfaces.target import Refused

__all__ = ["Refused", "Selection", "Unreadable", "Written", "stream_archive", "write_archive", "write_tree"]
