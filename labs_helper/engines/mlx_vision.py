"""Phi-3.5-vision (phi3_v) through mlx-vlm's model, with our corrections, and mlx-lm's generation.

Pictures become rows of the decoder's width before the prompt runs through the model; in the prompt the rows of
picture i have the id -i. mlx-lm then generates from rows and tokens alike, in chunks and one token ahead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper import store
from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.corrections.vision import table, tiles, upstream
from labs_helper.engines.base import PlacedPicture, Prepared, Request, Stopped
from labs_helper.engines.mlx_base import MLXEngine
from labs_helper.engines.picture_prompts import NUM_CROPS, PicturePrompts
from labs_helper.errors import CheckpointRefused
from labs_helper.pictures import images

if TYPE_CHECKING:
    import mlx.core as mx
    import numpy as np
    from PIL import Image


class Decoder:
    """mlx-vlm's phi3_v as mlx-lm wants a model: ids or embeddings in, logits out.

    mlx-vlm's own call asks the device for the ids at every step, to look for pictures among them; here they are
    rows already.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.layers = model, model.layers

    def __call__(
        self, tokens: mx.array, cache: list[Any] | None = None, input_embeddings: mx.array | None = None
    ) -> Any:
        return self.model.lm_head(self.model.model(tokens, input_embeddings, cache=cache))


def model_classes() -> tuple[type[Any], type[Any]]:
    """mlx-vlm's phi3_v with the tower that its config asks for: (Model, Config), as mlx-lm's loader wants them.

    mlx-vlm's own loader would run a `model_file` from the checkpoint unasked; mlx-lm's does not.

    Example:
        Model, Config = model_classes()
        Model(Config.from_dict(config))
    """
    phi3_v = upstream.import_mlx_vlm()
    tower = tiles.vision_model()

    class Configuration(phi3_v.ModelConfig):  # type: ignore[name-defined,misc] # upstream has no types
        @classmethod
        def from_dict(cls, values: Config) -> Any:
            made = super().from_dict({"num_key_value_heads": values.get("num_attention_heads"), **values})
            made.vision_config = phi3_v.VisionConfig.from_dict(values.get("vision_config") or {})
            return made

    class Model(phi3_v.Model):  # type: ignore[name-defined,misc] # upstream has no types
        def __init__(self, config: Any) -> None:
            super().__init__(config)  # arrays are made when they are needed, so the tower it has costs nothing
            self.model.vision_embed_tokens = tower(config)

        def sanitize(self, weights: dict[str, mx.array]) -> Any:
            return self.vision_model.sanitize(weights)

    return Model, Configuration


