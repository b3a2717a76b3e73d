# SPDX-License-Identifier: Apache-2.0
"""What lies in a virtual machine is enough for what is started there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

from kernel_witness import files
from kernel_witness.files import Python, suite_files
from kernel_witness.initramfs import folder_nodes
from raplica_fixtures import recordings_dir

# The guest has the standard library without these, and nothing beside it.
START = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[3:]))
sys.path.insert(0, sys.argv[1])
import kernel_witness.guest.main, kernel_witness.guest.interrupting
from kernel_witness.guest.judging import plain
sys.exit(plain.main(["run", "--recording", sys.argv[2], "--json"]))
"""


class NotCompiled:
    """A Python that leaves modules as they are."""

    def compile(self, folder: Path) -> None:
        assert folder.is_dir()


def test_the_suite_that_judges_in_a_virtual_machine_finds_all_that_it_imports(tmp_path: Path) -> None:
    guest = Path(files.__file__).parent / "guest"
    nodes = suite_files(cast("Python", NotCompiled()))
    nodes |= folder_nodes(guest, "raplica/kernel_witness/guest", frozenset({"__pycache__"}))
    for name, node in nodes.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(node.content)
    judged = str(recordings_dir() / "zen5-6.12.json.xz")
    command = [sys.executable, "-I", "-S", "-B", "-c", START, str(tmp_path / "raplica"), judged, *files._UNNEEDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["summary"]["pass"] > 50
