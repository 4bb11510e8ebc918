"""What a GGUF file says about itself: read without belief, and every broken file refused with its own sentence."""

from __future__ import annotations

import json
import shutil
import struct

import pytest

from labs_helper import catalog, store
from labs_helper.capacity import estimate
from labs_helper.capacity.require import require
from labs_helper.common import platforms
from labs_helper.engines import gguf_tokenizer
from labs_helper.errors import CheckpointRefused, ModelNotHere, NotEnoughMemory
from labs_helper.models.load import load
from labs_helper.models.selection import choose
from labs_helper.serving.gguf_model import convert
from labs_helper.store import gguf

TINY = catalog.course_folder() / "data/checkpoints/instruct-tiny"


@pytest.fixture
def file(tiny_gguf, tmp_path):
    """A copy of the file that may be damaged."""
    copy = tmp_path / "copy" / "instruct-tiny.gguf"
    copy.parent.mkdir()
    copy.write_bytes(store.gguf_file(tiny_gguf).read_bytes())
    return copy


def test_the_settings_are_those_of_the_checkpoint(tiny_gguf):
    front, config = gguf.read(store.gguf_file(tiny_gguf)), store.read_json(TINY / "config.json")
    told = front.config()
    assert {key: value for key, value in told.items() if config.get(key) != value} == {}
    assert {"hidden_size", "num_key_value_heads", "original_max_position_embeddings", "vocab_size"} <= set(told)
    assert front.tables and len(front.tensors) == 3 + 6 * 4 + 2
    assert front.tensors["token_embd.weight"] == ((256, 2560), 0)


def test_the_sizes_of_blocks_are_ggmls():
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    assert {kind: tuple(GGML_QUANT_SIZES[GGMLQuantizationType(kind)]) for kind in gguf.BLOCKS} == gguf.BLOCKS


@pytest.mark.parametrize("left", [23, 24, 200, 40_000, 100_000, 9_000_000])
def test_a_file_that_is_cut_short(file, left):
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(CheckpointRefused, match=r"cut short|not a GGUF file"):
        gguf.read(file)


def test_one_byte_less_is_noticed(file):
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointRefused, match="cut short"):
        gguf.read(file)


@pytest.mark.parametrize("count", [2**40, 2**63])
def test_lengths_that_lie_read_nothing(file, count):
    """The length of the first key, and the number of entries of an array."""
    raw = bytearray(file.read_bytes())
    lying = bytearray(raw)
    lying[24:32] = struct.pack("<Q", count)
    file.write_bytes(lying)
    with pytest.raises(CheckpointRefused, match="cut short"):
        gguf.read(file)
    place = raw.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 8
    raw[place : place + 8] = struct.pack("<Q", count)
    file.write_bytes(raw)
    with pytest.raises(CheckpointRefused, match="cut short"):
        gguf.read(file)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            b"general.architecture\x08\0\0\0\x04\0\0\0\0\0\0\0phi3",
            b"general.architecture\x08\0\0\0\x04\0\0\0\0\0\0\0qwen",
            "'qwen'",
        ),
        (b"phi3.context_length", b"phi3.context_lengt!", "does not say its max_position_embeddings"),
        (b"rope_factors_long.weight", b"rope_factors_l0ng.weight", "before llama.cpp knew LongRoPE"),
        (
            b"phi3.rope.scaling.original_context_length",
            b"phi3.rope.scaling.original_context_l3ngth",
            "not the length at which they change",
        ),
    ],
)
def test_files_that_this_course_cannot_use(file, old, new, words):
    raw = file.read_bytes()
    assert old in raw
    file.write_bytes(raw.replace(old, new))
    with pytest.raises(CheckpointRefused, match=words):
        gguf.read(file)


