# SPDX-License-Identifier: Apache-2.0
"""The files of docs/fleet: their commands run on a simulated live machine, with stand-ins for the engines."""

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ruamel.yaml import YAML

FLEET = Path(__file__).resolve().parents[1] / "fleet"
SCRIPTS = sorted([*FLEET.glob("*.sh"), *FLEET.glob("*.sbatch")])

#: `srun` on two nodes, `lava-test-case` that notes what it is told.
SRUN = """#!/bin/sh
test "$1" = --ntasks-per-node=1 && shift
for SLURMD_NODENAME in node-1 node-2; do export SLURMD_NODENAME; "$@" || exit; done
"""
LAVA = '#!/bin/sh\necho "$*" >>lava.log\n'
KUBECTL = """#!/bin/sh
case $1 in
    get) printf 'raplica-x1 node-1\\nraplica-x2 node-2\\n' ;;
    logs) test "$3 $4" = "-c judge" && cat pod.log ;;
esac
"""
#: Judging every clause of a live machine takes seconds, five times over: these are enough to see that reports come.
PYTHON = "#!/bin/sh\nexec {python} \"$@\" 'powercap.zone.*'\n"
#: Everything at once, since a machine is put into place only once for it.
ALL = """set -e
cd "$1"
sh {fleet}/raplica.sbatch
sh {fleet}/lava.sh raplica.pyz
sh -ec "$(cat daemonset)" >pod.log
mkdir sonobuoy
SONOBUOY_RESULTS_DIR=$PWD/sonobuoy sh -c "$(cat sonobuoy.command)" >sonobuoy.log
sh {fleet}/collect.sh collected
"""


def loaded(name: str) -> Any:
    return YAML(typ="safe").load((FLEET / name).read_text(encoding="utf-8"))


def pod() -> Any:
    return loaded("daemonset.yaml")["spec"]["template"]["spec"]


