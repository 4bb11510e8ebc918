"""The real models' shapes in small: folder layouts of 2024 and of today, and the memory that is computed for them.

The same at full width, which takes minutes: `python -m benchmarks memory`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.shapes import TINY, configuration, make
from labs_helper import catalog, store
from labs_helper.capacity import estimate
from labs_helper.capacity.require import require
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.errors import CheckpointRefused, NotEnoughMemory

ROOT = Path(__file__).resolve().parents[2]
TOWER = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 336,
    "patch_size": 14,
    "num_channels": 3,
    "layer_norm_eps": 1e-5,
    "model_type": "phi3_v",
}
NARROW = {"hidden_size": 384, "num_attention_heads": 4, "vocab_size": 8064}  # heads of 96, as in Phi-3.5-mini
SMALL = {
    "mini": {**NARROW, "num_key_value_heads": 4, "intermediate_size": 1024},
    "vision": {**NARROW, "num_key_value_heads": 4, "intermediate_size": 1024, "vision_config": TOWER},
    "moe": {**NARROW, "num_key_value_heads": 1, "intermediate_size": 512},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each (shape, layout), made when it is first asked for."""
    made = {}

    def folder(shape: str, layout: str):
        if (shape, layout) not in made:
            place = tmp_path_factory.mktemp("shapes") / f"{shape}-{layout}"
            made[shape, layout] = make(place, shape, 2, layout, **SMALL[shape])
        return made[shape, layout]

    return folder


@pytest.mark.parametrize(("shape", "layout"), [("mini", "old"), ("vision", "new"), ("moe", "old")])
def test_the_estimate_is_within_a_tenth_of_the_measured_peak(folders, shape, layout):
    """Weights, cache and work, over a prompt of 700 tokens; the corrections are active.

    In a process of its own: what earlier tests have left would leave in the middle and make the measured peak smaller.
    """
    code = "import json, sys; from benchmarks.bench_memory import measure; print(json.dumps(measure(sys.argv[1], 700)))"
    command = [sys.executable, "-c", code, str(folders(shape, layout))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tokens"] > 680 and found["table"] == "short"
    assert found["weights"] == pytest.approx(found["loaded"], rel=0.001)
    assert found["estimate"] == pytest.approx(found["measured"], rel=0.1)
    rest, measured = found["estimate"] - found["weights"], found["measured"] - found["loaded"]
    assert 0.95 * measured < rest < 1.6 * measured, "cache and work alone: rather too much than too little"


@pytest.fixture(scope="module")
def onnx_folder(tmp_path_factory):
    """A model that sees, in ONNX: wide enough that weights and pictures are most of what it takes."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from benchmarks.onnx_shapes import make_onnx

    wide = {**NARROW, "hidden_size": 768, "num_attention_heads": 8, "num_key_value_heads": 8, "intermediate_size": 2048}
    tower = {**TOWER, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
    return make_onnx(tmp_path_factory.mktemp("shapes") / "onnx", "vision", 2, vision_config=tower, **wide)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak in this way")
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("tokens", "crops", "views"), [(700, 0, 0), (900, 4, 5)])
def test_the_estimate_for_onnx_covers_what_the_process_grows_by(onnx_folder, tokens, crops, views):
    """The peak is that of the whole process, so ONNX Runtime's own arenas and threads count as well."""
    code = (
        "import json, sys; from benchmarks.bench_memory import measure_onnx; "
        "print(json.dumps(measure_onnx(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))"
    )
    command = [sys.executable, "-c", code, str(onnx_folder), str(tokens), str(crops)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["views"], found["tokens"] >= tokens) == (views, True)
    assert found["measured"] < found["estimate"] + estimate.SPARE, "what must be free is enough"
    assert found["measured"] > 0.7 * found["estimate"], "and not much more than is needed"


@pytest.mark.parametrize("shape", ["mini", "moe", "vision"])
def test_the_layout_of_2024(folders, shape):
    """No generation_config.json, an `auto_map`, Python files: loaded as data, and it stops where it should."""
    old, new = folders(shape, "old"), folders(shape, "new")
    assert not (old / "generation_config.json").exists() and list(old.glob("*.py"))
    assert "auto_map" in store.read_json(old / "config.json")
    with pytest.raises(CheckpointRefused, match="Python code"):
        store.verify(old)
    kind = MLXVision if shape == "vision" else MLXText
    stops = []
    for folder in (old, new):
        engine = kind(folder, ships_code=True)
        engine.load_tokenizer()
        stops.append(
            {engine._tokenizer.decode([token_id]) for token_id in engine.stop_ids if token_id < len(engine._tokenizer)}
        )
    assert {"<|end|>", "<|endoftext|>"} <= stops[0] <= stops[1]


def test_the_configuration_is_that_of_the_catalog():
    for shape, name in (
        ("mini", "phi-3.5-mini-instruct-4bit"),
        ("moe", "phi-3.5-moe-instruct-4bit"),
        ("vision", "phi-3.5-vision-instruct-4bit"),
    ):
        config, card = configuration(shape), catalog.find(name)[0]
        assert {key: config[key] for key in card.config if key != "quantization"} == {
            key: value for key, value in card.config.items() if key != "quantization"
        }
        assert config["vocab_size"] > json.loads((TINY / "config.json").read_text("utf-8"))["vocab_size"]


def test_what_does_not_fit_is_refused_before_it_is_read(folders, monkeypatch):
    path = folders("moe", "old")
    need = estimate.of_folder(path, 2048, on_cpu=True).total
    monkeypatch.setenv("LABS_MEMORY_GB", str(0.9 * need / 1e9))
    with pytest.raises(NotEnoughMemory, match=r"At most [0-9,]+ tokens fit|LABS_MEMORY_GB is set"):
        require(path, 2048)
