# SPDX-License-Identifier: Apache-2.0
"""Taking zones and control types out in every order, the wrong ones too: what goes, what stays, which ids are free.

Where the kernel would go on to use memory that its own client has freed, the client here has it still: it is the
client's own, and its `release` is called.
"""

from __future__ import annotations

from itertools import permutations

from kernel_witness.guest.calls import Held
from kernel_witness.guest.framework import MANDATORY, POWER, Framework
from kernel_witness.guest.machine import CLASS, Machine
from kernel_witness.guest.recorder import Recorder

__all__ = ["held_zone", "orders", "under_the_gone", "wrong_types"]

_OWN = f"ops=get_energy_uj,release cops={','.join(MANDATORY)}"


def orders(recorder: Recorder, _: Machine) -> None:
    """Take three zones, one below the other, out in each of the six orders."""
    framework = Framework(recorder)
    for order in permutations("abc"):
        recorder.label(f"removed in the order {', '.join(order)}")
        framework.do("type t own ops=release name=t")
        framework.do(f"zone a own type=t {_OWN} name=a")
        framework.do(f"zone b own type=t parent=a {_OWN} name=b")
        framework.do(f"zone c own type=t parent=b constraints=1 {_OWN} name=c")
        for key in order:
            framework.do("untype t")
            framework.do(f"unzone {key}")
            recorder.tree(f"without {key}")
            # Whether the id of the first is free shows in the path of another.
            framework.all((f"zone next type=t {POWER} name=next", "unzone next"))
        framework.do("untype t")
    recorder.tree("all gone")
    framework.close()


def under_the_gone(recorder: Recorder, _: Machine) -> None:
    """Register zones below one that is gone but for a child of it; let a control type go before its last zone."""
    recorder.label("below a zone that has gone")
    framework = Framework(recorder)
    framework.all(("type s own ops=release name=s", "type t own ops=release name=t"))
    framework.do(f"zone a own type=s {_OWN} name=a")
    framework.do(f"zone b own type=t parent=a {_OWN} name=b")
    framework.do("unzone a")
    framework.do(f"zone c own type=t parent=a {_OWN} name=c")
    framework.do(f"zone c type=s parent=a {POWER} name=c")
    framework.do(f"zone c own type=t parent=b {_OWN} name=c")
    recorder.tree("the parent has gone")
    recorder.label("a control type goes before a zone below its zone")
    framework.all(("untype s", "type s own ops=release name=s", f"zone a2 own type=s {_OWN} name=a2"))
    recorder.tree("a control type of the same name")
    framework.all(("unzone b", "untype t", "unzone a2", "untype s"))
    framework.close()


def wrong_types(recorder: Recorder, _: Machine) -> None:
    """Unregister with nothing, and with another control type than that of the zone: the count is that one's."""
    recorder.label("unregistered from the wrong control type")
    framework = Framework(recorder)
    both = ("type s own ops=release name=s", "type t own ops=release name=t")
    framework.all((*both, f"zone a own type=s {_OWN} name=a", f"zone b own type=t {_OWN} name=b"))
    framework.all(("unzone - type=s", "unzone -", "unzone a type=-"))
    recorder.tree("nothing happened")
    framework.all(("unzone a type=t", "untype s", "untype t"))
    recorder.tree("the wrong control type")
    framework.all(("unzone b type=s", "untype s", "untype t"))
    recorder.label("one zone less than none")
    framework.all((*both, f"zone a own type=s {_OWN} name=a", "unzone a type=t", "untype t"))
    framework.all((f"zone b own type=t {_OWN} name=b", "untype t", "untype s", "unzone b type=s", "untype s"))
    recorder.tree("all gone")
    framework.close()


def held_zone(recorder: Recorder, _: Machine) -> None:
    """Keep attributes open while their zone goes, and while its parent goes and takes it along."""
    framework = Framework(recorder)
    for goes in ("child", "parent"):
        for name in ("constraint_0_power_limit_uw", "energy_uj"):
            recorder.label(f"{name} held open while the {goes} goes")
            framework.do("type t name=t")
            framework.do(f"zone parent own type=t {_OWN} name=parent")
            reset = _OWN.replace("ops=", "ops=reset_energy_uj,", 1)
            framework.do(f"zone child own type=t parent=parent constraints=1 {reset} name=child")
            path = f"{CLASS}/t:0:0/{name}"
            held = Held(path)
            recorder.calls("hold", path, held.opened)
            framework.do(f"unzone {goes}")
            recorder.calls("held", None, held.try_again)
            framework.called()
            framework.do(f"unzone {'parent' if goes == 'child' else 'child'}")
            framework.do("untype t")
    framework.close()
