# SPDX-License-Identifier: Apache-2.0
"""pytest as the host of a run: each clause on each subject is an item, and its node id is the clause id.

pytest is started sealed. It sees an empty configuration file and an empty folder of its own, loads no
conftest, no plugin but ours and no cache, and gets none of the PYTEST_ variables of the caller's environment;
so a project's settings cannot change a verdict, and nothing is written into its folder. Verdicts come from
`judge`; what pytest thinks of an item is not looked at.
"""

import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import REGISTRY, Clause
from raplica_conformance.expectations import Expectations
from raplica_conformance.judge import LIMIT_S, judge
from raplica_conformance.verdicts import Verdict

__all__ = ["HostError", "run"]

#: Built-in plugins that would print, capture, write, look at files or change how exceptions are handled.
_WITHOUT = (
    "cacheprovider",
    "debugging",
    "doctest",
    "faulthandler",
    "junitxml",
    "logging",
    "pastebin",
    "setuponly",
    "setupplan",
    "stepwise",
    "terminal",
    "threadexception",
    "unittest",
    "unraisableexception",
    "warnings",
)


class HostError(RuntimeError):
    """pytest ended before every clause was judged."""


def run(
    pairs: Iterable[tuple[Clause, Any]],
    *,
    known: Expectations | None = None,
    each: Callable[[Verdict], None] = lambda _verdict: None,
    limit_s: float = LIMIT_S,
    registry: Mapping[str, Clause] = REGISTRY,
) -> list[Verdict]:
    """Judge every pair of a clause and a subject in order; `each` sees a verdict as soon as it is made.

    Raises HostError when pytest stops early, and whatever `each` raises; KeyboardInterrupt as the user does.
    """
    wanted = list(pairs)
    verdicts: list[Verdict] = []
    raised: list[BaseException] = []

    def judged(clause: Clause, subject: Any) -> Verdict:
        verdict = judge(clause, subject, known=known, limit_s=limit_s, registry=registry)
        verdicts.append(verdict)
        try:
            each(verdict)
        except BaseException as error:  # noqa: BLE001 - raised again as soon as pytest has ended
            # pytest would take it for the failure of an item and go on.
            raised.append(error)
            pytest.exit("the reporter failed")
        return verdict

    with _sealed() as arguments:
        status = pytest.main(arguments, plugins=[_Plugin(wanted, judged)])
    if raised:
        raise raised[0]
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if len(verdicts) != len(wanted):
        raise HostError(f"pytest stopped after {len(verdicts)} of {len(wanted)} clauses (its status is {int(status)})")
    return verdicts


@contextmanager
def _sealed() -> Generator[list[str], None, None]:
    """The arguments for a pytest that sees nothing of the caller's, in an environment that says nothing."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    for name in kept:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        with tempfile.TemporaryDirectory(prefix="raplica-") as folder:
            empty = Path(folder, "empty.ini")
            empty.write_text("[pytest]\n", encoding="ascii")
            without = [argument for name in _WITHOUT for argument in ("-p", f"no:{name}")]
            yield [
                *("-c", str(empty), "--rootdir", folder, "--noconftest", "--import-mode=importlib", "--assert=plain"),
                *("--capture=no", *without, folder),
            ]
    finally:
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:
            del os.environ[name]
        os.environ.update(kept)


class _Item(pytest.Item):
    """One clause on one subject."""

    judged: Callable[[], Verdict]

    def runtest(self) -> None:
        verdict = self.judged()
        if verdict.verdict in ("skip", "not-applicable", "expected-fail"):
            pytest.skip(verdict.reason)
        if verdict.verdict != "pass":
            pytest.fail(verdict.reason, pytrace=False)


class _Subject(pytest.Collector):
    """The clauses of one subject."""

    pairs: Sequence[tuple[Clause, Any]]
    judged: Callable[[Clause, Any], Verdict]

    def collect(self) -> Iterable[pytest.Item]:
        for clause, subject in self.pairs:
            item = _Item.from_parent(self, name=clause.id, nodeid=clause.id)
            item.judged = partial(self.judged, clause, subject)
            yield item


class _Plugin:
    """Replaces pytest's collection of files by the clauses, in the order in which they were given."""

    def __init__(self, pairs: Sequence[tuple[Clause, Any]], judged: Callable[[Clause, Any], Verdict]) -> None:
        self.pairs = pairs
        self.judged = judged

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        session.items = []
        for name, group in groupby(self.pairs, key=lambda pair: pair[1].name):
            node = _Subject.from_parent(session, name=name, nodeid=name)
            node.pairs = list(group)
            node.judged = self.judged
            session.items.extend(node.collect())
        session.testscollected = len(session.items)
        return True
