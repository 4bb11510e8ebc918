"""Pictures as symbols: what a perfect tower and projection would tell the decoder, and how ours are brought to tell it.

The decoder learns to answer from symbols while the tower learns to see: neither waits for the other, and no picture
needs to be painted for it. Then the projection is fitted to the symbols (`fit`), and both go on together on what the
tower really sees.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from training.config import CHECKPOINTS
from training.moe.upcycle import dense_model
from training.tokenizer import Encoder
from training.vision.model import CELLS, Phi3V, views_of
from training.vision.scene import COLOUR_NAMES, GLYPHS, KINDS

WORDS = {"point": "line", "slice": "pie"}  # of a chart; the other kinds are words themselves
THIRDS = (("top", "middle", "bottom"), ("left", "middle", "right"))
NOISE = 0.15  # of a row's own size, added in training: no projection will be perfect
RIDGE = 1e-3  # of the least squares, as a share of the mean square of a feature


class Symbols(nn.Module):
    """A row of the context for each cell: the sum of learnt vectors for what is there, its colour, row and column."""

    def __init__(self, hidden: int):
        super().__init__()
        self.kinds, self.colours = nn.Embedding(len(KINDS), hidden), nn.Embedding(len(COLOUR_NAMES), hidden)
        self.row, self.column = nn.Embedding(CELLS, hidden), nn.Embedding(CELLS, hidden)
        self.end, self.between = nn.Parameter(torch.randn(hidden)), nn.Parameter(torch.randn(hidden))

    @torch.no_grad()
    def start_from_words(self, table: torch.Tensor, encoder: Encoder) -> None:
        """Begin as the embeddings of the words for what is there: what a decoder knows of copying words then works."""
        ids = encoder.tokenizer.get_vocab()
        size = table.std()
        self.kinds.weight[0] = torch.randn(table.shape[1]) * size
        for i, kind in enumerate(KINDS[1:], 1):
            self.kinds.weight[i] = table[ids[kind if kind in GLYPHS else f"▁{WORDS.get(kind, kind)}"]]
        for i, colour in enumerate(COLOUR_NAMES):
            self.colours.weight[i] = 0.5 * table[ids[f"▁{colour}"]]
        for places, names in zip((self.row, self.column), THIRDS):
            for i in range(CELLS):
                places.weight[i] = 0.3 * (table[ids[f"▁{names[i * 3 // CELLS]}"]] + torch.randn(table.shape[1]) * size)
        for p in (self.end, self.between):
            p.copy_(torch.randn_like(p) * size)

    def cells(self, kinds: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        """(n, 144) indices into KINDS and COLOUR_NAMES to (n, 144, hidden). An empty cell has no place of its own."""
        there = (kinds > 0)[..., None]
        place = (self.row.weight[:, None] + self.column.weight).flatten(0, 1)
        return self.kinds(kinds) + there * (self.colours(colours.clamp(min=0)) + place)

    def forward(self, kinds: torch.Tensor, colours: torch.Tensor, views: int) -> torch.Tensor:
        """All rows of one-tile pictures, as `ImageEmbedding.rows` gives them."""
        grid = self.cells(kinds, colours)
        if self.training:
            grid = grid + NOISE * grid.detach().square().mean(-1, keepdim=True).sqrt() * torch.randn_like(grid)
        return views_of(grid, self.end, self.between, views)


def start_from_text(model: Phi3V, dense_name: str, encoder: Encoder, checkpoints: Path = CHECKPOINTS) -> None:
    """Give the decoder the layers of a bundled text model of the same shape, and each token the mean of what its text
    was there.

    The vocabularies differ; a new token begins as the mean of the pieces that the text model's tokenizer makes of it,
    as in Gee et al. 2022 (arXiv:2402.09977).
    """
    dense, old = dense_model(checkpoints / dense_name), Encoder(checkpoints / dense_name)
    new = model.decoder
    with torch.no_grad():
        for target, source in zip(new.model.layers, dense.model.layers):
            target.load_state_dict(source.state_dict())
            # LongRoPE scales queries and keys by a factor that follows from the context's length (arXiv:2402.13753).
            heads = dense.config.hidden_size
            ratio = (dense.model.rotary_emb.attention_scaling / new.model.rotary_emb.attention_scaling) ** 2
            target.self_attn.qkv_proj.weight[:heads] *= ratio
        new.model.norm.load_state_dict(dense.model.norm.state_dict())
        known = old.tokenizer.get_vocab()
        pairs = (
            (new.model.embed_tokens.weight, dense.model.embed_tokens.weight),
            (new.lm_head.weight, dense.lm_head.weight),
        )
        for token, at in encoder.tokenizer.get_vocab().items():
            pieces = (
                [known[token]]
                if token in known
                else old.tokenizer.encode(token.replace("▁", " "), add_special_tokens=False).ids[
                    1 if token[0] == "▁" else 0 :
                ]
            )
            for to, table in pairs:
                to[at] = table[pieces].mean(0) if pieces else table.mean(0)


@torch.no_grad()
def fit(projection: nn.Sequential, features: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> float:
    """Set the projection's last layer so that it comes nearest to the symbols; returns the share of their variance left
    over.

    Args:
        projection: linear, GELU, linear. features: (cells, 4C) of the tower. wanted: (cells, hidden). weights:
            (cells,).
    """
    inner = projection[1](projection[0](features)).double()
    inner = torch.cat([inner, torch.ones(len(inner), 1, dtype=inner.dtype, device=inner.device)], 1)
    scaled = inner * weights[:, None]
    gram = scaled.T @ inner
    gram += RIDGE * gram.diagonal()[:-1].mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    found = torch.linalg.solve(gram, scaled.T @ wanted.double())
    projection[2].weight.copy_(found[:-1].T)
    projection[2].bias.copy_(found[-1])
    left = ((inner @ found - wanted).square().sum(1) * weights).sum()
    spread = ((wanted - (weights[:, None] * wanted).sum(0) / weights.sum()).square().sum(1) * weights).sum()
    return (left / spread).item()
