"""Finding checkpoints, and refusing those that are broken or carry code."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from labs_helper import catalog, store
from labs_helper.errors import CheckpointRefused, LabError, ModelNotHere


@pytest.fixture
def copy(tiny_checkpoint, tmp_path) -> Path:
    """A checkpoint that a test may break."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def change(file: Path, **values) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    for key, value in values.items():
        if value is None:
            content.pop(key, None)
        else:
            content[key] = value
    file.write_text(json.dumps(content), encoding="utf-8")


def refusal(path: Path, **options) -> str:
    with pytest.raises(LabError) as caught:
        store.verify(path, **options)
    assert caught.value.do, "every refusal says what to do"
    assert type(caught.value) in (CheckpointRefused, ModelNotHere)
    return str(caught.value)


def test_a_good_checkpoint_passes(copy):
    assert store.verify(copy)["model_type"] == "phi3"


def test_missing_folder(tmp_path):
    with pytest.raises(ModelNotHere, match="no folder"):
        store.verify(tmp_path / "nothing")


def test_a_file_is_not_a_folder(copy):
    assert "is a file" in refusal(copy / "config.json")


def test_code_is_refused(copy):
    (copy / "modeling_phi3.py").write_text("raise SystemExit('this code must never run')")
    assert "modeling_phi3.py" in refusal(copy)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_keys_that_ask_for_code_are_refused(copy, file):
    change(copy / file, auto_map={"AutoConfig": "configuration_phi3.Phi3Config"})
    assert "auto_map" in refusal(copy)


def test_model_file_is_refused_from_everybody(copy):
    change(copy / "config.json", model_file="evil.py")
    assert "model_file" in refusal(copy)
    assert "model_file" in refusal(copy, ships_code=True)


def test_the_catalogs_own_repositories_may_carry_code_that_is_never_run(copy):
    (copy / "modeling_phi3.py").write_text("raise SystemExit('this code must never run')")
    change(copy / "config.json", auto_map={"AutoConfig": "modeling_phi3.Config"})
    assert store.verify(copy, ships_code=True)


@pytest.mark.parametrize("content", ["{", "", "[1, 2]", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")])
def test_unreadable_config(copy, content):
    (copy / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "config.json" in refusal(copy)


def test_missing_config(copy):
    (copy / "config.json").unlink()
    assert "config.json is missing" in refusal(copy)


@pytest.mark.parametrize("kind", ["llama", 3, ["phi3"], "__import__"])
def test_unknown_architecture(copy, kind):
    change(copy / "config.json", model_type=kind)
    assert "phi3, phi3_v, phimoe" in refusal(copy)


@pytest.mark.parametrize("value", [0, -1, "64", 1.5, True])
def test_sizes_must_be_whole_and_positive(copy, value):
    change(copy / "config.json", hidden_size=value)
    assert "hidden_size" in refusal(copy)


@pytest.mark.parametrize("left", [0, 4, 8, 200, -1])
def test_truncated_weights(copy, left):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    assert "model.safetensors" in refusal(copy)


def test_weights_with_something_appended(copy):
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"more")
    assert "not a whole safetensors file" in refusal(copy)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": "ab", "data_offsets": [0, 8]},
        [1],
    ],
)
def test_headers_that_lie(copy, entry):
    header = json.dumps({"weight": entry}).encode()
    (copy / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    said = refusal(copy)
    assert "model.safetensors is not a whole safetensors file" in said or ("weight in" in said and "C64" in said)


def test_two_tensors_that_share_bytes(copy):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"one": entry, "two": entry}).encode()
    (copy / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    assert "not a whole safetensors file" in refusal(copy)


@pytest.mark.parametrize("header", [b"not json", b"[]", b'{"weight":' + b"[" * 100_000, b'{"weight": NaN}'])
def test_a_header_that_is_not_one(copy, header):
    (copy / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "header" in refusal(copy)


def test_pickled_weights(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "can run code" in refusal(copy)


def test_no_weights(copy):
    (copy / "model.safetensors").unlink()
    assert "no weights" in refusal(copy)


def test_missing_shard(copy):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002" in refusal(copy)


def test_missing_tokenizer(copy):
    (copy / "tokenizer.json").unlink()
    assert "tokenizer.json" in refusal(copy)


@pytest.mark.posix
def test_links_that_leave_the_folder(copy, tmp_path):
    outside = tmp_path / "outside.safetensors"
    (copy / "model.safetensors").rename(outside)
    (copy / "model.safetensors").symlink_to(outside)
    assert "link" in refusal(copy)


@pytest.mark.posix
def test_links_within_the_hugging_face_cache_are_fine(copy, tmp_path):
    repository = tmp_path / "models--org--name"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    copy.rename(blobs)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    assert store.verify(snapshot)
    (snapshot / "extra.json").symlink_to("/etc/hostname")
    assert "link" in refusal(snapshot)


def test_the_new_rope_key_alone_is_refused(copy):
    scaling = json.loads((copy / "config.json").read_text())["rope_scaling"]
    change(copy / "config.json", rope_scaling=None, rope_parameters={**scaling, "rope_type": "longrope"})
    assert "rope_parameters" in refusal(copy)


def test_the_new_rope_key_without_scaling_is_harmless(copy):
    change(copy / "config.json", rope_scaling=None, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    assert store.verify(copy)


@pytest.mark.parametrize("factors", [[1.0], "many", [0.0] * 16, [-1.0] * 16, [float("nan")] * 16, None])
def test_rope_tables_must_fit_the_heads(copy, factors):
    scaling = json.loads((copy / "config.json").read_text())["rope_scaling"]
    change(copy / "config.json", rope_scaling={**scaling, "short_factor": factors})
    assert "short_factor" in refusal(copy)


def test_a_bundled_model_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    (tmp_path / ".git").mkdir()
    with pytest.raises(ModelNotHere, match="make checkpoints"):
        store.locate(catalog.find("instruct-tiny")[0])


def test_a_real_model_is_found_in_the_models_folder_and_in_the_hub_cache(copy, tmp_path, monkeypatch):
    card = catalog.find("instruct", "real")[0]
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelNotHere, match="not on this machine"):
        store.locate(card)
    repository = tmp_path / "hub" / "models--mlx-community--Phi-3.5-mini-instruct-4bit"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    snapshot = repository / "snapshots" / "0123abc"
    shutil.copytree(copy, snapshot)
    assert store.locate(card) == snapshot
    (snapshot / "model.safetensors").unlink()  # an interrupted download counts as not here
    with pytest.raises(ModelNotHere):
        store.locate(card)
    copy.rename(tmp_path / "moved")
    (tmp_path / "models").mkdir()
    (tmp_path / "moved").rename(tmp_path / "models" / "Phi-3.5-mini-instruct-4bit")
    assert store.locate(card) == tmp_path / "models" / "Phi-3.5-mini-instruct-4bit"


def test_a_card_for_a_folder(copy):
    card = store.card_for(copy)
    assert (card.name, card.architecture, card.context, card.tier) == ("copy", "phi3", 512, "custom")
    assert card.bytes_on_disk == (copy / "model.safetensors").stat().st_size


def test_paths_and_names_are_told_apart():
    assert store.looks_like_path("./x") and store.looks_like_path("/x") and store.looks_like_path("a/b")
    assert not store.looks_like_path("instruct-tiny")
