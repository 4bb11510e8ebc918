"""Fetching from a hub that drops, lies, refuses and disappears. Everything on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_hub import COMMIT, FakeHub, Faults

from labs_helper import catalog, store
from labs_helper.common import files
from labs_helper.errors import BadRequest, CheckpointRefused, DownloadFailed, LabError, ModelNotHere, NotEnoughDisk
from labs_helper.store import hub, staging, transfer
from labs_helper.store.manifest import Manifest
from labs_helper.store.places import destination

NAME = "phi-3.5-mini-instruct-4bit"
CARD = catalog.find(NAME)[0]


@pytest.fixture
def upload(tiny_checkpoint, tmp_path) -> Path:
    """What is in the repository: a checkpoint in two shards, with the code that a real one carries."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "upload"))
    split(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "configuration_phi3.Phi3Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_phi3.py").write_text("raise SystemExit('never run')")
    (folder / "README.md").write_text("# A model")
    (folder / "LICENSE").write_text("MIT")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")
    (folder / "training_args.bin").write_bytes(b"pickle")
    return folder


def split(folder: Path) -> None:
    """Two shards and an index from one file."""
    import mlx.core as mx

    weights = mx.load(str(folder / "model.safetensors"))
    names = sorted(weights)
    half, place = len(names) // 2, {}
    for number, part in ((1, names[:half]), (2, names[half:])):
        file = f"model-0000{number}-of-00002.safetensors"
        mx.save_safetensors(str(folder / file), {name: weights[name] for name in part}, metadata={"format": "mlx"})
        place.update(dict.fromkeys(part, file))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """An empty models folder, and settings under which a test neither waits nor leaves this machine."""
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    return tmp_path / "models"


@pytest.fixture
def serve(upload, models, monkeypatch):
    running = []

    def start(repository: str = CARD.repository, **faults) -> FakeHub:
        running.append(FakeHub(repository, upload, Faults(**faults)).__enter__())
        monkeypatch.setenv("HF_ENDPOINT", running[-1].url)
        return running[-1]

    yield start
    for each in running:
        each.__exit__()


def fetch() -> Path:
    return store.fetch(NAME, progress=False)


def failure(kind=DownloadFailed) -> str:
    """The message of a fetch that fails within seconds, after making sure that nothing half is to be found."""
    start = time.monotonic()
    with pytest.raises(kind) as caught:
        fetch()
    assert time.monotonic() - start < 12
    assert caught.value.do
    assert not destination(CARD).exists()
    with pytest.raises(ModelNotHere):
        store.locate(CARD)
    return str(caught.value)


def whole(path: Path, upload: Path) -> None:
    for file in upload.glob("*.safetensors"):
        assert (path / file.name).read_bytes() == file.read_bytes()
    Manifest.read(path).check(path)


