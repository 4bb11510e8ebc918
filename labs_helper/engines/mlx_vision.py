"""Phi-3.5-vision (phi3_v) through mlx-vlm's model, with our corrections, and mlx-lm's generation.

Pictures become rows of the decoder's width before the prompt runs through the model; in the prompt the rows of
picture i have the id -i. mlx-lm then generates from rows and tokens alike, in chunks and one token ahead.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

from labs_helper import images, store
from labs_helper.corrections import vision
from labs_helper.engines.base import Prompt, Request
from labs_helper.engines.mlx_base import MLXEngine, Stopped
from labs_helper.errors import CheckpointRefused

NUM_CROPS = 4  # what the published checkpoint ships with


class Decoder:
    """mlx-vlm's phi3_v as mlx-lm wants a model: ids or embeddings in, logits out.

    mlx-vlm's own call asks the device for the ids at every step, to look for pictures among them; here they are
    rows already.
    """

    def __init__(self, model):
        self.model, self.layers = model, model.layers

    def __call__(self, tokens, cache=None, input_embeddings=None):
        return self.model.lm_head(self.model.model(tokens, input_embeddings, cache=cache))


def model_classes() -> tuple[type, type]:
    """mlx-vlm's phi3_v with the tower that its config asks for: (Model, Config), as mlx-lm's loader wants them.

    mlx-vlm's own loader would run a `model_file` from the checkpoint unasked; mlx-lm's does not.

    Example:
        Model, Config = model_classes()
        Model(Config.from_dict(config))
    """
    phi3_v = vision.import_mlx_vlm()
    tower = vision.vision_model()

    class Config(phi3_v.ModelConfig):
        @classmethod
        def from_dict(cls, values):
            made = super().from_dict({"num_key_value_heads": values.get("num_attention_heads"), **values})
            made.vision_config = phi3_v.VisionConfig.from_dict(values.get("vision_config") or {})
            return made

    class Model(phi3_v.Model):
        def __init__(self, config):
            super().__init__(config)  # arrays are made when they are needed, so the tower it has costs nothing
            self.model.vision_embed_tokens = tower(config)

        def sanitize(self, weights):
            return self.vision_model.sanitize(weights)

    return Model, Config


class MLXVision(MLXEngine):
    """One phi3_v checkpoint. See `MLXEngine`.

    Example:
        engine = MLXVision("data/checkpoints/vision-tiny")
        request = Request(({"role": "user", "content": "<|image_1|>\\nWhat is this?"},), images=(picture,))
        for token in engine.stream(request, lambda: False): ...
    """

    num_crops = NUM_CROPS

    def __init__(self, path, ships_code: bool = False):
        super().__init__(path, ships_code)
        self._mean, self._std = images.MEAN, images.STD
        self._rows: dict[str, object] = {}  # by picture, of the last request

    # -- loading ------------------------------------------------------------------------------------

    def load_tokenizer(self) -> None:
        """Verify the folder, read its tokenizer and how it wants its pictures. Raises a LabError."""
        if not self.tokenizer_ready:
            self._read_preprocessor()
            super().load_tokenizer()

    def _tokenizer_options(self) -> dict:
        from transformers import AutoConfig

        # transformers does not know phi3_v and stumbles over the rope_scaling of an unknown model. Its tokenizer is
        # that of phi3.
        return {"config": AutoConfig.for_model("phi3")}

    def _read_preprocessor(self) -> None:
        file = self.path / "preprocessor_config.json"
        if not file.is_file():
            return
        settings = store.read_json(file)
        crops = settings.get("num_crops", NUM_CROPS)
        numbers = [settings.get("image_mean", images.MEAN), settings.get("image_std", images.STD)]
        good = all(
            isinstance(three, (list, tuple)) and len(three) == 3
            and all(isinstance(n, (int, float)) and math.isfinite(n) for n in three) for three in numbers
        ) and 0 not in numbers[1]  # fmt: skip
        if not good or isinstance(crops, bool) or not isinstance(crops, int) or not 1 <= crops <= images.MOST_CROPS:
            raise CheckpointRefused(f"{file} has settings that cannot be used.", "Copy the whole checkpoint again.")
        self.num_crops, self._mean, self._std = crops, *numbers

    def _read(self):
        from mlx_lm.utils import load_model

        model, config = load_model(
            self.path, get_model_classes=lambda config: model_classes(), trust_remote_code=False
        )
        return model, Decoder(model), config

    def _choose_table(self, total_tokens: int) -> str | None:
        return vision.choose_table(self._model, self.config, total_tokens)

    def close(self) -> None:
        """Give weights, cache, pictures and tokenizer back."""
        self._rows = {}
        super().close()

    # -- prompts ------------------------------------------------------------------------------------

    def _layouts(self, request: Request) -> list[images.Layout]:
        crops = request.num_crops or self.num_crops
        return [images.layout(*image.size, crops) for image in request.images]

    def _image_tokens(self, request: Request) -> tuple[int, ...]:
        return tuple(plan.tokens for plan in self._layouts(request))

    def _encode_prompt(self, text: str, request: Request) -> Prompt:
        vision.check_tags([int(tag) for tag in vision.TAG.findall(text)], len(request.images))
        ids = vision.encode(self._encode, text, self._image_tokens(request))
        with self._tokenizing:
            begin = self._tokenizer.encode("", add_special_tokens=True)  # <s>, if the tokenizer's own files add it
        if ids[: len(begin)] != begin:
            ids = begin + ids
        pieces = (f"<picture {-id}>" if id < 0 else self._pieces.readable(id) for id in ids)
        return Prompt(text, tuple(ids), tuple(pieces))

    def _costs(self, request: Request) -> str:
        costs = self._image_tokens(request)
        if not costs:
            return ""
        each = f"{costs[0]:,} tokens each" if len(set(costs)) == 1 else f"{', '.join(map(str, costs))} tokens"
        return (
            f" Of the prompt, {len(costs)} picture(s) take {each}; show fewer pictures or take a smaller num_crops "
            f"(now {request.num_crops or self.num_crops})."
        )

    # -- pictures -----------------------------------------------------------------------------------

    def _names(self, request: Request) -> list[str]:
        """A name for each picture that changes with any of its pixels and with the way it is cut."""
        crops = request.num_crops or self.num_crops
        return [
            hashlib.blake2b(f"{crops} {image.size}".encode() + image.tobytes(), digest_size=16).hexdigest()
            for image in request.images
        ]

    def _identities(self, prompt: Prompt, request: Request) -> tuple:
        # mlx-vlm compares ids only, and -1 is the same for every picture (generate/common.py, PromptCacheState).
        names = self._names(request)
        return tuple(names[-id - 1] if id < 0 else id for id in prompt.ids)

    def _embeddings(self, prompt: Prompt, request: Request, reused: int, cancelled: Callable[[], bool]):
        import mlx.core as mx

        ids = prompt.ids[reused:]
        if not any(id < 0 for id in ids):
            self._rows = {}
            return None
        known, self._rows = self._rows, {}
        rows = self._model.model.embed_tokens(mx.maximum(mx.array(ids), 0))
        for number, (name, image) in enumerate(zip(self._names(request), request.images), start=1):
            if -number not in ids:
                continue  # the prompt cache has it
            made = known.get(name)
            if made is None:
                made = self.picture_rows(image, request.num_crops, cancelled)
            self._rows[name] = made
            # A prompt cache may end inside a picture, if its request was stopped there.
            first, count = ids.index(-number), ids.count(-number)
            rows[first : first + count] = made[-count:].astype(rows.dtype)
        mx.eval(rows)
        return rows

    def picture_rows(self, image, num_crops: int | None = None, cancelled: Callable[[], bool] = lambda: False):
        """A picture as the decoder gets it: (tokens, hidden).

        The views go through the tower one by one: that needs little memory, and Stop is heard between two. A
        picture of one tile is the same as its global view and is looked at once.

        Example:
            engine.picture_rows(open_image("a.png")).shape      # (313, 256)
        """
        import mlx.core as mx

        crops = num_crops or self.num_crops
        tower, plan = self._model.vision_model, images.layout(*image.size, crops)
        pixels = images.pixel_values(image, crops, self._mean, self._std)
        seen = []
        for view in pixels[:1] if plan.tiles == 1 else pixels:
            if cancelled():
                raise Stopped
            seen.append(vision.features(tower, mx.array(view[None]).astype(tower.glb_GN.dtype)))
            mx.eval(seen)
        rows = vision.arrange(tower, mx.concatenate(seen * 2 if plan.tiles == 1 else seen), plan.rows, plan.columns)
        mx.eval(rows)
        return rows

    def logits(self, request: Request):
        """The model's raw scores for every place of a request's prompt: (tokens, vocabulary) in fp32.

        Example:
            engine.logits(request).shape
        """
        self.prepare(request)
        prompt = self.render(request)
        embeddings = self._embeddings(prompt, request, 0, lambda: False)
        return self._all_logits(prompt.ids, len(prompt) + request.max_tokens, embeddings)
