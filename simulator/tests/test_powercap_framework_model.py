# SPDX-License-Identifier: Apache-2.0
"""Control types and zones registered and unregistered in any order, against a model that only counts references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EEXIST, EINVAL, ENODEV, ENOENT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import ConstraintOps, ControlType, ControlTypeOps, Machine, Zone, ZoneOps

MakeMachine = Callable[..., Machine]
LIMITS = ConstraintOps(
    set_power_limit_uw=lambda _zone, _number, _value: None,
    get_power_limit_uw=lambda _zone, _number: 0,
    set_time_window_us=lambda _zone, _number, _value: None,
    get_time_window_us=lambda _zone, _number: 0,
)


def errno_of(call: Callable[[], object]) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


@dataclass(eq=False)
class Node:
    """A control type or zone of the model: what it hangs below, what hangs below it, which ids are given out."""

    label: str
    above: Node | None = None
    counted_in: Node | None = None
    below: set[Node] = field(default_factory=set)
    ids: set[int] = field(default_factory=set)
    number: int = 0
    zones: int = 0
    registered: bool = True
    released: bool = False
    real: ControlType | Zone | None = None

    @property
    def visible(self) -> bool:
        """Whether its directory is there: it and everything above it are registered."""
        return self.registered and (self.above is None or self.above.visible)


class Model:
    """The rules, without any sysfs."""

    def __init__(self) -> None:
        self.types: list[Node] = []
        self.zones: list[Node] = []
        self.released: list[str] = []

    def let_go(self, node: Node) -> None:
        """A registration has ended: the one above is let go first, then the node itself."""
        if node.above:
            node.above.below.discard(node)
            self.release(node.above)
        self.release(node)

    def release(self, node: Node) -> None:
        if not node.registered and not node.below and not node.released:
            node.released = True
            if node.above:
                node.above.ids.discard(node.number)
            self.released.append(node.label)


class Pair:
    """The framework and the model, told the same."""

    def __init__(self, machine: Machine) -> None:
        self.powercap = machine.powercap
        self.sysfs = machine.sysfs
        self.model = Model()
        self.released: list[str] = []
        self.count = 0

    def add_type(self, which: int) -> None:
        name = "xyz"[which % 3]
        node = Node(f"{name}{self.count}")
        self.count += 1
        taken = any(one.registered and one.label[0] == name for one in self.model.types)
        ops = ControlTypeOps(release=lambda _: self.released.append(node.label))

        def register() -> None:
            node.real = self.powercap.register_control_type(name, ops, caller_owned=True)

        assert errno_of(register) == (EEXIST if taken else 0)
        if taken:
            # What could not be registered is let go at once.
            self.model.released.append(node.label)
        else:
            self.model.types.append(node)

    def add_zone(self, type_: int, parent: int) -> None:
        if not self.model.types:
            return
        kind = self.model.types[type_ % len(self.model.types)]
        zones = [zone for zone in self.model.zones if not zone.released]
        above = zones[parent % len(zones)] if parent % 3 and zones else kind
        node = Node(f"zone{self.count}", above, kind)
        self.count += 1
        ops = ZoneOps(get_power_uw=lambda _: 1, release=lambda _: self.released.append(node.label))
        wanted = 0 if above.visible else ENOENT
        wanted = wanted if kind.registered else EINVAL
        assert isinstance(kind.real, ControlType)
        control_type, below = kind.real, above.real if isinstance(above.real, Zone) else None

        def register() -> None:
            node.real = self.powercap.register_zone(
                control_type, "zone", ops, parent=below, constraint_ops=LIMITS, caller_owned=True
            )

        assert errno_of(register) == wanted
        if wanted == ENOENT:
            self.model.released.append(node.label)
        elif not wanted:
            node.number = next(number for number in range(1000) if number not in above.ids)
            above.ids.add(node.number)
            above.below.add(node)
            kind.zones += 1
            self.model.zones.append(node)
            assert isinstance(node.real, Zone)
            assert node.real.id == node.number

    def drop_zone(self, which: int, from_: int) -> None:
        zones = [zone for zone in self.model.zones if zone.registered]
        if not zones:
            return
        node = zones[which % len(zones)]
        # Now and then it is taken out of another control type than its own.
        kind = self.model.types[from_ % len(self.model.types)] if from_ % 5 == 0 else node.counted_in
        assert kind is not None
        assert isinstance(kind.real, ControlType)
        assert isinstance(node.real, Zone)
        self.powercap.unregister_zone(kind.real, node.real)
        kind.zones -= 1
        node.registered = False
        self.model.let_go(node)
        with pytest.raises(ValueError, match="has been unregistered already"):
            self.powercap.unregister_zone(kind.real, node.real)

    def drop_type(self, which: int) -> None:
        if not self.model.types:
            return
        node = self.model.types[which % len(self.model.types)]
        wanted = EINVAL if node.zones else 0 if node.registered else ENODEV
        assert isinstance(node.real, ControlType)
        control_type = node.real
        assert errno_of(lambda: self.powercap.unregister_control_type(control_type)) == wanted
        if not wanted:
            node.registered = False
            self.model.let_go(node)

    def compare(self) -> None:
        everything = [*self.model.types, *self.model.zones]
        links = {node.real.device.name for node in everything if node.registered and node.real}
        assert set(self.sysfs.listdir("class/powercap")) == {"intel-rapl", "intel-rapl:0", "intel-rapl:0:0", *links}
        for node in everything:
            assert node.real is not None
            if node.visible:
                assert self.sysfs.read(f"{node.real.device.directory.path}/enabled") == b"1\n"
            else:
                assert node.real.device.directory.dead
            if isinstance(node.real, ControlType):
                assert node.real.zone_count == node.zones


OPERATIONS = st.one_of(
    st.tuples(st.just("add_type"), st.integers(0, 5)),
    st.tuples(st.just("add_zone"), st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("add_zone"), st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("drop_zone"), st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("drop_type"), st.integers(0, 30)),
)


@given(st.lists(OPERATIONS, max_size=30))
def test_any_sequence_of_registrations_ends_as_the_count_of_references_says(
    make_machine: MakeMachine, operations: list[tuple[str, int] | tuple[str, int, int]]
) -> None:
    pair = Pair(make_machine("zen3"))
    for name, *arguments in operations:
        getattr(pair, name)(*arguments)
        assert pair.released == pair.model.released
    pair.compare()