def test_only_the_needed_files_come(serve, upload, models):
    started = serve()
    path = fetch()
    assert path == models / NAME == store.locate(CARD)
    assert {file.name for file in path.iterdir()} == {
        "LICENSE",
        "README.md",
        "config.json",
        "generation_config.json",
        "labs-manifest.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    whole(path, upload)
    made = Manifest.read(path)
    assert (made.name, made.repository, made.revision) == (NAME, CARD.repository, COMMIT)
    assert "sums" in store.check(NAME, progress=False)
    before = len(started.requests)
    assert fetch() == path and len(started.requests) == before, "what is here is not asked for again"
    assert [each.name for each in models.iterdir() if not each.name.endswith(".lock")] == [NAME]


def test_twenty_dropped_connections(serve, upload):
    size = sum(file.stat().st_size for file in upload.glob("*.safetensors"))
    started = serve(drops=20, drop_after=size // 30, chunk=1000)
    whole(fetch(), upload)
    assert started.faults.drops == 0, "all twenty were dropped"
    assert started.sent < size * 1.2, "what had arrived was not sent again"
    assert sum(1 for _, path, part in started.requests if part and path.startswith("/cdn/")) >= 20


def test_a_server_without_ranges(serve, upload):
    started = serve(drops=1, drop_after=30_000, ranges=False)
    whole(fetch(), upload)
    assert started.faults.drops == 0


@pytest.mark.posix
def test_kill_9_in_the_middle_and_a_second_start(serve, upload, models, tmp_path):
    started = serve(stall_at=20_000, chunk=4000)
    code = f"from labs_helper import store; store.fetch({NAME!r}, progress=False)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "PYTHONPATH": os.pathsep.join(sys.path)}

    def there() -> int:
        return sum(file.stat().st_size for file in files.part_folder(destination(CARD)).glob("*.safetensors.*.part"))

    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        deadline = time.monotonic() + 60
        while there() < 20_000 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert there() == 20_000 and child.poll() is None, "it hangs in the middle of a file"
        with pytest.raises(BadRequest, match="Another program"):
            fetch()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        started.faults.stall_at = None
        started.go.set()
    with pytest.raises(ModelNotHere):
        store.locate(CARD)
    assert there() == 20_000
    kept, started.sent = there(), 0
    whole(fetch(), upload)
    size = sum(file.stat().st_size for file in upload.glob("*.safetensors"))
    assert started.sent == size - kept, "it went on where it stopped"


def test_a_file_that_is_cut_short(serve):
    serve(cut=20_000)
    assert "20,000 of" in failure()
    assert list(files.part_folder(destination(CARD)).glob("*.part")), "what came is kept for the next attempt"


def test_a_listing_that_lies_about_sizes(serve, upload):
    name = "model-00001-of-00002.safetensors"
    true = (upload / name).stat().st_size
    for size in (true - 100, true + 100):
        started = serve(lie={name: size})
        assert f"should have {size:,} bytes" in failure()
        assert started.sent < 3 * true


def test_damage_on_the_way(serve, upload):
    serve(damage=1)
    whole(fetch(), upload)
    store.remove(NAME)
    serve(damage=2)
    assert "damaged twice" in failure()


def test_files_of_an_older_revision_are_not_mixed_in(serve, upload):
    serve(cut=20_000)
    failure()
    (files.part_folder(destination(CARD)) / "old.json").write_text("{}")
    weights = upload / "model-00001-of-00002.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    serve()
    path = fetch()
    whole(path, upload)
    assert not (path / "old.json").exists()


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (401, {}, "no public repository"),
        (404, {"X-Error-Code": "RepoNotFound"}, "renamed, removed or made private"),
        (403, {"X-Error-Code": "GatedRepo"}, "terms accepted"),
        (403, {}, "does not let you"),
        (429, {"Retry-After": "300"}, "in 300 seconds"),
        (503, {}, "a problem of its own"),
        (418, {}, "answers 418"),
    ],
)
def test_what_the_hub_answers(serve, status, headers, said):
    serve(status=status, headers=headers)
    assert said in failure()


@pytest.mark.parametrize("listing", [b"<html>Please log in</html>", b"[]", b"", b'{"id": 3}', b'{"siblings": 3}'])
def test_a_login_page_in_between(serve, listing):
    serve(listing=listing)
    failure()


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(sha="../../../main"),
        lambda said: said.update(sha=None),
        lambda said: said.update(id="a/b\x1b[2J"),
        lambda said: said["siblings"][0].update(size=-1),
        lambda said: said["siblings"][0].update(size="12"),
        lambda said: said["siblings"][0].update(size=True),
        lambda said: said["siblings"][0].update(blobId="../../../../tmp/x"),
        lambda said: said["siblings"][0].update(lfs={"sha256": "../../x", "size": 1}),
        lambda said: said["siblings"][0].update(lfs=3),
        lambda said: said["siblings"].append(None),
    ],
)
def test_a_listing_with_something_else_in_it(serve, upload, change):
    """Names, sums and the commit become parts of paths and addresses."""
    files = [{"rfilename": "config.json", "size": 1, "blobId": "0" * 40}]
    said = {"id": CARD.repository, "sha": COMMIT, "siblings": files}
    change(said)
    serve(listing=json.dumps(said).encode())
    assert "not a list of files" in failure()


@pytest.mark.parametrize(
    ("listing", "headers"),
    [(b"[" * 100_000, {}), (b" " * (hub.LISTING + 10), {}), (b'{"sha": ' + b"9" * 10_000 + b"}", {})],
    ids=["nested", "too long", "a long number"],
)
def test_a_listing_made_to_hurt(serve, listing, headers):
    serve(listing=listing, headers=headers)
    assert "not a list of files" in failure()


@pytest.mark.parametrize("wait", ["\u00b2".encode().decode("latin-1"), "9" * 5000, "soon", "-1"])
def test_a_time_to_wait_that_is_no_number(serve, wait):
    serve(status=429, headers={"Retry-After": wait})
    assert "in some minutes" in failure()


