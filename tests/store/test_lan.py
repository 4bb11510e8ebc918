"""One computer serves, another fetches: `labs models serve` and `fetch --from`, on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from labs_helper import catalog, store
from labs_helper.errors import BadRequest, CheckpointRefused, DownloadFailed, EndpointFailed, ModelNotHere
from labs_helper.store import lan, manifest, transfer

NAME = "phi-3.5-mini-instruct-4bit"
CARD = catalog.find(NAME)[0]


@pytest.fixture
def served(tiny_checkpoint, tmp_path, monkeypatch):
    """A server that gives one model; afterwards the models folder is that of another computer."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "teacher"))
    shutil.copytree(tiny_checkpoint, tmp_path / "teacher" / NAME)
    (tmp_path / "teacher" / NAME / "secret.txt").write_text("not in the manifest")
    (tmp_path / "teacher" / "outside.json").write_text("{}")
    with store.serve(port=0) as server:
        monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "learner"))
        yield server


@pytest.fixture
def answering():
    """A server that answers every request with the bytes a test gives it."""
    running = []

    def start(answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self):
                content = answers(self.path)
                self.send_response(200 if content is not None else 404)
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *arguments):
                pass

        running.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_model_travels(served, tmp_path):
    path = store.fetch(NAME, source=served.url, progress=False)
    assert path == tmp_path / "learner" / NAME
    for file in (tmp_path / "teacher" / NAME).iterdir():
        assert file.name == "secret.txt" or (path / file.name).read_bytes() == file.read_bytes()
    assert not (path / "secret.txt").exists()
    assert "sums" in store.check(NAME, progress=False)


def test_a_computer_in_the_room_is_asked_directly_whatever_the_proxy(served, tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing answers there
    plan = lan.plan(NAME, served.url)
    small = min(plan.files, key=lambda file: file.size)
    with transfer.client(small.url) as http:
        transfer.download(http, small, tmp_path, lambda count: None)
    assert (tmp_path / small.name).stat().st_size == small.size
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.delenv("http_proxy")
    lan.plan(NAME, served.url)
    with pytest.raises(BadRequest, match="SOCKS"):
        lan.plan(NAME, "http://models.example.org:8787")


@pytest.mark.parametrize(
    "source", ["http://me:hunter2", "me:hunter2@host", "host?key=hunter2", "http://me:hunter2@h:x"]
)
def test_an_address_with_a_password_is_not_repeated(source):
    with pytest.raises(BadRequest) as caught:
        lan.plan(NAME, source)
    assert "hunter2" not in str(caught.value)


def test_twenty_learners_at_once(served, tmp_path):
    plan = lan.plan(NAME, served.url)
    problems = []

    def learner(number: int) -> None:
        folder = tmp_path / f"learner-{number}"
        folder.mkdir()
        try:
            with transfer.client(served.url) as http:
                for remote in plan.files:
                    transfer.download(http, remote, folder, lambda count: None)
            manifest.Manifest.of(folder, NAME)
        except DownloadFailed as error:
            problems.append(error)

    threads = [threading.Thread(target=learner, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == [] and not any(thread.is_alive() for thread in threads)


def test_a_download_goes_on_where_it_stopped(served, tmp_path):
    plan = lan.plan(NAME, served.url)
    weights = next(file for file in plan.files if file.name == "model.safetensors")
    data = (tmp_path / "teacher" / NAME / weights.name).read_bytes()
    (tmp_path / f"{weights.name}.{weights.digest[:12]}.part").write_bytes(data[:1000])
    counted = []
    with transfer.client(served.url) as http:
        transfer.download(http, weights, tmp_path, counted.append)
    assert (tmp_path / weights.name).read_bytes() == data
    assert sum(counted) == len(data) and counted[0] == 1000


def test_it_gives_out_the_manifests_files_and_nothing_else(served):
    with httpx.Client(base_url=served.url, timeout=10) as http:
        assert http.get("/models.json").json() == [NAME]
        for path in (
            "/",
            f"/{NAME}/",
            f"/{NAME}/secret.txt",
            f"/{NAME}/..%2foutside.json",
            "/outside.json",
            f"/{NAME}/../outside.json",
            f"/{NAME}//etc/passwd",
            "/instruct-tiny/config.json",
        ):
            assert http.get(path).status_code in (403, 404), path
        for method in ("PUT", "POST", "DELETE", "PATCH"):
            assert http.request(method, f"/{NAME}/config.json").status_code == 405
        whole = http.get(f"/{NAME}/model.safetensors")
        part = http.get(f"/{NAME}/model.safetensors", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
        past = http.get(f"/{NAME}/model.safetensors", headers={"Range": f"bytes={len(whole.content)}-"})
        assert past.status_code == 416
        assert whole.headers["Content-Type"] == "application/octet-stream"


def test_it_listens_on_this_machine_unless_told_otherwise(served):
    assert served.url.startswith("http://127.0.0.1:") and served.addresses == [served.url]
    with pytest.raises(EndpointFailed, match="cannot be used"):
        lan.Server("127.0.0.1", served.port, {})


def test_the_command_says_how_to_fetch_and_stops(served, tmp_path, monkeypatch, capsys):
    from labs_helper import cli

    def interrupt(server) -> None:
        assert httpx.get(f"{server.url}/models.json", timeout=5).json() == [NAME]
        raise KeyboardInterrupt

    monkeypatch.setattr(lan.Server, "wait", interrupt)
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "teacher"))
    assert cli.main(["models", "serve", "--port", "0"]) == 130
    shown = capsys.readouterr()
    assert "labs models fetch NAME --from http://127.0.0.1:" in shown.out and "Stopped." in shown.err
    assert "Everybody" not in shown.out
    assert cli.main(["models", "serve", "--port", "0", "--host", "0.0.0.0"]) == 130
    assert "Everyone on these networks can read" in capsys.readouterr().out


def test_after_close_nobody_answers(served):
    served.close()
    with pytest.raises(DownloadFailed, match="Nothing answers"):
        lan.plan(NAME, served.url)


def test_a_model_that_the_other_side_does_not_have(served):
    with pytest.raises(DownloadFailed, match=f"It has: {NAME}"):
        store.fetch("phi-3.5-mini-instruct-8bit", source=served.url, progress=False)


def test_nothing_to_serve(served):
    with pytest.raises(ModelNotHere, match="no real model"):
        store.serve(port=0)
    with pytest.raises(ModelNotHere):
        store.serve([NAME], port=0)


def test_a_broken_model_is_not_served(served, tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "teacher"))
    weights = tmp_path / "teacher" / NAME / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointRefused):
        store.serve(port=0)


