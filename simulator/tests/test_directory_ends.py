# SPDX-License-Identifier: Apache-2.0
"""Writing a machine's tree that ends at any point: an error or Ctrl-C leaves the whole tree or nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.surfaces import write_tree

from .written_tree import listed, wanted


class Stumble:
    """Makes the n-th call of the functions that change a file system raise, once."""

    NAMES = ("mkdir", "chmod", "open", "write", "fchmod", "close", "symlink", "rename", "rmdir", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
        self.left = at
        self.error = error
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self.guarded(getattr(os, name), late=name == "close"))

    def guarded(self, function: Callable[..., object], *, late: bool) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            # A descriptor is closed whatever comes: the kernel does not leave it open.
            result = function(*arguments, **named) if late else None
            self.left -= 1
            if self.left == 0:
                raise self.error
            return result if late else function(*arguments, **named)

        return call


@pytest.fixture
def tiny(make_machine: Callable[..., Machine]) -> Machine:
    """One zone: few enough files to try every point at which writing may end."""
    return make_machine("baytrail", registers={0x639: None})


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("existing", [True, False])
def test_wherever_it_ends_there_is_the_whole_tree_or_nothing(
    tmp_path: Path, tiny: Machine, error: BaseException, *, existing: bool
) -> None:
    whole = wanted(tiny)
    outcomes = set()
    for at in range(1, 1000):
        place = tmp_path / str(at)
        (place / "a").mkdir(parents=True)
        out = place / "a" if existing else place / "a" / "b" / "sys"
        with pytest.MonkeyPatch.context() as patch:
            stumble = Stumble(patch, at, error)
            try:
                write_tree(tiny, out)
            except (OSError, KeyboardInterrupt) as raised:
                assert raised is error  # noqa: PT017 - either may come
        found = listed(place / "a")
        expected = whole if existing else {f"b/sys/{path}": entry for path, entry in whole.items()}
        if not existing:
            found = {path: entry for path, entry in found.items() if path not in ("b", "b/sys")}
        assert found in ({}, expected), f"call {at}"
        outcomes.add(bool(found))
        if stumble.left > 0:
            break
    else:
        pytest.fail("writing never came to its end")
    assert outcomes == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_wherever_replacing_ends_each_file_is_the_old_or_the_new_one(
    tmp_path: Path, tiny: Machine, error: BaseException
) -> None:
    new = wanted(tiny)
    old = {path: (kind, mode, b"old" if kind == "file" else what) for path, (kind, mode, what) in new.items()}
    for at in range(1, 1000, 3):
        out = tmp_path / str(at)
        write_tree(tiny, out)
        for path, (kind, _, _) in new.items():
            if kind == "file":
                mode = (out / path).stat().st_mode
                (out / path).chmod(0o600)
                (out / path).write_bytes(b"old")
                (out / path).chmod(mode)
        with pytest.MonkeyPatch.context() as patch:
            stumble = Stumble(patch, at, error)
            try:
                write_tree(tiny, out, force=True)
            except (OSError, KeyboardInterrupt) as raised:
                assert raised is error  # noqa: PT017 - either may come
        found = listed(out)
        assert set(found) == set(new)
        assert [path for path, entry in found.items() if entry not in (old[path], new[path])] == [], f"call {at}"
        if stumble.left > 0:
            assert found == new
            break
    else:
        pytest.fail("writing never came to its end")