@pytest.mark.parametrize(
    "address",
    ["https://me:hunter2@hub.example.org", "https://hub.example.org/?key=hunter2", "hunter2", "http://[hunter2"],
)
def test_the_address_of_a_hub_is_checked_and_a_password_in_it_is_not_repeated(models, monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    said = failure(BadRequest)
    assert "HF_ENDPOINT" in said and "hunter2" not in said


@pytest.mark.parametrize("token", ["hunter2 with \u00e9", "hunter2 and more"])
def test_a_token_that_no_header_can_hold_is_not_repeated(serve, monkeypatch, token):
    started = serve()
    monkeypatch.setenv("HF_TOKEN", token)
    said = failure(BadRequest)
    assert "HF_TOKEN" in said and "hunter2" not in said and not started.requests


def test_a_token_stays_out_of_the_logs_and_away_from_other_hosts(serve, monkeypatch, caplog):
    started = serve()
    monkeypatch.setenv("HF_TOKEN", "hunter2\n")
    with caplog.at_level("DEBUG"):
        fetch()
    assert "hunter2" not in caplog.text
    sent = {path: token for path, token in started.tokens.items() if token}
    assert all(token == "Bearer hunter2" for token in sent.values())
    assert sent and not any(path.startswith("/cdn/") for path in sent)


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture
def proxy(answering, monkeypatch):
    """A proxy that answers everything with a 502, and that the environment names for every address."""
    url = answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    for name in PROXIES:
        monkeypatch.setenv(name, url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    return url


def test_a_hub_on_this_computer_is_never_asked_through_a_proxy(serve, upload, proxy):
    """The listing went through the proxy, and the token with it; the files never did."""
    started = serve()
    whole(fetch(), upload)
    assert any(path.startswith("/api/models/") for _, path, _ in started.requests)


def test_other_hubs_are_asked_through_the_proxy(models, monkeypatch, proxy):
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example.org")
    assert "a problem of its own (502)" in failure()


def test_a_socks_proxy_is_refused_for_a_hub_far_away_and_no_matter_for_one_near(serve, upload, monkeypatch):
    for name in PROXIES:
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example.org")
    assert "SOCKS" in failure(BadRequest)
    serve()
    whole(fetch(), upload)


def test_a_moved_repository_is_followed(serve, upload, capsys):
    serve(moved="mlx-community/Phi-3.5-mini-instruct-new")
    whole(fetch(), upload)
    assert "has moved to mlx-community/Phi-3.5-mini-instruct-new" in capsys.readouterr().out


def test_a_busy_moment_is_waited_out(serve, upload):
    serve(file_status=[503, 429, 502])
    whole(fetch(), upload)


@pytest.mark.parametrize(
    ("statuses", "headers", "said"),
    [
        ([503] * 50, {}, "did not arrive: the server is busy (503)"),
        ([429], {"Retry-After": "3600"}, "did not arrive: the server is busy (429)"),
        ([401], {}, "does not let you have"),
        ([404], {}, "any more (404)"),
        ([418], {}, "answers 418"),
    ],
)
def test_what_the_hub_answers_for_a_file(serve, statuses, headers, said):
    serve(file_status=statuses, headers=headers)
    assert said in failure()


def test_offline_and_unreachable_are_answered_quickly(models, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")  # nobody listens
        assert "does not answer" in failure()
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    assert "labs models import" in failure()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in failure()


def test_a_hub_that_hangs(serve, monkeypatch):
    monkeypatch.setattr(hub, "TIMEOUT", 0.3)
    serve(hang=1.5)
    assert "does not answer" in failure()


def test_the_disk_is_looked_at_first(serve, monkeypatch):
    started = serve()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, staging.SPARE + 1000))
    assert "LABS_MODELS_DIR" in failure(NotEnoughDisk)
    assert started.sent == 0


def test_a_folder_that_may_not_be_written(serve, tmp_path, monkeypatch):
    serve()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "file" / "models"))
    with pytest.raises(DownloadFailed, match="could not be read or written"):
        fetch()


def test_a_shard_that_was_never_uploaded(serve, upload):
    started = serve(without={"model-00002-of-00002.safetensors"})
    assert "model-00002-of-00002" in failure(CheckpointRefused)
    assert started.sent == 0, "gigabytes are not fetched for nothing"


def test_a_wrong_architecture_is_refused_before_the_weights(serve, upload):
    (upload / "config.json").write_text('{"model_type": "llama"}')
    started = serve()
    assert "phi3, phi3_v, phimoe" in failure(CheckpointRefused)
    assert started.sent == 0


