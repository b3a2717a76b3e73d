# SPDX-License-Identifier: Apache-2.0
"""The framework's attributes over any set of callbacks: which exist, what they show, what is stored, what fails how."""

from __future__ import annotations

from kernel_witness.guest.calls import calls_on_directory, calls_on_file
from kernel_witness.guest.framework import MANDATORY, POWER, Framework
from kernel_witness.guest.machine import CLASS, Machine, find_zones
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.values import CONTROL_TYPE, FULL, SHORT

__all__ = ["chosen", "constraint_names", "failing", "numbers", "odd_calls", "resets", "switches", "written"]

_MONITORS = ("get_max_energy_range_uj", "get_energy_uj", "get_max_power_range_uw", "get_power_uw")
_ZONE = (*_MONITORS, "reset_energy_uj", "set_enable", "get_enable", "release")
_RANGES = ("get_max_power_uw", "get_min_power_uw", "get_max_time_window_us", "get_min_time_window_us")
_CONSTRAINT = (*MANDATORY, *_RANGES, "get_name")
_ALL = f"ops={','.join(_ZONE)} cops={','.join(_CONSTRAINT)}"
_NUMBERS = (0, 1, 4294967296, 9223372036854775807, 9223372036854775808, 18446744073709551615)
_ERRORS = ("EIO", "EAGAIN", "EACCES", "ENODEV", "EINVAL", "ENODATA", "ENOSYS")
_RESETS = ("0", "0\n", "00", "+0", "-0", "1", "5\n", "", "\n", "abc", " 0", "0 ", "0x0", "18446744073709551615")


def chosen(recorder: Recorder, _: Machine) -> None:
    """Register a zone for each callback that may be left out, with it and without it."""
    recorder.label("callbacks with and without")
    framework = Framework(recorder)
    framework.do("type t ops=set_enable,get_enable name=t")
    mandatory = ",".join(MANDATORY)
    for name in _ZONE:
        base = "get_power_uw" if name != "get_power_uw" else "get_energy_uj"
        only = ",".join(dict.fromkeys((base, name)))
        framework.do(f"zone {name[:14]}+ type=t ops={only} cops={mandatory} name=only {name}")
        others = ",".join(other for other in _ZONE if other != name)
        framework.do(f"zone {name[:14]}- type=t ops={others} cops={mandatory} name=all but {name}")
    for name in (*_RANGES, "get_name"):
        cops = f"{mandatory},{name}"
        framework.do(f"zone {name[:14]}c type=t constraints=2 ops=get_power_uw cops={cops} name=only {name}")
    framework.do(f"zone whole type=t constraints=10 {_ALL} name=everything")
    recorder.tree("callbacks with and without")
    for name in _ZONE:
        framework.all((f"unzone {name[:14]}+", f"unzone {name[:14]}-"))
    framework.all(f"unzone {name[:14]}c" for name in (*_RANGES, "get_name"))
    framework.all(("unzone whole", "untype t"))
    framework.close()


def _whole(recorder: Recorder, constraints: int) -> tuple[Framework, str]:
    """Register a zone with everything; returns the path of it, too."""
    framework = Framework(recorder)
    framework.do("type t ops=set_enable,get_enable,release name=t")
    framework.do(f"zone z type=t constraints={constraints} {_ALL} name=everything")
    return framework, f"{CLASS}/t:0"


def _end(framework: Framework) -> None:
    framework.all(("unzone z", "untype t"))
    framework.close()


def _attribute(callback: str, constraint: int) -> str:
    """Return the attribute that a callback is behind."""
    name = callback.removeprefix("get_").removeprefix("set_").removeprefix("reset_")
    if callback in _CONSTRAINT:
        return f"constraint_{constraint}_{name}"
    return "enabled" if name == "enable" else name


def numbers(recorder: Recorder, _: Machine) -> None:
    """Let every callback give numbers of each size, and read them."""
    recorder.label("numbers")
    framework, zone = _whole(recorder, 2)
    getters = [*_MONITORS, *(f"{name}.1" for name in (*MANDATORY, *_RANGES) if name.startswith("get"))]
    for number in _NUMBERS:
        for getter in getters:
            framework.do(f"answer z {getter} {number}")
            callback, constraint = getter.removesuffix(".1"), getter.count(".")
            recorder.read(f"{zone}/{_attribute(callback, constraint)}")
    framework.called()
    recorder.tree("numbers")
    _end(framework)


def failing(recorder: Recorder, _: Machine) -> None:
    """Let every callback fail with every error, and read and write the attribute behind it."""
    recorder.label("errors")
    framework, zone = _whole(recorder, 1)
    for error in _ERRORS:
        for callback in (*_ZONE[:-1], *_CONSTRAINT):
            framework.do(f"answer z {callback} {error if callback != 'get_name' else 'null'}")
            path = f"{zone}/{_attribute(callback, 0)}"
            recorder.read(path)
            for data in ("0", "1", "x"):
                recorder.write_read(path, data)
            framework.called()
            framework.do(f"answer z {callback} {'ok' if callback != 'get_name' else '=name'}")
    for error in _ERRORS:
        for callback in ("set_enable", "get_enable"):
            framework.do(f"answer t {callback} {error}")
            for data in ("0", "1", "x"):
                recorder.write_read(f"{CLASS}/t/enabled", data)
            framework.called()
            framework.do(f"answer t {callback} ok")
    framework.do("answer z release EBUSY")
    framework.do("answer t release EBUSY")
    _end(framework)
    recorder.tree("a failing release does not matter")


