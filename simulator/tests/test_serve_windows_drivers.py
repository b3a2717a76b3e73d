# SPDX-License-Identifier: Apache-2.0
"""`raplica serve-windows`: the drivers that can be installed."""

import pytest

from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.serve.windows_drivers import DRIVERS, install
from raplica_simulator.windows.system import WindowsSystem


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.mark.parametrize("name", DRIVERS)
def test_every_driver_can_be_installed_runs_and_comes_back_at_boot(live: LiveMachine, name: str) -> None:
    system = WindowsSystem(live.machine, lock=live.held())
    install(system, [name, name])
    for _ in range(2):
        assert [(one.config.name, one.state) for one in system.services] == [(DRIVERS[name].service, 4)]
        assert len(system.kernel.drivers) == 1
        system.reboot()


def test_drivers_that_cannot_run_side_by_side_and_those_that_are_none_are_refused(live: LiveMachine) -> None:
    for names, said in (
        (["v3.2", "v2-8-open"], "the driver v2-8-open cannot run here: .*SERVICE_EXISTS.*: leave it out"),
        (["v3.2", "none"], "there is no driver 'none': name one of v0-none, "),
    ):
        system = WindowsSystem(live.machine, lock=live.held())
        with pytest.raises(ValueError, match=said) as refused:
            install(system, names)
        assert "\n" not in str(refused.value)
