"""A model server that belongs to a notebook: it answers, shows its log, survives a kill, and always ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import psutil
import pytest

from labs_helper.common import platforms
from labs_helper.errors import BadRequest, EndpointFailed, LabError, ModelNotHere
from labs_helper.serving import Backoff, load_test, serve
from labs_helper.serving import server as server_module
from labs_helper.serving.server import ModelServer

QUESTIONS = ["Where is Lima?", "What is 47 + 38?", "Where is Madrid?", "Tell me about Paris."]


def is_gone(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def server():
    with serve("instruct", tier="tiny", minutes=5) as running:
        yield running


@pytest.mark.slow
def test_it_answers_on_loopback_and_shows_its_log(server):
    assert server.url.startswith("http://127.0.0.1:") and server.running
    run = load_test(server, 2, QUESTIONS, each=2)
    assert run.lost == 0 and any("Peru" in reply.text for reply in run.replies)
    assert "POST /v1/chat/completions" in server.log(50)
    assert "Lima" not in server.log(1000)
    assert 50e6 < server.memory < 1e9
    connections = psutil.Process(server.pid).net_connections(kind="inet")
    assert {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


@pytest.mark.slow
def test_expanded_and_packed_weights_answer_alike(server):
    with serve("instruct", tier="tiny", expanded=False, minutes=5) as packed:
        assert "expanded" not in repr(packed)
        texts = [[reply.text for reply in load_test(each, 1, QUESTIONS, each=4).replies] for each in (server, packed)]
    assert sum(one == two for one, two in zip(*texts)) >= 3


@pytest.mark.slow
def test_nothing_is_lost_when_it_is_killed_and_started_again_in_the_middle(server):
    """Must show 4 of issue 25. The run without retries proves that the kill hits answers."""
    before = server.pid
    hasty = load_test(server, 6, QUESTIONS, each=4, at=(4, server.restart))
    assert hasty.lost > 0 and server.running
    again = Backoff(most=60, first=0.25, longest=1.0, repeatable=True)
    patient = load_test(server, 6, QUESTIONS, each=4, at=(4, server.restart), again=again, seconds=100)
    assert server.pid != before
    assert patient.lost == 0 and len(patient.replies) == 24
    assert max(reply.attempts for reply in patient.replies) > 1


@pytest.mark.slow
def test_it_ends_with_the_process_that_started_it_also_if_that_is_killed():
    code = "from labs_helper.serving import serve; print(serve('instruct-tiny').pid, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
    finally:
        parent.kill()
        parent.communicate()
    assert is_gone(pid)


@pytest.mark.slow
def test_it_ends_after_its_time():
    with serve("instruct", tier="tiny", minutes=0.3) as server:
        end = time.monotonic() + 40
        while server.running and time.monotonic() < end:
            time.sleep(0.1)
        assert not server.running and "not running" in repr(server)


@pytest.mark.slow
def test_a_small_draft_model_may_guess():
    with serve("instruct", tier="tiny", draft="instruct-previous-tiny", minutes=5) as server:
        assert load_test(server, 1, QUESTIONS, each=1).lost == 0


@pytest.mark.slow
def test_a_server_that_was_closed_does_not_come_back():
    server = serve("instruct", tier="tiny", minutes=2)
    server.close()
    server.close()
    assert not server.running and server.log() == "" and server.memory == 0
    with pytest.raises(EndpointFailed, match="closed"):
        server.restart()


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(EndpointFailed, match="taken"):
        serve("instruct", tier="tiny", port=other.getsockname()[1])


def test_a_server_that_cannot_start_says_why(tmp_path, monkeypatch):
    """The packages are not there for the child: it ends, and the message holds the last line of its log."""
    monkeypatch.setattr(server_module, "_HOME", tmp_path)
    (tmp_path / "labs_helper").mkdir()
    (tmp_path / "labs_helper" / "__init__.py").write_text("raise SystemExit('no room here')")
    with pytest.raises(EndpointFailed, match="ended while it started: no room here"):
        serve("instruct", tier="tiny")


def test_llama_cpps_server_is_refused_on_a_processor_that_would_end_it_silently(monkeypatch):
    monkeypatch.setattr(platforms, "lacks_avx2", lambda: True)
    monkeypatch.setattr(platforms, "has_llama_cpp", lambda: True)
    monkeypatch.setattr(ModelServer, "start", lambda *_anything: None)
    with pytest.raises(LabError, match=r'needs a processor with AVX2.*engine="mlx"'):
        serve("instruct", tier="tiny", engine="llama.cpp")
    serve("instruct", tier="tiny").close()  # MLX does without it


def test_llama_cpps_server_without_the_library_of_openmp_names_what_to_install(without_openmp, monkeypatch):
    """Its process would end with a traceback in its log, and "ended while it started" is all that one would read."""
    monkeypatch.setattr(ModelServer, "start", lambda *_anything: pytest.fail("a process was started"))
    with pytest.raises(LabError, match=r"libgomp\.so\.1.*apt-get install libgomp1"):
        serve("instruct", tier="tiny", engine="llama.cpp")


def test_llama_cpps_server_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(platforms, "has_llama_cpp", lambda: False)
    with pytest.raises(LabError, match=r"labs-helper\[x86\]"):
        serve("instruct", tier="tiny", engine="llama.cpp")


@pytest.mark.parametrize("role", ["vision", "moe"])
def test_llama_cpps_server_takes_no_bundled_model_that_is_not_plain_text(llama_cpp, role):
    with pytest.raises(LabError, match=r'no phi3 checkpoint.*engine="mlx"'):
        serve(role, tier="tiny", engine="llama.cpp")


def test_modules_of_the_learner_are_not_taken(tmp_path, monkeypatch):
    """A notebook's sys.path begins with its folder, where somebody may keep a random.py."""
    (tmp_path / "random.py").write_text("raise SystemExit('a module of the learner')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    with serve("instruct", tier="tiny", minutes=2) as server:
        assert server.running


def test_a_server_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "_HOME", tmp_path)
    (tmp_path / "labs_helper").mkdir()
    (tmp_path / "labs_helper" / "__init__.py").write_text("import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(EndpointFailed, match="has not answered within 3 seconds"):
        serve("instruct", tier="tiny", patience=3)
    assert 3 <= time.monotonic() - started < 20


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "ollama"},
        {"cached": -1},
        {"together": 0},
        {"port": 70_000},
        {"minutes": 0},
        {"drafted": 99},
        {"waiting": True},
        {"minutes": "long"},
    ],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(BadRequest):
        serve("instruct", tier="tiny", **options)


def test_a_model_that_is_not_here(monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path))
    with pytest.raises(ModelNotHere):
        serve("phi-3.5-mini-instruct-4bit")
