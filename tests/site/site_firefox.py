"""Firefox without a driver program: it speaks WebDriver BiDi itself, over a socket of this machine."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import websocket


def firefox() -> str | None:
    """The path of Firefox, or None. LABS_FIREFOX overrides."""
    return os.environ.get("LABS_FIREFOX") or shutil.which("firefox") or shutil.which("firefox-esr")


class Firefox:
    """A headless Firefox with a profile of its own; `quit` ends it.

    Example:
        browser = Firefox(tmp_path)
        browser.open("http://127.0.0.1:8000/")
        browser.run("() => document.title")
        browser.quit()
    """

    def __init__(self, profile: Path) -> None:
        found = firefox()
        assert found, "Firefox is needed: apt install firefox-esr"
        profile.mkdir(parents=True, exist_ok=True)
        (profile / "user.js").write_text(_PREFERENCES, "utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [found, "--headless", "--no-remote", "--profile", str(profile), f"--remote-debugging-port={port}"]
        command += ["--width", "1280", "--height", "1600", "about:blank"]
        environment = os.environ | {"HOME": str(profile), "MOZ_DISABLE_CONTENT_SANDBOX": "1"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        self._numbers = itertools.count(1)
        self._socket = self._connect(port)
        self.call("session.new", capabilities={})
        self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def _connect(self, port: int) -> websocket.WebSocket:
        for _attempt in range(240):
            try:
                return websocket.create_connection(f"ws://127.0.0.1:{port}/session", timeout=120, suppress_origin=True)
            except (OSError, websocket.WebSocketException):
                assert self._process.poll() is None, "Firefox ended at once"
                time.sleep(0.25)
        raise AssertionError("After 60 seconds Firefox still does not answer")

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of BiDi; events in between are dropped."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        self.call("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def run(self, function: str) -> Any:
        """Call a function of JavaScript and return what it returns, promises awaited."""
        found = self.call(
            "script.callFunction",
            functionDeclaration=f"async () => JSON.stringify((await ({function})()) ?? null)",
            target={"context": self.context},
            awaitPromise=True,
        )
        assert found["type"] == "success", found.get("exceptionDetails", {}).get("text")
        return json.loads(found["result"]["value"])

    def quit(self) -> None:
        """End the browser and what it started."""
        self._socket.close()
        for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(seconds)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


# Nothing that asks the network by itself.
_PREFERENCES = "\n".join(
    f'user_pref("{name}", {json.dumps(value)});'
    for name, value in {
        "app.update.enabled": False,
        "browser.aboutwelcome.enabled": False,
        "browser.safebrowsing.downloads.remote.enabled": False,
        "browser.shell.checkDefaultBrowser": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "extensions.update.enabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "services.settings.server": "http://127.0.0.1:9/",
        "toolkit.telemetry.enabled": False,
    }.items()
)
