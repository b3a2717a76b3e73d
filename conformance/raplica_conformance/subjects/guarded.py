# SPDX-License-Identifier: Apache-2.0
"""A machine that may be written to with care: the subject of `conformance run --real --allow-writes`.

A clause calls `write` as on any subject. What is not safe is skipped with the reason; before the rest is done, what
there was is announced in the journal, and after the clause `put_back` restores it. A clause that is stopped in any way
is followed by that as well, a run that is killed by `conformance restore`.

With `wild` it is the suite's to ruin: a virtual machine made for the purpose. Then everything may be written but what
crashes the kernel or lasts until the next reset; it is announced, and put back as far as it can be.
"""

import errno
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from raplica_conformance.clause import skip
from raplica_conformance.clauses._registers import LOCKS
from raplica_conformance.printable import printable
from raplica_conformance.subject import CLASS, Mode, Provider, Stat, User
from raplica_conformance.subjects.disk import Disk, FileSystem
from raplica_conformance.subjects.host import Host, OperatingSystem
from raplica_conformance.subjects.interrupts import Interrupts
from raplica_conformance.subjects.journal import Entry, Journal, JournalError, SavedRegister, default_journal
from raplica_conformance.subjects.permission import Permission, Refused
from raplica_conformance.subjects.putback import PLN, put_back, restore
from raplica_conformance.subjects.real import RealMachine

__all__ = ["GuardedMachine", "guard", "restore_this_machine"]


def guard(tree: RealMachine, journal: Path | None = None, *, wild: bool = False) -> "GuardedMachine":
    """This machine, for writing; JournalError where no journal can be kept."""
    path = (journal or default_journal()).absolute()
    return GuardedMachine(tree, OperatingSystem(), FileSystem(), path, wild=wild, folders=_folders())


def restore_this_machine(journal: Path | None = None) -> int:
    """`conformance restore` on this machine: say what was put back, and return the exit status."""
    tree = RealMachine()
    try:
        path = (journal or default_journal()).absolute()
        status, lines = restore(path, tree, OperatingSystem(), FileSystem(), _folders())
    except JournalError as error:
        status, lines = 2, [str(error)]
    finally:
        tree.close()
    for line in lines:
        (sys.stderr if status else sys.stdout).write(printable(f"conformance: {line}") + "\n")
    return status


def _folders() -> list[Path]:
    """What is locked beside the journal's folder, so that two runs with two journals exclude each other as well."""
    folder = Path("/sys") / CLASS
    return [folder] if folder.is_dir() else []


def _tell(line: str) -> None:
    """One line for a person, who may have gone: a closed terminal is no reason to leave anything changed."""
    with suppress(OSError):
        sys.stderr.write(printable(f"conformance: {line}") + "\n")


