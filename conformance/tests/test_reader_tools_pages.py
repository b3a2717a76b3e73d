# SPDX-License-Identifier: Apache-2.0
"""Pages of exporters and endpoints are read as a query reads them."""

import pytest

from raplica_conformance.readers.tools import endpoint, exporter


def test_the_exporters_page_is_read_as_a_query_reads_it() -> None:
    page = (
        'node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0"} 10\n'
        'node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl-mmio:0"} 10\n'
        'node_rapl_dram_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0:0"} 1.5e+00\n'
        'node_rapl_core_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0:1"} 4\n'
        'node_rapl_package_0_die_1_joules_total{index="0"} 7\n'
    )
    assert dict(exporter.energies(page)) == {
        "package-0": 20_000_000,
        "package-0/dram": 1_500_000,
        "package-0/core": 4_000_000,
        "package-0-die-1": 7_000_000,
        "total": 28_500_000,
    }


def test_samples_of_an_endpoint_become_zones_by_rules() -> None:
    rules = [endpoint.Rule.parse(text) for text in ('j{zone="dram"}=total', "j=package-{n}/{zone}", "p={path}")]
    page = (
        '# TYPE j counter\nj{zone="dram",n="0"} 2\nj{zone="dram",n="1"} 3 1700000000\np{path="/sys/x/intel-rapl:0"} 1\n'
    )
    assert endpoint.energies_uj(page, rules, 1e6) == {
        "total": 5e6,
        "package-0/dram": 2e6,
        "package-1/dram": 3e6,
        "intel-rapl:0": 1e6,
    }
    with pytest.raises(ValueError, match="is no rule"):
        endpoint.Rule.parse("=x")
