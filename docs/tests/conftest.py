# SPDX-License-Identifier: Apache-2.0
"""The scripts of the manual, which lie in no package."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[1]


@cache
def load(name: str) -> ModuleType:
    """Load docs/NAME.py, once."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """A script of the manual, by its name."""
    return load
