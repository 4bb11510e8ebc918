"""`labs models convert`: from a Hugging Face folder to a checkpoint of a few bits, whole and right or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint, make_tiny_moe_checkpoint, make_tiny_vision_checkpoint

from labs_helper import catalog, cli, store
from labs_helper.corrections import rope_settings
from labs_helper.engines import convert
from labs_helper.engines.base import Request
from labs_helper.engines.mlx_text import MLXText, import_mlx_lm
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, CheckpointRefused, LabError, ModelNotHere, NotEnoughDisk, NotEnoughMemory

TINY = catalog.course_folder() / "data/checkpoints/instruct-tiny"
TEXT = "The capital of France is Paris. Where is Changsha? It is in China. 47 + 38 = 85. " * 2
QUESTIONS = ("Where is Changsha?", "长沙在哪里?", "What is 47 + 38?", "Who are you?", "List three colours.")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """instruct-tiny as a folder of 32-bit weights, shared: do not change it."""
    import_mlx_lm()
    from mlx_lm.utils import dequantize_model, load_model, save_config, save_model

    folder = tmp_path_factory.mktemp("sources") / "instruct-full"
    model, config = load_model(TINY)
    save_model(folder, dequantize_model(model))
    for key in ("quantization", "quantization_config"):
        del config[key]
    save_config(config, folder / "config.json")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(TINY / name, folder)
    return folder


@pytest.fixture
def small(tmp_path, tiny_unquantized) -> Path:
    """A copy of a random phi3 that may be damaged."""
    return Path(shutil.copytree(tiny_unquantized, tmp_path / "small"))


def change(file: Path, **values) -> None:
    settings = {**json.loads(file.read_text("utf-8")), **values}
    file.write_text(json.dumps({key: value for key, value in settings.items() if value is not ...}), encoding="utf-8")


def arrays(folder: Path) -> dict:
    import mlx.core as mx

    found = {}
    for file in folder.glob("model*.safetensors"):
        found |= mx.load(str(file))
    return found


def greedy(path: Path, text: str) -> list[int]:
    engine = MLXText(path)
    tokens = [
        t.id
        for t in engine.stream(
            engine.prepare(Request(({"role": "user", "content": text},), max_tokens=40)), lambda: False
        )
    ]
    engine.close()
    return tokens


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- what comes out ------------------------------------------------------------------------------------------------


def test_four_bits_answer_as_the_source_does(source, tmp_path):
    made = convert.convert(source, tmp_path / "four", group_size=32)
    config = store.verify(made.path)
    assert config["quantization"] == {"group_size": 32, "bits": 4, "mode": "affine"} == config["quantization_config"]
    assert 5.9 < made.bits_per_weight < 6.1, "4 bits, and a scale and an offset of 32 bits for 32 weights"
    assert made.bytes == (made.path / "model.safetensors").stat().st_size - header(made.path / "model.safetensors")
    assert made.result.perplexity == pytest.approx(made.source.perplexity, rel=0.05) and made.same > 0.85
    assert "perplexity" in str(made).lower() and str(made.path) in str(made)
    assert sum(greedy(made.path, text) == greedy(source, text) for text in QUESTIONS) >= len(QUESTIONS) - 1
    assert left(tmp_path) == ["four"]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (made.path / name).read_bytes() == (source / name).read_bytes()


def header(file: Path) -> int:
    return 8 + int.from_bytes(file.read_bytes()[:8], "little")


def test_fewer_bits_lose_more_and_two_are_refused(source, tmp_path):
    eight, three = (convert.convert(source, tmp_path / str(bits), bits=bits) for bits in (8, 3))
    assert eight.same > three.same and eight.bytes > three.bytes
    assert eight.result.perplexity == pytest.approx(eight.source.perplexity, rel=0.01)
    with pytest.raises(CheckpointRefused, match="much worse than its source: perplexity"):
        convert.convert(source, tmp_path / "two", bits=2)
    assert left(tmp_path) == ["3", "8"]


def test_the_score_is_that_of_the_whole_model(source):
    """Layer by layer, as against one pass through the engine."""
    config = store.read_json(source / "config.json")
    ids = convert._tokens(source, convert.TEXT, config)
    engine = MLXText(source)
    logits = engine.logits(ids).astype(np.float64)
    engine.close()
    losses = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    losses = losses[:-1] - logits[np.arange(len(ids) - 1), ids[1:]]
    found = WORKER.call(convert.score, source, ids, config)
    assert math.exp(losses.mean()) == pytest.approx(found.perplexity, rel=1e-4)
    assert list(found.best) == logits[:-1].argmax(-1).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", None])
def test_scales_and_norms_have_the_numbers_that_were_asked_for(small, tmp_path, dtype):
    made = convert.convert(small, tmp_path / "made", dtype=dtype, text=TEXT)
    kinds = {str(value.dtype).split(".")[-1] for value in arrays(made.path).values()}
    assert kinds == {"uint32", dtype or "float32"}


def test_sixteen_bits_round_nothing(small, tmp_path):
    made = convert.convert(small, tmp_path / "made", bits=16, text=TEXT)
    before, after = arrays(small), arrays(made.path)
    assert before.keys() == after.keys() and all((before[name] == after[name]).all().item() for name in before)
    assert "quantization" not in store.read_json(made.path / "config.json") and made.same == 1


def test_a_recipe_of_mlx_lm(small, tmp_path):
    made = convert.convert(small, tmp_path / "made", recipe="mixed_3_6", text=TEXT)
    bits = {
        value["bits"]
        for value in store.read_json(made.path / "config.json")["quantization"].values()
        if isinstance(value, dict)
    }
    assert bits == {3, 6}


def as_hub_writes_experts(folder: Path) -> None:
    """The names of Microsoft's file: each expert's w1, w2 and w3 by itself."""
    import mlx.core as mx

    made = {}
    for name, value in arrays(folder).items():
        if ".switch_mlp." not in name:
            made[name] = value
            continue
        base, which = name.split("switch_mlp.")
        old = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}[which.split(".")[0]]
        for i in range(value.shape[0]):
            made[f"{base}experts.{i}.{old}.weight"] = value[i]
    mx.save_safetensors(str(folder / "model.safetensors"), made)


@pytest.mark.parametrize("recipe", [None, "mixed_2_6"])
def test_routers_and_head_of_a_mixture_of_experts_keep_eight_bits(tmp_path, recipe):
    folder = make_tiny_moe_checkpoint(tmp_path / "moe", quantized=False)
    as_hub_writes_experts(folder)
    made = convert.convert(folder, tmp_path / "made", recipe=recipe, text=TEXT, group_size=32)
    settings = store.read_json(made.path / "config.json")["quantization"]
    careful = [f"model.layers.{i}.block_sparse_moe.gate" for i in range(2)] + ["lm_head"]
    assert [settings[name]["bits"] for name in careful] == [8, 8, 8]
    assert settings["bits"] == 4 and made.bits_per_weight < 8
    written = store.weight_table(made.path)
    for name in careful:
        assert written[f"{name}.weight"]["shape"][-1] == 64 * 8 // 32
    low = 2 if recipe else 4
    assert written["model.layers.0.self_attn.q_proj.weight"]["shape"][-1] == 64 * low // 32
    assert len(greedy(made.path, "Hello")) == 40


def test_a_model_that_sees_keeps_its_tower(tmp_path):
    folder = make_tiny_vision_checkpoint(tmp_path / "vision", quantized=False)
    made = convert.convert(folder, tmp_path / "made", text=TEXT)
    before, after = arrays(folder), arrays(made.path)
    tower = [name for name in before if "vision_embed_tokens" in name]
    assert len(tower) > 20 and all((before[name] == after[name]).all().item() for name in tower)
    assert "model.layers.0.self_attn.qkv_proj.scales" in after and "lm_head.scales" in after
    assert (
        store.read_json(made.path / "config.json")["vision_config"]
        == store.read_json(folder / "config.json")["vision_config"]
    )
    from PIL import Image

    engine, asked = MLXVision(made.path), ({"role": "user", "content": "<|image_1|>\nWhat is this?"},)
    request = Request(asked, images=(Image.new("RGB", (50, 40), "red"),), max_tokens=4)
    assert len(list(engine.stream(engine.prepare(request), lambda: False))) == 4
    engine.close()


# -- settings of transformers 5 ------------------------------------------------------------------------------------


def save_as_transformers_5(folder: Path) -> None:
    """config.json as transformers 5 itself writes it for the same settings."""
    import transformers

    config = json.loads((folder / "config.json").read_text("utf-8"))
    kind = {"phi3": transformers.Phi3Config, "phimoe": transformers.PhimoeConfig}[config["model_type"]]
    values = {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
    # For phimoe transformers 5 loses a length that stands outside only.
    original = config["original_max_position_embeddings"]
    values["rope_scaling"] = {**config["rope_scaling"], "original_max_position_embeddings": original}
    written = kind(**values, pad_token_id=0).to_dict()
    assert written.get("rope_scaling") is None and "rope_theta" not in written, "else this test proves nothing"
    (folder / "config.json").write_text(json.dumps(written), encoding="utf-8")


@pytest.mark.parametrize("make", [make_tiny_checkpoint, make_tiny_moe_checkpoint])
def test_what_transformers_5_wrote_is_read_rightly(tmp_path, make):
    """Both ways give the same numbers, in a short text and in one beyond the original length."""
    classic = make(tmp_path / "classic", quantized=False, rope_theta=50_000.0)
    modern = Path(shutil.copytree(classic, tmp_path / "modern"))
    save_as_transformers_5(modern)
    with pytest.raises(CheckpointRefused, match=r"labs models convert .*modern DEST"):
        store.verify(modern)
    ours, theirs = (
        convert.convert(folder, tmp_path / f"{folder.name}-made", text=TEXT) for folder in (classic, modern)
    )
    assert ours.source == theirs.source and ours.result == theirs.result
    settings = store.verify(theirs.path)
    assert settings["rope_theta"] == 50_000.0 and "rope_parameters" not in settings
    assert settings["rope_scaling"] == store.read_json(classic / "config.json")["rope_scaling"]
    ids = [1 + i % 200 for i in range(200)]
    for length in (60, 200):
        engines = [MLXText(made.path) for made in (ours, theirs)]
        first, second = (engine.logits(ids[:length]) for engine in engines)
        assert (first == second).all() and np.abs(first).max() > 1
    plain = load_without_scaling(ours.path)
    assert np.abs(MLXText(plain).logits(ids) - first).max() > 0.1, "what a misreading would look like"


def load_without_scaling(folder: Path) -> Path:
    copy = Path(shutil.copytree(folder, folder.parent / "plain"))
    change(copy / "config.json", rope_scaling=None, rope_theta=10000.0)
    return copy


SIZES = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 64}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
SCALES = {"short_mscale": 1.1, "long_mscale": 1.2}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("phi3", {}, {"rope_scaling": None, "rope_theta": 10000.0}),
        ("phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, {"rope_theta": 5e5}),
        (
            "phi3",
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            {"partial_rotary_factor": 0.5, "rope_scaling": None},
        ),
        (
            "phi3",
            {"rope_parameters": {**LONG, "original_max_position_embeddings": 16}},
            {
                "original_max_position_embeddings": 16,
                "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
            },
        ),
        (
            "phi3",
            {"rope_scaling": {**LONG, "rope_type": "yarn"}, "original_max_position_embeddings": 32},
            {
                "original_max_position_embeddings": 32,
                "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
            },
        ),
        ("phi3", {"rope_scaling": {**LONG, "type": "su"}}, {"original_max_position_embeddings": 4096}),
        ("phi3", {"rope_parameters": {**LONG, "factor": 4.0, "original_max_position_embeddings": 16}}, {}),
        (
            "phi3_v",
            {"rope_scaling": {**LONG, "type": "longrope"}},
            {"rope_scaling": {"type": "su", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}},
        ),
        (
            "phimoe",
            {"rope_parameters": {**LONG, **SCALES, "original_max_position_embeddings": 16}},
            {
                "original_max_position_embeddings": 16,
                "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, **SCALES},
            },
        ),
        ("phimoe", {"rope_scaling": None, "sliding_window": 2047}, {"rope_scaling": None}),
    ],
)
def test_settings_that_mlx_lm_can_compute(kind, settings, expected):
    config = {"model_type": kind, **SIZES, **settings}
    before = json.dumps(config)
    made = rope_settings.classic(config)
    assert {key: made[key] for key in expected} == expected and "rope_parameters" not in made
    assert json.dumps(config) == before, "what was given is not changed"
    assert rope_settings.classic(made) == made


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("phi3", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "'linear'"),
        ("phi3", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "no short_factor"),
        ("phimoe", {"rope_scaling": {**LONG, "type": "yarn"}}, "several kinds|'yarn'"),
        ("phi3", {"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "one set of settings"),
        ("phi3", {"rope_parameters": ["longrope"]}, "in a form"),
        ("phi3", {"rope_parameters": {**LONG, "beta_fast": 32}}, "'beta_fast'"),
        ("phi3", {"rope_parameters": {**LONG, **SCALES}}, "mscale"),
        ("phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_theta": 1e4}, "two values"),
        ("phi3", {"rope_parameters": {"rope_type": "default"}, "rope_scaling": LONG}, "several kinds"),
        (
            "phi3",
            {"rope_parameters": {**LONG, "attention_factor": 1.9, "original_max_position_embeddings": 16}},
            "attention_factor",
        ),
        ("phi3", {"rope_parameters": {**LONG, "factor": 8.0, "original_max_position_embeddings": 16}}, "'factor'"),
        (
            "phi3",
            {
                "rope_parameters": {**LONG, "original_max_position_embeddings": 16},
                "original_max_position_embeddings": 32,
            },
            "two values",
        ),
        ("phimoe", {"rope_parameters": {**LONG, **SCALES}}, "where the tables change"),
        ("phimoe", {"rope_parameters": {**LONG, "original_max_position_embeddings": 16}}, "short_mscale"),
        ("phimoe", {"rope_parameters": {**LONG, **SCALES, "original_max_position_embeddings": 64}}, "never change"),
        ("phimoe", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary"),
    ],
)
def test_settings_that_would_be_misread_are_refused(kind, settings, words):
    with pytest.raises(CheckpointRefused, match=words):
        rope_settings.classic({"model_type": kind, **SIZES, **settings})


def test_plain_rotation_over_a_part_of_the_head_is_not_loaded_wrongly(small):
    change(
        small / "config.json",
        rope_scaling=None,
        rope_theta=...,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    )
    with pytest.raises(CheckpointRefused, match="would ignore it"):
        store.verify(small)


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 7}, "bits is 7"),
        ({"group_size": 48}, "group_size is 48"),
        ({"dtype": "float64"}, "dtype is"),
        ({"recipe": "mixed_9_9"}, "recipe is"),
        ({"recipe": "mixed_3_6", "bits": 3}, "bits or a recipe"),
        ({"text": "Too short."}, "20 to 2,000 tokens"),
        ({"text": "word " * 3000}, "20 to 2,000 tokens"),
        ({"group_size": 128}, "do not divide"),
    ],
)
def test_wishes_that_make_no_sense(small, tmp_path, options, words):
    with pytest.raises(BadRequest, match=words):
        convert.convert(small, tmp_path / "made", **options)
    assert left(tmp_path) == ["small"]


@pytest.mark.posix
def test_nothing_is_overwritten(small, tmp_path):
    for name in ("folder", "file"):
        place = tmp_path / name
        place.mkdir() if name == "folder" else place.write_text("mine")
        with pytest.raises(BadRequest, match="is there already"):
            convert.convert(small, place, text=TEXT)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadRequest, match="is there already"):
        convert.convert(small, tmp_path / "link", text=TEXT)
    with pytest.raises(BadRequest, match="inside the source"):
        convert.convert(small, small / "made", text=TEXT)
    assert left(tmp_path) == ["file", "folder", "link", "small"] and (tmp_path / "file").read_text() == "mine"


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"")


def not_a_number(folder):
    import mlx.core as mx

    weights = arrays(folder)
    weights["model.layers.0.mlp.down_proj.weight"] = weights["model.layers.0.mlp.down_proj.weight"] * mx.nan
    mx.save_safetensors(str(folder / "model.safetensors"), weights)


def one_is_missing(folder):
    import mlx.core as mx

    weights = arrays(folder)
    del weights["model.layers.0.mlp.down_proj.weight"]
    mx.save_safetensors(str(folder / "model.safetensors"), weights)


def cut_short(folder):
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[:-100])


def only_pickles(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


DAMAGE = [
    (no_tokenizer, "no tokenizer.json"),
    (not_a_number, "no numbers"),
    (one_is_missing, "cannot be used"),
    (cut_short, "not a whole safetensors file"),
    (only_pickles, "can run code"),
    (lambda folder: change(folder / "config.json", model_type="llama"), "not one of this course"),
    (lambda folder: change(folder / "config.json", head_dim=128), "size of 128"),
    (lambda folder: change(folder / "config.json", hidden_act="gelu"), "activation 'gelu'"),
    (lambda folder: change(folder / "config.json", model_file="evil.py"), "model_file"),
    (lambda folder: change(folder / "config.json", quantization_config={"quant_method": "gptq"}), "quantized already"),
    (lambda folder: change(folder / "config.json", vocab_size=100), "another model"),
    (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be read"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=[words for _, words in DAMAGE])
def test_broken_sources(small, tmp_path, damage, words):
    damage(small)
    with pytest.raises(CheckpointRefused, match=words):
        convert.convert(small, tmp_path / "made", text=TEXT)
    assert left(tmp_path) == ["small"]


def test_sources_that_are_no_source(tmp_path, tiny_checkpoint, tiny_gguf):
    (tmp_path / "empty").mkdir()
    for folder, kind, words in (
        (tmp_path / "nowhere", ModelNotHere, "no folder"),
        (tiny_checkpoint, CheckpointRefused, "quantized already"),
        (tiny_gguf, CheckpointRefused, "GGUF"),
        (tmp_path / "empty", CheckpointRefused, "config.json is missing"),
        ("phi-mini-moe-instruct-bf16", ModelNotHere, "labs models fetch"),
    ):
        with pytest.raises(kind, match=words):
            convert.convert(folder, tmp_path / "made")


def test_code_stays_behind(small, tmp_path):
    """Microsoft's own folders carry Python files. They are neither run nor copied, nor asked for any more."""
    (small / "modeling_phi3.py").write_text("raise SystemExit('run')")
    (small / "tokenizer_extra.py").write_text("raise SystemExit('run')")
    change(small / "config.json", auto_map={"AutoModel": "modeling_phi3.Model"})
    change(small / "tokenizer_config.json", auto_map={"AutoTokenizer": "modeling_phi3.Tokenizer"})
    made = convert.convert(small, tmp_path / "made", text=TEXT)
    assert store.verify(made.path) and not list(made.path.glob("*.py"))


