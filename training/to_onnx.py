"""Writes a bundled checkpoint in the layout of ONNX Runtime GenAI. No torch is needed.

    python -m training.to_onnx vision-tiny FOLDER

A model that sees gets the files of microsoft/Phi-3.5-vision-instruct-onnx under their own names: a graph and its
weights each for vision, embedding and text, genai_config.json, processor_config.json and the tokenizer. A text model
gets one graph. The 4-bit weights are those of the checkpoint (training/onnx_graphs.py); the tower stays in fp32, as it
is in the checkpoint. The vision graph takes one picture a call.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import platformdirs
from safetensors.numpy import load_file

from training import onnx_graphs as graphs
from training.config import CHECKPOINTS, write_json

STEM = "phi-3.5-v-instruct"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
_TOWER = "model.vision_embed_tokens."
_INLINE = 1024  # bytes; smaller weights stay in the graph, and constants of branches in any case


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of 4 bits in groups of 32, in MLX's format."""

    folder: Path

    @cached_property
    def config(self) -> dict:
        """config.json."""
        return json.loads((self.folder / "config.json").read_text(encoding="utf-8"))

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / "model.safetensors")

    def weight(self, name: str) -> np.ndarray:
        """Weights in fp32, by their name."""
        if f"{name.removesuffix('.weight')}.scales" in self._arrays:
            return self._expanded(name.removesuffix(".weight"))
        return self._arrays[name].astype(np.float32)

    def matrix(self, name: str) -> graphs.Matrix:
        """A matrix that is multiplied with: packed if the checkpoint has packed it."""
        if f"{name}.scales" not in self._arrays:
            return self.weight(f"{name}.weight")
        return graphs.packed_from_mlx(*(self._arrays[f"{name}.{part}"] for part in ("weight", "scales", "biases")))

    def _expanded(self, name: str) -> np.ndarray:
        bytes_ = np.ascontiguousarray(self._arrays[f"{name}.weight"]).view(np.uint8)
        numbers = np.stack([bytes_ & 15, bytes_ >> 4], axis=-1).reshape(len(bytes_), -1, graphs.GROUP)
        scales, biases = (self._arrays[f"{name}.{part}"][..., None] for part in ("scales", "biases"))
        return (numbers * scales + biases).reshape(len(bytes_), -1).astype(np.float32)


def to_onnx(source: Path, target: Path) -> Path:
    """Write a checkpoint into a new folder.

    Args:
        source: a bundled checkpoint: phi3 or phi3_v, 4 bits.
        target: the folder to make.

    Raises:
        ValueError: it is a model with experts, which the graphs here do not know.

    Returns:
        The folder.
    """
    checkpoint = Checkpoint(source)
    kind = checkpoint.config["model_type"]
    if kind not in ("phi3", "phi3_v"):
        raise ValueError(f"{source.name} is a {kind}; graphs are known for phi3 and phi3_v")
    target.mkdir(parents=True)
    if kind == "phi3":
        save(graphs.text(checkpoint.config, checkpoint.weight, checkpoint.matrix, from_ids=True), target, "model")
    else:
        vision = checkpoint.config["vision_config"]
        hidden = checkpoint.config["hidden_size"]
        save(graphs.vision(vision, hidden, lambda name: checkpoint.weight(_TOWER + name)), target, f"{STEM}-vision")
        save(graphs.embedding(checkpoint.weight("model.embed_tokens.weight")), target, f"{STEM}-embedding")
        save(graphs.text(checkpoint.config, checkpoint.weight, checkpoint.matrix), target, f"{STEM}-text")
        shown = json.loads((source / "preprocessor_config.json").read_text(encoding="utf-8"))
        write_json(target / "processor_config.json", processor_config(shown["num_crops"]))
    stops = json.loads((source / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    write_json(target / "genai_config.json", genai_config(checkpoint.config, stops))
    for name in _TOKENIZER:
        if (source / name).is_file():
            shutil.copy(source / name, target / name)
    return target


def exported(source: Path) -> Path:
    """The export of a checkpoint, made once and kept outside of the repository.

    It is made again when the checkpoint or what writes it has changed.
    """
    code = [Path(__file__), Path(graphs.__file__)]
    digest = hashlib.blake2b(digest_size=8)
    for file in (*code, *sorted(source.glob("*.json")), source / "model.safetensors"):
        if file.name not in ("evaluation.json",):
            digest.update(file.read_bytes())
    folder = Path(platformdirs.user_cache_dir("phi35-labs")) / "onnx" / f"{source.name}-{digest.hexdigest()}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as scratch:
            made = to_onnx(source, Path(scratch) / "made")
            with contextlib.suppress(OSError):  # another program was quicker
                made.rename(folder)
    return folder


def save(model: onnx.ModelProto, folder: Path, name: str) -> None:
    """Write a graph, and its weights beside it."""
    onnx.save_model(
        model,
        str(folder / f"{name}.onnx"),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{name}.onnx.data",
        size_threshold=_INLINE,
        convert_attribute=False,
    )


def genai_config(config: dict, stops: list[int]) -> dict:
    """genai_config.json: what ONNX Runtime GenAI asks about a model."""
    seeing = config["model_type"] == "phi3_v"
    heads = config["num_attention_heads"]
    first = "inputs_embeds" if seeing else "input_ids"
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": f"{STEM}-text.onnx" if seeing else "model.onnx",
        "head_size": config["hidden_size"] // heads,
        "hidden_size": config["hidden_size"],
        "inputs": {
            first: first,
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": heads,
        "num_hidden_layers": config["num_hidden_layers"],
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
    }
    pictures = {
        "embedding": {
            "filename": f"{STEM}-embedding.onnx",
            "inputs": {"input_ids": "input_ids", "image_features": "image_features"},
            "outputs": {"inputs_embeds": "inputs_embeds"},
        },
        "vision": {
            "filename": f"{STEM}-vision.onnx",
            "inputs": {"pixel_values": "pixel_values", "image_sizes": "image_sizes"},
            "outputs": {"image_features": "image_features"},
        },
    }
    most = config["max_position_embeddings"]
    return {
        "model": {
            "bos_token_id": config["bos_token_id"],
            "context_length": most,
            "decoder": decoder,
            **(pictures if seeing else {}),
            "eos_token_id": stops,
            "pad_token_id": config["pad_token_id"],
            "type": "phi3v" if seeing else "phi3",
            "vocab_size": config["vocab_size"],
        },
        "search": {"do_sample": False, "max_length": most, "past_present_share_buffer": True, "top_k": 1},
    }


def processor_config(num_crops: int) -> dict:
    """processor_config.json: how the library's own code would make pixels of a picture."""
    steps = (
        ("decode_image", "DecodeImage", {"color_space": "RGB"}),
        ("convert_to_rgb", "ConvertRGB", None),
        ("phi3_image_transform", "Phi3ImageTransform", {"num_crops": num_crops, "num_img_tokens": 144}),
    )
    transforms = [
        {
            "operation": {
                "name": name,
                "domain": "com.microsoft.extensions",
                "type": kind,
                **({} if attributes is None else {"attrs": attributes}),
            }
        }
        for name, kind, attributes in steps
    ]
    return {"processor": {"name": "phi-3-image-processing", "transforms": transforms}}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.to_onnx", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a name such as vision-tiny, or a checkpoint folder")
    parser.add_argument("folder", type=Path, help="the folder to make")
    options = parser.parse_args()
    named = CHECKPOINTS / options.checkpoint
    source = named if named.is_dir() else Path(options.checkpoint)
    try:
        print(f"wrote {to_onnx(source, options.folder)}")
    except (OSError, ValueError, KeyError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