def constraint_names(recorder: Recorder, _: Machine) -> None:
    """Give constraints names of every length around the longest that is shown."""
    recorder.label("names of constraints")
    framework, zone = _whole(recorder, 10)
    for constraint, length in enumerate((0, 1, 27, 28, 29, 30, 31, 32, 60)):
        framework.do(f"answer z get_name.{constraint} ={('abcdefghij' * 6)[:length]}")
    recorder.tree("names of constraints")
    for constraint in range(10):
        recorder.read(f"{zone}/constraint_{constraint}_name")
    framework.called()
    framework.do("answer z get_name.0 =two words")
    recorder.read(f"{zone}/constraint_0_name")
    _end(framework)


def switches(recorder: Recorder, _: Machine) -> None:
    """Write every kind of text to `enabled`, with each choice of its two callbacks, of zones and control types."""
    recorder.label("enabled")
    framework = Framework(recorder)
    for number, ops in enumerate(("", "get_enable", "set_enable", "get_enable,set_enable")):
        framework.do(f"type {number} ops={ops} name=t{number}")
        for data in CONTROL_TYPE:
            recorder.write_read(f"{CLASS}/t{number}/enabled", data)
        framework.called()
        more = f",{ops}" if ops else ""
        framework.do(f"zone {number} type={number} ops=get_power_uw{more} cops={','.join(MANDATORY)} name=z")
        for data in FULL["enabled"] if ops == "get_enable,set_enable" else SHORT["enabled"]:
            recorder.write_read(f"{CLASS}/t{number}:0/enabled", data)
        framework.called()
    framework.do("type none name=none")
    for data in CONTROL_TYPE:
        recorder.write_read(f"{CLASS}/none/enabled", data)
    recorder.tree("enabled")
    for number in range(4):
        framework.all((f"unzone {number}", f"untype {number}"))
    framework.do("untype none")
    framework.close()


def written(recorder: Recorder, _: Machine) -> None:
    """Write every kind of number to limits and windows: they are stored whole and read back."""
    recorder.label("limits and windows")
    framework, zone = _whole(recorder, 2)
    for name, values in (("power_limit_uw", FULL), ("time_window_us", FULL)):
        for data in values[name]:
            recorder.write_read(f"{zone}/constraint_0_{name}", data)
        for data in SHORT[name]:
            recorder.write_read(f"{zone}/constraint_1_{name}", data)
        framework.called()
    for length in (4095, 4096, 4097):
        recorder.write_long(f"{zone}/constraint_0_power_limit_uw", "", "0", length)
    for name in ("name", "power_uw", "max_energy_range_uj", "constraint_0_name", "constraint_0_max_power_uw"):
        recorder.write_read(f"{zone}/{name}", "1")
    framework.called()
    _end(framework)


def resets(recorder: Recorder, _: Machine) -> None:
    """Write to counters that can be reset, that fail to, and that cannot."""
    recorder.label("resets")
    framework, zone = _whole(recorder, 0)
    for data in _RESETS:
        framework.do("answer z get_energy_uj 7")
        recorder.write_read(f"{zone}/energy_uj", data)
        framework.called()
    framework.do("answer z reset_energy_uj EIO")
    for data in ("0", "1", "x", ""):
        recorder.write_read(f"{zone}/energy_uj", data)
    framework.called()
    framework.do(f"zone fixed type=t ops=get_energy_uj cops={','.join(MANDATORY)} name=fixed")
    framework.do(f"zone odd type=t ops=get_power_uw,reset_energy_uj cops={','.join(MANDATORY)} name=reset alone")
    framework.do(f"zone late type=t ops=get_energy_uj,reset_energy_uj cops={','.join(MANDATORY)} name=late")
    recorder.tree("each keeps its own mode")
    for data in ("0", "1"):
        recorder.write_read(f"{CLASS}/t:1/energy_uj", data)
        recorder.write_read(f"{CLASS}/t:3/energy_uj", data)
    framework.called()
    framework.all(("unzone fixed", "unzone odd", "unzone late"))
    _end(framework)


def odd_calls(recorder: Recorder, _: Machine) -> None:
    """Make every system call on attributes that intel_rapl has not, and on directories."""
    recorder.label("odd system calls")
    framework, zone = _whole(recorder, 1)
    framework.do(f"zone fixed type=t {POWER} name=fixed")
    for path in (f"{zone}/energy_uj", f"{zone}/power_uw", f"{zone}/constraint_0_min_power_uw", f"{CLASS}/t/enabled"):
        recorder.calls("sys", path, lambda: calls_on_file(path))  # noqa: B023
    for path in (zone, f"{CLASS}/t"):
        recorder.calls("sysdir", path, lambda: calls_on_directory(path))  # noqa: B023
    for found in find_zones():
        recorder.write(f"{found.path}/uevent", "change")
    framework.do("unzone fixed")
    _end(framework)
