"""Debian's Chromium, driven through its DevTools protocol over a pipe: real keys, real pages, no driver in between."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["AXE", "Browser", "chromium"]

AXE = Path(__file__).resolve().parents[1] / "system" / "node_modules" / "axe-core" / "axe.min.js"
"""axe-core, which tests/system/install fetches."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",  # else a window of 390 has a page of 375
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
_KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    " ": (32, " "),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}
_NO_NETWORK = ("about", "blob", "data", "file")


class Browser:
    """One page. `complaints` are console messages of warnings and errors, and uncaught exceptions; `requests` all that was
    asked of a network, whether or not it answered. What the page's own policy stopped was never asked.
    """

    def __init__(self, process: subprocess.Popen[bytes], out: int, back: int) -> None:
        self._process, self._out, self._back = process, out, back
        self._number, self._rest = 0, b""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._asked: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command."""
        self._number += 1
        said: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            said["sessionId"] = self._session
        os.write(self._out, json.dumps(said).encode() + b"\0")
        end = time.monotonic() + 60
        while True:
            answer = self._next(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]  # type: ignore[no-any-return]
            self._note(answer)

    def go(self, address: str) -> None:
        """Open a page and wait until it has loaded."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 20) -> None:
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while not self.ask(expression):
            assert time.monotonic() < end, f"never: {expression}"
            time.sleep(0.01)

    def key(self, key: str, *, shift: bool = False) -> None:
        """A key goes down and up, as on a keyboard."""
        self.down(key, shift=shift)
        self.up(key)

    def down(self, key: str, *, shift: bool = False) -> None:
        """A key goes down and stays there."""
        code, text = _KEYS.get(key, (ord(key.upper()[0]), key))
        kind = "keyDown" if text else "rawKeyDown"
        more = {"text": text} if text else {}
        self.call(
            "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, modifiers=8 if shift else 0, **more
        )

    def up(self, key: str) -> None:
        """A key goes up."""
        self.call(
            "Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=_KEYS.get(key, (ord(key.upper()[0]),))[0]
        )

    def type(self, text: str) -> None:
        """Text into whatever has the focus, key by key."""
        for letter in text:
            self.key(letter)

    def look(self, width: int, height: int, scheme: str = "light") -> None:
        """The size of the window, and whether the user wants it light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """The page as a picture."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def print(self, path: Path) -> None:
        """The page on paper, of the size that its style asks for, as PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"]))

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA, with where. The page's own policy does not hold for it."""
        if not AXE.is_file():
            pytest.skip(f"no {AXE}: tests/system/install")
        self.call("Runtime.evaluate", expression=AXE.read_text())
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
        run = f"axe.run({{runOnly: {json.dumps(tags)}}}).then(r => JSON.stringify([r.violations, r.passes.length]))"
        found, passed = json.loads(self.ask(run))
        assert passed > 10, "axe-core looked at next to nothing"
        return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            data = os.read(self._back, 1 << 20)
            assert data, "Chromium has gone"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def _note(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        asked = said["request"]["url"] if event.get("method") == "Network.requestWillBeSent" else ""
        if asked and asked.partition(":")[0] not in _NO_NETWORK:
            self.requests.append(asked)
            self._asked[said["requestId"]] = asked
        if event.get("method") == "Network.loadingFailed" and said.get("blockedReason") == "csp":
            self.requests.remove(self._asked[said["requestId"]])
        if event.get("method") == "Runtime.consoleAPICalled" and said["type"] in ("warning", "error", "assert"):
            self.complaints.append(json.dumps(said["args"]))
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(said["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and said["entry"]["level"] in ("warning", "error"):
            self.complaints.append(said["entry"]["text"])


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; all its processes end with the block."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium: apt-get install chromium")
    (its_in, out), (back, its_out) = os.pipe(), os.pipe()
    # The protocol's pipe is on descriptors 3 and 4.
    command = ["bash", "-c", f'exec "$@" 3<&{its_in} 4>&{its_out}', "-", found, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, pass_fds=(its_in, its_out), start_new_session=True)
    os.close(its_in), os.close(its_out)
    try:
        yield Browser(process, out, back)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(out), os.close(back)
