# SPDX-License-Identifier: Apache-2.0
"""The words of `raplica ctl`: from what a person types to a request at the control door.

The table at the top is the whole grammar; any event of a scenario can be said besides, as its verb and KEY=VALUE.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

__all__ = ["USAGE", "Order", "read_order"]

_MOST_DIGITS = 18

#: The words of an order, and what it does.
USAGE: Mapping[str, str] = {
    "status": "say what the machine is, its time, and whether that runs",
    "advance SECONDS": "move time forward",
    "pause": "let time stand",
    "run": "let time run",
    "speed X": "let X seconds of the machine go by in one of the host",
    "truth [DOMAIN]": "say what has really been spent",
    "energies DOMAIN...": "say what domains have spent, and when that was",
    "zones": "say what every zone shows, beside the truth",
    "log [--follow]": "show who read what; with --follow switch it on and go on until Ctrl-C",
    "log on|off|clear": "begin to write down who reads what, end it, forget what was written down",
    "wrap DOMAIN [SECONDS]": "let the counters of a domain wrap so much later (1)",
    "inject PATH [open|read|write [ERRNO]] [--after N] [--times N]": "let calls on a file fail (read, EIO, all)",
    "heal PATH": "end all faults of a file",
    "load DOMAIN=WATTS...": "let domains want other watts",
    "cpu N online|offline": "bring a processor up, or take it down",
    "EVENT [KEY=VALUE...]": "let any event of a scenario happen",
    "end": "end the mount",
}


class Order(NamedTuple):
    """A request, and whether its answers are to be followed."""

    request: dict[str, Any]
    follow: bool = False


def read_order(words: Sequence[str]) -> Order:
    """The request that words say, as :data:`USAGE` has them.  ValueError in one line for anything else."""
    if not words:
        raise ValueError(f"say what to do: one of {', '.join(USAGE)}")
    verb, *rest = words
    reader = _READERS.get(verb)
    named = bool(rest) and all("=" in word for word in rest)
    if reader is not None and (not named or verb == "load"):
        return reader(rest)
    if verb in _PLAIN and not named:
        names, optional = _PLAIN[verb]
        if not len(names) - optional <= len(rest) <= len(names):
            raise ValueError(f"the order is `{_usage(verb)}`")
        return Order({"do": verb, **dict(zip(names, rest, strict=False))})
    return Order({"do": verb, **_pairs(verb, rest)})


def _pairs(verb: str, words: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE words."""
    pairs: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key or key in ("do", *pairs):
            raise ValueError(f"{verb}: {word!r} is no KEY=VALUE of its own: write it like domain=package-0")
        pairs[key] = _value(value)
    return pairs


def _log(words: list[str]) -> Order:
    if words in ([], ["--follow"]):
        return Order({"do": "log"}, follow=bool(words))
    if len(words) == 1 and words[0] in ("on", "off", "clear"):
        return Order({"do": f"log-{words[0]}"})
    raise ValueError(f"the order is `{_usage('log')}`, or log on, log off, log clear")


def _energies(words: list[str]) -> Order:
    if not words:
        raise ValueError(f"the order is `{_usage('energies')}`, such as energies package-0 package-0/dram")
    return Order({"do": "energies", "domains": words})


def _wrap(words: list[str]) -> Order:
    if not 1 <= len(words) <= 2:
        raise ValueError(f"the order is `{_usage('wrap')}`")
    return Order({"do": "wrap", "domain": words[0], "in_s": words[1] if words[1:] else "1"})


def _inject(words: list[str]) -> Order:
    request: dict[str, Any] = {"do": "fault", "on": "read", "errno": "EIO"}
    names = iter(("path", "on", "errno"))
    rest = iter(words)
    for word in rest:
        option, sign, value = word.partition("=")
        if option in ("--after", "--times"):
            count = value if sign else next(rest, "")
            if not _is_whole(count):
                raise ValueError(f"inject: {option} wants a whole number of calls, such as {option} 2")
            request[option.removeprefix("--")] = int(count)
            continue
        name = next(names, None)
        if name is None or word.startswith("--"):
            raise ValueError(f"the order is `{_usage('inject')}`")
        request[name] = word
    if "path" not in request:
        raise ValueError(f"the order is `{_usage('inject')}`")
    return Order(request)


def _load(words: list[str]) -> Order:
    pairs = _pairs("load", [part for one in words for part in one.split(",")])
    if not pairs:
        raise ValueError(f"the order is `{_usage('load')}`, such as load package=100 dram=8")
    return Order({"do": "load", **pairs})


def _cpu(words: list[str]) -> Order:
    if len(words) != 2 or not _is_whole(words[0]) or words[1] not in ("online", "offline"):
        raise ValueError(f"the order is `{_usage('cpu')}`, such as cpu 3 offline")
    return Order({"do": words[1], "cpu": int(words[0])})


def _usage(verb: str) -> str:
    return next(words for words in USAGE if words.split()[0] == verb)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def _value(text: str) -> Any:
    """A number, true or false where the text is one in JSON; else the text, also of what a float cannot hold."""
    try:
        value = json.loads(text, parse_constant=str)
        if isinstance(value, float):
            return value if Decimal(repr(value)) == Decimal(text) else text
    except (ValueError, ArithmeticError, RecursionError):
        return text
    return value if isinstance(value, bool | int) else text


_READERS: dict[str, Callable[[list[str]], Order]] = {
    "energies": _energies,
    "log": _log,
    "wrap": _wrap,
    "inject": _inject,
    "load": _load,
    "cpu": _cpu,
}
# Words that stand for values in a fixed order, and how many of them may be left out.
_PLAIN: dict[str, tuple[tuple[str, ...], int]] = {
    **dict.fromkeys(("status", "pause", "run", "zones", "end"), ((), 0)),
    "advance": (("seconds",), 0),
    "speed": (("factor",), 0),
    "truth": (("domain",), 1),
    "heal": (("path",), 0),
}
