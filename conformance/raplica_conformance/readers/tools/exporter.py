# SPDX-License-Identifier: Apache-2.0
"""prometheus-node-exporter, scraped once: `exporter.py [PROGRAM]`; prints microjoules by domain.

A query knows the name of a metric and the label `index`, so those say which domain a sample is:
`node_rapl_dram_joules_total{index="1"}` is package-1/dram. Samples of one name and index are added, and so are all of
packages and memory, as `sum()` does.
"""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["domain_of", "energies", "main"]

_OPTIONS = ("--collector.disable-defaults", "--collector.rapl", "--web.listen-address=127.0.0.1:0")
_SAMPLE = re.compile(r'^node_rapl_(\w+)_joules_total\{(?:[^}]*,)?index="(\w+)"[^}]*\} (\S+)$', re.MULTILINE)
_LISTENING = re.compile(r'Listening on"? address=(?:127\.0\.0\.1|\[::\]):(\d+)')
_FAILED = 'node_scrape_collector_success{collector="rapl"} 0'


def main(program: str = "prometheus-node-exporter") -> int:
    """Print what the exporter says; 1 where it says that it failed, or nothing."""
    with subprocess.Popen(  # noqa: S603 - the tool that is driven
        [program, *_OPTIONS], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            lines = server.stderr or ()
            port = next((int(found[1]) for line in lines if (found := _LISTENING.search(line))), None)
            page = "" if port is None else _scrape(port)
        finally:
            server.kill()
    said = dict(energies(page))
    if not said:
        failed = "its page says that the collector failed" if _FAILED in page else "its page has no energy"
        sys.stderr.write(f"{failed}\n")
        return 1
    json.dump(said, sys.stdout)
    return 0


def energies(page: str) -> Iterator[tuple[str, int]]:
    """The microjoules on a page by domain, and those of packages and memory together."""
    said: dict[str, float] = {}
    for name, index, joules in _SAMPLE.findall(page):
        domain = domain_of(name, index)
        said[domain] = said.get(domain, 0.0) + float(joules) * 1e6
    parts = [uj for domain, uj in said.items() if domain.startswith("package") and _is_whole(domain)]
    if parts:
        said["total"] = sum(parts)
    return ((domain, round(uj)) for domain, uj in said.items())


def domain_of(name: str, index: str) -> str:
    """`package` and `1`, `dram` and `1`, or `package_0_die_1` as the domains that they stand for."""
    if name == "package":
        return f"package-{index}"
    if name.startswith("package_"):
        return name.replace("_", "-")
    return name if name == "psys" else f"package-{index}/{name}"


def _is_whole(domain: str) -> bool:
    return "/" not in domain or domain.endswith("/dram")


def _scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
