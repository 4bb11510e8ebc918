"""Adapters of a model in memory: put on, exchanged and taken off, while the weights stay where they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from labs_helper import store
from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.corrections import before_mlx
from labs_helper.engines.refusing import Refusing
from labs_helper.errors import CheckpointRefused
from labs_helper.store import adapters as store_adapters

if TYPE_CHECKING:
    import mlx.core as mx

LINEAR = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")  # of a phi3 layer
APART = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")  # of a phimoe layer
KINDS = ("lora", "dora", "full")  # mlx-lm's words: --fine-tune-type
_PARTS = ("lora_a", "lora_b", "m", "whole")  # what learns: LoRA's two matrices, DoRA's lengths, a whole matrix


@dataclass(frozen=True, eq=False)
class Adapter:
    """What a training has changed, and how it is used. The same object is the same adapter.

    Attributes:
        name: what people call it.
        rank, scale: of every pair of matrices: W x + scale * (x A) B. They mean nothing to the kind "full".
        keys: which layers of a block have one.
        layers: how many blocks have them, from the last one.
        arrays: the matrices by name, as mlx-lm writes them.
        kind: "lora"; "dora", which also learns the length of each row of W; or "full", a copy of W that learns.

    Example:
        Adapter("school", 8, 20.0, LINEAR, 4, arrays)
    """

    name: str
    rank: int
    scale: float
    keys: tuple[str, ...]
    layers: int
    arrays: dict[str, mx.array] = field(repr=False)
    path: Path | None = None
    kind: str = "lora"

    @property
    def parameters(self) -> int:
        """Numbers in it."""
        return sum(array.size for array in self.arrays.values())

    @property
    def config(self) -> Config:
        """What mlx-lm reads from adapter_config.json."""
        return {
            "fine_tune_type": self.kind,
            "num_layers": self.layers,
            "lora_parameters": {
                "rank": self.rank,
                "scale": self.scale,
                "dropout": 0.0,
                "keys": list(self.keys),
            },
        }


def read(path: Path, model: Path, name: str = "") -> Adapter:
    """An adapter from its folder, checked against the model that it is for. Runs in the worker's thread.

    Raises:
        ModelNotHere, CheckpointRefused: see `labs_helper.store.adapters.verify`.

    Example:
        WORKER.call(read, store.adapters.locate("school"), model.path)
    """
    settings = store_adapters.verify(path, model)
    before_mlx()
    import mlx.core as mx

    with Refusing(path, _("adapter")):
        arrays = mx.load(str(path / store_adapters.WEIGHTS))
        assert isinstance(arrays, dict)
        mx.eval(arrays)
    if not all(bool(mx.isfinite(array).all().item()) for array in arrays.values()):
        raise CheckpointRefused(
            _("The adapter in {path} holds values that are no numbers: its training exploded.").format(path=path),
            _("Train it again with a smaller rate."),
        )
    parameters = settings["lora_parameters"]
    keys = tuple(dict.fromkeys(name.split(".", 3)[3].rsplit(".", 1)[0] for name in arrays))
    blocks = settings["num_layers"]
    layers = blocks if blocks > 0 else store.read_json(model / "config.json")["num_hidden_layers"]
    return Adapter(name or path.name, parameters["rank"], parameters["scale"], keys, layers, arrays, path)


def save(adapter: Adapter, model: Path, base: str, target: Path) -> Path:
    """Write an adapter as a folder that mlx-lm and the labs read. Runs in the worker's thread.

    Args:
        adapter: the matrices.
        model: the checkpoint folder that they belong to.
        base: that model's name.
        target: the folder to write; one that is there is replaced.

    Raises:
        BadRequest: the disk does not take it.

    Example:
        WORKER.call(save, taught.adapter, model.path, model.name, store.adapters.folder("school"))
    """
    import mlx.core as mx

    settings = store_adapters.settings_for(model, base, adapter.config)
    return store_adapters.write(target, lambda file: mx.save_safetensors(str(file), adapter.arrays), settings)


def put_on(model: Any, adapter: Adapter) -> None:
    """Put an adapter on a model of mlx-lm that has none.

    Example:
        put_on(model, adapter)
    """
    install(model, adapter.rank, adapter.scale, adapter.keys, adapter.layers, adapter.kind)
    model.load_weights(list(adapter.arrays.items()), strict=False)


def install(model: Any, rank: int, scale: float, keys: tuple[str, ...], layers: int, kind: str = "lora") -> None:
    """Give the named layers of the last blocks something that learns. The answers do not change yet: B is zero.

    Example:
        install(model, 8, 20.0, LINEAR, 4)
    """
    if kind == "full":
        _install_copies(model, keys, layers)
        return
    from mlx_lm.tuner.utils import linear_to_lora_layers

    settings = {"rank": rank, "scale": scale, "dropout": 0.0, "keys": list(keys)}
    linear_to_lora_layers(model, layers, settings, use_dora=kind == "dora")


def _install_copies(model: Any, keys: tuple[str, ...], layers: int) -> None:
    """Full fine-tuning of the named layers, on copies: the weights are shared with other engines."""
    from mlx.utils import tree_unflatten

    from labs_helper.engines.copied_linear import CopiedLinear

    for block in model.layers[-layers:]:
        copies = [(name, CopiedLinear(module)) for name, module in block.named_modules() if name in keys]
        if copies:
            block.update_modules(tree_unflatten(copies))


def changed(model: Any) -> list[tuple[str, Any]]:
    """The layers that an adapter has changed, by name. Each has its own layer inside, as `linear`, and `fuse`.

    Example:
        [name for name, module in changed(model)]
    """
    return [(name, module) for name, module in model.named_modules() if "lora_a" in module or "whole" in module]


def take_off(model: Any) -> None:
    """Take every adapter off. mlx-lm's own function leaves those on experts, so this asks what a layer has.

    Example:
        take_off(model)
    """
    from mlx.utils import tree_unflatten

    plain = [(name, module.linear) for name, module in changed(model)]
    if plain:
        model.update_modules(tree_unflatten(plain))


def arrays_of(model: Any) -> dict[str, mx.array]:
    """The matrices of the adapter that is on a model, by name.

    Example:
        arrays_of(model)["model.layers.0.self_attn.qkv_proj.lora_a"]
    """
    from mlx.utils import tree_flatten

    named = cast("list[tuple[str, mx.array]]", tree_flatten(model.parameters()))
    return {name: array for name, array in named if name.rsplit(".", 1)[-1] in _PARTS}
