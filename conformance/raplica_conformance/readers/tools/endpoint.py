# SPDX-License-Identifier: Apache-2.0
"""Any program with a Prometheus endpoint, kept running and scraped when told: a driver for stepped readers.

    endpoint.py --url http://127.0.0.1:9100/metrics --unit-uj 1000000
        --zone 'node_rapl_package_joules_total=package-{index}'
        --zone 'node_rapl_dram_joules_total=package-{index}/dram' -- node_exporter --collector.rapl

`--zone METRIC{LABEL="VALUE",...}=ZONE` says which samples are which zone: {LABEL} in ZONE is filled in, samples of one
zone are added up, ZONE may be `total`. `--wait-s` is how long the program needs to look again by its own clock.
Energies are what the metrics have gained since `start`, at which the program is started anew.
"""

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Rule", "energies_uj", "main"]

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$", re.MULTILINE)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_POLL_S = 0.05
_PROMETHEUS_TIMEOUT_S = 5


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


class _Server:
    """The program, and what its page said at first."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._process = subprocess.Popen(  # noqa: S603 - the program that is driven
            options.command, stdout=subprocess.DEVNULL, stderr=sys.stderr
        )
        self.first = self._read()

    def sample(self) -> dict[str, float]:
        """What every zone has gained."""
        time.sleep(self._options.wait_s)
        return {zone: now - self.first[zone] for zone, now in self._read().items() if zone in self.first}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, float]:
        until_s = time.monotonic() + self._options.start_s
        while True:
            try:
                with urllib.request.urlopen(self._options.url, timeout=_PROMETHEUS_TIMEOUT_S) as answer:  # noqa: S310
                    return energies_uj(answer.read().decode(), self._options.zone, self._options.unit_uj)
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > until_s or self._process.poll() is not None:
                    raise
                time.sleep(_POLL_S)


def main(arguments: Sequence[str]) -> int:
    """Answer line by line until the end of the input."""
    options = _options(arguments)
    server: _Server | None = None
    try:
        for line in sys.stdin:
            what = json.loads(line)["do"]
            if what == "start":
                if server is not None:
                    server.close()
                server = _Server(options)
            said = dict.fromkeys(server.first, 0.0) if server and what == "start" else server.sample() if server else {}
            sys.stdout.write(json.dumps(_answer(said)) + "\n")
            sys.stdout.flush()
            if what == "stop":
                break
    finally:
        if server is not None:
            server.close()
    return 0


def _answer(said: Mapping[str, float]) -> dict[str, Any]:
    zones = [{"id": zone, "path": zone, "energy_uj": round(uj)} for zone, uj in said.items() if zone != "total"]
    return {"ok": True, "zones": zones, **({"total_uj": round(said["total"])} if "total" in said else {})}


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
