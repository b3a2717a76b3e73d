# SPDX-License-Identifier: Apache-2.0
"""The `raplica-reader` command: what the answer to the shell is.

An error is one line on stderr that says what is wrong, where, and what to do. Exit status: 0 at least one counter
was read; 2 wrong usage; 3 nothing could be read or written; 130 interrupted; 141 nobody reads the output any more.
With `--json` stdout holds one JSON document (`watch`: one on each line) and nothing else, also when the status is 3.
What can be asked for: `arguments`; what documents hold: `report`.
"""

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from raplica_reader import __version__, report
from raplica_reader.advice import trouble
from raplica_reader.arguments import PROGRAM, USAGE, parser
from raplica_reader.files import errno_name
from raplica_reader.follow import Follower
from raplica_reader.meter import Delta
from raplica_reader.source import SYSFS, Choice, Host, choose

__all__ = ["main"]

READ, NOTHING, INTERRUPTED, NOBODY_READS = 0, 3, 130, 141

Clock = Callable[[], int]
Sleep = Callable[[float], None]


class _Unwritable(Exception):
    """A file that cannot be written; its text is the line for the user."""


def main(argv: Sequence[str] | None = None, *, clock: Clock = time.perf_counter_ns, sleep: Sleep = time.sleep) -> int:
    """Run the command and return its exit status; `clock` (ns) and `sleep` (s) can be a simulated machine's."""
    try:
        arguments = parser(__version__).parse_args(argv)
    except SystemExit as done:  # argparse ends --help, --version and wrong usage so
        return int(done.code or 0)
    wrong = _wrong(arguments)
    if wrong:
        return _complain(f"{wrong} (see `{PROGRAM} {arguments.command} --help`)", USAGE)
    if sys.stdout is None:  # Python's way to say that it was started without one
        return _complain("the output cannot be written (EBADF): it is closed", NOTHING)
    if hasattr(sys.stdout, "reconfigure"):  # a name from the tree may not be in the terminal's encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _answer(arguments, clock, sleep)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except _Unwritable as error:
        return _complain(str(error), NOTHING)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in the buffer
        if error.errno == errno.EPIPE:
            return NOBODY_READS
        return _complain(f"the output cannot be written ({errno_name(error)})", NOTHING)
    return status


def _wrong(arguments: argparse.Namespace) -> str | None:
    """What is asked for that does not go together."""
    if clash := _host(arguments).clash(arguments.source):
        return clash
    if arguments.command not in {"read", "watch"}:
        return None
    if arguments.prometheus and arguments.json:
        return "--json and --prometheus are two formats: give one"
    if arguments.command == "watch" and arguments.prometheus != (arguments.output is not None):
        return "--prometheus and --output FILE go together in watch, where the file is replaced at each interval"
    if arguments.command == "watch" and arguments.output and _is_no_file(arguments.output):
        return f"--output {arguments.output} is there and no regular file, so it is not replaced: give another name"
    return None


def _host(arguments: argparse.Namespace) -> Host:
    """The machine that is asked for."""
    return Host(arguments.sysfs, arguments.dev, arguments.cpu, arguments.windows)


def _is_no_file(path: str) -> bool:
    """Whether something else than a file has this name, such as a device, which must not be replaced by a file."""
    return os.path.lexists(path) and not os.path.isfile(path)  # noqa: PTH113


def _answer(arguments: argparse.Namespace, clock: Clock, sleep: Sleep) -> int:
    """Do what the arguments ask for."""
    host = _host(arguments)
    if arguments.command == "stepped":
        from raplica_reader.stepped import Session, converse

        if hasattr(sys.stdin, "reconfigure"):  # what is no UTF-8 is no JSON either, and answered as such
            sys.stdin.reconfigure(errors="replace")
        options = {"version": __version__, "possible_w": arguments.max_power}
        converse(Session(host, arguments.source, clock, **options), sys.stdin or (), sys.stdout)
        return READ
    choice = choose(host, arguments.source, clock=clock)
    with choice.sampler:
        return {"list": _list, "read": _read, "watch": _watch}[arguments.command](arguments, host, choice, sleep)


def _list(arguments: argparse.Namespace, host: Host, choice: Choice, _: Sleep) -> int:
    """Show every counter as it stands."""
    sample = choice.sampler.sample()
    filtering = _energy_filtering(host, choice) if arguments.why else None
    if arguments.json:
        beginning = report.head("list", choice.source.name, host.tree(choice.source.name))
        beginning |= {"why": choice.why, "others": dict(choice.others)}
        if filtering is not None:
            beginning["energy_filtering"] = filtering[0]
        report.print_json(report.list_document(beginning, sample), sys.stdout)
    else:
        if sample.zones:
            report.print_list(sample, sys.stdout, why=arguments.why)
        if filtering is not None:
            print("", *_reasons(choice), filtering[1], sep="\n")
    _tell(choice, trouble(choice.source.name, host.root, host.devices, sample.zones, sample.errors))
    return READ if any(count is not None for count in sample.counts) else NOTHING


