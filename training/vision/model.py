"""Phi-3.5-vision's architecture in torch, in any size.

A CLIP tower, a two-by-two merge, separators, a projection, and Phi-3 as decoder.

Parameter names inside the parts are those of the real checkpoint; `export.py` only adds prefixes.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from training.vision.scene import PATCH, SIZE

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
GRID, CELLS = SIZE // PATCH, SIZE // PATCH // 2
VIEW_ROWS = CELLS * (CELLS + 1)  # 156: twelve rows of twelve cells, each ended by a separator


def image_rows(h: int = 1, w: int = 1) -> int:
    """Tokens of a picture of h x w tiles.

    >>> image_rows(), image_rows(2, 2), image_rows(4, 1), image_rows(1, 4)
    (313, 757, 781, 745)
    """
    return (h * w + 1) * CELLS**2 + 1 + (h + 1) * CELLS


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pictures (n, 336, 336, 3) as the processor gives them: float (n, 3, 336, 336)."""
    mean, std = (torch.tensor(v, device=pixels.device) * 255 for v in (MEAN, STD))
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """CLIP's self-attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor, window: tuple[int, int] | None = None) -> torch.Tensor:
        """
        Args:
            window: each patch sees only the quarter of the picture that it is in, for a grid turned by this many rows
                and columns; the class token sees itself alone. Only for early training: it costs a quarter of the
                attention, and with fewer patches to choose from it is learned sooner. The turn differs from step to
                step, so no border stays.
        """
        q, k, v = (f(x) for f in (self.q_proj, self.k_proj, self.v_proj))
        if window is None:
            q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
            return self.out_proj(attend(q, k, v).transpose(1, 2).flatten(2))
        seen = attend(*(quarters(t[:, 1:], window, self.heads) for t in (q, k, v)))
        return self.out_proj(torch.cat([v[:, :1].to(seen.dtype), whole(seen, window)], 1))


def quarters(x: torch.Tensor, turn: tuple[int, int], heads: int) -> torch.Tensor:
    """Patches (n, 576, width) as four groups of 144 neighbours each: (4n, heads, 144, width / heads)."""
    x = (
        x.unflatten(1, (GRID, GRID))
        .roll(turn, (1, 2))
        .unflatten(2, (2, CELLS))
        .unflatten(1, (2, CELLS))
        .unflatten(-1, (heads, -1))
    )
    return x.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(0, 2)


def whole(x: torch.Tensor, turn: tuple[int, int]) -> torch.Tensor:
    """The inverse of `quarters`."""
    x = (
        x.unflatten(0, (-1, 2, 2))
        .unflatten(4, (CELLS, CELLS))
        .permute(0, 1, 4, 2, 5, 3, 6)
        .flatten(5)
        .flatten(3, 4)
        .flatten(1, 2)
    )
    return x.roll((-turn[0], -turn[1]), (1, 2)).flatten(1, 2)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options) -> torch.Tensor:
    """Attention; in fp32 where a CPU trains, whose 16-bit attention is slower backwards than fp32's."""
    if q.device.type == "cpu" and torch.is_grad_enabled():
        with torch.autocast("cpu", enabled=False):
            return functional.scaled_dot_product_attention(q.float(), k.float(), v.float(), **options)
    return functional.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, **options)