def test_model_file_is_refused(serve, upload):
    config = json.loads((upload / "config.json").read_text())
    (upload / "config.json").write_text(json.dumps({**config, "model_file": "evil.py"}))
    serve()
    assert "model_file" in failure(CheckpointRefused)


def test_weights_whose_header_lies(serve, upload):
    (upload / "model-00002-of-00002.safetensors").write_bytes(b"\xff" * 64)
    serve()
    assert "not a whole safetensors file" in failure(CheckpointRefused)


def test_no_weights_in_a_safe_format(serve, upload):
    for file in upload.glob("*.safetensors"):
        file.unlink()
    serve()
    assert "safe format" in failure()


def test_the_token_goes_to_the_hub_and_to_nobody_else(serve, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    started = serve()
    fetch()
    sent = {path: token for path, token in started.tokens.items() if token}
    assert any("/resolve/" in path for path in sent) and any("/api/" in path for path in sent)
    assert not any(path.startswith("/cdn/") for path in sent)


def test_what_cannot_be_fetched(models):
    for name, said in (("instruct-tiny", "part of the course"), ("phi-9", "no model")):
        with pytest.raises(BadRequest, match=said):
            store.fetch(name, progress=False)


def test_a_broken_model_is_named_and_can_be_removed(serve, upload):
    serve()
    path = fetch()
    weights = path / "model-00001-of-00002.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(CheckpointRefused, match=f"labs models remove {NAME}"):
        fetch()
    assert store.remove(NAME) > 0
    assert not path.exists()
    whole(fetch(), upload)


def test_a_flipped_bit_is_found(serve):
    serve()
    path = fetch()
    weights = path / "model-00001-of-00002.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert store.verify(path, ships_code=True), "size and header are as they should be"
    with pytest.raises(CheckpointRefused, match="SHA-256"):
        store.check(NAME, progress=False)


def test_remove_takes_everything_and_nothing_else(serve, models):
    serve(cut=20_000)
    failure()
    (models / "other").mkdir()
    assert store.remove(NAME) > 0, "an unfinished download counts"
    assert [each.name for each in models.iterdir() if not each.name.endswith(".lock")] == ["other"]
    with pytest.raises(ModelNotHere, match="nothing to remove"):
        store.remove(NAME)
    with pytest.raises(BadRequest, match="part of the course"):
        store.remove("instruct-tiny")


@pytest.mark.posix
def test_remove_leaves_what_a_link_points_to(models, upload):
    models.mkdir()
    (models / NAME).symlink_to(upload)
    store.remove(NAME)
    assert (upload / "config.json").is_file() and not (models / NAME).exists()


def test_a_model_in_the_hub_cache_is_used_and_not_removed(models, upload, tmp_path):
    snapshot = tmp_path / "cache" / f"models--{CARD.repository.replace('/', '--')}" / "snapshots" / COMMIT
    shutil.copytree(upload, snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text(COMMIT)
    assert fetch() == snapshot
    with pytest.raises(BadRequest, match="hf cache rm"):
        store.remove(NAME)
    (snapshot / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelNotHere):
        store.locate(CARD)


def test_a_gguf_file_and_its_known_sum(serve, upload, monkeypatch):
    card = catalog.find("phi-3.5-mini-instruct-q4-gguf")[0]
    (upload / card.file).write_bytes(b"GGUF" + (3).to_bytes(4, "little") + b"\1" + b"\0" * 7 + b"\1" + b"\0" * 47)
    serve(card.repository)
    with pytest.raises(DownloadFailed, match="SHA-256 sum differs"):
        store.fetch(card.name, progress=False)
    previous = catalog.find("phi-3-mini-128k-instruct-q4-gguf")[0]
    (upload / card.file).rename(upload / previous.file)
    serve(previous.repository)
    path = store.fetch(previous.name, progress=False)
    assert sorted(file.name for file in path.iterdir()) == sorted(
        ["LICENSE", "README.md", "labs-manifest.json", previous.file]
    )
    assert store.locate(previous) == path
    (path / previous.file).write_bytes(b"GGML" * 20)
    with pytest.raises(CheckpointRefused, match="GGUF"):
        store.verify(path)


def test_the_error_reaches_the_command_line(serve, capsys):
    from labs_helper import cli

    serve(status=503)
    assert cli.main(["models", "fetch", NAME]) == 1
    shown = capsys.readouterr().err
    assert "DownloadFailed" in shown and "What to do" in shown and "Traceback" not in shown
    assert issubclass(NotEnoughDisk, LabError)
