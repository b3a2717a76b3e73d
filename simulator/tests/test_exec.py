# SPDX-License-Identifier: Apache-2.0
"""The command `raplica exec`: what a command sees, what goes through to it unchanged, and how it ends."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from errno import EPERM
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.cli import main
from raplica_simulator.macos.powermetrics import BOOT, DOOR, MAC
from raplica_simulator.surfaces import namespace_calls

EXEC = [sys.executable, "-m", "raplica_simulator", "exec"]
ROOM = Path(__file__).with_name("room.py")
ENERGY = "/sys/class/powercap/intel-rapl:0/energy_uj"


Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [
    pytest.mark.usefixtures("places"),
    # What runs tests may have threads of its own; the child becomes another program at once.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def run(
    request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Run a command on a machine, in a room with some traits (see room.py) where those are named."""

    def call(
        *command: str, options: tuple[str, ...] = ("kabylake",), cwd: str | Path = tmp_path, traits: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        words = ["exec", *options, "--", *command]
        if traits:
            request.getfixturevalue("rooms")
            folder = tmp_path / "room"
            folder.mkdir()
            room = [sys.executable, str(ROOM), traits, str(folder), *EXEC[:-1]]
            return subprocess.run([*room, *words], capture_output=True, text=True, timeout=60, check=False)
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as ended:
            main(words)
        monkeypatch.undo()
        told = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(words, ended.value.code, told.out, told.err)

    return call


def refuse(*_: object) -> None:
    raise PermissionError(EPERM, os.strerror(EPERM), "/sys")


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


# What it sees.


def names_in(place: str) -> set[str]:
    return {path.name for path in Path(place).iterdir()}


LOOK = """
import json, os
def walk(place):
    return sorted(os.listdir(place))
with open("/dev/cpu/3/msr", "rb", buffering=0) as msr:
    unit = int.from_bytes(os.pread(msr.fileno(), 8, 0x606), "little")
with open("/proc/cpuinfo") as file:
    model = next(line for line in file if line.startswith("model name"))
print(json.dumps({
    "zones": walk("/sys/class/powercap"),
    "name": open("/sys/class/powercap/intel-rapl:0:0/name").read(),
    "real": os.path.realpath("/sys/class/powercap/intel-rapl:0:0"),
    "unit": unit,
    "cpus": walk("/dev/cpu"),
    "model": model,
    "online": open("/sys/devices/system/cpu/online").read(),
    "package": open("/sys/devices/system/cpu/cpu3/topology/physical_package_id").read(),
    "class": [name for name in walk("/sys/class") if name != "powercap"],
    "virtual": [name for name in walk("/sys/devices/virtual") if name != "powercap"],
    "net": {name: os.readlink(f"/sys/class/net/{name}") for name in walk("/sys/class/net")},
    "mtu": open("/sys/class/net/lo/mtu").read(),
    "dev": [name for name in walk("/dev") if name not in ("cpu", ".host")],
    "cgroup": walk("/sys/fs/cgroup"),
    "kernel": walk("/sys/kernel"),
    "proc": open("/proc/version").read(),
}))
"""


def test_a_command_sees_the_machine_and_the_rest_as_it_was(run: Run) -> None:
    seen = json.loads(run(sys.executable, "-c", LOOK).stdout)
    machine = Machine.from_profile("kabylake")
    assert seen["zones"] == sorted(machine.sysfs.listdir("class/powercap"))
    assert seen["name"] == "core\n"
    assert seen["real"] == "/sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0"
    assert seen["unit"] == machine.msr.read(3, 0x606)
    assert seen["cpus"] == ["0", "1", "2", "3"]
    assert machine.profile.cpu.name in seen["model"]
    assert (seen["online"], seen["package"]) == ("0-3\n", "0\n")
    for name, place in (("class", "/sys/class"), ("virtual", "/sys/devices/virtual")):
        assert seen[name] == sorted(names_in(place) - {"powercap"})
    assert seen["net"] == {path.name: str(path.readlink()) for path in Path("/sys/class/net").iterdir()}
    assert seen["mtu"] == Path("/sys/class/net/lo/mtu").read_text()
    assert set(seen["dev"]) == names_in("/dev") - {"cpu", ".host"}
    assert seen["cgroup"] == sorted(names_in("/sys/fs/cgroup"))
    assert seen["kernel"] == sorted(names_in("/sys/kernel"))
    assert seen["proc"] == Path("/proc/version").read_text()


def test_counters_move_and_limits_can_be_written(run: Run) -> None:
    script = (
        f"cat {ENERGY}; echo 15000000 >/sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw;"
        "dd if=/dev/cpu/0/msr bs=8 count=1 skip=194 2>/dev/null | od -An -tu8 -j0 -N2; sleep 0.05;"
        f"cat {ENERGY}"
    )
    done = run(*shell(script), options=("kabylake", "--load", "package=10", "--speed", "100"))
    first, _, last = map(int, done.stdout.split())
    assert last - first >= 10 * 100 * 50_000 * (1 - 1e-5)


@pytest.mark.usefixtures("rooms")
def test_sysfs_beside_the_machine_is_still_sysfs(run: Run) -> None:
    script = "stat -f -c %T /sys/class/net/lo/; cd /sys/class/net/lo; mtu=$(cat mtu); echo $mtu >mtu"
    done = run(*shell(script))
    assert (done.returncode, done.stdout, done.stderr) == (0, "sysfs\n", "")


def test_a_command_that_works_in_a_covered_folder_sees_the_machine_there(run: Run) -> None:
    done = run("ls", "powercap", cwd="/sys/class")
    assert "intel-rapl:0" in done.stdout.split()
    assert run("pwd", cwd="/sys/devices/virtual").stdout == "/sys/devices/virtual\n"


def test_inside_another_the_inner_machine_is_seen_and_outside_it_the_outer(run: Run) -> None:
    inner = " ".join([*EXEC, "skylake-sp-2s", "--", "ls", "/dev/cpu"])
    done = run(*shell(f"{inner} | wc -l; ls /dev/cpu | wc -l; ls /sys/class/powercap | wc -l"))
    zones = len(Machine.from_profile("kabylake").sysfs.listdir("class/powercap"))
    assert done.stdout.split() == ["80", "4", str(zones)]


def test_what_the_profile_warns_of_is_told_first(
    run: Run, tmp_path: Path, make_machine: Callable[..., Machine]
) -> None:
    odd = make_machine(more='[[faults.sysfs]]\npath = "class/powercap/none"\non = "read"\nerrno = "EIO"')
    assert odd.warnings
    profile = tmp_path / "odd.toml"
    profile.write_text(
        'rules = "table"\n[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 158\n[topology]\npackages = 1\n'
        "dies_per_package = 1\ncores_per_die = 2\nthreads_per_core = 1\n[registers]\n"
        '[[faults.sysfs]]\npath = "class/powercap/none"\non = "read"\nerrno = "EIO"\n'
    )
    done = run("ls", "/sys/class/powercap", options=(str(profile),))
    assert done.returncode == 0
    assert "warning: faults.sysfs: class/powercap/none" in done.stderr


# Who it is.

WHO = (
    f"id -u; cat {ENERGY}; cat /sys/class/powercap/intel-rapl:0/name; head -c1 /dev/cpu/0/msr;"
    "grep CapEff /proc/self/status"
)


def test_without_root_a_command_is_root_on_the_machine(run: Run) -> None:
    done = run(*shell(f"id -u; cat {ENERGY}; stat -c '%u %a' {ENERGY}"), traits="nobody,open-device")
    uid, energy, *status = done.stdout.split()
    assert (uid, int(energy) > 0, status) == ("0", True, ["0", "400"])
    assert done.stderr == ""


@pytest.mark.parametrize("traits", ["nobody,open-device", "own"])
def test_without_privileges_a_command_has_none(run: Run, traits: str) -> None:
    done = run(*shell(WHO), options=("kabylake", "--unprivileged"), traits=traits if traits != "own" else "")
    uid, *words = done.stdout.split()
    assert "package-0" in words
    assert words[-1] == "0000000000000000"
    assert "/dev/cpu/0/msr" in done.stderr
    if traits == "own":
        assert uid == str(os.geteuid())
    else:
        assert uid == "65534"
        assert f"{ENERGY}: Permission denied" in done.stderr or f"'{ENERGY}': Permission denied" in done.stderr


@pytest.mark.parametrize("who", ["nobody,open-device,", ""])
def test_where_the_host_has_no_processor_devices_dev_keeps_all_that_it_has(run: Run, who: str) -> None:
    program = (
        "import os, pty\n"
        "os.listdir('/dev/cpu/0'); open('/dev/null', 'w').write('x')\n"
        "assert len(open('/dev/urandom', 'rb').read(4)) == 4\n"
        "pid, terminal = pty.fork()\n"
        "if pid == 0: os.execvp('sh', ['sh', '-c', 'test -t 0 && echo yes >/dev/tty'])\n"
        "assert os.read(terminal, 100).split() == [b'yes']\n"
        "os.close(os.open('/dev/shm', os.O_RDONLY)); print('done')\n"
    )
    done = run(sys.executable, "-c", program, traits=f"{who}no-cpu")
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.usefixtures("rooms")
def test_where_root_gets_no_mount_namespace_it_takes_a_user_namespace(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unshare = namespace_calls.unshare
    monkeypatch.setattr(
        namespace_calls, "unshare", lambda flags: refuse() if flags == namespace_calls.NEWNS else unshare(flags)
    )
    done = run(*shell(f"cat {ENERGY} /proc/self/uid_map"))
    energy, *numbers = map(int, done.stdout.split())
    assert energy > 0
    assert numbers == [0, 0, 1]


def test_a_root_who_may_not_give_up_rights_for_good_has_none_either(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    prctl = namespace_calls._prctl
    drop = 24  # PR_CAPBSET_DROP, which asks for CAP_SETPCAP
    monkeypatch.setattr(namespace_calls, "_prctl", lambda *words: refuse() if words[0] == drop else prctl(*words))
    done = run(*shell("grep -E 'CapEff|NoNewPrivs' /proc/self/status"), options=("kabylake", "--unprivileged"))
    assert done.stdout.split() == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1"]


# What goes through.


def test_arguments_environment_and_surroundings_go_through(tmp_path: Path) -> None:
    script = (
        "import json, os, resource, sys\n"
        "with open('/proc/self/status') as file:\n"
        "    signals = [line for line in file if line[:6] in ('SigBlk', 'SigIgn', 'SigCgt', 'ShdPnd')]\n"
        "print(json.dumps([list(map(ascii, sys.argv[1:])), open('/proc/self/environ').read(), os.getcwd(),\n"
        "    os.umask(0), os.nice(0), resource.getrlimit(resource.RLIMIT_NOFILE), sys.stdin.read(),\n"
        "    os.listdir('/proc/self/fd'), signals]))"
    )
    environment = {"PATH": os.environ["PATH"], "X": "ä b", "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "look.py").write_text(script)
    read, write = os.pipe()
    command = [sys.executable, "-I", "look.py", "--help", "", "ä", "\udcff", "--", "a b"]

    def prepare() -> None:
        os.umask(0o027)
        os.nice(1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    def result(*before: str) -> tuple[object, str]:
        done = subprocess.run(
            [*before, *command],
            env=environment,
            cwd=tmp_path,
            pass_fds=[write],
            preexec_fn=prepare,
            input="said",
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout), done.stderr

    try:
        assert result(*EXEC, "kabylake", "--") == result("env")
    finally:
        os.close(read)
        os.close(write)


def test_what_another_exec_has_told_of_its_machine_does_not_go_through(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = (DOOR, MAC, BOOT)
    script = " ".join(f'"${{{name}-none}}"' for name in names)
    for options, said in (((), ["none"] * 3), (("--control", str(tmp_path / "door")), [str(tmp_path / "door")])):
        for name in names:
            monkeypatch.setenv(name, "outer")
        done = run(*shell(f"printf '%s\n' {script}"), options=("kabylake", *options))
        assert done.stdout.split()[: len(said)] == said


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, ""),
        (["sh", "-c", "kill -KILL $$"], 128 + signal.SIGKILL, ""),
        (["no-such-command"], 127, "no-such-command: No such file or directory"),
        ([""], 127, "'': No such file or directory"),
        (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
    ],
)
def test_the_status_is_that_of_env(run: Run, command: list[str], status: int, said: str) -> None:
    done = run(*command)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == (1 if said else 0)


@pytest.mark.parametrize(
    "words", [["kabylake"], ["no-such-machine", "--", "true"], ["kabylake", "--bad", "--", "true"]]
)
def test_a_mistake_in_usage_is_125(capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["exec", *words])
    told = capfd.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (125, "", 1)


def test_closed_standard_streams_stay_closed(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(
        "import os\nclosed = []\nfor number in range(3):\n    try: os.fstat(number)\n"
        "    except OSError: closed.append(number)\nopen('told', 'w').write(repr(closed))\n"
    )
    command = " ".join([*EXEC, "kabylake", "--", sys.executable, "-I", "look.py"])
    subprocess.run(["sh", "-c", f"{command} <&- >&- 2>&-"], check=True, cwd=tmp_path)
    assert (tmp_path / "told").read_text() == "[0, 1, 2]"


def test_a_child_that_outlives_the_command_holds_nobody_up_and_finds_the_machine_gone(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    script = f"(read x <gate; cat {ENERGY} 2>told; echo ended >>told) </dev/null >/dev/null 2>&1 & cat {ENERGY}"
    done = run(*shell(script), cwd=tmp_path)
    assert int(done.stdout) > 0
    (tmp_path / "gate").write_text("go\n")
    for _ in range(3000):
        if (tmp_path / "told").exists() and "ended" in (tmp_path / "told").read_text():
            break
        time.sleep(0.01)
    assert "not connected" in (tmp_path / "told").read_text()


def test_what_is_sent_to_raplica_alone_is_passed_on_and_what_it_ignores_is_not(run: Run) -> None:
    script = "trap 'echo got' USR1; kill -PIPE $PPID; kill -USR1 $PPID; sleep 20 & wait; kill $!; echo on"
    # A process of its own: what runs tests may have threads that hold no signal back.
    words = [*EXEC, "kabylake", "--", *shell(script)]
    assert subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout == "got\non\n"
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run(*shell("exit 3")).returncode == 3
    finally:
        signal.signal(signal.SIGCHLD, before)
