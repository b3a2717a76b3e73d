# SPDX-License-Identifier: Apache-2.0
"""Everything that Wine is asked, one script a file of recordings."""

from __future__ import annotations

from wine_witness.failure import WitnessError
from wine_witness.scripts.control import CONTROL
from wine_witness.scripts.opening import OPENING
from wine_witness.scripts.protocols import PROTOCOLS
from wine_witness.scripts.services import SERVICES
from wine_witness.step import Script

__all__ = ["SCRIPTS", "find_script"]

SCRIPTS = (*SERVICES, *OPENING, *CONTROL, *PROTOCOLS)


def find_script(name: str) -> Script:
    """Return a script by its name; `WitnessError` for one that there is not."""
    for script in SCRIPTS:
        if script.name == name:
            return script
    raise WitnessError(f"there is no script {name!r}; `list` tells those that there are")
