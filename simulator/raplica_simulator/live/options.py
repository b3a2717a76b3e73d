# SPDX-License-Identifier: Apache-2.0
"""The options of every command that shows a machine live, as text from a command line: --load, --speed, --at and so on.

Whatever is wrong with one is a ValueError in one line that names the option.
"""

import re
from fractions import Fraction

from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import LoadPlan, read_load
from raplica_simulator.profile.profile import Profile
from raplica_simulator.scenario.scenario import Scenario

__all__ = ["read_seconds", "start_live"]

_LONGEST_S = 10**12  # seconds, some thirty thousand years
_FASTEST = 10**9
_THE_SCENARIOS = "-"


def start_live(
    machine: str | Profile,
    kernel: str | None,
    *,
    load: str | None,
    speed: str,
    at: str | None,
    near_wrap: str | None,
    scenario: str | None = None,
) -> LiveMachine:
    """Make a machine whose time is about to run, as :func:`.machine.start` does from numbers.

    ``scenario`` is the id of a built-in one or a ``.toml`` file, and gives what is None here.  ``machine`` is ``-`` for
    the scenario's own; another one, by its name or as a profile, takes its place.
    """
    if kernel == "":
        raise ValueError("--kernel is empty: leave it out or name one, such as 6.12")
    if machine == _THE_SCENARIOS and scenario is None:
        raise ValueError("MACHINE is -, the machine of a scenario: name one, or say --scenario FILE")
    rate = _read_number("--speed", speed, "")
    if not 0 < rate <= _FASTEST:
        raise ValueError(f"--speed {speed} is not above 0 and at most {_FASTEST}")
    at_s = None if at is None else read_seconds("--at", at)
    near_wrap_s = None if near_wrap is None else read_seconds("--start-near-wrap", near_wrap)
    if near_wrap_s == 0:
        raise ValueError("--start-near-wrap 0: counters wrap after some time, say how many seconds")
    return start(
        None if machine == _THE_SCENARIOS else machine,
        kernel=kernel,
        load=None if load is None else _read_plan(load),
        speed=rate,
        at_s=at_s,
        near_wrap_s=near_wrap_s,
        scenario=None if scenario is None else Scenario.load(scenario),
    )


def read_seconds(option: str, text: str) -> Fraction:
    """Exactly the seconds that a decimal number says."""
    seconds = _read_number(option, text, " of seconds")
    if seconds > _LONGEST_S:
        raise ValueError(f"{option} {text} is too late: at most {_LONGEST_S} seconds")
    return seconds


def _read_number(option: str, text: str, what: str) -> Fraction:
    if len(text) > 100 or not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text, re.ASCII):
        raise ValueError(f"{option} {text[:40]!r} is no number{what}: write it like 12 or 12.5, 0 or more")
    return Fraction(text if text[-1] != "." else text[:-1])


def _read_plan(load: str) -> LoadPlan:
    try:
        return read_load(load)
    except OSError as error:
        raise ValueError(f"--load {load}: {error.strerror}: name a file that can be read") from None
    except ValueError as error:
        raise ValueError(f"--load: {str(error).removeprefix('load: ')}") from None
