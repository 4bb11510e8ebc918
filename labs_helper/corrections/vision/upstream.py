"""mlx-vlm as it is installed: imported with care, changed, put back, and asked whether it is right.

Each correction in this folder has a `probe`, a function that tries the installed code and says whether it is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

from labs_helper.corrections import before_mlx, longrope, open_files

_originals: list[tuple[object, str, object]] = []


def import_mlx_vlm() -> Any:
    """mlx_vlm's package of phi3_v, imported with our other corrections in place.

    Example:
        import_mlx_vlm().Model
    """
    before_mlx()
    with open_files.keep_file_limit():
        from mlx_vlm.models import phi3_v
    return phi3_v


def replace(owner: object, name: str, new: object) -> None:
    """Put something in place of an attribute of mlx_vlm, until `restore`.

    Example:
        replace(phi3_v, "VisionModel", repaired)
    """
    _originals.append((owner, name, getattr(owner, name)))
    setattr(owner, name, new)


def restore() -> None:
    """Put back everything that was replaced.

    Example:
        restore()
    """
    while _originals:
        setattr(*_originals.pop())


@cache
def is_right(probe: Callable[[], bool]) -> bool:
    """Whether the installed mlx-vlm passes a probe, whatever was replaced in it. Tried once per process.

    Example:
        is_right(tiles.probe)      # False with mlx-vlm 0.7.10
    """
    with _as_installed():
        return probe()


@contextlib.contextmanager
def _as_installed() -> Iterator[None]:
    originals = list(_originals)
    replaced = [(owner, name, getattr(owner, name)) for owner, name, _original in originals]
    restore()
    try:
        yield
    finally:
        for owner, name, value in replaced:
            setattr(owner, name, value)
        _originals.extend(originals)


def small_decoder() -> Any:
    """For probes: a decoder with one layer whose LongRoPE tables differ, with fixed weights.

    Example:
        small_decoder().layers[0].self_attn
    """
    phi3_v = import_mlx_vlm()
    from mlx.utils import tree_map_with_path
    from mlx_vlm.models.phi3_v.phi3_v import TransformerBlock

    config = phi3_v.ModelConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        vocab_size=16,
        max_position_embeddings=64,
        original_max_position_embeddings=16,
        rope_scaling={"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [8.0] * 16},
    )
    block = TransformerBlock(config)
    block.update(tree_map_with_path(longrope.fixed_weight, block.parameters()))
    return SimpleNamespace(layers=[block])
