"""A browser without a window, driven through chromedriver's HTTP interface (WebDriver)."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Browser:
    """One window. Methods raise RuntimeError with the driver's message."""

    def __init__(self, driver: str, profile: str) -> None:
        self._session = driver
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"{driver}/session/{made['sessionId']}"

    def show(self, address: str) -> None:
        """Load a page, and wait until it is complete."""
        self._call("url", {"url": address})

    def resize(self, width: int, height: int) -> None:
        """Make the window of this size, in pixels."""
        self._call("window/rect", {"width": width, "height": height})

    def run(self, script: str) -> Any:
        """Return what the body of a JavaScript function returns on the page."""
        return self._call("execute/sync", {"script": script, "args": []})

    def console(self) -> list[str]:
        """Return errors and warnings of the console since the last call."""
        entries = self._call("se/log", {"type": "browser"})
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(self._call("screenshot", None))

    def _call(self, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(f"{self._session}/{path}", data), timeout=60) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()}") from error


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it. Raises FileNotFoundError without
    chromedriver."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/status")
            window = Browser(f"http://127.0.0.1:{port}", str(Path(folder) / "profile"))
            yield window
            with contextlib.suppress(RuntimeError):
                urlopen(Request(window._session, method="DELETE"), timeout=60).close()
        finally:
            driver.terminate()
            driver.wait()


def _wait_for(address: str) -> None:
    for _ in range(100):
        with contextlib.suppress(URLError):
            urlopen(address, timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError("chromedriver did not start within 10 s")