def test_memory_and_disk_are_asked_for_first(small, tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_MEMORY_GB", "0.1")
    with pytest.raises(NotEnoughMemory, match="Converting small"):
        convert.convert(small, tmp_path / "made", text=TEXT)
    monkeypatch.delenv("LABS_MEMORY_GB")
    monkeypatch.setattr(convert.staging, "SPARE", 10**18)
    with pytest.raises(NotEnoughDisk):
        convert.convert(small, tmp_path / "made", text=TEXT)
    assert left(tmp_path) == ["small"]


@pytest.mark.parametrize("options", [{}, {"bits": 8}, {"bits": 16}, {"dtype": "float16"}, {"recipe": "mixed_3_6"}])
def test_the_disk_that_is_asked_for_is_what_is_needed(source, tmp_path, options):
    made = convert.convert(source, tmp_path / "made", **options)
    config = store.read_json(source / "config.json")
    bits, recipe = options.get("bits", 4), options.get("recipe")
    plan = None if bits == 16 else convert._Plan(bits, convert._group(config, None), recipe, "phi3")
    expected = convert._expected_bytes(store.weight_table(source), plan, options.get("dtype"))
    assert made.bytes <= 1.01 * expected and expected < (1.5 if recipe else 1.1) * made.bytes


def test_a_window_that_mlx_does_not_know_is_noted(small, tmp_path):
    change(small / "config.json", sliding_window=64)
    assert "look back 64 tokens" in str(convert.convert(small, tmp_path / "made", text=TEXT))


# -- whole, or not at all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("[write] failed"), KeyboardInterrupt()]
)
def test_an_error_in_the_middle_leaves_nothing(small, tmp_path, monkeypatch, error):
    import mlx_lm.utils

    def broken(folder, model, **options):
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(mlx_lm.utils, "save_model", broken)
    with pytest.raises((LabError, KeyboardInterrupt)) as caught:
        convert.convert(small, tmp_path / "made", text=TEXT)
    assert "full" in str(caught.value) or "could not be" in str(caught.value) or caught.type is KeyboardInterrupt
    assert left(tmp_path) == ["small"]


