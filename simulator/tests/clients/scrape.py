# SPDX-License-Identifier: Apache-2.0
"""A program of the tests: start the exporter, ask it for its metrics so often, and print the pages as JSON.

``scrape.py EXPORTER COUNT SECONDS``, the seconds being those between two scrapes.
"""

import http.client
import json
import re
import subprocess
import sys
import time

_OPTIONS = ["--collector.disable-defaults", "--collector.rapl", "--web.listen-address=127.0.0.1:0"]


def scrape(port: int) -> str:
    """One page of metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def main(exporter: str, count: int, seconds: float) -> int:
    """Print the pages; 1 where the exporter does not start."""
    pages = []
    with subprocess.Popen(
        [exporter, *_OPTIONS], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            found = (re.search(r'Listening on" address=127\.0\.0\.1:(\d+)', line) for line in server.stderr)
            port = next((int(line[1]) for line in found if line), None)
            if port is None:
                return 1
            for number in range(count):
                time.sleep(seconds if number else 0)
                pages.append(scrape(port))
        finally:
            server.terminate()
        told = server.stderr.read()
    json.dump({"pages": pages, "told": told}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
