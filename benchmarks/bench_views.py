"""The views of the widgets, before and now: first paint of a chat cell and Run All of whole labs in JupyterLab.

`python -m benchmarks views [--before 99779aa] [--labs 01 02 03 07] [--paints 10] [--json]` takes about seven minutes on
two quiet cores. It needs Chromium with its driver and the project's git history.

What is compared, so that nothing but the package differs: both sides run the notebooks of the version before, with the
weights of the version before; one with the package of then, the other with the package of now. Labs and weights of now
are others (longer labs, longer answers), so their own times say nothing about views. "Now" is the last commit. Run All
is timed from outside: from the command until JupyterLab says that it has ended and the kernel is idle. Where a cell
fails on one side, the lab has no ratio, and the failure is printed. The sides take turns; the order changes from lab to
lab.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from shutil import copytree, rmtree
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/browser")]
from lab import LabServer, Page, start_browser, write_notebook  # noqa: E402  (JupyterLab for tests)

BEFORE = "99779aa"  # the last version before the first view of our own
SIDES = ("before", "now")
LABS = ("01", "02", "03", "07")  # those whose seconds the issue names: 29, 63, 58 and 17
FIRST_PAINT = "first-paint.ipynb"
CHAT = [
    "from labs_helper import load\nfrom labs_helper.widgets import chat\nmodel = load('instruct', tier='tiny')",
    "chat(model)",
]
# Clears the second cell, runs it, and waits until a button Send of some height has been drawn: milliseconds.
PAINT = """
const done = arguments[0], notebook = jupyterapp.shell.currentWidget.content;
notebook.activeCellIndex = 1; notebook.mode = "command";
const cell = notebook.activeCell;
cell.outputArea.model.clear();
const start = performance.now();
jupyterapp.commands.execute("notebook:run-cell");
const look = () => {
  const send = [...cell.node.querySelectorAll("button")].find((one) => one.innerText.trim() === "Send");
  if (send?.getBoundingClientRect().height > 5) requestAnimationFrame(() => done(performance.now() - start));
  else requestAnimationFrame(look);
};
setTimeout(look, 0);
"""


def unpack(version: str, folder: Path) -> None:
    """Write a version of the project into `folder`."""
    made = subprocess.run(["git", "archive", version], cwd=ROOT, capture_output=True, check=False)
    if made.returncode:
        sys.exit(f"There is no version {version} here; a whole clone has it: {made.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(made.stdout)) as opened:
        opened.extractall(folder, filter="data")


def prepare(base: Path, before: str) -> dict[str, Path]:
    """The two folders: each its own package, both with the notebooks and weights of the version before."""
    folders = {"before": base / "before", "now": base / "now"}
    unpack(before, folders["before"])
    unpack("HEAD", folders["now"])
    for name in ("notebooks", "data/checkpoints"):
        rmtree(folders["now"] / name)
        copytree(folders["before"] / name, folders["now"] / name)
    for folder in folders.values():
        write_notebook(folder / FIRST_PAINT, CHAT)
    return folders


def first_paints(pages: dict[str, Page], count: int) -> dict[str, list[float]]:
    """Milliseconds from the run of a chat cell until Send is drawn, by turns; the first two of a side do not count."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(count + 2):
        for side in SIDES if turn % 2 else SIDES[::-1]:
            pages[side].driver.set_script_timeout(60)
            milliseconds = pages[side].driver.execute_async_script(PAINT)
            time.sleep(0.3)  # what the cell still sends belongs to no other
            if turn > 1:
                found[side].append(milliseconds)
    return found


def run_all(page: Page) -> tuple[float, list[str]]:
    """Seconds of Run All in the page that is open, and its errors."""
    start = time.perf_counter()
    page.run_all(600)
    return time.perf_counter() - start, page.errors()


def measure(before: str, labs: tuple[str, ...], paints: int) -> dict[str, Any]:
    """All figures: `paint` and `labs`, each by side."""
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folders = prepare(base, before)
        servers, drivers = {}, {}
        for side, folder in folders.items():
            home = base / f"home-{side}"
            own = {"PYTHONPATH": str(folder), "LABS_DEQUANTIZE": "auto", "LABS_HOME": "", "LABS_PROGRESS": "off"}
            servers[side] = stack.enter_context(LabServer(folder, home, environment=own))
            drivers[side] = start_browser(base / f"profile-{side}")
            stack.callback(drivers[side].quit)
        pages = {side: Page(servers[side], drivers[side], FIRST_PAINT) for side in SIDES}
        for side, page in pages.items():
            page.run_all(120)
            assert page.errors() == [], (side, page.errors())
            page.in_kernel(f"import labs_helper; assert labs_helper.__file__.startswith({str(folders[side])!r})")
        found: dict[str, Any] = {"paint": first_paints(pages, paints), "labs": {}}
        for server in servers.values():
            server.end_kernels()
        for number, lab in enumerate(labs):
            (notebook,) = (folders["before"] / "notebooks/solutions").glob(f"{lab}-*.ipynb")
            row = found["labs"][lab] = {}
            for side in SIDES if number % 2 else SIDES[::-1]:
                with Page(servers[side], drivers[side], f"notebooks/solutions/{notebook.name}") as page:
                    seconds, errors = run_all(page)
                row[side] = {"seconds": round(seconds, 1), "errors": errors}
                print(f"lab {lab} {side}: {seconds:.1f} s {errors or ''}", flush=True)
        return found


def lines(found: dict[str, Any]) -> list[str]:
    """What the figures say, one line for each comparison."""
    then, now = (median(found["paint"][side]) for side in SIDES)
    said = [f"first paint of a chat cell, median: {then:.0f} ms before, {now:.0f} ms now, ratio {now / then:.2f}"]
    whole = {"before": 0.0, "now": 0.0}
    for lab, row in found["labs"].items():
        then, now = (row[side]["seconds"] for side in SIDES)
        if row["before"]["errors"] or row["now"]["errors"]:
            said.append(f"Run All of lab {lab}: no ratio, a cell fails")
            continue
        said.append(f"Run All of lab {lab}: {then:.1f} s before, {now:.1f} s now, ratio {now / then:.2f}")
        for side in SIDES:
            whole[side] += row[side]["seconds"]
    if whole["before"]:
        said.append(f"all of them: {whole['before']:.0f} s, {whole['now']:.0f} s, {whole['now'] / whole['before']:.2f}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks views", description=__doc__)
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--labs", nargs="+", default=LABS)
    parser.add_argument("--paints", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="print every time, not only the medians")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that `timeout` leaves no server behind
    found = measure(options.before, tuple(options.labs), options.paints)
    if options.json:
        print(json.dumps(found))
    print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