SLOW = """
import sys, time
from labs_helper.engines import convert
real = convert.score
def slow(*arguments):
    print("working", flush=True)
    time.sleep(60) if len(sys.argv) > 3 else None
    return real(*arguments)
convert.score = slow
convert.convert(sys.argv[1], sys.argv[2], text="The capital of France is Paris. Where is Changsha? " * 3)
"""


@pytest.mark.posix
def test_killed_in_the_middle_and_begun_again(small, tmp_path):
    place = tmp_path / "made"
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(small), str(place), "slow"], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"working\n"
        with pytest.raises(BadRequest, match="Another program is making"):
            convert.convert(small, place, text=TEXT)
        (tmp_path / ".made.part" / "model.safetensors").write_bytes(b"half")
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert left(tmp_path) == [".made.lock", ".made.part", "small"], "the rest has no name that anything looks for"
    assert convert.convert(small, place, text=TEXT).path == place
    assert left(tmp_path) == ["made", "small"] and store.verify(place)


@pytest.mark.posix
def test_ctrl_c_ends_it_and_leaves_nothing(small, tmp_path):
    """A signal to the process, while the worker's thread computes."""
    code = SLOW.replace("time.sleep(60)", "[time.sleep(0.1) for _ in range(30)]")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(small), str(tmp_path / "made"), "slow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"working\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0 and b"KeyboardInterrupt" in said
    assert left(tmp_path) == ["small"]


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command(small, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    made, text = str(tmp_path / "made"), str(tmp_path / "text.txt")
    assert cli.main(["models", "convert", str(small), made, "--bits", "8", "--dtype", "float16", "--text", text]) == 0
    shown = capsys.readouterr().out
    assert made in shown and "before" in shown and "after" in shown and "[INFO]" not in shown
    assert cli.main(["models", "convert", str(small), made]) == 1
    assert "is there already" in capsys.readouterr().err
    assert cli.main(["models", "convert", str(small), made + "2", "--text", str(tmp_path)]) == 1
    assert "cannot be read" in capsys.readouterr().err
