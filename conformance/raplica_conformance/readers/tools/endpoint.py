# SPDX-License-Identifier: Apache-2.0
"""Any program with a Prometheus endpoint, kept running and scraped when told: a driver for stepped readers.

    endpoint.py --url http://127.0.0.1:{port}/metrics --unit-uj 1000000
        --zone 'node_rapl_package_joules_total=package-{index}'
        --zone 'node_rapl_dram_joules_total=package-{index}/dram'
        -- node_exporter --collector.rapl --web.listen-address=127.0.0.1:{port}

{port} is a free one, another for each start; for a program that cannot be told, it stands in --url as a number.
`--zone METRIC{LABEL="VALUE",...}=ZONE` says which samples are which zone: {LABEL} in ZONE is filled in, samples of one
zone are added up, ZONE may be `total`. `--wait-s` is how long the program needs to look again by its own clock.
Energies are what the metrics have gained since `start`, at which the program is started anew. A page counts where the
program, or one that it has started, is who listens there.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["EndpointError", "Rule", "energies_uj", "free_port", "listeners", "main"]

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$", re.MULTILINE)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_POLL_S = 0.05
_PROMETHEUS_TIMEOUT_S = 5
_PORT = "{port}"
#: proc_net_tcp(5): the state of a socket that listens, and where its columns are.
_LISTENS, _LOCAL, _STATE, _INODE = "0A", 1, 3, 9


class EndpointError(Exception):
    """The program cannot be scraped: one line."""


class Rule(NamedTuple):
    """Samples of `metric` that have these labels are the zone that `zone` makes of their labels."""

    metric: str
    labels: Mapping[str, str]
    zone: str

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """From `METRIC{LABEL="VALUE"}=ZONE`. ValueError where it is none."""
        found = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})?=(.+)", text)
        if found is None:
            raise ValueError(f'{text}: is no rule like METRIC{{LABEL="VALUE"}}=ZONE')
        return cls(found[1], dict(_LABEL.findall(found[2] or "")), found[3])


def energies_uj(page: str, rules: Sequence[Rule], unit_uj: float) -> dict[str, float]:
    """The microjoules on a page, by zone."""
    said: dict[str, float] = {}
    for metric, text, value in _SAMPLE.findall(page):
        labels = dict(_LABEL.findall(text))
        for rule in rules:
            if rule.metric == metric and rule.labels.items() <= labels.items():
                # A path stands for the zone whose folder it leads to.
                zone = re.sub(r"^/.*/", "", rule.zone.format_map(labels))
                said[zone] = said.get(zone, 0.0) + float(value) * unit_uj
    return said


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listeners(port: int) -> set[int]:
    """The processes that listen on a TCP port, as far as we may look at them."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net", table), port)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _holds(entry, wanted)}


class _Server:
    """The program, and what its page said at first."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Start it, and wait for its first page. EndpointError where there is none."""
        self._options = options
        port = str(free_port())
        self._url: str = options.url.replace(_PORT, port)
        self._port = urllib.parse.urlsplit(self._url).port or 80
        if before := listeners(self._port):
            raise EndpointError(f"port {self._port} is taken: by process {', '.join(map(str, sorted(before)))}")
        self._process = subprocess.Popen(  # noqa: S603 - the program that is driven
            [word.replace(_PORT, port) for word in options.command],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        try:
            self.first = self._read()
        except BaseException:
            self.close()
            raise

    def sample(self) -> dict[str, float]:
        """What every zone has gained."""
        time.sleep(self._options.wait_s)
        return {zone: now - self.first[zone] for zone, now in self._read().items() if zone in self.first}

    def close(self) -> None:
        """End it; what it has started ends with the group, which is that of this process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, float]:
        until_s = time.monotonic() + self._options.start_s
        while True:
            try:
                with urllib.request.urlopen(self._url, timeout=_PROMETHEUS_TIMEOUT_S) as answer:  # noqa: S310 - as given
                    page = answer.read().decode()
                self._check_who_answered()
                return energies_uj(page, self._options.zone, self._options.unit_uj)
            except (urllib.error.URLError, ConnectionError) as error:
                if self._process.poll() is not None:
                    raise EndpointError(f"the program ended with status {self._process.returncode}") from error
                if time.monotonic() > until_s:
                    raise EndpointError(f"no page within {self._options.start_s:g} s: {error}") from error
                time.sleep(_POLL_S)

    def _check_who_answered(self) -> None:
        """EndpointError where it was not our program."""
        found = listeners(self._port)
        if not any(_group_of(pid) == os.getpgid(0) for pid in found):
            who = ", ".join(map(str, sorted(found))) or "nobody who is still there"
            raise EndpointError(f"port {self._port} was answered by {who}, and not by the program")


def main(arguments: Sequence[str]) -> int:
    """Answer line by line until the end of the input."""
    options = _options(arguments)
    server: _Server | None = None
    try:
        for line in sys.stdin:
            what = json.loads(line)["do"]
            try:
                if what == "start":
                    if server is not None:
                        server.close()
                    server = None
                    server = _Server(options)
                answer = _answer(_said(server, what))
            except (EndpointError, OSError) as error:
                answer = {"ok": False, "problem": " ".join(str(error).split())}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            if what == "stop":
                break
    finally:
        if server is not None:
            server.close()
    return 0


def _said(server: _Server | None, what: str) -> Mapping[str, float]:
    if server is None or what == "stop":
        return {}
    return dict.fromkeys(server.first, 0.0) if what == "start" else server.sample()


def _answer(said: Mapping[str, float]) -> dict[str, Any]:
    zones = [{"id": zone, "path": zone, "energy_uj": round(uj)} for zone, uj in said.items() if zone != "total"]
    return {"ok": True, "zones": zones, **({"total_uj": round(said["total"])} if "total" in said else {})}


def _listening(table: Path, port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on a port, of one table of the kernel."""
    with suppress(FileNotFoundError):  # a kernel without IPv6
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[_STATE] == _LISTENS and int(columns[_LOCAL].rpartition(":")[2], 16) == port:
                yield columns[_INODE]


def _holds(process: Path, wanted: set[str]) -> bool:
    """Whether a process has one of the files open."""
    with suppress(OSError):  # gone meanwhile, or not ours to look at
        return any(_link(entry) in wanted for entry in (process / "fd").iterdir())
    return False


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="endpoint.py", description="Scrape a program when told.", allow_abbrev=False)
    parser.add_argument("--url", required=True)
    parser.add_argument("--zone", required=True, action="append", type=Rule.parse)
    parser.add_argument("--unit-uj", type=float, default=1.0)
    parser.add_argument("--wait-s", type=float, default=0.0)
    parser.add_argument("--start-s", type=float, default=10.0)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
