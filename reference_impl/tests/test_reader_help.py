# SPDX-License-Identifier: Apache-2.0
"""What the help of `raplica-reader` shows can be typed."""

import re
import shlex

import pytest

from raplica_reader import arguments

HELPS = (
    arguments.EXAMPLES,
    arguments.EXAMPLES_LIST,
    arguments.EXAMPLES_READ,
    arguments.EXAMPLES_WATCH,
    arguments.EXAMPLES_STEPPED,
)
LINES = [line.strip() for text in HELPS for line in text.splitlines() if "raplica-reader " in line]


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_understood(line: str) -> None:
    # What stands before a pipe and behind it is the shell's, and what stands wide apart a word on it.
    (command,) = re.findall(r"raplica-reader ((?:(?! {3,}| \| ).)*)", line)
    words = shlex.split(command)
    words = words[: words.index("--json") + 1] if "--json" in words else words
    parsed = arguments.parser("VERSION").parse_args(words)
    assert parsed.command == words[0]
