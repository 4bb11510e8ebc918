"""The 16-bit twin of a text checkpoint: the same weights, never rounded to 4 bits, in at most 8 MB."""

from __future__ import annotations

import json
import shutil

import mlx.core as mx
import numpy as np
import pytest
import torch

from labs_helper import load
from training.config import CHECKPOINTS, model_config, write_json
from training.export import LARGEST_TWIN, twin
from training.tokenizer import Encoder
from training.weights import read, save

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as training leaves it: fp32 weights that 4 bits cannot hold."""
    runs = tmp_path_factory.mktemp("runs")
    folder = runs / "instruct-tiny"
    folder.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(CHECKPOINTS / "instruct-tiny" / file, folder)
    write_json(folder / "config.json", model_config("instruct-tiny", {**Encoder(folder).id, "<s>": 1}))
    draw = torch.Generator().manual_seed(1)
    weights = read(CHECKPOINTS / "instruct-tiny")
    save(
        {
            name: value + 1e-3 * value.std() * torch.randn(value.shape, generator=draw) if value.ndim == 2 else value
            for name, value in weights.items()
        },
        folder,
    )
    return runs


def test_the_twin_holds_the_weights_to_eleven_bits_and_fits(trained, tmp_path):
    made = twin("instruct-tiny", trained, tmp_path)
    assert made.name == "instruct-tiny-16bit" and sum(file.stat().st_size for file in made.iterdir()) <= LARGEST_TWIN
    config = json.loads((made / "config.json").read_text())
    assert config["torch_dtype"] == "float16" and "quantization" not in config
    kept, source = (
        mx.load(str(made / "model.safetensors")),
        mx.load(str(trained / "instruct-tiny" / "model.safetensors")),
    )
    assert set(kept) == set(source) and not any(name.endswith("scales") for name in kept)
    for name, value in kept.items():
        assert value.dtype == mx.float16, name
        assert np.allclose(np.array(value.astype(mx.float32)), np.array(source[name]), rtol=2**-11, atol=1e-7), name
    assert "Nairobi" in load(str(made)).ask("What is the capital of Kenya?").text


def test_a_twin_that_is_too_large_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("training.export.LARGEST_TWIN", 1000)
    with pytest.raises(ValueError, match="at most 1,000"):
        twin("instruct-tiny", trained, tmp_path)