@pytest.mark.parametrize("source", ["ftp://host", "http://", "file:///etc/passwd", "http://host:99999"])
def test_addresses_that_are_none(served, source):
    with pytest.raises(BadRequest, match="not an address"):
        lan.plan(NAME, source)


def test_an_address_with_a_password_is_refused_and_not_repeated(served):
    with pytest.raises(BadRequest, match="more than an address") as caught:
        lan.plan(NAME, "http://user:secret@host/")
    assert "secret" not in str(caught.value)


def test_nobody_there(served):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadFailed, match="Nothing answers"):
            lan.plan(NAME, f"127.0.0.1:{taken.getsockname()[1]}")


def test_a_server_that_is_something_else(served, answering):
    with pytest.raises(CheckpointRefused, match="cannot be read"):
        lan.plan(NAME, answering(lambda path: b"<html>a router</html>"))
    with pytest.raises(DownloadFailed, match="not with a model"):
        lan.plan(NAME, answering(lambda path: b" " * 3_000_000))
    with pytest.raises(DownloadFailed, match="It has: nothing"):
        lan.plan(NAME, answering(lambda path: None))


def test_a_server_that_lies(served, answering, tmp_path):
    """Another model's name, a way out of the folder, or other bytes than announced: all refused."""
    folder = tmp_path / "teacher" / NAME
    made = json.loads(manifest.Manifest.of(folder, NAME).text())
    with pytest.raises(CheckpointRefused, match="answers with"):
        lan.plan(NAME, answering(lambda path: json.dumps({**made, "name": "evil"}).encode()))
    bad = [{**made["files"][0], "name": "../../escaped.json"}]
    with pytest.raises(CheckpointRefused, match="not part of a model"):
        lan.plan(NAME, answering(lambda path: json.dumps({**made, "files": bad}).encode()))

    def other_bytes(path: str) -> bytes:
        if path.endswith(manifest.NAME):
            return json.dumps(made).encode()
        data = (folder / Path(path).name).read_bytes()
        return data[:-1] + b"\1" if path.endswith(".safetensors") else data

    with pytest.raises(DownloadFailed, match="damaged twice"):
        store.fetch(NAME, source=answering(other_bytes), progress=False)
    with pytest.raises(ModelNotHere):
        store.locate(CARD)