class MLXVision(PicturePrompts, MLXEngine):
    """One phi3_v checkpoint. See `MLXEngine`.

    Example:
        engine = MLXVision(course_folder() / "data/checkpoints/vision-tiny")
        request = Request(({"role": "user", "content": "<|image_1|>\\nWhat is this?"},), images=(picture,))
        for token in engine.stream(engine.prepare(request), lambda: False): ...
    """

    def __init__(self, path: str | Path, ships_code: bool = False) -> None:
        super().__init__(path, ships_code)
        self._mean, self._std = images.MEAN, images.STD
        self._rows: dict[str, Any] = {}  # by picture, of the last request

    # -- loading ------------------------------------------------------------------------------------

    def load_tokenizer(self) -> None:
        """Verify the folder, read its tokenizer and how it wants its pictures. Raises a LabError."""
        if not self.tokenizer_ready:
            self._read_preprocessor()
            super().load_tokenizer()

    def _tokenizer_options(self) -> dict[str, Any]:
        from transformers import AutoConfig

        # transformers does not know phi3_v and stumbles over the rope_scaling of an unknown model. Its tokenizer is
        # that of phi3.
        return {"config": AutoConfig.for_model("phi3")}

    def _read_preprocessor(self) -> None:
        file = self.path / "preprocessor_config.json"
        if not file.is_file():
            return
        values = store.read_json(file)
        crops = values.get("num_crops", NUM_CROPS)
        numbers = [values.get("image_mean", images.MEAN), values.get("image_std", images.STD)]
        good = (
            all(
                isinstance(three, (list, tuple))
                and len(three) == 3
                and all(isinstance(n, (int, float)) and math.isfinite(n) for n in three)
                for three in numbers
            )
            and 0 not in numbers[1]
        )
        if not good or isinstance(crops, bool) or not isinstance(crops, int) or not 1 <= crops <= images.MOST_CROPS:
            raise CheckpointRefused(
                _("{file} has settings that cannot be used.").format(file=file), _("Copy the whole checkpoint again.")
            )
        self.num_crops, self._mean, self._std = crops, *numbers

    def _read(self) -> tuple[Any, Any, Config]:
        from mlx_lm.utils import load_model

        model, config = load_model(self.path, get_model_classes=lambda config: model_classes(), trust_remote_code=False)
        return model, Decoder(model), config

    def choose_table(self, total_tokens: int) -> str | None:
        return table.choose_table(self.model, self.config, total_tokens)

    def close(self) -> None:
        """Give weights, cache, pictures and tokenizer back."""
        self._rows = {}
        super().close()

    # -- pictures -----------------------------------------------------------------------------------

    def embeddings(self, prepared: Prepared, reused: int, cancelled: Callable[[], bool]) -> Any:
        """Rows of the decoder's width from place `reused` on, (places, hidden); None where no picture is left."""
        import mlx.core as mx

        ids = prepared.prompt.ids[reused:]
        if not any(token_id < 0 for token_id in ids):
            self._rows = {}
            return None
        known, self._rows = self._rows, {}
        rows = self.model.model.embed_tokens(mx.maximum(mx.array(ids), 0))
        for number, picture in enumerate(prepared.pictures, start=1):
            if -number not in ids:
                continue  # the prompt cache has it
            made = known.get(picture.name)
            if made is None:
                made = self._rows_of(picture, cancelled)
            self._rows[picture.name] = made
            # A prompt cache may end inside a picture, if its request was stopped there.
            first, count = ids.index(-number), ids.count(-number)
            rows[first : first + count] = made[-count:].astype(rows.dtype)
        mx.eval(rows)
        return rows

    def picture_rows(self, image: Image.Image, num_crops: int | None = None) -> Any:
        """A picture as the decoder gets it: (tokens, hidden).

        Example:
            engine.picture_rows(open_image("a.png")).shape      # (313, 256)
        """
        return self._rows_of(PlacedPicture.place(image, num_crops or self.num_crops), lambda: False)

    def _rows_of(self, picture: PlacedPicture, cancelled: Callable[[], bool]) -> Any:
        """The views go through the tower one by one: that needs little memory, and Stop is heard between two.

        A picture of one tile is the same as its global view and goes through once.
        """
        import mlx.core as mx

        tower, plan = self.model.vision_model, picture.layout
        pixels = images.pixel_values(picture.image, plan, self._mean, self._std)
        seen = []
        for view in pixels[: picture.views]:
            if cancelled():
                raise Stopped
            seen.append(tiles.features(tower, mx.array(view[None]).astype(tower.glb_GN.dtype)))
            mx.eval(seen)
        rows = tiles.arrange(tower, mx.concatenate(seen * 2 if plan.tiles == 1 else seen), plan.rows, plan.columns)
        mx.eval(rows)
        return rows

    def logits(self, request: Request) -> np.ndarray:
        """The model's raw scores for every place of a request's prompt: (tokens, vocabulary) in fp32.

        Example:
            engine.logits(request).shape
        """
        prepared = self.prepare(request)
        embeddings = self.embeddings(prepared, 0, lambda: False)
        return self._all_logits(prepared.prompt.ids, prepared.total_tokens, embeddings)
