# SPDX-License-Identifier: Apache-2.0
"""One printable line: a path may hold line breaks and escape bytes, and neither belongs on a terminal."""

__all__ = ["printable"]


def printable(text: str) -> str:
    """The same text with every character that does not print as its Python escape, line breaks included."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
