# SPDX-License-Identifier: Apache-2.0
"""A user without rights judges a reader, a program: the machine of a case is theirs, whatever comes or goes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raplica_conformance.readers.stage import Stage
from raplica_fixtures.cases import load_case
from raplica_simulator.surfaces.fuse_mounting import obstacle

ROOM = Path(__file__).resolve().parents[2] / "simulator" / "tests" / "room.py"


def test_a_program_of_a_user_without_rights_is_shown_every_energy(tmp_path: Path) -> None:
    """Zones that come back are the user's again."""
    if reason := obstacle():
        pytest.skip(f"nothing can be mounted here: {reason}")
    cases = ["topology/every-zone", "topology/zone-comes-back"]
    command = [sys.executable, "-m", "raplica_conformance", "run", *cases, "--reader", "raplica-reader-stepped"]
    if os.geteuid() == 0:
        command = [sys.executable, str(ROOM), "nobody,open-device", str(tmp_path), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "2 clauses on 1 subject: 2 pass"


def test_for_root_the_files_stay_what_the_kernel_makes_them() -> None:
    if reason := obstacle() or ("only root has files of root's" if os.geteuid() else None):
        pytest.skip(reason)
    stage = Stage(load_case("topology/every-zone"))
    try:
        found = Path(stage.sysfs_dir, "class/powercap/intel-rapl:0/energy_uj").stat()
    finally:
        stage.close()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, 0o400)
