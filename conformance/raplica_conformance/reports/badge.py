# SPDX-License-Identifier: Apache-2.0
"""The badge: one JSON object that says in a few words how a run ended, in the endpoint schema of shields.io.

Put where the web can read it, it is what `https://img.shields.io/endpoint?url=...` draws: `schemaVersion`, `label`,
`message`, `color`, and `isError` where the run says nothing of its subject.
"""

import json
from collections.abc import Sequence

from raplica_conformance.verdicts import FAILURES, Verdict, exit_code

__all__ = ["render"]

_LABEL = "RAPL conformance"


def render(verdicts: Sequence[Verdict]) -> str:
    """One JSON object that ends in a newline. What is expected to fail and what was not judged is not counted."""
    words = [verdict.verdict for verdict in verdicts]
    passed, failed, broken = words.count("pass"), sum(word in FAILURES for word in words), words.count("broken")
    badge: dict[str, object] = {"schemaVersion": 1, "label": _LABEL}
    match exit_code(verdicts):
        case 0:
            badge |= {"message": f"{passed} pass", "color": "brightgreen"}
        case 1:
            badge |= {"message": f"{failed} of {passed + failed + broken} fail", "color": "red"}
        case _:
            badge |= {
                "message": f"{broken} broken" if broken else "nothing judged",
                "color": "lightgrey",
                "isError": True,
            }
    return json.dumps(badge, indent=2) + "\n"
