"""JupyterLab on this machine in a headless Chromium, started and stopped by the test itself.

The tests talk to JupyterLab in two ways: what a person does (type, click, press Enter) goes through the page; what
only has to happen (run all cells, read the outputs) goes through JupyterLab's own command registry, which the server
exposes for tests with `expose_app_in_browser`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROOT = Path(__file__).resolve().parents[2]
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-extensions",
    "--mute-audio",
    "--window-size=1280,1600",
)
_SETTINGS = {
    # Cells far from the visible part must stay in the page, or the tests cannot find their widgets.
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "apputils-extension/notification": {"checkForUpdates": False, "fetchNews": "false", "doNotDisturbMode": True},
    "docmanager-extension/plugin": {"autosave": False},
}


def chromium() -> tuple[str, str] | None:
    """Paths of the browser and of its driver, or None. LABS_CHROMIUM and LABS_CHROMEDRIVER override."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = os.environ.get("LABS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    driver = os.environ.get("LABS_CHROMEDRIVER") or shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def start_browser(profile: Path) -> webdriver.Chrome:
    """A headless browser with a profile of its own. The caller ends it with `quit`."""
    found = chromium()
    assert found, "Chromium and its driver are needed: apt install chromium chromium-driver"
    options = Options()
    options.binary_location = found[0]
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(found[1]))
    driver.set_page_load_timeout(150)
    return driver


def empty(driver: webdriver.Chrome) -> None:
    """Leave a browser as if it had just been started: one empty page, the usual size and media, a network, no messages.

    The first tab stays: one that a program opened has no focus, and JupyterLab then has no current notebook.
    """
    first, *others = driver.window_handles
    for handle in others:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(first)
    driver.delete_network_conditions()
    driver.get("about:blank")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    driver.execute_cdp_cmd("Accessibility.disable", {})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.set_window_size(1280, 1600)
    driver.get_log("browser")


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until `condition` gives something true and return it; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except StaleElementReferenceException:  # redrawn while we looked: look again
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"After {seconds:g} seconds still not: {what}")
        time.sleep(0.05)


