# SPDX-License-Identifier: Apache-2.0
"""What `raplica show` tells of a Mac, which has no zones and shows no registers: as a document, and as text."""

from typing import Any

from raplica_simulator.describe.document import FORMAT, load_uw, topology
from raplica_simulator.describe.text import render_load
from raplica_simulator.macos.mac import ANE, CPU, DRAM, GPU, PACKAGE, Mac
from raplica_simulator.profile.profile import Profile

__all__ = ["describe_mac", "render_mac"]


def describe_mac(profile: Profile, mac: Mac) -> dict[str, Any]:
    """Everything that is known of a Mac; keys that `describe` has too mean the same."""
    return {
        "format": FORMAT,
        "id": profile.id,
        "title": profile.title,
        "source": profile.source,
        "processor": profile.cpu.name,
        "topology": topology(profile),
        "load_uw": load_uw(profile),
        "macos": {
            "model": mac.model,
            "release": mac.release,
            "build": mac.build,
            "clusters": [{"name": one.name, "cpus": list(one.cpus)} for one in mac.clusters],
            "powermetrics": _shown(mac),
        },
    }


def render_mac(document: dict[str, Any]) -> str:
    """A Mac on about a screen, without a newline at the end."""
    macos = document["macos"]
    clusters = [f"{one['name']} CPU {one['cpus'][0]} to {one['cpus'][-1]}" for one in macos["clusters"]]
    lines = [
        f"{document['id']}: {document['title']}",
        "",
        f"processor     {document['processor'] or 'name not said'}, {document['topology']['cpus']} CPUs",
        *(f"              {cluster}" for cluster in clusters),
        f"model         {macos['model']}",
        f"system        macOS {macos['release']}, build {macos['build']}",
        f"source        {document['source']}",
        f"load          {render_load(document['load_uw'])}",
        f"powermetrics  {', '.join(macos['powermetrics'])}",
        "",
        "A Mac: raplica exec MACHINE --as macos -- powermetrics -n 1",
    ]
    return "\n".join(lines)


def _shown(mac: Mac) -> list[str]:
    """The parts whose energy its macOS tells."""
    if not mac.is_apple:
        return [PACKAGE]
    return [CPU, GPU, ANE, *((DRAM, PACKAGE) if mac.has_package else ())]
