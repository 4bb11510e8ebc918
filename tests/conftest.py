"""What several test files share: settings, and models over tiny random checkpoints."""

from __future__ import annotations

import gc
import os
import shutil
import sys

# Before anything imports mlx or huggingface_hub: no compiler, no network, one thread.
os.environ.setdefault("MLX_DISABLE_COMPILE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
from tiny_checkpoint import make_tiny_checkpoint, make_tiny_moe_checkpoint, make_tiny_vision_checkpoint

from labs_helper.common import platforms
from labs_helper.corrections import before_mlx

before_mlx()

# Tests of one file that take a minute each and share nothing costly: each may go to either worker.
ALONE = (
    "::test_a_lab_runs_from_the_zip[",
    "::test_notebook_runs_and_its_chat_answers[",
    "tests/course/test_every_engine.py::",
)
# What takes longest, in this order: it begins first, so that no worker is left alone with it at the end.
LONGEST = (
    "tests/course/test_every_engine.py",
    "notebooks/solutions/",
    "tests/course/test_learners_zip.py",
    "tests/browser/test_notebooks_in_browser.py",
    "tests/browser/test_board_in_browser.py",
)


def pytest_collection_modifyitems(items):
    """With two workers, what takes longest comes first. On Windows, leave out what it cannot do."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: [*(item.nodeid.startswith(name) for name in LONGEST), True].index(True))
    if sys.platform == "win32":
        for item in items:
            if item.get_closest_marker("posix"):
                item.add_marker(pytest.mark.skip(reason="Windows has not what this needs"))


def pytest_collection_finish():
    """What is there now stays. `release` collects garbage, and need not look through thousands of tests each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadfile`, without one worker being left with all labs of a file, or with a long file, at the end."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if any(name in nodeid for name in ALONE) else super()._split_scope(nodeid)

    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # as sorted above, and not by the number of tests
    return ByFile(config, log)


@pytest.fixture
def llama_cpp():
    """The package xllamacpp. A test that asks for it is skipped where it is not installed, or libgomp is not."""
    return pytest.importorskip("xllamacpp", exc_type=ImportError)


@pytest.fixture
def without_openmp(monkeypatch):
    """As in a Debian without libgomp: the package of llama.cpp is there, and its import fails."""

    class NoOpenMP(MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name == "xllamacpp":
                raise ImportError("libgomp.so.1: cannot open shared object file")
            return

    monkeypatch.setattr(platforms, "has_llama_cpp", lambda: True)
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoOpenMP(), *sys.meta_path])


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """The folder of a quantized random checkpoint, shared: do not change it."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def tiny_unquantized(tmp_path_factory) -> Path:
    """The same in fp32, shared: do not change it."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-fp32", quantized=False)


@pytest.fixture(scope="session")
def tiny_vision(tmp_path_factory) -> Path:
    """The folder of a quantized random phi3_v, shared: do not change it."""
    return make_tiny_vision_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-vision")


@pytest.fixture(scope="session")
def tiny_moe(tmp_path_factory) -> Path:
    """The folder of a quantized random phimoe, shared: do not change it."""
    return make_tiny_moe_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-moe")


@pytest.fixture
def course(tmp_path, tiny_checkpoint, monkeypatch) -> Path:
    """A course folder with both bundled text models, an empty models folder and an empty hub cache."""
    for name in ("instruct-tiny", "instruct-previous-tiny"):
        shutil.copytree(tiny_checkpoint, tmp_path / "data/checkpoints" / name)
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.delenv("LABS_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture(scope="module")
def moe(tiny_moe):
    """A Model over the shared random phimoe, one for all tests of a file."""
    from labs_helper.models.load import load

    loaded = load(str(tiny_moe))
    yield loaded
    loaded.release()


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory) -> Path:
    """The folder of instruct-tiny as one GGUF file in fp32, shared: do not change it."""
    from labs_helper import catalog
    from labs_helper.serving.gguf_model import convert

    source = catalog.course_folder() / "data/checkpoints/instruct-tiny"
    return convert(source, tmp_path_factory.mktemp("gguf") / "instruct-tiny", tokenizer=False).parent


@contextmanager
def serving(prepare: str, module: str, name: str):
    """A server of MLX with a bundled model on loopback, in a process of its own that lives two minutes at most.

    prepare: code to run before the server's module is imported. Gives its URL and the model's folder.
    """
    import socket
    import subprocess
    import sys
    import time

    from labs_helper import catalog

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = catalog.course_folder() / "data/checkpoints" / name
    code = (
        f"import sys, threading, os; {prepare}; threading.Timer(120, os._exit, (9,)).start();"
        f"import {module} as server;"
        f"sys.argv = ['server', '--model', {str(folder)!r}, '--host', '127.0.0.1', '--port', '{port}'];"
        "server.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end and process.poll() is None:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def mlx_server():
    """mlx_lm.server with instruct-tiny."""
    prepare = "from labs_helper.corrections import before_mlx; before_mlx()"
    with serving(prepare, "mlx_lm.server", "instruct-tiny") as server:
        yield server


@pytest.fixture(scope="module")
def mlx_vision_server():
    """mlx_vlm.server with vision-tiny, and our corrections: without them it loads no tower of this size."""
    prepare = "from labs_helper.corrections import vision; vision.apply()"
    with serving(prepare, "mlx_vlm.server", "vision-tiny") as server:
        yield server


@pytest.fixture
def model(tiny_checkpoint):
    """A fresh Model over the shared random checkpoint."""
    from labs_helper.models.load import load

    loaded = load(str(tiny_checkpoint))
    yield loaded
    loaded.release()


@pytest.fixture
def answering():
    """A server on loopback that sends a text to everybody who connects, and then another one again and again."""
    import socket
    import threading
    import time
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(text: bytes, again: bytes = b"") -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ending = threading.Event()
            stack.callback(ending.set)

            def answer(connection: socket.socket) -> None:
                end = time.monotonic() + 20
                with connection:
                    try:
                        connection.recv(65_536)
                        connection.sendall(text)
                        while again and not ending.wait(0.05) and time.monotonic() < end:
                            connection.sendall(again)
                    except OSError:
                        return

            def accept() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start
