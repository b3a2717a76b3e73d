# SPDX-License-Identifier: Apache-2.0
"""A headless browser that is told what to do through two pipes, in the words of the Chrome DevTools Protocol.

The pipes are what `--remote-debugging-pipe` opens as descriptors 3 and 4: a JSON document each way, with a zero byte
behind it. The standard library is enough for that; see https://chromedevtools.github.io/devtools-protocol/.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any, Self

__all__ = ["Browser", "BrowserError", "find_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ANSWER_S = 60.0


class BrowserError(RuntimeError):
    """The browser is not here, ended, or did not do what it was told. One line."""


def find_browser() -> str:
    """The first browser in PATH, or BrowserError with what to do."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise BrowserError("there is no chromium in PATH: apt-get install chromium")


class Browser:
    """One tab of a headless browser with a profile of its own; `events` are those since `events.clear()`."""

    def __init__(self, program: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._session = ""
        self._rest = b""
        self._profile = tempfile.mkdtemp(prefix="raplica-browser-")
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        # The browser wants them as 3 and 4, whatever they are here; a shell puts them there.
        words = [
            *("sh", "-c", f'exec "$@" 3<&{commands_out} 4>&{answers_in}', "sh", program),
            *(
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ),
            *("--hide-scrollbars", f"--user-data-dir={self._profile}"),
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),
        ]
        self._process = subprocess.Popen(  # noqa: S603 - the browser that was found
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(commands_out, answers_in),
        )
        os.close(commands_out)
        os.close(answers_in)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and take its profile away."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        shutil.rmtree(self._profile, ignore_errors=True)

    @property
    def version(self) -> str:
        """What it calls itself, like Chrome/140.0.7339.80."""
        return str(self.call("Browser.getVersion")["product"]).removeprefix("Headless")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer; BrowserError where it is refused."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda one: one.get("id") == self._number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, address: str) -> None:
        """Load a page, and wait until all of it is there."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        if not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self._until(lambda one: one.get("method") == "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, waited for where it is a promise; BrowserError for what it throws."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]).splitlines()[0])
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """One key of the keyboard: "Tab", "Enter"."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key)
        more = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=codes[key], **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes[key])

    def look(self, *, width: int, height: int, dark: bool) -> None:
        """Be a window of that many CSS pixels on a system that is light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message that is wanted; events before it are kept."""
        while True:
            while b"\0" in self._rest:
                line, _, self._rest = self._rest.partition(b"\0")
                message: dict[str, Any] = json.loads(line)
                if "method" in message:
                    self.events.append(message)
                if wanted(message):
                    return message
            if not select.select([self._answers], [], [], _ANSWER_S)[0]:
                raise BrowserError(f"the browser said nothing for {_ANSWER_S:g} s")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise BrowserError("the browser ended")
            self._rest += more