class GuardedMachine:
    """A live `tree` whose writes go through `host`, announced in the journal at `path`.

    Raises JournalError, in one line, where no journal can be begun. To be closed; `unrestored` then says, a line each,
    what is not as it was.
    """

    def __init__(
        self,
        tree: Provider,
        host: Host,
        disk: Disk,
        path: Path,
        *,
        wild: bool = False,
        folders: Sequence[Path] = (),
        say: Callable[[str], None] = _tell,
    ) -> None:
        self.name = tree.name
        self.kernel = tree.kernel
        self.arguments = (*getattr(tree, "arguments", ()), "--allow-writes")
        self.facts: Mapping[str, str] = getattr(tree, "facts", {})
        self.unrestored: list[str] = []
        self._tree = tree
        self._host = host
        self._say = say
        self._wild = wild
        self._told: set[str] = set()
        self._permission = Permission(tree, host, wild=wild)
        self._proved: set[tuple[int, int]] = set()
        self.can = (tree.can - {"silicon", "wild-writes", "msr"}) | self._promises()
        self._interrupts = Interrupts()
        try:
            boot = host.boot_id()
        except OSError as error:
            raise JournalError(
                f"which boot this is cannot be read ({error.strerror}), so nothing is written"
            ) from error
        self._journal = Journal.start(path, disk, boot, folders)
        self._interrupts.install()

    def _promises(self) -> set[str]:
        """What the tree alone cannot show; the registers only where they can be read."""
        found = {"writable"} | ({"wild-writes"} if self._wild else set())
        places = self._host.places()
        if places:
            try:
                self._host.msr_read(min(places), PLN)
            except OSError as error:
                # A register that faults is an answer of the device as well.
                return found | ({"msr"} if error.errno == errno.EIO else set())
            return found | {"msr"}
        return found

    # What only looks is the tree's.

    def listdir(self, path: str) -> list[str]:
        """The names in a directory."""
        return self._tree.listdir(path)

    def readlink(self, path: str) -> str:
        """The target of a link."""
        return self._tree.readlink(path)

    def stat(self, path: str) -> Stat:
        """What lstat gives."""
        return self._tree.stat(path)

    def read(self, path: str) -> bytes:
        """What reads now."""
        return self._tree.read(path)

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        """Whether it opens."""
        return self._tree.open_errno(path, mode, user)

    def advance(self, nanoseconds: int) -> None:
        """As the tree can."""
        self._tree.advance(nanoseconds)

    def cpus(self) -> list[int]:
        """The CPUs that are online."""
        return sorted(self._host.places())

    def msr_read(self, cpu: int, register: int) -> int:
        """One rdmsr."""
        return self._host.msr_read(cpu, register)

    # What changes something.

    def write(self, path: str, data: bytes) -> int:
        """One write, where it is safe; ends the clause as skipped, with the reason, where it is not."""
        self._interrupts.check()
        if self.unrestored and not self._wild:
            skip(f"{path} is left alone: an earlier value could not be put back")
        try:
            plan = self._permission.plan(path, data, self._journal.text_of)
        except Refused as refused:
            skip(str(refused))
        self._announce(plan.entries)
        for cpu, register in plan.needed:
            self._prove(path, cpu, register)
        for line in plan.warnings:
            self._say_once(line)
        return self._host.write(plan.path, data)

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        """One wrmsr, on a machine that is the suite's to ruin; a lock bit stays until a reset, so none is set."""
        self._interrupts.check()
        if not self._wild:
            skip(f"register {register:#x} is left alone: registers of this machine are written to put them back only")
        now = self._host.msr_read(cpu, register)
        if (now ^ value) & LOCKS:
            skip(f"register {register:#x} is left alone: a lock bit stays until the machine is reset")
        self._announce([SavedRegister(cpu, register, now)])
        self._host.msr_write(cpu, register, value)

    def put_back(self) -> None:
        """Restore everything that was written since the last time; where that fails, nothing is written any more."""
        self._permission.forget()
        if self._journal.entries and (self._wild or not self.unrestored):
            with self._interrupts.held():
                self._restore()

    def close(self) -> None:
        """Restore, give up the journal, and let a signal that asked for the end of the process have it."""
        try:
            with suppress(KeyboardInterrupt), self._interrupts.held():
                self._finish()
        finally:
            if hasattr(self._tree, "close"):
                self._tree.close()
            self._interrupts.remove()

    def _finish(self) -> None:
        # What could not be put back after a clause may have been in somebody's way for a moment only.
        self._restore()
        try:
            self._journal.close()
        except OSError as error:
            self._say(f"{self._journal.path}: cannot be removed ({error.strerror}); remove it")
        for line in self.unrestored:
            self._say(f"not put back: {line}")
        if self.unrestored:
            self._say(f"try again: conformance restore --journal {self._journal.path}")

    def _restore(self) -> None:
        self.unrestored = put_back(self._journal.entries, self._tree, self._host)
        if not self.unrestored:
            self._journal.settle()

    def _announce(self, entries: Sequence[Entry]) -> None:
        try:
            self._journal.save(entries)
        except OSError as error:
            skip(f"the journal cannot be written ({error.strerror}), so nothing else is")

    def _prove(self, path: str, cpu: int, register: int) -> None:
        """Give the register its own value: where the processor refuses that, it refuses it later too."""
        if (cpu, register) in self._proved:
            return
        try:
            value = self._host.msr_read(cpu, register)
            self._host.msr_write(cpu, register, value)
        except OSError as error:
            skip(f"{path} is left alone: register {register:#x} cannot be put back ({error.strerror})")
        self._proved.add((cpu, register))

    def _say_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._say(line)
