"""Folders in the layout of ONNX Runtime GenAI: what is refused, how they are found, fetched and packed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper

from labs_helper import catalog, store
from labs_helper.catalog import course_folder
from labs_helper.engines.onnx_genai import OnnxGenAI
from labs_helper.errors import CheckpointRefused, DownloadFailed
from labs_helper.models.selection import choose
from labs_helper.store import hub, manifest, onnx_folder, onnx_graph, packs, protobuf
from training.to_onnx import STEM, exported

CARD = catalog.find("phi-3.5-vision-instruct-onnx")[0]
CHECKPOINTS = course_folder() / "data" / "checkpoints"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An export of vision-tiny under the name of the real model, in an empty models folder."""
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    return Path(shutil.copytree(exported(CHECKPOINTS / "vision-tiny"), tmp_path / "models" / CARD.name))


def change(folder: Path, **values) -> None:
    file = folder / "genai_config.json"
    settings = json.loads(file.read_text())
    for path, value in values.items():
        *places, key = path.split("__")
        place = settings["model"]
        for name in places:
            place = place[name]
        place[key] = value
    file.write_text(json.dumps(settings))


def rewrite(folder: Path, part: str, edit) -> None:
    """Change a graph, with its weights left where they are."""
    file = str(folder / f"{STEM}-{part}.onnx")
    graph = onnx.load(file, load_external_data=False)
    edit(graph)
    onnx.save(graph, file)


def test_a_folder_is_read(folder):
    config = store.verify(folder)
    assert (config["model_type"], config["original_max_position_embeddings"]) == ("phi3_v", 2048)
    found = onnx_folder.read(folder)
    assert found.sees and found.num_crops == 1 and found.bytes > 7_000_000
    card = store.card_for(folder)
    assert (card.format, card.architecture) == ("onnx", "phi3_v")
    assert store.locate(CARD) == folder and choose("vision", "real").card.name == CARD.name


def test_auto_takes_it_where_mlx_has_no_gpu(folder, monkeypatch):
    choice = choose("vision", "auto")
    assert choice.card.name == CARD.name and "ONNX Runtime runs it" in choice.reason
    monkeypatch.setattr("labs_helper.common.platforms.has_onnx_runtime", lambda: False)
    without = choose("vision", "auto")
    assert without.card.name == "vision-tiny" and "pip install 'labs-helper[x86]'" in without.reason


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"type": "whisper"}, "'whisper' .* is not one of this course"),
        ({"decoder": 3}, "'decoder'"),
        ({"decoder__hidden_size": True}, "'hidden_size'"),
        ({"decoder__head_size": 0}, "'head_size'"),
        ({"context_length": "many"}, "'context_length'"),
        ({"vocab_size": 10**9}, "'vocab_size'"),
        ({"vision": None}, "'vision'"),
        ({"decoder__filename": "../text.onnx"}, "'decoder.filename'"),
        ({"decoder__filename": "text.py"}, "'decoder.filename'"),
        ({"decoder__filename": "gone.onnx"}, "gone.onnx is missing"),
        ({"decoder__session_options": {"custom_ops_library": "x.so"}}, "library of operators"),
        ({"vision__custom_ops_library": "x.so"}, "library of operators"),
    ],
)
def test_settings_that_cannot_be_used(folder, values, said):
    change(folder, **values)
    with pytest.raises(CheckpointRefused, match=said):
        store.verify(folder)


def test_settings_that_are_no_settings(folder):
    (folder / "genai_config.json").write_text("[1]")
    with pytest.raises(CheckpointRefused, match="not a JSON object"):
        store.verify(folder)


@pytest.mark.parametrize("part", ["vision", "embedding", "text"])
def test_a_missing_or_cut_weight_file(folder, part):
    weights = folder / f"{STEM}-{part}.onnx.data"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(CheckpointRefused, match="is cut short"):
        store.verify(folder)
    weights.unlink()
    with pytest.raises(CheckpointRefused, match=rf"{weights.name} is missing .* Copy or download the missing file"):
        store.verify(folder)


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/passwd", "a/b.data", "..\\x.data"])
def test_weights_outside_of_the_folder(folder, name):
    def lead_out(model):
        tensor = next(one for one in model.graph.initializer if one.external_data)
        next(entry for entry in tensor.external_data if entry.key == "location").value = name

    rewrite(folder, "text", lead_out)
    with pytest.raises(CheckpointRefused, match="outside of the folder"):
        store.verify(folder)


def test_weights_outside_in_a_branch(folder):
    def lead_out(model):
        branch = next(node for node in model.graph.node if node.op_type == "If").attribute[0].g
        tensor = branch.node[0].attribute[0].t
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../../x"

    rewrite(folder, "text", lead_out)
    with pytest.raises(CheckpointRefused, match="outside of the folder"):
        store.verify(folder)


