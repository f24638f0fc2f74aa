"""A real Chromium without a window, driven over a pipe: no port is opened, and it reaches nothing but loopback.

It speaks the DevTools protocol, of which a handful of commands is used; see
https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

_PROGRAM = """exec "$@" 3<&"$TO_BROWSER" 4>&"$FROM_BROWSER" """
"""Chromium reads commands from descriptor 3 and writes to 4; only a shell can put ours there safely."""

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # it cannot have one as root, and reads nothing but our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


class Browser:
    """A browser process; a context manager."""

    def __init__(self) -> None:
        program = shutil.which("chromium")
        assert program, "chromium is missing: run tools/setup"
        self._home = tempfile.mkdtemp(prefix="alimail-chromium-")
        theirs_in, ours_out = _pipe()
        ours_in, theirs_out = _pipe()
        places = {"TO_BROWSER": str(theirs_in), "FROM_BROWSER": str(theirs_out), "HOME": self._home}
        self._process = subprocess.Popen(
            ["bash", "-c", _PROGRAM, "bash", program, *_OPTIONS, f"--user-data-dir={self._home}/profile"],
            env=os.environ | places,
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out: BinaryIO = os.fdopen(ours_out, "wb", buffering=0)
        self._in: BinaryIO = os.fdopen(ours_in, "rb")
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """Return the browser itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process and remove what it wrote."""
        self._out.close()  # Chromium ends when its pipe does
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._in.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def ask(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        self._number += 1
        number = self._number
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        self._out.write(json.dumps(command).encode() + b"\0")
        while (told := self._read()).get("id") != number:
            self.events.append(told)
        assert "error" not in told, told["error"]
        return dict(told["result"])

    def wait_for(self, method: str, session: str) -> None:
        """Wait until an event of a page has come."""
        while not any(
            each.get("method") == method and each.get("sessionId") == session for each in self.events
        ):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        message = bytearray()
        while (octet := self._in.read(1)) != b"\0":
            assert octet, "chromium ended"
            message += octet
        return dict(json.loads(message))

    def open(
        self,
        place: Path | str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        media: str = "",
        scripts: bool = True,
        before: str = "",
    ) -> Page:
        """Open a file or URL in a new page, on a screen so wide and high, by day or by night.

        ``before``: a script that runs before those of the page, and that no policy keeps out.
        """
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.ask(f"{domain}.enable")
        page.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        page.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        if before:
            page.ask("Page.addScriptToEvaluateOnNewDocument", source=before)
        page.ask("Page.navigate", url=place if isinstance(place, str) else place.as_uri())
        self.wait_for("Page.loadEventFired", session)
        return page


class Page:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command for this page."""
        return self._browser.ask(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Return what an expression is, in the page; a promise is awaited."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    @property
    def requests(self) -> list[str]:
        """The addresses that the page asked for, its own among them."""
        return [each["params"]["request"]["url"] for each in self._events("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What the browser wrote into its console, such as what the page's policy forbade."""
        return [each["params"]["entry"]["text"] for each in self._events("Log.entryAdded")]

    def _events(self, method: str) -> list[dict[str, Any]]:
        return [
            each
            for each in self._browser.events
            if each.get("method") == method and each.get("sessionId") == self._session
        ]

    def picture(self, *, whole: bool = False) -> bytes:
        """Take a picture of the screen, or of the ``whole`` page: a PNG file."""
        options: dict[str, Any] = {"format": "png"}
        if whole:
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            options["captureBeyondViewport"] = True
            options["clip"] = {**size, "scale": 1}
        return base64.b64decode(self.ask("Page.captureScreenshot", **options)["data"])

    def paper(self) -> bytes:
        """Print the page on A4: a PDF file."""
        sizes = {"paperWidth": 8.27, "paperHeight": 11.69}
        told = self.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=False, **sizes)
        return base64.b64decode(told["data"])

    def close(self) -> None:
        """Close the page."""
        self._browser.ask("Target.closeTarget", targetId=self._target)


def _pipe() -> tuple[int, int]:
    """Make a pipe whose ends have numbers that a shell does not use itself."""
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 20), fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(reading)
    os.close(writing)
    return high
