"""What mlx-vlm gets wrong about Phi-3.5-vision (phi3_v, mlx-vlm 0.7.10), repaired, one file each.

| module | wrong in mlx-vlm | where |
| --- | --- | --- |
| `sizes` | the tower has CLIP-L's sizes and ignores `vision_config` | models/phi3_v/vision.py |
| `tiles` | tiles are joined without being put side by side | models/phi3_v/vision.py |
| `pictures` | a picture is stretched to whole tiles | models/phi3_v/processing_phi3_v.py |
| `prompt` | the text after a picture loses its first token | models/phi3_v/processing_phi3_v.py |
| `cache` | quantized keys reach an attention that cannot take them | models/phi3_v/phi3_v.py |
| `table` | LongRoPE's table changes within a prompt | models/rope_utils.py |

The engine calls `tiles.features`, `tiles.arrange`, `prompt.encode` and `table.choose_table`. `apply` below puts the
first five into mlx_vlm itself, so that a plain `mlx_vlm.generate` is right too. Each module has a `probe` and steps
aside where the installed mlx-vlm is right already.
"""

from __future__ import annotations

from labs_helper.common.translate import _
from labs_helper.corrections.vision import cache, pictures, prompt, sizes, tiles, upstream
from labs_helper.errors import BadRequest

# In this order: the tower with its tiles in order replaces the one that has only the sizes.
_MODULES = {"sizes": sizes, "tiles": tiles, "pictures": pictures, "prompt": prompt, "cache": cache}
PARTS = tuple(_MODULES)


def apply(*parts: str) -> tuple[str, ...]:
    """Put repairs into mlx_vlm, so that its own load() and generate() are right.

    Args:
        parts: of PARTS; none means all. The sizes come along with the tiles. Only models that are loaded afterwards
            have a repaired tower.

    Returns:
        The parts that were put in: those that the installed mlx-vlm has right are left out.

    Raises:
        BadRequest: there is no such part.

    Example:
        apply()      # ('sizes', 'tiles', 'pictures', 'prompt', 'cache') with mlx-vlm 0.7.10
    """
    if unknown := sorted(set(parts) - set(PARTS)):
        raise BadRequest(
            _("There is no part {names}.").format(names=", ".join(map(repr, unknown))),
            _("Use some of: {names}.").format(names=", ".join(PARTS)),
        )
    undo()
    needed = tuple(part for part in parts or PARTS if not upstream.is_right(_MODULES[part].probe))
    for part in PARTS:
        if part in needed:
            _MODULES[part].install()
    return needed


def undo() -> None:
    """Take the repairs out of mlx_vlm again, to show both sides.

    Example:
        undo()
    """
    upstream.restore()
