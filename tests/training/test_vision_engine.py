"""The vision engine gives what the torch model gives that vision-tiny is trained as."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_checkpoint import make_tiny_vision_checkpoint

from labs_helper.engines.base import Request
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.engines.worker import WORKER
from training.vision.model import Phi3V, exported_names

pytestmark = pytest.mark.training


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (336, 336, 3), dtype=np.uint8))


@pytest.mark.parametrize("pictures", [1, 2])
def test_logits_equal_those_of_the_training(pictures, tmp_path):
    """The torch model that vision-tiny is trained as, with the same weights."""
    folder = make_tiny_vision_checkpoint(tmp_path / "v", quantized=False)
    engine, shown = MLXVision(folder), [noise(seed) for seed in range(pictures)]
    content = "".join(f"<|image_{i + 1}|>\n" for i in range(pictures)) + "What is this?"
    request = Request(({"role": "user", "content": content},), images=tuple(shown), max_tokens=2)
    ours = WORKER.call(engine.logits, request)

    def weights():
        import mlx.core as mx

        return {name: np.array(value) for name, value in mx.load(str(folder / "model.safetensors")).items()}

    config = json.loads((folder / "config.json").read_text())
    theirs = Phi3V({**config, "rope_scaling": {**config["rope_scaling"], "type": "longrope"}}).eval()
    stored = WORKER.call(weights)
    state = {}
    for key, value in theirs.state_dict().items():
        (name,) = exported_names({key: value})
        array = stored[name]
        if "patch_embedding" in name:  # torch and MLX order its axes differently
            array = array.transpose(0, 3, 1, 2).copy()
        state[key] = torch.from_numpy(array)
    theirs.load_state_dict(state)
    prompt = torch.tensor([engine.render(request).ids])
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in shown]))
        rows = theirs.vision.rows(theirs.vision.features(pixels))
        hidden = theirs.hidden(prompt, torch.arange(prompt.shape[1])[None], rows)
        wanted = theirs.decoder.lm_head(hidden)[0].numpy()
    assert np.abs(wanted).max() > 1
    assert np.abs(ours - wanted).max() < 1e-3
