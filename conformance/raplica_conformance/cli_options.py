# SPDX-License-Identifier: Apache-2.0
"""The options that several commands of `conformance` have, each spelt and passed on in one way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["json_option", "report_option"]


def report_option(help: str) -> Callable[[Any], Any]:  # noqa: A002 - click's word
    """--report PATH, any number of times, as `reports`; `help` says which formats there are."""
    return click.option(
        "--report", "reports", multiple=True, metavar="PATH", type=click.Path(path_type=Path), help=help
    )


def json_option(help: str) -> Callable[[Any], Any]:  # noqa: A002 - click's word
    """--json, as `as_json`; `help` says what is printed then."""
    return click.option("--json", "as_json", is_flag=True, help=help)
