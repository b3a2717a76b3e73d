# SPDX-License-Identifier: Apache-2.0
"""Decimal numbers as people, files and programs write them: watts, seconds, factors; read exactly, never as floats.

`Decimal` by itself takes more than anybody means (``1_0``, digits of any script), and what it cannot hold it refuses
with an error that is no ValueError, which the readers of JSON and TOML let through.
"""

from decimal import Decimal, InvalidOperation

__all__ = ["read_decimal"]

_SHOWN = 40


def read_decimal(text: str) -> Decimal:
    """The number that a text says, such as ``12``, ``-7.5`` or ``1e-3``; of nan and infinity, too, callers have a word.

    Raises ValueError in one line for any other text, and for a number whose exponent is beyond what can be held.
    """
    try:
        if text.isascii() and "_" not in text:
            return Decimal(text)
    except InvalidOperation:
        pass
    raise ValueError(f"{text[:_SHOWN]!r} is no number, or one of a size that nothing here has")
