"""Headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_DEADLINE_S = 60.0
_KEYS = {
    "ArrowUp": (38, ""), "ArrowLeft": (37, ""), "ArrowRight": (39, ""), "Enter": (13, "\r"),
    "Space": (32, " "), "Tab": (9, ""), "KeyR": (82, "r"), "KeyP": (80, "p"),
}  # fmt: skip


def found() -> str:
    """Returns the program; without one the test is skipped, unless in continuous integration."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI"):
        pytest.fail("Chromium is not installed: apt-get install chromium.")
    pytest.skip("Chromium is not installed.")


class Tab:
    """One page, as a person has it before them."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._numbers = itertools.count(1)
        self.errors: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._link.send(json.dumps({"id": number, "method": method, "params": parameters}))
        end = time.monotonic() + _DEADLINE_S
        while time.monotonic() < end:
            told = json.loads(self._link.recv(timeout=_DEADLINE_S))
            if told.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(json.dumps(told["params"]))
            if told.get("id") == number:
                assert "error" not in told, told
                result = told["result"]
                assert isinstance(result, dict)
                return result
        raise TimeoutError(method)

    def value(self, expression: str) -> Any:
        """Returns what an expression of the page's own script comes to."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, expression: str) -> Any:
        end = time.monotonic() + _DEADLINE_S
        while time.monotonic() < end:
            if value := self.value(expression):
                return value
            time.sleep(0.05)
        raise TimeoutError(expression)

    def key(self, code: str, down: bool) -> None:
        number, text = _KEYS[code]
        name = {"Space": " "}.get(
            code, code.removeprefix("Key").lower() if "Key" in code else code
        )
        kind = ("keyDown" if text else "rawKeyDown") if down else "keyUp"
        parameters = {"type": kind, "code": code, "key": name, "windowsVirtualKeyCode": number}
        if text and down:
            parameters["text"] = text
        self.call("Input.dispatchKeyEvent", **parameters)

    def press(self, code: str) -> None:
        self.key(code, True)
        self.key(code, False)

    def mouse(self, selector: str, *kinds: str) -> None:
        """Presses and releases the left button over an element, which is scrolled to."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        for kind in kinds or ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind, x=place[0], y=place[1], button="left", clickCount=1,
            )  # fmt: skip

    def theme(self, name: str) -> None:
        """Has the page be `light` or `dark`."""
        wanted = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=wanted)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def shoot(self, path: pathlib.Path) -> None:
        told = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["data"]))


@contextlib.contextmanager
def opened(address: str) -> Iterator[Tab]:
    """Yields a page that has been loaded."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(found(), "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio"),
                *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--no-first-run"),
                *("--disable-background-networking", f"--user-data-dir={profile}", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with _attached(process) as tab:
                for domain in ("Runtime", "Log", "Page"):
                    tab.call(f"{domain}.enable")
                tab.call("Page.navigate", url=address)
                tab.wait("document.readyState === 'complete'")
                yield tab
        finally:
            process.terminate()
            process.communicate(timeout=20)


@contextlib.contextmanager
def _attached(process: subprocess.Popen[str]) -> Iterator[Tab]:
    """Yields the first page of a browser that starts."""
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r"ws://([\d.]+:\d+)/devtools/browser/\S+", line):
            break
    else:
        raise AssertionError("Chromium did not start.")
    limits: dict[str, Any] = {"compression": None, "max_size": 64 << 20, "open_timeout": 60.0}
    pages: list[str] = []
    ends = time.monotonic() + 60.0
    with connect(match[0], **limits) as browser:
        while not pages:
            assert time.monotonic() < ends, "Chromium has opened no page."
            targets = Tab(browser).call("Target.getTargets")["targetInfos"]
            pages = [each["targetId"] for each in targets if each["type"] == "page"]
    with connect(f"ws://{match[1]}/devtools/page/{pages[0]}", **limits) as link:
        yield Tab(link)