def command(container: Any, folder: Path) -> str:
    """The script of a container, with the places of this test for those of the container."""
    shell, option, script = container["command"]
    assert (shell, option) == ("sh", "-c")
    places = {"/raplica.pyz": folder / "raplica.pyz", "/host/sys": "/sys", "/dev/termination-log": folder / "ended"}
    for there, here in places.items():
        script = script.replace(there, str(here))
    return str(script)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every engine has had its turn on one simulated live machine."""
    from raplica_simulator.surfaces.namespace import obstacle

    if (reason := obstacle()) is not None:
        if os.environ.get("RAPLICA_FUSE") == "required":
            pytest.fail(f"RAPLICA_FUSE=required, and no machine can be put into place here: {reason}")
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("fleet")
    spec = importlib.util.spec_from_file_location("ci_bundle", FLEET.parents[1] / ".ci" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    bundle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bundle)
    bundle.write(folder / "raplica.pyz")
    shutil.copy(FLEET / "node.sh", folder)
    (folder / "bin").mkdir()
    python = PYTHON.format(python=sys.executable)
    for name, text in {"python3": python, "srun": SRUN, "lava-test-case": LAVA, "kubectl": KUBECTL}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(stat.S_IRWXU)
    (folder / "daemonset").write_text(command(pod()["initContainers"][0], folder))
    (folder / "sonobuoy.command").write_text(command(loaded("sonobuoy.yaml")["spec"], folder))
    words = ["exec", "kabylake", "--", "sh", "-c", ALL.format(fleet=FLEET), "sh", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "raplica_simulator", *words],
        env={**os.environ, "PATH": os.pathsep.join((str(folder / "bin"), str(commands()), os.environ["PATH"]))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def commands() -> Path:
    """Where the commands of this environment are, its python3 among them."""
    return Path(sys.executable).parent


def report(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_slurm_leaves_a_report_for_each_node(fleet: Path) -> None:
    assert sorted(path.name for path in (fleet / "results").iterdir()) == ["node-1.json", "node-2.json"]
    found = report(fleet / "results" / "node-1.json")
    assert found["summary"]["pass"] > 5
    assert {result["subject"] for result in found["results"]} == {"real"}


def test_lava_is_told_each_clause_by_its_id(fleet: Path) -> None:
    told = dict(line.split(" --result ") for line in (fleet / "lava.log").read_text().splitlines())
    found = report(fleet / "results" / "node-1.json")
    words = {"pass": "pass", "skip": "skip", "not-applicable": "skip", "fail": "fail"}
    assert told == {result["id"]: words[result["verdict"]] for result in found["results"]}


def test_the_log_of_a_pod_is_a_report_and_is_collected_by_node(fleet: Path) -> None:
    assert sorted(path.name for path in (fleet / "collected").iterdir()) == ["node-1.json", "node-2.json"]
    found = report(fleet / "collected" / "node-2.json")
    assert found["summary"]["pass"] > 5
    assert {result["subject"] for result in found["results"]} == {"tree:/sys"}


def test_sonobuoy_finds_junit_and_json_where_the_file_done_says(fleet: Path) -> None:
    archive = Path((fleet / "sonobuoy" / "done").read_text())
    with tarfile.open(archive) as packed:
        opened = [(Path(member.name).name, packed.extractfile(member)) for member in packed]
        files = {name: file for name, file in opened if file is not None}
        assert sorted(files) == ["raplica.json", "raplica.xml"]
        assert ET.parse(files["raplica.xml"]).getroot().tag == "testsuites"  # noqa: S314 - our own


def test_one_machine_that_is_worse_makes_the_comparison_fail(fleet: Path, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        shutil.copy(fleet / "results" / "node-1.json", tmp_path / f"{name}.json")
    told = (tmp_path / "bad.json").read_text().replace('"verdict": "pass"', '"verdict": "fail"', 1)
    (tmp_path / "bad.json").write_text(told)

    def compared(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(FLEET / "compare.sh"), str(tmp_path / "good.json"), str(folder)],
            env={**os.environ, "PATH": f"{commands()}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    worse = compared(tmp_path)
    assert worse.returncode == 1, worse.stderr
    assert worse.stdout.index("== bad: ") < worse.stdout.index("== good: ")
    (tmp_path / "bad.json").unlink()
    assert compared(tmp_path).returncode == 0


def test_a_machine_without_powercap_is_the_engines_failure(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python3").chmod(stat.S_IRWXU)
    done = subprocess.run(
        ["sh", str(FLEET / "node.sh"), "raplica.pyz", str(tmp_path / "results")],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        check=False,
    )
    assert done.returncode == 3


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_plain_sh(script: Path) -> None:
    assert script.read_text(encoding="utf-8").startswith("#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n")
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", *map(str, SCRIPTS)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_daemon_set_selects_its_own_pods_and_gives_them_nothing_but_a_read_only_sys() -> None:
    whole = loaded("daemonset.yaml")
    assert (whole["apiVersion"], whole["kind"]) == ("apps/v1", "DaemonSet")
    labels = whole["spec"]["template"]["metadata"]["labels"]
    assert whole["spec"]["selector"]["matchLabels"] == labels == {"app": "raplica"}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    containers = [*pod()["initContainers"], *pod()["containers"]]
    mounts = [mount for container in containers for mount in container.get("volumeMounts", ())]
    assert {mount["name"] for mount in mounts} == set(volumes)
    assert all(mount["readOnly"] for mount in mounts)
    for container in containers:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in container["securityContext"]
        assert container["image"].endswith("/raplica")


def test_the_plugin_of_sonobuoy_is_what_its_definition_wants() -> None:
    whole = loaded("sonobuoy.yaml")
    assert whole["sonobuoy-config"] == {"driver": "DaemonSet", "plugin-name": "raplica", "result-format": "junit"}
    assert {"name", "image", "command", "volumeMounts"} == set(whole["spec"])
    given = {"results", *(volume["name"] for volume in whole["extra-volumes"])}
    assert {mount["name"] for mount in whole["spec"]["volumeMounts"]} == given


def test_the_definition_for_lava_names_files_of_the_checkout() -> None:
    whole = loaded("lava.yaml")
    assert whole["metadata"]["format"] == "Lava-Test Test Definition 1.0"
    fetch, start = whole["run"]["steps"]
    assert fetch.split()[-1] == '"$RAPLICA"'
    assert "RAPLICA" in whole["params"]
    assert (FLEET.parents[1] / start.split()[1]).is_file()
    assert start.split()[2] == fetch.split()[3]