def axe_findings(
    driver: webdriver.Chrome, inside: str = "body", outside: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> list[str]:
    """Serious and critical findings of axe-core in the page that is open, one line for each place.

    Arguments:
        inside, outside: CSS selectors of what is looked at and of what in it is left out.
        without: names of rules that are left out.
    """
    driver.set_script_timeout(60)
    driver.execute_script((Path(__file__).parent / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = driver.execute_async_script(
        "const [inside, outside, without, done] = arguments;"
        "axe.run({include: [inside], exclude: outside}, {resultTypes: ['violations'],"
        " rules: Object.fromEntries(without.map(name => [name, {enabled: false}]))})"
        ".then(result => done(result.violations), error => done(String(error)));",
        inside,
        list(outside),
        list(without),
    )
    assert isinstance(found, list), found
    return [
        f"{rule['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for rule in found
        for node in rule["nodes"]
        if rule["impact"] in ("serious", "critical")
    ]


def outline(driver: webdriver.Chrome, selector: str) -> str:
    """What a screen reader gets of an element: role, name and state of each node, indented."""
    driver.execute_cdp_cmd("Accessibility.enable", {})
    document = driver.execute_cdp_cmd("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
    found = driver.execute_cdp_cmd("DOM.querySelector", {"nodeId": document, "selector": selector})["nodeId"]
    backend = driver.execute_cdp_cmd("DOM.describeNode", {"nodeId": found})["node"]["backendNodeId"]
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}
    top = next(node for node in nodes if node.get("backendDOMNodeId") == backend)
    lines = []

    def walk(node: dict, depth: int) -> None:
        role = node.get("role", {}).get("value", "")
        shown = not node.get("ignored") and role not in ("InlineTextBox", "none", "generic")
        if shown:
            states = {entry["name"]: entry["value"].get("value") for entry in node.get("properties", ())}
            state = "".join(
                f" [{name} {states[name]}]" for name in ("expanded", "live") if states.get(name) is not None
            )
            lines.append(f"{'  ' * depth}{role} {node.get('name', {}).get('value', '')!r}{state}")
        for child in node.get("childIds", ()):
            if child in by_id:
                walk(by_id[child], depth + shown)

    walk(top, 0)
    return "\n".join(lines) + "\n"


def as_written_down(text: str, name: str) -> None:
    """Compare with the file of this name beside the tests; LABS_STORE=1 writes it, to be looked at before a commit."""
    path = Path(__file__).with_name(name)
    if os.environ.get("LABS_STORE"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


class LabServer:
    """A JupyterLab server over one folder, on a free port of 127.0.0.1, with settings of its own.

    Args:
        folder: what it shows.
        home: for its settings, data and log.
        usual: draw cells as JupyterLab does without our settings, those far from the visible part later.
        environment: variables of the server and its kernels, in place of those that the tests set.

    Example:
        with LabServer(tmp_path) as server:
            print(server.address("notebook.ipynb"))
    """

    def __init__(
        self, folder: Path, home: Path, *, usual: bool = False, environment: dict[str, str] | None = None
    ) -> None:
        self.environment = environment or {}
        self.folder, self.home, self.token = folder, home, secrets.token_hex(16)
        self.settings = {name: dict(values) for name, values in _SETTINGS.items()}
        if usual:
            del self.settings["notebook-extension/tracker"]["windowingMode"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen | None = None
        self.log = home / "jupyterlab.log"

    def __enter__(self) -> LabServer:
        settings = self.home / "settings"
        for name, values in self.settings.items():
            path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")
        environment = os.environ | {
            "LABS_DEQUANTIZE": "0",  # the slower kernels: an answer lasts long enough to press Stop in it
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.home / "workspaces"),
            "IPYTHONDIR": str(self.home / "ipython"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "LABS_MODELS": "tiny",
            "HF_HUB_OFFLINE": "1",
            "MLX_DISABLE_COMPILE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            **self.environment,
        }
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.folder}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",  # where it is installed, the same server has it
            "--LabApp.news_url=None",
            "--LabApp.extension_manager=readonly",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        with self.log.open("wb") as log:
            # A session of its own, so that everything it starts can be ended together with it.
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=self.folder, start_new_session=True
            )
        try:
            until(self._answers, 120, f"JupyterLab answers; its log is {self.log}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the kernels, then the server; each step has its time, and the last one does not ask."""
        if self.process is None:
            return
        with suppress(OSError, ValueError):  # the server may be gone already; what is left of its group ends below
            self.end_kernels()
        for last, seconds in ((False, 10), (True, 5)):
            try:
                _end_all(self.process, at_once=last)
                self.process.wait(seconds)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process = None

    def end_kernels(self) -> None:
        """End all kernels: what is left of a test costs the next one memory and time."""
        for kernel in self._call("GET", "/api/kernels"):
            self._call("DELETE", f"/api/kernels/{kernel['id']}")

    def address(self, notebook: str) -> str:
        """Where a notebook opens in JupyterLab, in a fresh workspace."""
        return f"http://127.0.0.1:{self.port}/lab/workspaces/test/tree/{notebook}?reset&token={self.token}"

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"JupyterLab ended at once:\n{self.log.read_text(errors='replace')[-2000:]}")
        try:
            return "version" in self._call("GET", "/api")
        except (OSError, ValueError):
            return False

    def _call(self, method: str, path: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else {}


@dataclass
class Focus:
    """The control that has the keyboard."""

    element: Any
    name: str  # accessible name, as the browser computes it for a screen reader
    role: str
    ring: bool  # an outline is drawn around it
    seen: bool  # it is inside the window


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook of these code cells."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, path)


class Page:
    """One notebook open in the browser. At its end the kernels of the server end; the browser stays.

    Example:
        with Page(server, browser, "notebook.ipynb") as page:
            page.run_all(60)
    """

    def __init__(self, server: LabServer, driver: webdriver.Chrome, notebook: str) -> None:
        self.driver, self._server = driver, server
        self.driver.get(server.address(notebook))
        until(self._ready, 150, f"{notebook} is open and its kernel is idle")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end_kernels()

    # -- the notebook -----------------------------------------------------------------------------------------

    def run_all(self, seconds: float) -> list[dict]:
        """Run all cells and return them: `source`, `count` and `outputs` of each code cell."""
        # Asked again and again: one long answer would end with the driver's own limit.
        self.driver.execute_script(
            "window.labsRun = '';"
            "const ended = () => { window.labsRun = 'ended'; };"
            "window.jupyterapp.commands.execute('notebook:run-all-cells').then(ended, ended);"
        )
        until(lambda: self.driver.execute_script("return window.labsRun;"), seconds, "all cells have run")
        until(lambda: self._status() == "idle", 30, "the kernel is idle after the last cell")
        return self.cells()

    def in_kernel(self, code: str) -> None:
        """Run code in the notebook's kernel, beside its cells."""
        ended = self.driver.execute_async_script(
            "const [code, done] = arguments;"
            "const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;"
            "kernel.requestExecute({code, silent: true}).done"
            ".then(reply => done(reply.content.status), error => done(String(error)));",
            code,
        )
        assert ended == "ok", ended

    def cells(self) -> list[dict]:
        """The code cells as JupyterLab holds them now."""
        return self.driver.execute_script(
            "return window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
            ".map(c => ({source: c.model.sharedModel.getSource(), count: c.model.executionCount,"
            " outputs: c.model.outputs.toJSON()}));"
        )

    def errors(self) -> list[str]:
        """Every error output, as "name: value"."""
        return [
            f"{output['ename']}: {output['evalue']}"
            for cell in self.cells()
            for output in cell["outputs"]
            if output["output_type"] == "error"
        ]

    def complaints(self) -> list[str]:
        """Severe messages of the browser's console that concern widgets or our pictures."""
        words = ("widget", "Widget", "data:image")
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and any(word in entry["message"] for word in words)
        ]

    # -- what a person does -------------------------------------------------------------------------------------

    def boxes(self, title: str) -> list[Any]:
        """The widgets whose first line starts with `title`, in the order of the page."""
        return self.driver.find_elements(
            By.XPATH,
            f"//div[contains(@class,'labs-widget')][.//strong[starts-with(normalize-space(),'{title}')]]"
            "[not(ancestor::div[contains(@class,'labs-widget')])]",
        )

    def field(self, box: Any, description: str) -> Any:
        """The input that a visible label with this text belongs to."""
        return box.find_element(
            By.XPATH,
            f".//label[normalize-space()='{description}']/following-sibling::*"
            "/descendant-or-self::*[self::input or self::textarea or self::select]",
        )

    def button(self, box: Any, *words: str) -> Any:
        """The button that shows one of these words."""
        tests = " or ".join(f"normalize-space()='{word}'" for word in words)
        return box.find_element(By.XPATH, f".//button[{tests}]")

    def status(self, box: Any) -> str:
        """The status line of a widget."""
        own = box.find_elements(By.CSS_SELECTOR, ".labs-status")
        return (own or box.find_elements(By.XPATH, ".//*[@role='status']"))[0].text

    def select_cell(self, number: int) -> None:
        """Put the focus on a cell, from 0, in command mode, as Escape and the arrow keys would."""
        self.driver.execute_script(
            "const notebook = window.jupyterapp.shell.currentWidget.content; notebook.activeCellIndex = arguments[0];"
            "notebook.mode = 'command'; notebook.activeCell.node.focus();",
            number,
        )

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is; `Keys.SHIFT + Keys.TAB` is one press."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focused(self) -> Focus:
        """What has the keyboard now."""
        element = self.driver.switch_to.active_element
        found = self.driver.execute_script(
            "const e = arguments[0], style = getComputedStyle(e), box = e.getBoundingClientRect();"
            "return {ring: e.matches(':focus-visible') && style.outlineStyle !== 'none'"
            " && parseFloat(style.outlineWidth) >= 2,"
            " seen: box.width > 0 && box.height > 0 && box.top >= 0 && box.bottom <= innerHeight};",
            element,
        )
        return Focus(element, element.accessible_name, element.aria_role, **found)

    def tab_to(self, name: str, *, back: bool = False, most: int = 60) -> Focus:
        """Press Tab (or Shift+Tab) until the control with this accessible name has the focus."""
        met = []
        for _ in range(most):
            self.press(Keys.SHIFT + Keys.TAB if back else Keys.TAB)
            met.append(self.focused())
            if met[-1].name == name:
                return met[-1]
        raise AssertionError(f"{most} times Tab, but {name!r} was not among {[one.name for one in met]}")

    def show(self, element: Any) -> None:
        """Bring an element to the middle of the window."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)

    def click(self, element: Any) -> None:
        """Bring an element to the middle of the window and click it.

        Only a click that would hit something else is tried again: the page around was still being drawn. Stop while an
        answer grows is clicked directly, because it must be where it was.
        """
        for chance in (2, 1, 0):
            self.show(element)
            try:
                element.click()
                return
            except ElementClickInterceptedException:
                if not chance:
                    raise
                time.sleep(0.3)

    @contextmanager
    def stays(self, box: Any, *words: str) -> Iterator[None]:
        """Fail if the button with one of these words changes its place in its widget while the block runs."""
        self.driver.execute_script(
            "const [box, words] = arguments;"
            "const button = [...box.querySelectorAll('button')].find(b => words.includes(b.textContent.trim()));"
            "window.labsPlaces = new Set();"
            "const look = () => { const b = button.getBoundingClientRect(), v = box.getBoundingClientRect();"
            " labsPlaces.add(`${Math.round(b.left - v.left)}, ${Math.round(b.top - v.top)}`); };"
            "look(); window.labsWatch = setInterval(look, 10);",
            box,
            list(words),
        )
        yield
        places = self.driver.execute_script("clearInterval(window.labsWatch); return [...window.labsPlaces];")
        # A pixel more or less is rounding: letters below are drawn at fractions of one.
        apart = [max(each) - min(each) for each in zip(*(map(int, place.split(", ")) for place in places), strict=True)]
        assert max(apart) <= 1, f"{words[0]} was at {places}"

    def screenshot(self, name: str, element: Any = None) -> Path | None:
        """Keep a picture in LABS_SCREENSHOTS, if that is set: of the window, or of one element."""
        folder = os.environ.get("LABS_SCREENSHOTS")
        if not folder:
            return None
        path = Path(folder) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if element is None:
            self.driver.save_screenshot(str(path))
        else:
            self.show(element)
            element.screenshot(str(path))
        return path

    def _status(self) -> str | None:
        try:
            return self.driver.execute_script(
                "return window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
            )
        except WebDriverException:  # the page is still loading
            return None

    def _ready(self) -> bool:
        return self._status() == "idle"


def _end_all(process: subprocess.Popen, *, at_once: bool) -> None:
    """End a server and what it has started, which is a group of its own; on Windows, its children one by one."""
    if sys.platform == "win32":
        import psutil

        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL if at_once else signal.SIGTERM)
