# SPDX-License-Identifier: Apache-2.0
"""What is asked of a page in a browser: that it loads nothing, says nothing, bars nobody, and does what it offers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from page_witness.devtools import Browser, BrowserError

__all__ = ["SIZES", "Seen", "look_at"]

#: A desk and a telephone, in CSS pixels.
SIZES = ((1200, 900), (400, 800))

_OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"
_AXE = """
axe.run(document, {resultTypes: ['violations', 'incomplete']}).then((found) => ({
  violations: found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes[0].html.slice(0, 200)}`),
  unsure: found.incomplete.map((one) => one.id),
  passes: found.passes.length,
}))
"""


@dataclass(slots=True)
class Seen:
    """What came of one page in one size and one theme. All but `passes` and `unsure` should be empty."""

    passes: int = 0
    unsure: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to mend."""
        return bool(self.passes) and not (self.violations or self.said or self.asked_for or self.wrong)


def look_at(browser: Browser, page: Path, axe: str, size: tuple[int, int], *, dark: bool) -> Seen:
    """Open a page, try what it offers, then let axe-core look at all of it, with everything open."""
    browser.look(width=size[0], height=size[1], dark=dark)
    address = page.as_uri()
    browser.open(address)
    seen = Seen(wrong=[*_tried(browser, page, dark=dark)])
    browser.run(_OPEN_ALL)
    if browser.run("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        seen.wrong.append("the page is wider than the window")
    # What axe itself says or does is not the page's.
    seen.said = [*_said(browser.events)]
    seen.asked_for = [one for one in _asked_for(browser.events) if one != address]
    browser.run(axe)
    found = browser.run(_AXE)
    seen.passes, seen.unsure, seen.violations = found["passes"], sorted(found["unsure"]), found["violations"]
    return seen


def _tried(browser: Browser, page: Path, *, dark: bool) -> Iterator[str]:
    """What a person does: each thing that does not work, in a sentence."""
    if browser.run("window.hacked !== undefined"):
        yield "text of the report was run as a script"
    if browser.run("getComputedStyle(document.body).colorScheme") != ("dark" if dark else "light"):
        yield "the page does not follow the system's theme"
    browser.press("Tab")
    if browser.run("document.activeElement.className") != "to-content":
        yield "the first stop of the keyboard is not the way to the content"
    browser.press("Enter")
    if browser.run("document.activeElement.id") != "content":
        yield "the way to the content does not lead there"
    other = "light" if dark else "dark"
    browser.run(f"theme.value = '{other}', theme.dispatchEvent(new Event('change'))")
    if browser.run("getComputedStyle(document.body).colorScheme") != other:
        yield f"the theme cannot be made {other}"
    browser.run("theme.value = 'system', theme.dispatchEvent(new Event('change'))")
    yield from _links(browser, page)
    if browser.run("document.getElementById('sought') !== null"):
        yield from _sifted(browser)


def _links(browser: Browser, page: Path) -> Iterator[str]:
    """Every link within the page leads to something that can then be seen, with scripts and without."""
    script = """
    (() => {
      const wrong = [];
      for (const link of document.querySelectorAll("main a[href^='#']")) {
        for (const one of document.querySelectorAll("details")) one.open = false;
        link.click();
        const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
        if (!target || !target.checkVisibility()) wrong.push(link.getAttribute("href"));
      }
      return wrong;
    })()
    """
    for link in browser.run(script):
        yield f"nothing is to be seen where {link} leads"
    inner = browser.run("document.querySelector(\"details > div[id]\")?.id ?? ''")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open("about:blank")
        browser.open(f"{page.as_uri()}#{_quoted(inner)}")
        if inner and not browser.run(f"document.getElementById({json.dumps(inner)}).checkVisibility()"):
            yield f"without scripts #{inner} stays closed"
        if browser.run("[...document.querySelectorAll('.tools')].some((one) => one.checkVisibility())"):
            yield "without scripts there are controls that do nothing"
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
        browser.open("about:blank")
        browser.open(page.as_uri())


def _sifted(browser: Browser) -> Iterator[str]:
    """Words and verdicts are sought together."""
    shown = "[...document.querySelectorAll('[data-words]')].filter((one) => one.checkVisibility()).length"
    everything = browser.run(shown)
    browser.run("sought.value = 'no such words', sought.dispatchEvent(new Event('input'))")
    browser.run("new Promise((done) => setTimeout(done, 300))")
    if browser.run(shown) != 0 or not browser.run("document.getElementById('shown').textContent").startswith("0 of"):
        yield "what is sought in vain is still shown"
    browser.run("sought.value = '', sought.dispatchEvent(new Event('input'))")
    browser.run("new Promise((done) => setTimeout(done, 300))")
    browser.run(
        "for (const box of document.querySelectorAll(\"input[name='word']\")) if (box.value !== 'fail') box.click()"
    )
    failing = browser.run("document.querySelectorAll(\"[data-words~='fail']\").length")
    if browser.run(shown) != failing or failing > everything:
        yield "what fails cannot be shown alone"
    browser.run("for (const box of document.querySelectorAll(\"input[name='word']\")) if (!box.checked) box.click()")
    if browser.run(shown) != everything:
        yield "what was hidden does not come back"


def _said(events: list[dict[str, Any]]) -> Iterator[str]:
    """What the console shows: messages, errors, and what the content security policy stopped."""
    for event in events:
        parameters = event.get("params", {})
        match event["method"]:
            case "Log.entryAdded":
                yield str(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled":
                yield " ".join(str(one.get("value", one.get("description"))) for one in parameters["args"])
            case "Runtime.exceptionThrown":
                yield str(parameters["exceptionDetails"].get("exception", {}).get("description", "an exception"))


def _asked_for(events: list[dict[str, Any]]) -> Iterator[str]:
    """Each address that was asked for, without the place on the page."""
    for event in events:
        if event["method"] == "Network.requestWillBeSent":
            yield str(event["params"]["request"]["url"]).partition("#")[0]


def _quoted(fragment: str) -> str:
    from urllib.parse import quote

    if not isinstance(fragment, str):
        raise BrowserError("an id of the page is no text")
    return quote(fragment)