def _read(arguments: argparse.Namespace, host: Host, choice: Choice, sleep: Sleep) -> int:
    """Measure some intervals and tell what was spent in all of them."""
    follower = Follower(choice.source, choice.sampler, possible_w=arguments.max_power)
    count = arguments.count if choice.sampler.zones else 0
    intervals = [spent for _, spent in _measure(follower, arguments.interval, count, sleep)]
    whole = follower.meter.total()
    if arguments.json:
        beginning = report.head("read", choice.source.name, host.tree(choice.source.name))
        report.print_json(report.read_document(beginning, intervals, whole), sys.stdout)
    elif arguments.prometheus:
        from raplica_reader.prometheus import exposition

        sys.stdout.write(exposition(choice.source.name, follower.meter, intervals[-1] if intervals else ()))
    elif whole:
        report.print_read(whole, sys.stdout)
    _tell(choice, _trouble(host, choice, whole))
    return READ if any(spent.energy_nj is not None for spent in whole) else NOTHING


def _watch(arguments: argparse.Namespace, host: Host, choice: Choice, sleep: Sleep) -> int:
    """Show each interval as it ends."""
    follower = Follower(choice.source, choice.sampler, possible_w=arguments.max_power)
    _tell(choice, None)
    if not any(zone.has_energy for zone in choice.sampler.zones):
        return NOTHING
    show, is_drawn = _viewer(arguments, host, choice, follower)
    told, has_read = None, False
    for since_ns, spent in _measure(follower, arguments.interval, arguments.count, sleep):
        show(since_ns, spent)
        has_read = has_read or any(part.energy_nj is not None for part in spent)
        line = _trouble(host, choice, spent)
        if line is not None and line != told and not is_drawn:  # once, and not across a picture, which shows it
            _complain(line, NOTHING)
        told = line
    return READ if has_read else NOTHING


def _viewer(
    arguments: argparse.Namespace, host: Host, choice: Choice, follower: Follower
) -> tuple[Callable[[int, Sequence[Delta]], None], bool]:
    """What shows one interval of `watch`, given the time since the start and what was spent; and if that is drawn."""
    name = choice.source.name
    if arguments.prometheus:
        from raplica_reader.prometheus import exposition, write

        def metrics(_: int, spent: Sequence[Delta]) -> None:
            try:
                write(exposition(name, follower.meter, spent), arguments.output)
            except OSError as error:
                raise _Unwritable(f"{arguments.output} cannot be written ({errno_name(error)})") from None

        return metrics, False
    if arguments.json:
        beginning = report.head("watch", name, host.tree(name))

        def document(since_ns: int, spent: Sequence[Delta]) -> None:
            report.print_json(report.watch_document(beginning, since_ns, spent), sys.stdout, indent=None)
            sys.stdout.flush()

        return document, False
    from raplica_reader.watch import Picture, plain_line, terminal

    if terminal(sys.stdout):
        return Picture(sys.stdout, f"{PROGRAM} watch  {name}  every {arguments.interval:g} s").draw, True
    return lambda since_ns, spent: print(plain_line(since_ns, spent), flush=True), False


def _measure(
    follower: Follower, interval_s: float, count: int | None, sleep: Sleep
) -> Iterator[tuple[int, tuple[Delta, ...]]]:
    """Take count + 1 samples, each at a multiple of the interval after the first.

    Multiples that have passed meanwhile (a stopped process, a slow machine) are left out and not made up for at once,
    since counters say nothing about times that short. Gives for each sample but the first the time since that in ns,
    and what was spent since the one before.
    """
    follower.sample()
    first_ns = follower.at_ns
    interval_ns = max(1, round(interval_s * 1e9))
    number = taken = 0
    while count is None or taken < count:
        since_ns = follower.at_ns - first_ns
        number = max(number, since_ns // interval_ns) + 1
        sleep((number * interval_ns - since_ns) / 1e9)
        spent = follower.sample()
        yield follower.at_ns - first_ns, spent
        taken += 1


def _trouble(host: Host, choice: Choice, spent: Sequence[Delta]) -> str | None:
    """The line about zones whose energy is unknown."""
    zones, errors = [part.zone for part in spent], [part.error for part in spent]
    return trouble(choice.source.name, host.root, host.devices, zones, errors)


def _tell(choice: Choice, line: str | None) -> None:
    """Say on stderr what is missing, if anything is."""
    if choice.trouble or line:
        _complain(choice.trouble or line or "", NOTHING)
    for note in choice.notes:
        _complain(note, NOTHING)


def _reasons(choice: Choice) -> list[str]:
    """Lines about the source that was taken and those that were not."""
    return [f"source {choice.source.name}: {choice.why}", *(f"not {name}: {why}" for name, why in choice.others)]


def _energy_filtering(host: Host, choice: Choice) -> tuple[bool | None, str]:
    """Whether energy filtering is on, as far as the registers of that machine can be read."""
    if host.tree(choice.source.name) is None:
        return None, "energy filtering: not known, MSR 0xbc cannot be asked for here"
    if host.dev is None and host.sysfs not in {None, SYSFS}:
        return None, "energy filtering: not known, the registers of that machine are not here (--dev)"
    from raplica_reader.msr import energy_filtering
    from raplica_reader.registers import Devices

    return energy_filtering(Devices(host.devices))


def _complain(message: str, status: int) -> int:
    """Print one line on stderr, if that takes it, and return the status."""
    if sys.stderr is not None:  # print would take stdout in its place
        try:
            print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # for what is still in the buffer
    return status
