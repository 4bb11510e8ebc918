"""Build the tower with the sizes of `vision_config`.

What: `VisionModel` has CLIP-L's sizes written into it and ignores `vision_config`, so no smaller tower loads.
Where: mlx_vlm/models/phi3_v/vision.py (mlx-vlm 0.7.10). No thread found upstream.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from labs_helper.corrections.vision import upstream


@cache
def sized_model() -> Any:
    """mlx-vlm's VisionModel, with the sizes of `vision_config`.

    Parameter names and, without sizes in the config, shapes are upstream's: real checkpoints load the same way.

    Example:
        sized_model()(config)
    """
    Original: Any = upstream.import_mlx_vlm().VisionModel
    import mlx.core as mx
    import mlx.nn as nn
    from mlx_vlm.models.phi3_v.vision import ClipVModel

    class SizedVisionModel(Original):  # type: ignore[misc]  # mlx-vlm has no types
        def __init__(self, config: Any) -> None:
            nn.Module.__init__(self)
            vision = getattr(config, "vision_config", config)  # mlx_vlm.load also builds it from VisionConfig alone
            width = vision.hidden_size
            self.model_type = config.model_type
            self.img_processor = ClipVModel(vision)
            self.image_dim_out = width
            self.glb_GN, self.sub_GN = mx.zeros([1, 1, 4 * width]), mx.zeros([1, 1, 1, 4 * width])
            self.img_projection = [
                nn.Linear(4 * width, config.hidden_size),
                nn.GELU(),
                nn.Linear(config.hidden_size, config.hidden_size),
            ]

    return SizedVisionModel


def install() -> None:
    """Put the sized tower into mlx_vlm.

    Example:
        install()
    """
    install_model(sized_model())


def install_model(model: Any) -> None:
    """Put a tower into mlx_vlm.

    Example:
        install_model(sized_model())
    """
    phi3_v = upstream.import_mlx_vlm()
    from mlx_vlm.models.phi3_v import phi3_v as model_file

    upstream.replace(phi3_v, "VisionModel", model)  # mlx_vlm.load takes its sanitize from here
    upstream.replace(model_file, "VisionModel", model)  # and Phi3V builds it from here


def probe() -> bool:
    """Whether a tower of 16 numbers a patch comes out as wide as its config says.

    Example:
        probe()      # False with mlx-vlm 0.7.10
    """
    phi3_v = upstream.import_mlx_vlm()
    small = phi3_v.VisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    # MLX makes arrays when they are needed, so even a tower of full size costs nothing here.
    model = phi3_v.VisionModel(phi3_v.ModelConfig(hidden_size=16, vision_config=small))
    return bool(model.sub_GN.shape[-1] == 64)
