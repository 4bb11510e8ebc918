"""A model server that belongs to a notebook: a child process on loopback with a port of its own and a visible log.

It ends with `close`, with the notebook's kernel (also if that is killed), and after its time limit.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import httpx

import labs_helper
from labs_helper import store
from labs_helper.capacity import estimate
from labs_helper.capacity.require import require_memory
from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.corrections import dequantize
from labs_helper.engines import llama_cpp
from labs_helper.errors import BadRequest, EndpointFailed
from labs_helper.models.selection import choose
from labs_helper.serving import gguf_model, llama_template

ENGINES = ("mlx", "llama.cpp")
PATIENCE = 120.0  # seconds for a server to read its model and answer for the first time
_PACKAGES = 200_000_000  # bytes that a server takes before it has read a weight (measured: 190 MB for mlx_lm.server)
_EACH_LOOK = 0.1
_HOME = Path(labs_helper.__path__[0]).resolve().parent  # what the child imports is what this process imports

_OPEN: weakref.WeakSet[ModelServer] = weakref.WeakSet()


@dataclass(frozen=True)
class _Plan:
    """What the child is told."""

    engine: str
    model: str
    port: int
    seconds: float
    expanded: bool
    cached: int
    together: int
    waiting: int
    draft: str
    drafted: int
    template: str = ""
    context: int = 1024
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)


class ModelServer:
    """A running server. `serve` makes one; it is also a context manager.

    Attributes:
        name: of its model.
        url: its address, as clients want it.
        port: of its address.
        model: what to write as the model of a request.

    Example:
        with serve("instruct", tier="tiny") as server:
            print(server.url)
    """

    def __init__(self, name: str, plan: _Plan, folder: Path) -> None:
        self.name, self._plan, self._folder = name, plan, folder
        self.url = f"http://127.0.0.1:{plan.port}/v1"
        self.port = plan.port
        # mlx_lm.server knows its own model by this name too, and llama.cpp takes any.
        self.model = plan.model if plan.engine == "mlx-vision" else "default_model"
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()  # a supervisor's thread and the notebook may start it at the same moment
        _OPEN.add(self)

    def __repr__(self) -> str:
        weights = _("expanded weights") if self._plan.expanded else _("weights as they are stored")
        state = (
            _("process {pid}, ends after {minutes:g} minutes").format(pid=self.pid, minutes=self._plan.seconds / 60)
            if self.running
            else _("not running")
        )
        return _("{name} at {url}: {program}, {weights}; {state}").format(
            name=self.name, url=self.url, program=self.program, weights=weights, state=state
        )

    @property
    def program(self) -> str:
        """The server's own name."""
        return {"mlx": "mlx_lm.server", "mlx-vision": "mlx_vlm.server", "llama.cpp": "llama.cpp"}[self._plan.engine]

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The number of its process; None if it is not running."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def memory(self) -> int:
        """Bytes of memory that its process holds now; 0 if it is not running."""
        import psutil

        try:
            if not self.running:
                return 0
            process = psutil.Process(self.pid)
            # In an environment on Windows, python.exe starts the real one as its child.
            family = [process, *process.children()] if platforms.is_windows() else [process]
            return sum(int(one.memory_info().rss) for one in family)
        except psutil.Error:
            return 0

    def start(self, patience: float = PATIENCE) -> None:
        """Start the process, and wait until it has answered once. Nothing if it is running.

        Raises:
            EndpointFailed: it ended, it has not answered after `patience` seconds, or it was closed before.
        """
        with self._starting:
            if self.running:
                return
            if not self._folder.is_dir():
                raise EndpointFailed(_("This server is closed."), _("Start another one with serve()."))
            self.kill()  # what is left of one that ended by itself
            command = [sys.executable, "-m", "labs_helper.serving.child", json.dumps(vars(self._plan))]
            with self._log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(),
                    cwd=self._folder,  # python -m looks there first: a learner's random.py must not be found
                )
            try:
                self._wait(time.monotonic() + patience, patience)
            except BaseException:
                self.kill()
                raise

    def kill(self) -> None:
        """End the process at once, in the middle of whatever it does, as a crash would. `start` begins again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()

    def restart(self) -> None:
        """Start again at the same address, as a supervisor would.

        Raises:
            EndpointFailed: as in `start`.
        """
        self.kill()
        self.start()

    def close(self) -> None:
        """End the process and take its files away. Closing it twice is fine."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self, lines: int = 8) -> str:
        """The last lines that the server wrote; they hold no questions at the level that is set here.

        Example:
            print(server.log())
        """
        try:
            text = self._log_file.read_text("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    @property
    def _log_file(self) -> Path:
        return self._folder / "server.log"

    def _environment(self) -> dict[str, str]:
        """No network, this very labs_helper, and a hub cache of its own.

        A server lists what is in the hub's cache to everybody who asks.
        """
        cache = self._folder / "hub"
        cache.mkdir(exist_ok=True)
        # Not all of sys.path: in a notebook it begins with the learner's folder.
        path = os.pathsep.join(filter(None, (str(_HOME), os.environ.get("PYTHONPATH", ""))))
        own = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **own}

    def _wait(self, end: float, patience: float) -> None:
        """Until one short question is answered: a server listens long before it has read its model."""
        question = {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        # A proxy of the environment must not see what is asked on this computer.
        with httpx.Client(trust_env=False, timeout=5) as http:
            while time.monotonic() < end:
                if not self.running:
                    raise EndpointFailed(
                        _("{program} ended while it started: {last}").format(
                            program=self.program, last=_reason(self.log(30))
                        ),
                        _("If another program has the port {port}, leave out port.").format(port=self._plan.port),
                    )
                try:
                    answer = http.post(
                        f"{self.url}/chat/completions", json=question, timeout=max(1.0, end - time.monotonic())
                    )
                    if answer.is_success:
                        return
                except httpx.HTTPError:
                    pass
                time.sleep(_EACH_LOOK)
        raise EndpointFailed(
            _("{program} has not answered within {seconds:g} seconds.").format(program=self.program, seconds=patience),
            _("Read server.log(); a busy machine needs more patience."),
        )


def serve(
    name: str = "instruct",
    tier: str | None = None,
    *,
    engine: str = "mlx",
    expanded: bool | None = None,
    draft: str | None = None,
    drafted: int = 3,
    cached: int = 2,
    together: int = 32,
    waiting: int = 128,
    port: int = 0,
    minutes: float = 30,
    patience: float = PATIENCE,
) -> ModelServer:
    """Start a server for a model, and wait until it answers.

    Args:
        name: as in `load`: a role, a catalog name, or a folder.
        tier: as in `load`.
        engine: "mlx", which is mlx_lm.server (mlx_vlm.server for a vision model), or "llama.cpp".
        expanded: turn the quantized weights into the fp32 numbers that they stand for, in mlx_lm.server. None does
            that where the course's own engine does it: on a CPU, for small models.
        draft: a smaller model whose guesses the served one checks (speculative decoding), in mlx_lm.server.
        drafted: how many tokens it guesses at a time.
        cached: conversations whose work is kept. The memory of mlx_lm.server is bounded by this (docs/hub.md).
        together: answers that are computed at a time.
        waiting: connections that the system holds until the server takes them, in mlx_lm.server; Python's own is 5.
        port: 0 picks a free one.
        minutes: after which it ends by itself.
        patience: seconds to wait for its first answer.

    Raises:
        BadRequest: an option makes no sense.
        ModelNotHere: the model is not on this machine.
        NotEnoughMemory: it does not fit beside what is running.
        EndpointFailed: the port is taken, or the server did not start.
        LabError: llama.cpp is not installed, or something that its package needs is not here.

    Example:
        server = serve("instruct", tier="tiny")
    """
    _check(engine, drafted, cached, together, waiting, port, minutes)
    if engine == "llama.cpp":
        llama_cpp.package(_('Use engine="mlx", or a server on another computer (LABS_ENDPOINT).'))
    choice = choose(name, tier)
    if choice.path is None:
        raise BadRequest(_("{name} is on a server already.").format(name=choice.card.name), _("Name another model."))
    store.verify(choice.path, ships_code=choice.card.ships_code)
    vision = choice.card.architecture == "phi3_v"
    on_cpu = not platforms.has_mlx_gpu()
    plan = _Plan(
        engine="mlx-vision" if vision and engine == "mlx" else engine,
        model=str(choice.path.resolve()),
        port=_free_port(port),
        seconds=minutes * 60,
        expanded=engine == "mlx" and not vision and _expand(choice.path, expanded, on_cpu),
        cached=cached,
        together=together,
        waiting=waiting,
        draft=str(_draft(draft).resolve()) if draft else "",
        drafted=drafted,
    )
    require_memory(_PACKAGES + estimate.of_folder(choice.path, on_cpu=on_cpu).total, choice.card.name)
    folder = Path(tempfile.mkdtemp(prefix="labs-server-"))
    try:
        if engine == "llama.cpp":
            file = _gguf(choice.path, choice.card.format, folder)
            plan = replace(plan, model=str(file), template=llama_template.of_file(file))
        server = ModelServer(choice.card.name, plan, folder)
        server.start(patience)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return server


def _check(engine: str, drafted: int, cached: int, together: int, waiting: int, port: int, minutes: float) -> None:
    if engine not in ENGINES:
        raise BadRequest(
            _("There is no engine {engine!r}.").format(engine=engine),
            _("Use one of: {engines}.").format(engines=", ".join(ENGINES)),
        )
    bounds = {
        "drafted": (drafted, 1, 16),
        "cached": (cached, 0, 100),
        "together": (together, 1, 256),
        "waiting": (waiting, 1, 4096),
        "port": (port, 0, 65_535),
        "minutes": (minutes, 0.05, 24 * 60),
    }
    for name, (value, least, most) in bounds.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise BadRequest(
                _("{name}={value!r} is not possible.").format(name=name, value=value),
                _("Use a number from {least:g} to {most:g}.").format(least=least, most=most),
            )


def _expand(path: Path, wanted: bool | None, on_cpu: bool) -> bool:
    if wanted is not None:
        return wanted
    group = (store.read_json(path / "config.json").get("quantization") or {}).get("group_size", 64)
    return dequantize.wanted(dequantize.expanded_bytes(store.weight_table(path), group), on_cpu)


def _draft(name: str) -> Path:
    path = choose(name).path
    if path is None:
        raise BadRequest(_("A draft model must be on this machine."), _("Name a bundled one, such as instruct-tiny."))
    return path


def _gguf(path: Path, form: str, folder: Path) -> Path:
    """The GGUF file to serve: the model's own, or one that is written now."""
    found = store.gguf_file(path) if form == "gguf" else None
    return found or gguf_model.convert(path, folder)


def _free_port(wanted: int) -> int:
    """A port that is free now.

    Raises:
        EndpointFailed: the wanted one is taken.
    """
    with socket.socket() as probe:
        if wanted and not platforms.is_windows():
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that lingers may be taken again
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise EndpointFailed(
                _("Port {port} is taken by another program.").format(port=wanted),
                _("Leave out port, and a free one is found."),
            ) from error
        return int(probe.getsockname()[1])


def _reason(log: str) -> str:
    """The line of a log that says most: the last one that is not empty."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1][:300] if lines else _("it wrote nothing.")


@atexit.register
def _close_all() -> None:
    for server in list(_OPEN):
        server.close()
