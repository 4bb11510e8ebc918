"""GGUF files in Q4_1: the bundled checkpoints' own 4-bit numbers in another order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labs_helper.errors import LabError
from labs_helper.serving import gguf_model

CHECKPOINT = Path(__file__).resolve().parents[2] / "data/checkpoints/instruct-tiny"


def test_q4_1_keeps_every_number(tmp_path):
    import gguf
    import mlx.core as mx
    import numpy as np

    file = gguf_model.convert(CHECKPOINT, tmp_path, kind="q4_1", tokenizer=False)
    weights = mx.load(str(CHECKPOINT / "model.safetensors"))
    how = json.loads((CHECKPOINT / "config.json").read_text("utf-8"))["quantization"]
    written = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    for old, new in gguf_model.names(4).items():
        tensor, array = written[f"{new}.weight"], weights[f"{old}.weight"]
        scales, biases = weights.get(f"{old}.scales"), weights.get(f"{old}.biases")
        if scales is not None:
            array = mx.dequantize(array, scales, biases, group_size=how["group_size"], bits=how["bits"])
            assert tensor.tensor_type == gguf.GGMLQuantizationType.Q4_1
        found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        # Only scales and smallest values are rounded, to fp16: 11 bits.
        largest = float(mx.max(mx.abs(array.astype(mx.float32))).item())
        assert np.abs(found - np.array(array.astype(mx.float32))).max() <= 2 * 2**-11 * largest
    assert file.stat().st_size < 0.9 * (CHECKPOINT / "model.safetensors").stat().st_size


def test_other_weights_are_refused_in_q4_1(tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    config = json.loads((CHECKPOINT / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "quantization": {"bits": 8, "group_size": 32}}), "utf-8")
    with pytest.raises(LabError, match="do not have 4 bits in groups of 32"):
        gguf_model.convert(folder, tmp_path / "gguf", kind="q4_1", tokenizer=False)
