"""Firefox without a driver program: it speaks Marionette itself, the protocol that such a program would use.

What the tests need of a browser, and no more: open an address, run JavaScript, type, click, take a picture. Keys and
clicks go through Firefox's own events, so they are a person's: Space presses a button, Tab moves on.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what WebDriver calls an element in JSON
_START = 90  # seconds: a busy machine with two cores has taken 40


def firefox() -> str | None:
    """The path of Firefox, or None. LABS_FIREFOX overrides."""
    return os.environ.get("LABS_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")


class FirefoxError(AssertionError):
    """What Firefox says about a command that it could not carry out."""


class Firefox:
    """A headless Firefox with a profile of its own; `quit` ends it.

    Args:
        profile: an empty folder, or one that does not exist yet.
        width, height: of the window, in pixels.

    Example:
        browser = Firefox(tmp_path / "firefox")
        browser.open("http://127.0.0.1:8000/")
        browser.run("() => document.title")
        browser.click("button")
        browser.quit()
    """

    def __init__(self, profile: Path, width: int = 1280, height: int = 1600) -> None:
        program = firefox()
        assert program, "Firefox is needed: apt install firefox-esr"
        profile.mkdir(parents=True, exist_ok=True)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines), "utf-8")
        command = [program, "--headless", "--no-remote", "--marionette", "--profile", str(profile), "about:blank"]
        environment = os.environ | {
            "HOME": str(profile),
            "MOZ_HEADLESS_WIDTH": str(width),
            "MOZ_HEADLESS_HEIGHT": str(height),
            "MOZ_CRASHREPORTER_DISABLE": "1",
        }
        with (profile / "firefox.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        self._numbers = itertools.count(1)
        self._rest = b""
        try:
            self._socket = self._connect(profile)
            self._message()  # how it greets
            self.call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": False}}})
            self.call("WebDriver:SetTimeouts", {"script": 180_000, "pageLoad": 150_000, "implicit": 0})
            self.call("WebDriver:SetWindowRect", {"width": width, "height": height})
        except BaseException:
            self.quit()
            raise

    def _connect(self, profile: Path) -> socket.socket:
        end = time.monotonic() + _START
        port = profile / "MarionetteActivePort"
        while time.monotonic() < end:
            assert self._process.poll() is None, (profile / "firefox.log").read_text("utf-8", "replace")
            with suppress(OSError, ValueError):
                return socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=200)
            time.sleep(0.1)
        raise AssertionError(f"After {_START} seconds Firefox still does not listen")

    def _message(self) -> Any:
        """One message: its length in bytes, a colon, and JSON."""
        while b":" not in self._rest:
            self._receive()
        length, _, self._rest = self._rest.partition(b":")
        while len(self._rest) < int(length):
            self._receive()
        message, self._rest = self._rest[: int(length)], self._rest[int(length) :]
        return json.loads(message)

    def _receive(self) -> None:
        more = self._socket.recv(1 << 16)
        if not more:
            raise FirefoxError("Firefox closed the connection")
        self._rest += more

    def call(self, name: str, parameters: dict[str, Any] | None = None) -> Any:
        """One command of Marionette, and its result.

        Raises:
            FirefoxError: Firefox refused or could not do it.
        """
        number = next(self._numbers)
        data = json.dumps([0, number, name, parameters or {}]).encode()
        self._socket.sendall(str(len(data)).encode() + b":" + data)
        while True:
            kind, answered, error, result = self._message()
            if kind == 1 and answered == number:
                if error:
                    raise FirefoxError(f"{name}: {error['error']}: {error['message']}")
                return result["value"] if isinstance(result, dict) and result.keys() == {"value"} else result

    def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        self.call("WebDriver:Navigate", {"url": address})

    def run(self, function: str, *arguments: Any) -> Any:
        """Call a function of JavaScript in the page and return what it returns, promises awaited."""
        return self.call("WebDriver:ExecuteScript", {"script": f"return ({function})(...arguments)", "args": arguments})

    def find(self, selector: str) -> str:
        """The element that a CSS selector finds first, for `call`."""
        found = self.call("WebDriver:FindElement", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a person does: something in front of it is an error."""
        self.call("WebDriver:ElementClick", {"id": self.find(selector)})

    def type(self, selector: str, text: str) -> None:
        """Give an element the focus and type into it."""
        self.call("WebDriver:ElementSendKeys", {"id": self.find(selector), "text": text})

    def press(self, *keys: str) -> None:
        """Press keys together, where the focus is: `press(Keys.SHIFT, Keys.ENTER)` with Selenium's names."""
        pressed = [{"type": "keyDown", "value": key} for key in keys]
        pressed += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self.call("WebDriver:PerformActions", {"actions": [{"type": "key", "id": "keys", "actions": pressed}]})

    def picture(self, path: Path) -> Path:
        """Write what the window shows as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("WebDriver:TakeScreenshot", {"full": False})))
        return path

    def quit(self) -> None:
        """End the browser and what it started."""
        with suppress(AttributeError, OSError):
            self._socket.close()
        for sign, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(seconds)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


# A free port, the focus whatever else is on the screen, and nothing that asks the network by itself.
_PREFERENCES: dict[str, object] = {
    "marionette.port": 0,
    "focusmanager.testmode": True,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
