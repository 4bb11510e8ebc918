"""Odd values and endless lists in the files of a checkpoint: refused as such, soon, and without a raw error."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labs_helper import catalog, store
from labs_helper.engines.mlx_text import MLXText
from labs_helper.errors import CheckpointRefused
from labs_helper.models.load import load
from labs_helper.store import checkpoint, gguf, json_files


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the bundled instruct model, to be spoilt."""
    return Path(shutil.copytree(catalog.course_folder() / "data/checkpoints/instruct-tiny", tmp_path / "model"))


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            (key, value)
            for key in ("original_max_position_embeddings", "max_position_embeddings")
            for value in (0, "x")
        ),
        *(("quantization", value) for value in (5, "x", [], {}, {"bits": "4", "group_size": 64})),
        *(("vocab_size", value) for value in (10**12, math.nan, True)),
        *(("partial_rotary_factor", value) for value in (math.nan, "x", [], 0)),
        *((key, value) for key in ("num_key_value_heads", "head_dim", "num_hidden_layers") for value in (10**12, 1.5)),
        *((key, "x") for key in ("eos_token_id", "tie_word_embeddings", "rms_norm_eps", "rope_theta")),
        ("quantization_config", 5),
        ("hidden_size", 5),
    ],
)
def test_odd_settings_are_refused(folder, key, value):
    change(folder / "config.json", **{key: value})
    with pytest.raises(CheckpointRefused) as caught:
        load(str(folder)).ask("Hello", max_tokens=1)
    assert caught.value.do


@pytest.mark.parametrize("key", ["chat_template_type", "tool_parser_type"])
def test_names_of_modules_that_are_not_there(folder, key):
    change(folder / "tokenizer_config.json", **{key: "nothing"})
    with pytest.raises(CheckpointRefused, match="tokenizer"):
        load(str(folder)).count_tokens("Hello")


def split(expression: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def test_an_expression_that_cannot_be_used(folder):
    change(folder / "tokenizer.json", pre_tokenizer=split("("))
    with pytest.raises(CheckpointRefused, match="tokenizer"):
        load(str(folder)).count_tokens("Hello")


def test_an_expression_that_panics_on_some_texts(folder):
    change(folder / "tokenizer.json", pre_tokenizer=split(r"(?:(?:[a-z]|\w)+)+(?=\d)"))
    model = load(str(folder))
    for call in (model.count_tokens, model.prompt):
        with pytest.raises(CheckpointRefused, match="tokenizer"):
            call("a" * 5000 + "!")


def test_a_panic_of_the_tokenizer_is_one_of_our_errors():
    from labs_helper.engines.refusing import Refusing

    panic = type("PanicException", (BaseException,), {})  # as pyo3 makes it: no Exception
    with pytest.raises(CheckpointRefused, match="panics"), Refusing(Path("folder"), "tokenizer"):
        raise panic("it panics")
    with pytest.raises(KeyboardInterrupt), Refusing(Path("folder"), "tokenizer"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("step", [{"String": "e"}, {"Regex": "e"}])
def test_replacements_within_replacements(folder, step):
    """Nine of them make a thousand million letters of one."""
    times_ten = {"type": "Replace", "pattern": step, "content": "e" * 10}
    nested = {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [times_ten] * 9}]}
    change(folder / "tokenizer.json", normalizer=nested)
    start = time.perf_counter()
    with pytest.raises(CheckpointRefused, match="longer"):
        load(str(folder)).count_tokens("Here")
    assert time.perf_counter() - start < 5


def test_a_json_file_of_endless_spaces(folder):
    with (folder / "config.json").open("a") as file:
        file.write(" " * (json_files.MOST_JSON + 1))
    start = time.perf_counter()
    with pytest.raises(CheckpointRefused, match="bytes"):
        store.verify(folder)
    assert time.perf_counter() - start < 2


def test_a_header_of_endless_tensors(folder):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"tensor.{number:07}": entry for number in range(120_000)}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert len(header) > checkpoint.MOST_HEADER
    with pytest.raises(CheckpointRefused, match="table of contents"):
        store.verify(folder)


@pytest.mark.parametrize("kind", [8, 0, 9])  # strings, bytes, lists
def test_a_gguf_file_with_endless_lists(tmp_path, kind):
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    entries = gguf.MOST_ENTRIES + 1
    one = {8: text(""), 0: b"\0", 9: struct.pack("<IQ", 0, 0)}[kind]
    file = tmp_path / "model.gguf"
    key = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, kind, entries)
    file.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + key + one * entries)
    start = time.perf_counter()
    with pytest.raises(CheckpointRefused, match="entries"):
        gguf.read(file)
    assert time.perf_counter() - start < 2


def test_the_first_question_to_a_gguf_file_prints_nothing(tiny_gguf):
    code = "import sys; from labs_helper import load; load(sys.argv[1]).count_tokens('Hello')"
    ran = subprocess.run([sys.executable, "-c", code, str(tiny_gguf)], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_key_that_names_code_runs_none_even_for_models_that_may_carry_it(folder, tmp_path):
    """`ships_code` is for models of the catalog whose originals have the key. From a stranger it runs nothing."""
    witness = tmp_path / "it ran"
    (folder / "evil.py").write_text(f"open({str(witness)!r}, 'w').close()\nclass Config: pass\nclass Tokenizer: pass\n")
    names = {"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
    for file in ("config.json", "tokenizer_config.json"):
        change(folder / file, auto_map=names)
    with pytest.raises(CheckpointRefused):
        store.verify(folder)
    engine = MLXText(folder, ships_code=True)
    engine.load()
    assert engine.loaded and not witness.exists()
    change(folder / "config.json", model_file="evil.py")
    with pytest.raises(CheckpointRefused, match="model_file"):
        store.verify(folder, ships_code=True)