class MLP(nn.Module):
    """Two layers with CLIP's quick GELU, x * sigmoid(1.702 x)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The two factors go into the weights, which are far fewer than what passes through.
        x = functional.linear(x, 1.702 * self.fc1.weight, 1.702 * self.fc1.bias)
        return functional.linear(functional.silu(x), self.fc2.weight / 1.702, self.fc2.bias)


class EncoderLayer(nn.Module):
    """One block of the tower."""

    def __init__(self, vision: dict):
        super().__init__()
        width = vision["hidden_size"]
        self.self_attn = Attention(width, vision["num_attention_heads"])
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(width, eps=vision["layer_norm_eps"]) for _ in range(2))
        self.mlp = MLP(width, vision["intermediate_size"])

    def forward(self, x: torch.Tensor, window: tuple[int, int] | None = None) -> torch.Tensor:
        x = x + self.self_attn(self.layer_norm1(x), window)
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nn.Module):
    """Patches, a class token, and where each is.

    The positions are learnt, as CLIP's are, but start as sines and cosines of row and column: neighbours are then easy
    to find from the first step.
    """

    def __init__(self, vision: dict):
        super().__init__()
        width = vision["hidden_size"]
        self.class_embedding = nn.Parameter(torch.randn(width) * 0.02)
        self.patch_embedding = nn.Conv2d(3, width, PATCH, PATCH, bias=False)
        self.position_embedding = nn.Embedding(GRID**2 + 1, width)
        with torch.no_grad():
            self.position_embedding.weight.normal_(std=0.02)
            self.position_embedding.weight[1:] = plane_waves(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # A convolution whose stride is its size, as one matrix product.
        patches = (
            x.unflatten(2, (GRID, PATCH)).unflatten(4, (GRID, PATCH)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        )
        x = functional.linear(patches, self.patch_embedding.weight.flatten(1))
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1).to(x), x], 1)
        return x + self.position_embedding.weight


def plane_waves(width: int) -> torch.Tensor:
    """(576, width): a quarter of the width each for sine and cosine of the row and of the column."""
    waves = width // 4
    rates = (
        math.pi / 2 * (2 / (GRID * 2)) ** (torch.arange(waves) / max(1, waves - 1))
    )  # from a half turn in 2 patches to one in 48
    angles = torch.arange(GRID)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], 1)
    both = torch.cat([line[:, None].expand(-1, GRID, -1), line[None].expand(GRID, -1, -1)], -1).flatten(0, 1)
    return functional.pad(both, (0, width - both.shape[1])) * 0.5


class Tower(nn.Module):
    """CLIP's vision tower; gives the last hidden state but one, without the class token."""

    def __init__(self, vision: dict):
        super().__init__()
        width = vision["hidden_size"]
        self.embeddings = Embeddings(vision)
        self.pre_layrnorm = nn.LayerNorm(width, eps=vision["layer_norm_eps"])
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(EncoderLayer(vision) for _ in range(vision["num_hidden_layers"]))
        self.post_layernorm = nn.LayerNorm(width, eps=vision["layer_norm_eps"])
        self.width = width
        self.freeze_unused()

    def freeze_unused(self) -> None:
        """The last layer and norm are in the format, but behind the state that is used."""
        for unused in (self.encoder.layers[-1], self.post_layernorm):
            unused.requires_grad_(False)

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Make the output larger by a factor and change nothing else: every part of the sum that it is, by the factor.

        Each layer looks at the sum through a norm, which does not see the factor.
        """
        parts = [self.pre_layrnorm]
        for layer in self.encoder.layers:
            parts += [layer.self_attn.out_proj, layer.mlp.fc2]
        for part in parts:
            part.weight *= factor
            part.bias *= factor

    def forward(self, pixels: torch.Tensor, window: tuple[int, int] | None = None) -> torch.Tensor:
        """Pictures (n, 336, 336, 3) to patches (n, 576, C); `window` as in `Attention`."""
        x = self.pre_layrnorm(self.embeddings(normalised(pixels)))
        for layer in self.encoder.layers[:-1]:
            x = layer(x, window)
        return x[:, 1:]


def merged(features: torch.Tensor) -> torch.Tensor:
    """Patches (n, 576, C) merged two by two: (n, 144, 4C), the four side by side in reading order."""
    x = features.reshape(-1, CELLS, 2, CELLS, 2, features.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(len(features), CELLS**2, -1)


class ImageEmbedding(nn.Module):
    """From pixels to rows for the decoder."""

    def __init__(self, vision: dict, hidden: int):
        super().__init__()
        width = 4 * vision["hidden_size"]
        self.img_processor = nn.Module()
        self.img_processor.vision_model = Tower(vision)
        self.glb_GN, self.sub_GN = (
            nn.Parameter(torch.randn(1, 1, width) * 0.5),
            nn.Parameter(torch.randn(1, 1, 1, width) * 0.5),
        )
        self.img_projection = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def features(self, pixels: torch.Tensor, window: tuple[int, int] | None = None) -> torch.Tensor:
        """Merged cells of pictures (n, 336, 336, 3), before the projection."""
        return merged(self.img_processor.vision_model(pixels, window))

    def rows(self, cells: torch.Tensor, views: int = 2) -> torch.Tensor:
        """All rows of one-tile pictures: tile, separator, global view: (n, 313, hidden).

        Tile and global view of a square picture are the same, so their cells are projected once.

        Args:
            cells: (n, 144, 4C). views: 1 leaves out the tile and the separator, which halves the work of early
                training.
        """
        grid = self.img_projection(cells)
        ends, between = (self.img_projection(p.flatten()).to(grid) for p in (self.sub_GN, self.glb_GN))
        return views_of(grid, ends, between, views)


def views_of(grid: torch.Tensor, end: torch.Tensor, between: torch.Tensor, views: int) -> torch.Tensor:
    """Cells (n, 144, hidden) as a picture stands in the context.

    Each line of twelve has its end; two views have a separator between them.
    """
    n = len(grid)
    view = torch.cat([grid.unflatten(1, (CELLS, CELLS)), end.expand(n, CELLS, 1, -1)], 2).flatten(1, 2)
    return view if views == 1 else torch.cat([view, between.expand(n, 1, -1), view], 1)


def attention_for_training(module, q, k, v, mask, dropout=0.0, scaling=None, allowed=None, look=None, **_):
    """transformers' attention interface over `attend`; all sequences are causal and padded on the right.

    Args:
        allowed: (n, 1, length, length) of booleans, what each token sees; left out, all before it.
        look: called with the layer, queries, keys and their scale (`pointing.Pointing`).
    """
    if look is not None:
        look(module.layer_idx, q, k, scaling)
    how = {"is_causal": q.shape[2] > 1 and q.shape[2] == k.shape[2]} if allowed is None else {"attn_mask": allowed}
    return attend(q, k, v, scale=scaling, **how).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("causal_fp32", attention_for_training)


class Phi3V(nn.Module):
    """The whole model.

    Args:
        config: of config.json, `vision_config` included.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        text = {
            k: v
            for k, v in config.items()
            if k not in ("vision_config", "img_processor", "embd_layer", "text_config", "architectures", "eos_token_id")
        }
        made = AutoConfig.for_model(**{**text, "model_type": "phi3", "eos_token_id": config["eos_token_id"][0]})
        self.decoder = AutoModelForCausalLM.from_config(made, attn_implementation="causal_fp32").float()
        self.vision = ImageEmbedding(config["vision_config"], config["hidden_size"])

    def hidden(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor | None,
        cache=None,
        allowed: torch.Tensor | None = None,
        look=None,
    ) -> torch.Tensor:
        """The decoder's last hidden states.

        Args:
            ids: (n, length); negative ids stand for rows of pictures, in order. rows: (pictures, rows, hidden).
            allowed, look: as for `attention_for_training`.
        """
        x = self.decoder.model.embed_tokens(ids.clamp(min=0))
        if rows is not None:
            x = x.masked_scatter((ids < 0)[..., None], rows.to(x.dtype))
        # The mask of ones keeps transformers from taking a gap in the positions for the start of another text.
        seen = torch.ones(
            len(ids),
            ids.shape[1] + (cache.get_seq_length() if cache is not None else 0),
            dtype=torch.long,
            device=ids.device,
        )
        return self.decoder.model(
            inputs_embeds=x,
            position_ids=positions,
            attention_mask=seen,
            past_key_values=cache,
            use_cache=cache is not None,
            allowed=allowed,
            look=look,
        ).last_hidden_state


def apart(whose: torch.Tensor) -> torch.Tensor:
    """What each token sees: of the tokens up to itself, those of 0 and those of its own conversation
    (`text.side_by_side`).

    Args:
        whose: (n, length). Returns (n, 1, length, length) of booleans.
    """
    return ((whose[:, None] == 0) | (whose[:, None] == whose[..., None])).tril()[:, None]


def exported_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a Phi3V under the names of the real checkpoint."""
    return {
        "model.vision_embed_tokens." + key.removeprefix("vision.")
        if key.startswith("vision.")
        else key.removeprefix("decoder."): value
        for key, value in state.items()
    }
