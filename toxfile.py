# SPDX-License-Identifier: Apache-2.0
"""Tell tox where the Pythons of this machine are, and which of them runs everything.

tox loads this file by itself. The Python that tox runs on gets the environment `full`; every other supported one
gets the quick set (`py312`, …). A version that is found nowhere is left out, and the line printed here says so.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from tox.config.loader.memory import MemoryLoader
from tox.config.sets import ConfigSet
from tox.config.types import EnvList
from tox.plugin import impl
from tox.session.state import State

CHECKS = ["lint", "types", "walls", "docs", "release"]


def load_pythons() -> ModuleType:
    """Load .ci/pythons.py, which is a script and lies in no package."""
    spec = importlib.util.spec_from_file_location("pythons", Path(__file__).parent / ".ci" / "pythons.py")
    if spec is None or spec.loader is None:
        raise ImportError(".ci/pythons.py cannot be loaded: it belongs beside toxfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Make the list of environments that a bare `tox` runs, and show tox the interpreters."""
    pythons = load_pythons()
    found = pythons.find()
    here = sys.version_info[:2]
    quick = [version for version in found if version != here]
    state.conf.options.discover = [*getattr(state.conf.options, "discover", []), *map(str, found.values())]
    names = [*CHECKS, *(f"py{major}{minor}" for major, minor in quick), "full"]
    core_conf.loaders.insert(0, MemoryLoader(env_list=EnvList(names)))
    if "TOX_PARALLEL_ENV" in os.environ:  # a child that tox started for one environment: the parent has said it
        return
    missing = [version for version in pythons.SUPPORTED if version != here and version not in found]

    def dotted(versions: list[tuple[int, int]]) -> str:
        return ", ".join(f"{major}.{minor}" for major, minor in versions) or "none"

    sys.stderr.write(
        f"raplica: Python {dotted([here])} runs every test; quick set: {dotted(quick)}; "
        f"not on this machine: {dotted(missing)}\n"
    )
