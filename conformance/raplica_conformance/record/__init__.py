# SPDX-License-Identifier: Apache-2.0
"""Recording a running machine: its powercap tree, its RAPL registers, and who looked from where.

The front is `conformance record` (cli_record.py); everything in this package needs the standard library and the
fixtures' loaders only, so that it can be carried to a machine that has nothing but python3. Nothing here writes to the
machine: files are opened for reading, registers are read.
"""

from __future__ import annotations

from raplica_conformance.record.command import WrongRequestError, record_to
from raplica_conformance.record.places import Places, places_below
from raplica_conformance.record.recorder import Bar, NothingToRecordError, Wishes, record, save
from raplica_conformance.record.telling import told

__all__ = [
    "Bar",
    "NothingToRecordError",
    "Places",
    "Wishes",
    "WrongRequestError",
    "places_below",
    "record",
    "record_to",
    "save",
    "told",
]