@pytest.mark.parametrize(
    ("kind", "domain"),
    [("EPContext", "com.microsoft"), ("PyOp", "ai.onnx.contrib"), ("Add", "com.evil"), ("LoadLibrary", "")],
)
@pytest.mark.parametrize("where", ["graph", "branch", "function"])
def test_operators_that_no_model_needs(folder, kind, domain, where):
    node = helper.make_node(kind, ["x"], ["y"], domain=domain)

    def add(model):
        if where == "graph":
            model.graph.node.append(node)
        elif where == "branch":
            next(one for one in model.graph.node if one.op_type == "If").attribute[0].g.node.append(node)
        else:
            model.functions.append(helper.make_function("own", "f", ["x"], ["y"], [node], []))

    rewrite(folder, "text", add)
    with pytest.raises(CheckpointRefused, match=rf"uses operators .*{kind}"):
        store.verify(folder)


@pytest.mark.parametrize("junk", [b"", b"\xff" * 40, b"\x3a\x7f", b"GGUF" + bytes(40)])
def test_what_is_no_graph(folder, junk):
    (folder / f"{STEM}-vision.onnx").write_bytes(junk)
    with pytest.raises(CheckpointRefused, match="not an ONNX graph"):
        store.verify(folder)


def test_no_change_of_a_byte_ends_in_another_error(folder):
    """The walk through the format trusts no length: it is refused, or read as something else."""
    file = folder / f"{STEM}-embedding.onnx"
    whole = file.read_bytes()
    for place in range(len(whole)):
        for value in (0, 127, 128, 255):
            file.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                onnx_graph.check(onnx_graph.read(file))
            except CheckpointRefused:
                continue


def test_a_varint_that_does_not_end():
    with pytest.raises(protobuf.Damaged, match="does not end"):
        list(protobuf.fields(memoryview(b"\x08" + b"\x80" * 20)))


def test_a_text_model_in_place_of_one_that_sees(tmp_path):
    engine = OnnxGenAI(exported(CHECKPOINTS / "instruct-tiny"), sees=True)
    with pytest.raises(CheckpointRefused, match="holds a text model, and one that sees pictures belongs there"):
        engine.load_tokenizer()


def test_code_beside_the_graphs(folder):
    (folder / "modeling.py").write_text("1")
    with pytest.raises(CheckpointRefused, match="Python code"):
        store.verify(folder)


# -- fetched and packed ---------------------------------------------------------------------------------


def listed(monkeypatch, card, change=lambda name, digest: digest):
    entries = [
        (f"{card.folder}/{name}", 10, change(name, digest), "sha256")
        for name, digest in [*card.sums.items(), ("run.py", "0" * 64), ("other.bin", "0" * 64)]
    ]
    entries += [("gpu/model.onnx.data", 10, "1" * 64, "sha256"), ("README.md", 5, "2" * 64, "sha256")]
    monkeypatch.setattr(hub, "_ask", lambda *_: (card.repository, "a" * 40, entries))
    return hub.plan(card)


def test_only_the_files_of_its_folder_are_fetched(monkeypatch):
    plan = listed(monkeypatch, CARD)
    assert {file.name for file in plan.files} == set(CARD.sums) and len(CARD.sums) == 11
    assert all(f"/{CARD.folder}/{file.name}" in file.url for file in plan.files)


def test_a_file_that_is_not_the_known_one(monkeypatch):
    with pytest.raises(DownloadFailed, match=r"text.onnx.data .* is not the file that this course knows"):
        listed(monkeypatch, CARD, lambda name, digest: "f" * 64 if name.endswith("text.onnx.data") else digest)
    listing = manifest.Manifest(CARD.name, (manifest.File("tokenizer.json", 3, "e" * 64),))
    with pytest.raises(DownloadFailed, match=r"tokenizer.json .* is not the file"):
        hub.check_sums(CARD, listing)
    hub.check_sums(replace(CARD, sums={}), listing)


def test_a_pack_goes_to_a_stick_and_comes_back(folder, tmp_path):
    pack = packs.export(CARD.name, tmp_path, progress=False)
    names = {file.name for file in pack.iterdir()}
    assert {f"{STEM}-text.onnx", f"{STEM}-text.onnx.data", "genai_config.json"} <= names
    shutil.rmtree(folder)
    assert packs.import_pack(pack, progress=False) == folder and store.verify(folder)["model_type"] == "phi3_v"
    shutil.rmtree(folder)
    (pack / f"{STEM}-text.onnx.data").write_bytes(b"x")
    with pytest.raises(CheckpointRefused):
        packs.import_pack(pack, progress=False)