def test_several_files_in_a_folder(file):
    (file.parent / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(CheckpointRefused, match=r"2 GGUF files.*Name the file"):
        store.gguf_file(file.parent)


def test_a_file_is_named_itself(file):
    """Alone in its folder it is the folder's model; beside others it is a model of its own. Both answer."""
    alone = choose(file)
    assert alone.path == file.parent and alone.card.format == "gguf"
    (file.parent / "other.gguf").write_bytes(file.read_bytes())
    one, other = choose(file), choose(file.parent / "other.gguf")
    assert (one.path, other.path) == (file, file.parent / "other.gguf")
    assert one.card.bytes_on_disk == file.stat().st_size and one.card.context == 1024
    assert store.verify(one.path) == {} and estimate.of_folder(one.path, on_cpu=True).weights == file.stat().st_size
    model = load(str(file))
    assert model.count_tokens("Where is Changsha?") > 3
    model.release()


def test_a_path_that_is_no_model(tmp_path):
    with pytest.raises(ModelNotHere, match="no folder or file"):
        choose(tmp_path / "missing.gguf")
    weights = tmp_path / "model.safetensors"
    weights.touch()
    with pytest.raises(CheckpointRefused, match="one file of a checkpoint") as refused:
        choose(weights)
    assert str(tmp_path) in refused.value.do


@pytest.mark.parametrize("parts", [1, 3])
def test_a_split_model(file, parts):
    """All its parts, or only the first: the advice joins them, and tells nothing about LongRoPE."""
    for number in range(1, parts + 1):
        (file.parent / f"phi-{number:05}-of-00003.gguf").write_bytes(file.read_bytes())
    file.unlink()
    first = file.parent / "phi-00001-of-00003.gguf"
    for path in (file.parent, first):
        with pytest.raises(CheckpointRefused, match="part 1 of 3") as refused:
            choose(path)
        assert "llama-gguf-split --merge phi-00001-of-00003.gguf" in refused.value.do


def test_a_part_under_another_name(file):
    raw = file.read_bytes()
    keys = struct.unpack("<Q", raw[16:24])[0]
    added = b"".join(
        struct.pack("<Q", len(name)) + name + struct.pack("<IH", 2, value)
        for name, value in ((b"split.no", 1), (b"split.count", 3))
    )
    file.write_bytes(raw[:16] + struct.pack("<Q", keys + 2) + added + raw[24:] + bytes(64))
    with pytest.raises(CheckpointRefused, match="part 2 of 3"):
        gguf.read(file)


def test_a_card_for_a_folder(tiny_gguf):
    card = store.card_for(tiny_gguf)
    assert (card.format, card.architecture, card.context) == ("gguf", "phi3", 1024)
    assert card.bytes_on_disk == store.gguf_file(tiny_gguf).stat().st_size


# -- tokenizer -----------------------------------------------------------------------------------------------------


def test_the_tokenizer_of_the_file_is_that_of_the_checkpoint(tiny_gguf):
    """On what the model is asked: facts in five languages, sums, words, long texts, and the template around them."""
    from transformers import AutoTokenizer

    from training.tasks import TASKS, stream
    from training.world import LANGUAGES

    made, real = gguf_tokenizer.load(gguf.read(store.gguf_file(tiny_gguf))), AutoTokenizer.from_pretrained(TINY)
    chats = []
    for task, draw in TASKS.items():
        for language in LANGUAGES:
            corpus = stream(task, language, 7, "instruct-tiny")
            asked = [draw(corpus, language).prompt for _ in range(4)]
            chats += [[{"role": "user", "content": each}] if isinstance(each, str) else each for each in asked]
    assert len(chats) == 300
    differing = []
    for chat in chats:
        shown = made.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        assert shown == real.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        if made.encode(shown, add_special_tokens=False) != real.encode(shown, add_special_tokens=False):
            differing.append(shown)
    assert differing == []


def test_special_tokens_take_the_white_space_behind_them_as_phis_do(tiny_gguf):
    made = gguf_tokenizer.load(gguf.read(store.gguf_file(tiny_gguf)))
    ids = made.encode("<|user|>\nHi<|end|>\n<|assistant|>\n", add_special_tokens=False)
    assert made.convert_ids_to_tokens(ids)[-2:] == ["<|end|>", "<|assistant|>"], "no token for the line's end"
    ids = made.encode("<|endoftext|> x", add_special_tokens=False)
    assert made.convert_ids_to_tokens(ids)[1].startswith(gguf_tokenizer.MARK)


def test_pieces_that_no_token_covers_go_as_bytes(tiny_gguf):
    made = gguf_tokenizer.load(gguf.read(store.gguf_file(tiny_gguf)))
    ids = made.encode("\U0001f980", add_special_tokens=False)
    assert [made.convert_ids_to_tokens(number) for number in ids][-4:] == ["<0xF0>", "<0x9F>", "<0xA6>", "<0x80>"]
    assert made.decode(ids).strip() == "\U0001f980"


def test_merges_come_in_the_order_of_the_scores():
    assert gguf_tokenizer.merges({"a": -9, "b": -9, "c": -9, "ab": -2, "bc": -1, "abc": -3}) == [
        ("b", "c"),
        ("a", "b"),
        ("ab", "c"),
        ("a", "bc"),
    ]


def test_a_vocabulary_of_another_kind(file):
    file.write_bytes(file.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lIama"))
    with pytest.raises(CheckpointRefused, match="another kind"):
        gguf_tokenizer.load(gguf.read(file))


# -- which model, and whether it fits ----------------------------------------------------------------------------------


def test_the_need_of_a_file_is_its_size_and_the_cache(tiny_gguf, monkeypatch):
    need = estimate.of_folder(tiny_gguf, 1024, on_cpu=True)
    assert need.weights == store.gguf_file(tiny_gguf).stat().st_size
    assert need.cache == 2 * 4 * 256 * 2 * 1024  # keys and values, layers, width, 16 bits, tokens
    room = estimate.of_folder(tiny_gguf, 512, on_cpu=True).total
    assert estimate.longest_of_folder(tiny_gguf, room, on_cpu=True) == 512
    monkeypatch.setenv("LABS_MEMORY_GB", "0.1")
    with pytest.raises(NotEnoughMemory, match=r"copy|instruct-tiny"):
        require(tiny_gguf, 1024)


@pytest.fixture
def real_gguf(tiny_gguf, tmp_path, monkeypatch):
    """The catalog's GGUF model, as far as its place and name go."""
    card = catalog.find("phi-3.5-mini-instruct-q4-gguf")[0]
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("LABS_MEMORY_GB", "8")
    (tmp_path / card.name).mkdir()
    (tmp_path / card.name / card.file).symlink_to(store.gguf_file(tiny_gguf))
    monkeypatch.setattr("labs_helper.store.checkpoint._refuse_links", lambda path: None)
    return card


def test_auto_takes_the_gguf_model_where_mlx_has_no_gpu(real_gguf, monkeypatch):
    monkeypatch.setattr(platforms, "has_apple_gpu", lambda: False)
    for tier in ("auto", "real"):
        assert choose("instruct", tier).card == real_gguf
    assert "llama.cpp runs it" in choose("instruct", "auto").reason
    monkeypatch.setattr(platforms, "has_llama_cpp", lambda: False)
    choice = choose("instruct", "auto")
    assert choice.card.name == "instruct-tiny" and "pip install 'labs-helper[x86]'" in choice.reason
    monkeypatch.setattr(platforms, "has_llama_cpp", lambda: True)
    monkeypatch.setenv("LABS_MEMORY_GB", "0.1")
    assert "of memory" in choose("instruct", "auto").reason


def test_auto_says_that_llama_cpp_computes_a_mixture_of_experts_in_another_way(tiny_gguf, tmp_path, monkeypatch):
    """docs/upstream/phimoe_graph.py shows it. Whether the real model is here decides, not what is in the file."""
    card = catalog.find("phi-3.5-moe-instruct-q4-gguf")[0]
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("LABS_MEMORY_GB", "8")
    monkeypatch.setattr(platforms, "has_apple_gpu", lambda: False)
    (tmp_path / card.name).mkdir()
    shutil.copy(store.gguf_file(tiny_gguf), tmp_path / card.name / card.file)
    choice = choose("moe", "auto")
    assert choice.card == card and "another mixture of experts than it was trained with" in choice.reason


@pytest.mark.posix
def test_a_machine_without_a_gpu_prefers_the_gguf_form_of_two(real_gguf, tiny_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "phi-3.5-mini-instruct-4bit").symlink_to(tiny_checkpoint)
    monkeypatch.setattr(platforms, "has_apple_gpu", lambda: False)
    assert choose("instruct", "real").card == choose("instruct", "auto").card == real_gguf
    monkeypatch.setattr(platforms, "has_apple_gpu", lambda: True)
    assert choose("instruct", "auto").card.format == "mlx"


def test_the_script_writes_what_it_says(tmp_path):
    small = convert(TINY, tmp_path / "q8", "q8_0")
    front = gguf.read(small)
    assert {kind for name, (shape, kind) in front.tensors.items() if len(shape) == 2} == {8}
    assert json.loads((small.parent / "tokenizer.json").read_text("utf-8"))
