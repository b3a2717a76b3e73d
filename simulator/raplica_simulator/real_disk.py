# SPDX-License-Identifier: Apache-2.0
"""The real disk, in a test that has pyfakefs patched in: profiles lie there, and /dev/fuse.

pyfakefs changes what ``os``, ``io`` and ``pathlib`` mean in every module that is loaded.  Nothing here loads pyfakefs:
where nobody else has, there is nothing to do.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["keep_real", "real_disk"]

_OURS = ("raplica_fixtures", "raplica_simulator")


def _pyfakefs() -> Any:
    """The module with the patcher, or None where it is not loaded."""
    return sys.modules.get("pyfakefs.fake_filesystem_unittest")


@contextmanager
def real_disk() -> Iterator[Any]:
    """See the real disk inside; given is the FakeFilesystem that is seen again at the end, None where there is none."""
    module = _pyfakefs()
    patcher = None if module is None else module.Patcher.PATCHER
    if patcher is None or not patcher.is_patching:
        yield None
    else:
        with module.Pause(patcher) as fs:
            yield fs


def keep_real() -> None:
    """Let the modules of the simulator that are loaded by now see the real disk always.

    For the next time that pyfakefs is patched in: a mount is answered for by a thread, also while a test sees a fake
    file system.
    """
    module = _pyfakefs()
    if module is not None:
        ours = {loaded for name, loaded in sys.modules.items() if name.startswith(tuple(f"{one}." for one in _OURS))}
        if not ours <= module.Patcher.SKIPMODULES:
            module.Patcher.SKIPMODULES.update(ours)
            # It remembers which modules it has to change, perhaps from a test before this one.
            module.Patcher.clear_fs_cache()
