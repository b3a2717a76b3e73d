# SPDX-License-Identifier: Apache-2.0
"""A page that opens offline: one file that asks for nothing, and runs nothing but what it brought.

Style and script stand in the page, and its content security policy names both by their hash and forbids everything
else: an image, a font, a connection, a form, and any script or style that text of a report smuggled in. Before that
stands autoescape, and before that every text loses what does not print, line by line.
"""

import base64
import hashlib
import re
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from raplica_conformance.printable import printable
from raplica_conformance.reports.plot import HEIGHT, WIDTH, plot

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["TEMPLATES", "measured", "render_page", "source"]

#: All that pages are made of.
TEMPLATES = (
    "comparison.html.j2",
    "layout.html.j2",
    "matrix.html.j2",
    "page.css.j2",
    "page.js.j2",
    "parts.html.j2",
    "report.html.j2",
)


def render_page(template: str, **values: Any) -> str:
    """One HTML document, whole, from one of the templates; jinja2.UndefinedError where it lacks a value."""
    from markupsafe import Markup

    environment = _environment()
    style, script = (_safe(environment.get_template(name).render()) for name in ("page.css.j2", "page.js.j2"))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    page = environment.get_template(template).render(
        **values,
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - likewise
        policy=policy,
    )
    return f"{page}\n"


def measured(text: str, unit: str) -> str:
    """Millionths of a unit, as sysfs has them, in that unit: "28000000" is "28 W". Other text is left as it is."""
    if not re.fullmatch("-?[0-9]{1,20}", text):
        return text
    return f"{(Decimal(text) / 10**6).normalize():f} {unit}"


def source(name: str) -> str:
    """The text of one of TEMPLATES."""
    return files(__package__).joinpath("pages", name).read_text(encoding="utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(source),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    environment.filters["measured"] = measured
    environment.globals |= {"plot": plot, "plot_width": WIDTH, "plot_height": HEIGHT}
    return environment


def _printed(value: Any) -> Any:
    """Text of ours as it is, all other text without line breaks, bytes that do not print and marks that turn it."""
    return printable(value) if type(value) is str else value


def _safe(text: str) -> str:
    """Style or script without the line end, which a browser would hash as well."""
    return text.strip()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
