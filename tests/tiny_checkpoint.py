"""Make a tiny random checkpoint that looks like Phi-3.5's in every respect but size. Needs no torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

SPECIAL = ("<|endoftext|>", "<|assistant|>", "<|end|>", "<|system|>", "<|user|>")
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' or message['content'] %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
SOME_TEXT = [
    "The capital of France is Paris. Where is Changsha? It is in China. 47 + 38 = 85.",
    "长沙在哪里?长沙在中国。 서울은 어디에 있나요? 東京はどこにありますか。 ¿Dónde está Madrid?",
]


def write_tokenizer(folder: Path, extra_tokens: int = 40) -> int:
    """A byte-level BPE tokenizer with Phi's special tokens and chat template. Returns its length."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + extra_tokens, initial_alphabet=sorted(alphabet), show_progress=False)
    tokenizer.train_from_iterator(SOME_TEXT, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return tokenizer.get_vocab_size()


def _load_random(model, seed: int, weight) -> None:
    """Give a model random weights: `weight(name, parameter, rng)` makes each as a numpy array."""
    import mlx.core as mx
    import numpy as np
    from mlx.utils import tree_flatten

    rng = np.random.default_rng(seed)
    parameters = tree_flatten(model.parameters())
    model.load_weights([(name, mx.array(weight(name, value, rng).astype(np.float32))) for name, value in parameters])


def _write(folder: Path, model, config: dict, stops: list[int]) -> Path:
    """Write the weights, config.json and generation_config.json."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    mx.save_safetensors(
        str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), metadata={"format": "mlx"}
    )
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}), encoding="utf-8")
    return folder


def make_tiny_checkpoint(
    folder: Path,
    *,
    quantized: bool = True,
    seed: int = 0,
    vocab_padding: int = 0,
    original: int = 128,
    context: int = 512,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 2,
    dtype: str = "float32",
    **config_changes,
) -> Path:
    """Write a random phi3 checkpoint with LongRoPE in mlx-lm's format. No torch needed.

    vocab_padding: rows of the embedding beyond the tokenizer's length, as the real Phi-3.5 has them.
    """
    import mlx.core as mx
    import mlx.nn as nn
    import numpy as np

    from labs_helper.engines.mlx_text import import_mlx_lm

    import_mlx_lm()
    from mlx_lm.models import phi3

    vocabulary = write_tokenizer(folder)
    half = hidden // heads // 2
    config = {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": vocabulary + vocab_padding,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + 0.05 * i for i in range(half)],
            "long_factor": [1.5 + 2.0 * i for i in range(half)],
        },
        "max_position_embeddings": context,
        "original_max_position_embeddings": original,
        "tie_word_embeddings": False,
        "eos_token_id": vocabulary - len(SPECIAL),
    }
    config.update(config_changes)
    model = phi3.Model(phi3.ModelArgs.from_dict(config))

    def weight(name, value, rng):
        if "norm" in name:
            array = np.ones(value.shape)
        else:
            array = rng.normal(0, 1.0 if "embed" in name else 1.5 / np.sqrt(value.shape[-1]), value.shape)
        if name == "lm_head.weight":
            array[vocabulary - len(SPECIAL) : vocabulary] = 0  # so that a random answer does not end by chance
        return array

    _load_random(model, seed, weight)
    model.set_dtype(getattr(mx, dtype))
    if quantized:
        nn.quantize(model, group_size=32, bits=4)
        config["quantization"] = config["quantization_config"] = {"group_size": 32, "bits": 4}
    end = vocabulary - len(SPECIAL) + SPECIAL.index("<|end|>")
    return _write(folder, model, config, [end, config["eos_token_id"]])


def make_tiny_moe_checkpoint(
    folder: Path,
    *,
    quantized: bool = True,
    seed: int = 0,
    original: int = 128,
    context: int = 512,
    layers: int = 2,
    hidden: int = 64,
    experts: int = 16,
    **config_changes,
) -> Path:
    """Write a random phimoe checkpoint in the format of moe-tiny: gate and head at 8 bits, the rest at 4."""
    import mlx.nn as nn
    import numpy as np

    from labs_helper.engines.mlx_text import import_mlx_lm

    import_mlx_lm()
    from mlx_lm.models import phimoe

    vocabulary = write_tokenizer(folder)
    half = hidden // 2 // 2
    config = {
        "model_type": "phimoe",
        "architectures": ["PhimoeForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_local_experts": experts,
        "num_experts_per_tok": 2,
        "router_jitter_noise": 0.01,
        "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + 0.05 * i for i in range(half)],
            "long_factor": [1.5 + 2.0 * i for i in range(half)],
            "short_mscale": 1.2,
            "long_mscale": 1.3,
        },
        "max_position_embeddings": context,
        "original_max_position_embeddings": original,
        "attention_bias": True,
        "lm_head_bias": True,
        "tie_word_embeddings": False,
        "eos_token_id": vocabulary - len(SPECIAL),
    }
    config.update(config_changes)
    model = phimoe.Model(phimoe.ModelArgs.from_dict(config))

    def weight(name, value, rng):
        array = rng.normal(0, 1.0, value.shape)
        if "norm" in name:
            array = 0.1 * array + name.endswith("weight")
        elif "embed" not in name:
            array *= 1.5 / np.sqrt(value.shape[-1])
        if name.startswith("lm_head"):
            array[vocabulary - len(SPECIAL) :] = 0 if name.endswith("weight") else -9  # do not end by chance
        return array

    _load_random(model, seed, weight)
    if quantized:
        settings = {"group_size": 32, "bits": 4}
        eight = ["lm_head", *(f"model.layers.{i}.block_sparse_moe.gate" for i in range(layers))]
        settings |= {path: {"group_size": 32, "bits": 8} for path in eight}
        nn.quantize(
            model,
            group_size=32,
            bits=4,
            class_predicate=lambda path, module: hasattr(module, "to_quantized") and settings.get(path, True),
        )
        config["quantization"] = config["quantization_config"] = settings
    end = vocabulary - len(SPECIAL) + SPECIAL.index("<|end|>")
    return _write(folder, model, config, [end, config["eos_token_id"]])


VISION = {
    "model_type": "phi3_v",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 336,
    "patch_size": 14,
    "num_channels": 3,
    "layer_norm_eps": 1e-5,
}


def make_tiny_vision_checkpoint(
    folder: Path,
    *,
    quantized: bool = True,
    seed: int = 0,
    original: int = 700,
    context: int = 2048,
    hidden: int = 64,
    num_crops: int = 1,
    **config_changes,
) -> Path:
    """Write a random phi3_v checkpoint with the bundled models' tokenizer, in the format of vision-tiny."""
    import mlx.nn as nn
    import numpy as np

    from labs_helper import catalog
    from labs_helper.engines.mlx_vision import model_classes
    from training.vision.text import write_tokenizer as write_vision_tokenizer

    bundled = catalog.course_folder() / "data/checkpoints/instruct-tiny"
    write_vision_tokenizer(bundled, folder)
    shutil.copy(bundled / "chat_template.jinja", folder)
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in vocabulary["added_tokens"]}
    half = hidden // 2 // 2
    ends = [ids["<|end|>"], ids["<|assistant|>"], ids["<|endoftext|>"]]
    config = {
        "model_type": "phi3_v",
        "architectures": ["Phi3VForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": max(ids.values()) + 1,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "rope_scaling": {
            "type": "su",  # as in the published checkpoint; with "longrope" mlx_vlm.load() fails at the tokenizer
            "short_factor": [1.0 + 0.05 * i for i in range(half)],
            "long_factor": [1.5 + 2.0 * i for i in range(half)],
        },
        "max_position_embeddings": context,
        "original_max_position_embeddings": original,
        "tie_word_embeddings": False,
        "bos_token_id": ids["<s>"],
        "pad_token_id": ends[-1],
        "eos_token_id": ends,
        "vision_config": VISION,
    }
    config.update(config_changes)
    Model, Config = model_classes()
    model = Model(Config.from_dict(config))

    def weight(name, value, rng):
        array = rng.normal(0, 1.0, value.shape)
        if "norm" in name:
            array = 1 + 0.1 * array
        elif "embed_tokens.weight" not in name and "GN" not in name:
            array = 1.5 * array / np.sqrt(np.prod(value.shape[1:]))
        if name == "lm_head.weight":
            array[ends] = 0  # so that a random answer does not end by chance
        return array

    _load_random(model, seed, weight)
    if quantized:
        nn.quantize(
            model,
            group_size=32,
            bits=4,
            class_predicate=lambda path, module: "vision_embed_tokens" not in path and hasattr(module, "to_quantized"),
        )
        config["quantization"] = config["quantization_config"] = {"group_size": 32, "bits": 4}
    settings = {"num_crops": num_crops, "num_img_tokens": 144}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return _write(folder, model, config, ends)
