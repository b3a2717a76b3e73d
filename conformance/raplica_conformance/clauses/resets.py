# SPDX-License-Identifier: Apache-2.0
"""What becomes of a number that is written to a counter: some drivers can reset theirs, RAPL's cannot.

Mirrors energy_uj_store in drivers/powercap/powercap_sys.c. The mode tells: 0600 with a reset, 0400 without.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import value, zones_of
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subject import Provider, exists


@clause(
    "powercap.write.energy-reset",
    level="must",
    title="A counter that can be reset takes 0, takes any other number without doing anything, and no other text.",
    group="writes",
    source="drivers/powercap/powercap_sys.c energy_uj_store",
    needs=("wild-writes", "content", "modes"),
    pitfalls=("reset-takes-any-number",),
)
def write_energy_reset(tree: Provider) -> None:
    """Success says nothing: 5 is a good number and sets nothing. Where the driver's reset fails, 0 is EINVAL."""
    for zone in zones_of(tree):
        path = f"{zone.path}/energy_uj"
        before = value(tree, path)
        if before is None or not exists(tree, path) or not tree.stat(path).mode & 0o200:
            continue
        expect(outcome(tree, path, b"x"), "EINVAL", f"writing x to {path}")
        expect(outcome(tree, path, b"5\n"), 2, f"writing 5 to {path}")
        after = value(tree, path)
        # Without a clock of its own the subject counts on meanwhile.
        kept = after is not None and after >= before
        expect(after if not kept else before, before, f"{path} after writing 5")
        if outcome(tree, path, b"0\n") == 2 and "steps" in tree.can:
            expect(value(tree, path), 0, f"{path} after writing 0")
