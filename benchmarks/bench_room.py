"""A bad day in a class room: the board and the server of models, with everything that goes wrong at the same time.

`python -m benchmarks.bench_room` runs both and prints figures. Everything stays on 127.0.0.0/8 and ends by itself.

The board: learners whose checks arrive while the board is killed twice, comes back at another address the second time,
half-open connections are kept up against it, and one learner floods it from the address that all of them have.
The models: readers that ask for a large file and never read it, against a server that may open 256 files.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from unittest import mock

from labs_helper.board import client, membership
from labs_helper.common import personal
from labs_helper.errors import LabError
from labs_helper.exercises import all_exercises

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = "127.0.0.2"  # where the half-open connections come from


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_PROBE = """
import http.client, sys, time
port, key = int(sys.argv[1]), sys.argv[2]
end = time.monotonic() + 300
while time.monotonic() < end:
    started, good = time.monotonic(), False
    while not good and time.monotonic() < started + 20:  # as the page does: a question that fails is asked again
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/api/state", headers={"Authorization": "Bearer " + key})
            good = bool(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            time.sleep(0.5)
        connection.close()
    print(time.monotonic() - started if good else 99.0, flush=True)
    time.sleep(0.25)
"""


class Room:
    """A board in a process of its own, and what the learners are told about it."""

    def __init__(self, file: Path):
        self.file, self.port, self.code, self.key, self.up = file, 0, "", "", False
        self.process: subprocess.Popen[str] | None = None
        self.page: subprocess.Popen[str] | None = None
        self.times: list[float] = []  # seconds that the page took

    def start(self, port: int) -> None:
        command = [sys.executable, "-u", "-m", "labs_helper.cli", "workshop", "board", "--minutes", "5"]
        command += ["--port", str(port), "--data", str(self.file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        said = ""
        while "Ctrl-C" not in said:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(said)
            said += line
        self.key = re.search(r"/#(\S+)", said)[1]
        self.code = re.search(r"Join code: (\S+)", said)[1]
        # Like the instructor's browser, in a process of its own: two hundred learners share this one.
        command = [sys.executable, "-c", _PROBE, str(port), self.key]
        self.page = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port, self.up = port, True

    def kill(self) -> None:
        self.up = False
        self.page.kill()
        self.times += [float(line) for line in self.page.communicate()[0].splitlines() if line.strip()]
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def board(learners: int = 200, checks: int = 20, half_open: int = 420, seconds: float = 60) -> dict[str, object]:
    """One run against the board.

    Returns:
        lost: results that did not arrive; twice: learners who are there under two names; page: seconds that the page
        took while the board was up (median, longest); all_there: seconds until the last result had arrived.
    """
    with tempfile.TemporaryDirectory() as folder:
        here, over, problems = threading.local(), threading.Event(), []
        room = Room(Path(folder) / "board.sqlite")
        room.start(free_port())
        silent = SimpleNamespace(start=lambda: here.sender.start(), end=lambda _seconds: None)
        with mock.patch.object(personal, "folder", lambda: here.folder), mock.patch.object(client, "sender", silent):
            workers = [
                _learner(room, here, Path(folder), number, checks, seconds, problems, over)
                for number in range(learners)
            ]
            helpers = [_half_open(room, half_open, over)]
            helpers += [_flood(room, over, counter := [0, 0]) for _ in range(2)]
            began = time.monotonic()
            for thread in (*helpers, *workers):
                thread.start()
            try:
                for number in (1, 2):
                    time.sleep(max(0.0, began + seconds * number / 3 - time.monotonic()))
                    room.kill()
                    time.sleep(2)
                    room.start(room.port if number == 1 else free_port())
                expected = learners * checks
                while time.monotonic() < began + 3 * seconds + 30 and _arrived(room.file) < expected:
                    time.sleep(0.5)
                took = time.monotonic() - began
            finally:
                over.set()
                for thread in (*workers, *helpers):
                    thread.join(20)
                room.kill()
        with closing(sqlite3.connect(room.file)) as connection:
            names = connection.execute("select count(*) from learner where alias like 'Learner %'").fetchone()[0]
        return {
            "lost": expected - _arrived(room.file),
            "twice": names - learners,
            "problems": problems[:3],
            "page": (round(median(room.times), 3), round(max(room.times), 2), len(room.times)),
            "flood": {"requests": counter[0], "refused": counter[1]},
            "all_there": round(took, 1),
        }


def _arrived(file: Path) -> int:
    with closing(sqlite3.connect(file, timeout=10)) as connection:
        question = "select count(*) from result join learner using (learner) where alias like 'Learner %'"
        return int(connection.execute(question).fetchone()[0])


class _Sender(client.Sender):
    """The sender of one simulated learner, who has a folder of their own."""

    def __init__(self, here: threading.local, folder: Path):
        super().__init__()
        self.here, self.folder = here, folder

    def run(self) -> None:
        self.here.folder, self.here.sender = self.folder, self
        super().run()


def _learner(
    room: Room,
    here: threading.local,
    folder: Path,
    number: int,
    checks: int,
    seconds: float,
    problems: list[str],
    over: threading.Event,
) -> threading.Thread:
    def join() -> None:
        while not over.is_set():
            address = room.address
            try:
                client.join(address, room.code, f"Learner {number}")
                return
            except LabError:
                time.sleep(random.uniform(0.5, 1.5))

    def work() -> None:
        try:
            here.folder = folder / f"learner-{number}"
            here.sender = _Sender(here, here.folder)
            chance, exercises, began = random.Random(number), [*all_exercises("1")], time.monotonic()
            time.sleep(chance.uniform(0, seconds / 6))
            join()
            for turn in range(checks):
                time.sleep(max(0.0, began + seconds * (turn + 1 + chance.random()) / (checks + 2) - time.monotonic()))
                joined = membership.current()
                if room.up and joined is not None and joined.address != room.address:
                    join()
                client.note(exercises[turn % len(exercises)], chance.choice(["passed", "try again"]))
            # The board may move after the last check: the learner types the new address, and what waits is sent.
            while not over.wait(0.5):
                joined = membership.current()
                if room.up and joined is not None and joined.address != room.address:
                    join()
        except Exception as error:
            problems.append(f"{number}: {error!r}")

    return threading.Thread(target=work, daemon=True)


def _half_open(room: Room, count: int, over: threading.Event) -> threading.Thread:
    """Connections that begin a request and go on no further; those that the board ends are opened again."""

    def work() -> None:
        held: list[socket.socket] = []
        while not over.wait(0.5):
            held = [each for each in held if _is_open(each)]
            while room.up and len(held) < count and not over.is_set():
                try:
                    fresh = socket.create_connection(("127.0.0.1", room.port), 2, (ELSEWHERE, 0))
                    fresh.sendall(b"POST /api/results HTTP/1.1\r\nHost: x\r\n")
                except OSError:
                    break
                held.append(fresh)
        for each in held:
            each.close()

    return threading.Thread(target=work, daemon=True)


def _is_open(each: socket.socket) -> bool:
    try:
        each.setblocking(False)
        if each.recv(1):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    each.close()
    return False


def _flood(room: Room, over: threading.Event, counter: list[int]) -> threading.Thread:
    """One learner who has joined and sends without a pause, from the address of all."""

    def work() -> None:
        headers = {"X-Learner": "f" * 32, "Content-Type": "application/json"}
        while not over.is_set():
            try:
                content = json.dumps({"alias": "Flood"})
                status, _text = _ask(room, "POST", "/api/join", room.code, content, headers)
                counter[0] += 1
                counter[1] += status == 429
            except (OSError, http.client.HTTPException):
                over.wait(0.1)

    return threading.Thread(target=work, daemon=True)


def _ask(
    room: Room, method: str, path: str, word: str, content: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", room.port, timeout=10)
    try:
        connection.request(method, path, content, {"Authorization": f"Bearer {word}", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


_SERVE = """
import resource, sys, time
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from labs_helper.store import lan, manifest
folder = Path(sys.argv[1])
with lan.Server("127.0.0.1", 0, {"model": (folder, manifest.Manifest.of(folder, "model"))}) as server:
    print(server.port, flush=True)
    server.wait(2)
"""


def models(readers: int = 600, megabytes: int = 64, seconds: float = 10) -> dict[str, object]:
    """One run against the server of models.

    Returns:
        first_byte, whole: seconds for a new learner's download, worst of three; cpu: of the server, in percent while
        the readers stall; complaints: lines on its stderr.
    """
    import psutil

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.safetensors").write_bytes(random.Random(0).randbytes(megabytes * 2**20))
        command = [sys.executable, "-c", _SERVE, folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        held: list[socket.socket] = []
        try:
            port = int(process.stdout.readline())
            for _number in range(readers):
                reader = socket.create_connection(("127.0.0.1", port), 5, (ELSEWHERE, 0))
                reader.sendall(b"GET /model/model.safetensors HTTP/1.1\r\nHost: x\r\n\r\n")
                held.append(reader)
            watched, firsts, wholes = psutil.Process(process.pid), [], []
            watched.cpu_percent()
            for _turn in range(3):
                time.sleep(seconds / 3)
                started = time.monotonic()
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("GET", "/model/model.safetensors")
                answer = connection.getresponse()
                answer.read(1)
                firsts.append(time.monotonic() - started)
                if len(answer.read()) != megabytes * 2**20 - 1:
                    raise RuntimeError("the download was cut off")
                wholes.append(time.monotonic() - started)
                connection.close()
            busy = watched.cpu_percent()
        finally:
            for each in held:
                each.close()
            process.kill()
            complaints = process.communicate()[1].splitlines()
        return {
            "first_byte": round(max(firsts), 3),
            "whole": round(max(wholes), 2),
            "cpu": round(busy),
            "complaints": len(complaints),
        }


if __name__ == "__main__":
    print("models:", models(), flush=True)
    print("board:", board(), flush=True)
