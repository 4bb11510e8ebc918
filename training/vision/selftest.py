"""Checks of the vision training that need torch, on miniatures, in three minutes.

python -m training.vision.selftest
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from training.config import CHECKPOINTS, recipes
from training.moe.upcycle import dense_model
from training.tokenizer import Encoder

from . import train as t
from .draw import COLOUR_NAMES, KINDS, Mark, Scene, dense, place
from .export import LIMIT, expected_shapes, export, quantized
from .measure import load, measure, stopped
from .model import (
    CELLS,
    VIEW_ROWS,
    Phi3V,
    Tower,
    apart,
    exported_names,
    image_rows,
    merged,
    normalised,
    quarters,
    whole,
)
from .pointing import HERE, LAYERS, NEXT, Looks, Pointing, as_tensors, stem
from .symbols import Symbols, fit, start_from_text
from .tasks import MIX, NAME, Album

TOY = "vision-toy"


def toy_recipe() -> dict:
    """vision-tiny's recipe in miniature."""
    recipe = copy.deepcopy(recipes()[NAME])
    del recipe["start"]  # it has other sizes
    recipe["tower"] |= {"steps": 12, "pictures": 1}
    recipe["symbols"] |= {"steps": 4, "pictures": 4}
    recipe["decoder"] |= {"steps": 6}
    recipe["joint"] |= {"steps": 2, "pictures": 2}
    recipe["finish"] |= {"steps": 4, "pictures": 2}
    recipe["cache"] |= {"pictures": 200, "fitted": 50}
    recipe["model"] |= {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    recipe["model"]["vision_config"] |= {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    return recipe


def same_states(a: Path, b: Path, tolerance: float = 0.0) -> None:
    """Two saved runs hold the same numbers."""
    one, other = (torch.load(file, weights_only=True)["model"] for file in (a, b))
    worst = max((one[k] - other[k]).abs().max().item() for k in one)
    assert worst <= tolerance, f"{a.parent.name} and {b.parent.name} differ by {worst} in {a.name}"


def check_tower() -> None:
    """The tower is transformers' CLIPVisionModel: state -2 without the class token."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    vision = toy_recipe()["model"]["vision_config"]
    tower = Tower(vision).eval()
    reference = CLIPVisionModel(
        CLIPVisionConfig(**{**vision, "model_type": "clip_vision_model"}, hidden_act="quick_gelu")
    ).eval()
    prefix = "vision_model." if next(iter(reference.state_dict())).startswith("vision_model.") else ""
    reference.load_state_dict({prefix + k: v for k, v in tower.state_dict().items()})
    view = torch.randint(0, 256, (2, 336, 336, 3), dtype=torch.uint8)
    with torch.no_grad():
        wanted = reference(pixel_values=normalised(view), output_hidden_states=True).hidden_states[-2][:, 1:]
        assert (tower(view) - wanted).abs().max() < 1e-4
        size = tower(view).square().mean().sqrt()
        tower.rescale(1 / size)
        assert (tower(view) * size - wanted).abs().max() < 1e-3
    cells = merged(torch.arange(576.0).view(1, 576, 1))[0]
    assert cells[0].tolist() == [0, 1, 24, 25] and cells[13].tolist() == [50, 51, 74, 75]


def check_rows(runs: Path) -> None:
    """313 rows a picture where the ids are negative, in the order tile, separator, global view."""
    assert [image_rows(*tiles) for tiles in ((1, 1), (2, 2), (4, 1), (1, 4))] == [313, 757, 781, 745]
    model, encoder = t.new_model(recipes()[TOY], runs / TOY), Encoder(runs / TOY)
    rows = model.vision.rows(torch.randn(2, 144, 128))
    assert rows.shape == (2, image_rows(), 64) and torch.equal(rows[:, :VIEW_ROWS], rows[:, VIEW_ROWS + 1 :])
    ends = rows[0, :VIEW_ROWS].view(12, 13, 64)[:, 12]
    assert torch.equal(ends, ends[:1].expand(12, -1)) and not torch.equal(ends[0], rows[0, VIEW_ROWS])
    messages = [{"role": "user", "content": "What is new?"}, {"role": "assistant", "content": "Nothing."}]
    ids, positions, mask = t.sequence(encoder, messages, 2, image_rows())
    newline = encoder.tokenizer.encode("\n").ids[-1]
    assert (
        ids[0] == encoder.id["<|user|>"]
        and ids[1:314] == [-1] * 313
        and ids[314] == newline
        and ids[315:628] == [-2] * 313
        and ids[628] == newline
    )
    assert positions == list(range(len(ids))) and [i for i, m in zip(ids, mask) if m][-1] == encoder.id["<|end|>"]
    text = "<|user|>\n" + "\nWhat is new?<|end|>\n<|assistant|>\n"  # what the processor encodes after the last tag
    after = encoder.tokenizer.encode(text.removeprefix("<|user|>\n"), add_special_tokens=False).ids[1:]
    assert ids[628 : 628 + len(after)] == after
    short, where, _ = t.sequence(
        encoder, messages, 2, image_rows(), [range(image_rows() - VIEW_ROWS, image_rows())] * 2
    )
    dropped = 2 * (image_rows() - VIEW_ROWS)
    assert len(short) == len(ids) - dropped and where[-1] == positions[-1]
    some, places, _ = t.sequence(encoder, messages, 2, image_rows(), [[3, 200], [312]])
    assert (
        some[:4] == [ids[0], -1, -1, newline]
        and places[:4] == [0, 4, 201, 314]
        and some[4:6] == [-2, newline]
        and places[4:6] == [627, 628]
    )
    assert some[6:] == ids[629:] and places[6:] == positions[629:]
    # Side by side, each conversation is what it is alone.
    other = [{"role": "user", "content": "How many circles are there?"}, {"role": "assistant", "content": "Two."}]
    both = t.side_by_side(encoder, [messages, other], 2, image_rows())
    ids, positions, mask, whose = (torch.tensor([values]) for values in both)
    with torch.no_grad():
        hidden = model.hidden(ids, positions, rows, allowed=apart(whose))[mask > 0]
        alone = []
        for each in (messages, other):
            ids, positions, mask = (torch.tensor([values]) for values in t.sequence(encoder, each, 2, image_rows()))
            alone.append(model.hidden(ids, positions, rows)[mask > 0])
    assert (hidden - torch.cat(alone)).abs().max() < 1e-4
    scene = Scene("page", (255, 255, 255), marks=[Mark(40, 40, "A", "red")])
    assert np.flatnonzero(t.rows_with_marks([scene])).tolist() == [14]  # second row, second cell; thirteen rows a line
    window = torch.randn(2, 576, 32)
    assert torch.equal(whole(quarters(window, (2, 6), 2), (2, 6)), window)
    # A gap in the positions must not cut the text in two: what stands before it still counts.
    with torch.no_grad():
        first, second = (
            model.hidden(torch.tensor([[start, *short[1:]]]), torch.tensor([where]), rows[:, -VIEW_ROWS:])[0, -1]
            for start in (short[0], newline)
        )
    assert not torch.allclose(first, second)


def check_pointing(runs: Path) -> None:
    """The cells that a token is about show what it names; and attention that goes there costs nothing."""
    encoder, named = Encoder(runs / TOY), Counter()
    for kind in MIX:
        album = Album("train", f"pointing-{kind}")
        for _ in range(12):
            group = album.group(kind)
            case = album.ask(group)
            ids, _, mask, whose = t.side_by_side(encoder, [case.messages], len(group.scenes), image_rows())
            places = [i for i, each in enumerate(whose) if each]
            tokens = [encoder.tokenizer.id_to_token(ids[i]) for i in places]
            shown = [dense(scene, CELLS) for scene in group.scenes]
            for which, at, cells in Looks(kind, group.scenes).find(tokens, [mask[i] for i in places]):
                word = tokens[at + (which == NEXT)].removeprefix("▁")
                for picture, row, column in cells:
                    what, ink = KINDS[shown[picture][0][row, column]], COLOUR_NAMES[shown[picture][1][row, column]]
                    if kind != "crowd" or which == HERE and len(word) > 1:  # a count's working has numbers for shapes
                        assert word == ink or stem(word) == what or word in place(28 * column + 14, 28 * row + 14), (
                            case.messages,
                            word,
                            what,
                            ink,
                        )
                    named[kind, which] += 1
    assert all(named[kind, which] for kind in MIX for which in (HERE, NEXT)), named

    allowed = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    pointing = Pointing(as_tensors([(HERE, 0, 4, [1]), (NEXT, 0, 5, [2, 3])], 1), allowed)
    keys = 9 * torch.eye(6)[None, None].expand(1, 3, 6, 6)
    queries = keys.clone()
    queries[..., 4, :], queries[..., 5, :] = keys[..., 1, :], keys[..., 2, :] + keys[..., 3, :]
    for layer in LAYERS.values():
        pointing(layer, queries, keys, 1.0)
    loss, share = pointing.loss()
    assert loss < 1e-6 and share > 1 - 1e-6
    for layer in LAYERS.values():
        pointing(layer, torch.zeros(1, 3, 6, 6), keys, 1.0)
    assert abs(pointing.loss()[1] - (1 / 5 + 2 / 6) / 2) < 1e-6  # attention to everything alike


def check_start(runs: Path) -> None:
    """A decoder that begins as the text model is that model on words both vocabularies have, up to what a picture's length changes."""
    recipe, encoder = recipes()[NAME], Encoder(runs / NAME)
    model, symbols = t.new_model(recipe, runs / NAME), Symbols(recipe["model"]["hidden_size"])
    dense, old = dense_model(CHECKPOINTS / recipe["start"]), Encoder(CHECKPOINTS / recipe["start"])
    start_from_text(model, recipe["start"], encoder)
    symbols.start_from_words(model.decoder.model.embed_tokens.weight, encoder)
    known, own = old.tokenizer.get_vocab(), encoder.tokenizer.get_vocab()
    shared = [token for token in own if token in known][:40]
    here, there = torch.tensor([[own[token] for token in shared]]), torch.tensor([[known[token] for token in shared]])
    with torch.no_grad():
        wanted = dense.model(there, use_cache=False).last_hidden_state
        found = model.decoder.model(here, use_cache=False).last_hidden_state
    # The scale of the attention is made up for in the weights; positions turn alike as long as the short table holds.
    assert (found - wanted).abs().max() < 1e-3 * wanted.abs().max()
    index = KINDS.index("A")
    assert torch.equal(symbols.kinds.weight[index], model.decoder.model.embed_tokens.weight[own["A"]])


def check_fit() -> None:
    """The projection is fitted exactly where that is possible, and a separator comes near its row."""
    torch.manual_seed(0)
    project = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.GELU(), torch.nn.Linear(64, 16))
    features, truth = torch.randn(2000, 32), torch.randn(64, 16)
    with torch.no_grad():
        wanted = project[1](project[0](features)) @ truth + 3
    assert fit(project, features, wanted, torch.ones(2000)) < 0.01
    separator, row = torch.nn.Parameter(torch.randn(1, 1, 32)), wanted[0]
    before = (project(separator.flatten()) - row).square().mean().item()
    t.aim(project, separator, row)
    assert (project(separator.flatten()) - row).square().mean() < 0.1 * before and separator.grad is None


def check_training(scratch: Path) -> None:
    """All stages run; interrupted anywhere they end the same; two processes end as one; the result is exported right."""
    whole, pieces, one, two = (scratch / n for n in ("whole", "pieces", "one", "two"))
    t.train(TOY, runs=whole, processes=1)
    descend = t.descend
    for stop in (5, 9):  # tower at 5; at 9; then symbols at 1 and the decoder at 3; then the rest
        t.descend = lambda name, *a, stop=stop, **k: (
            descend(name, *a, stop_at=stop if name == "tower" else 1, **k) or sys.exit()
        )
        try:
            t.train(TOY, runs=pieces, processes=1)
        except SystemExit:
            pass
    t.descend = lambda name, *a, **k: descend(name, *a, stop_at={"decoder": 3}.get(name), **k) or sys.exit()
    try:
        t.train(TOY, runs=pieces, processes=1)
    except SystemExit:
        pass
    t.descend = descend
    t.train(TOY, runs=pieces, processes=1)
    for stage in t.STAGES:
        same_states(whole / TOY / f"{stage}.state.pt", pieces / TOY / f"{stage}.state.pt")
    t.train(TOY, 16, runs=one, processes=1)
    t.train(TOY, 16, runs=two, processes=2)
    for stage in ("tower", "symbols"):
        same_states(one / TOY / f"{stage}.state.pt", two / TOY / f"{stage}.state.pt", 1e-4)

    made = export(TOY, whole, scratch / "checkpoints")
    import mlx.core as mx

    weights, config = mx.load(str(made / "model.safetensors")), json.loads((made / "config.json").read_text())
    plain = mx.load(str(whole / TOY / "model.safetensors"))
    for name, shape in expected_shapes(config).items():
        if quantized(name, shape):
            back = mx.dequantize(
                weights[name],
                weights[name.removesuffix("weight") + "scales"],
                weights[name.removesuffix("weight") + "biases"],
                32,
                4,
            )
            assert back.shape == shape and float(mx.abs(back - plain[name]).max()) < 0.2
            assert weights[name.removesuffix("weight") + "scales"].dtype == mx.float32
        else:
            assert weights[name].shape == shape and mx.array_equal(weights[name], plain[name])
    model = load(whole / TOY)
    assert measure(model, Encoder(whole / TOY), 1, 1, ("clip", "ocr"))
    unfinished = stopped(TOY, whole).state_dict()
    assert all(torch.equal(v, unfinished[k]) for k, v in model.state_dict().items())


def check_real_size(runs: Path) -> None:
    """The real recipe's names and shapes are phi3_v's, and it fits the limit."""
    t.prepare(NAME, runs / NAME)
    config = json.loads((runs / NAME / "config.json").read_text())
    found = {k: tuple(v.shape) for k, v in exported_names(Phi3V(config).state_dict()).items()}
    assert found == expected_shapes(config)
    bits = sum(np.prod(shape) * (4 + 64 / 32 if quantized(name, shape) else 32) for name, shape in found.items())
    assert bits / 8 < LIMIT - 200_000, bits / 8
    print(f"   {sum(np.prod(s) for s in found.values()) / 1e6:.2f} M parameters, {bits / 8e6:.2f} MB exported")


def check_memory(runs: Path) -> None:
    """A small decoder learns a handful of pictures by heart: features reach the answers."""
    torch.manual_seed(0)
    config = json.loads((runs / TOY / "config.json").read_text())
    model, encoder, team = Phi3V(config), Encoder(runs / TOY), t.Team()
    album, items = Album("train", 3), []
    while len(items) < 8:
        case = album.ask(group := album.group("shapes"), "single")
        if case:
            cells = t.features_of(model, group.scenes, team)
            ids, positions, mask = t.sequence(
                encoder, [{"role": "user", "content": "What is this?"}, case.messages[1]], 1, VIEW_ROWS
            )
            items.append((ids, positions, mask, cells))
    model.vision.img_processor.requires_grad_(False)  # features are made once
    optimizers = t.optimizers(model, t.AnswerStage.inside)
    t.set_rates(optimizers, [5e-3, 4e-3], 1.0)
    losses = []
    for step in range(70):
        total = 0.0
        for ids, positions, mask, cells in (items[(4 * step + i) % 8] for i in range(4)):
            ids, positions, mask = (torch.tensor([v]) for v in (ids, positions, mask))
            hidden = model.hidden(ids, positions, model.vision.rows(cells, 1))[:, :-1]
            asked = mask[:, 1:] > 0
            total = (
                total + torch.nn.functional.cross_entropy(model.decoder.lm_head(hidden[asked]), ids[:, 1:][asked]) / 4
            )
        total.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(total.item())
    assert sum(losses[-4:]) < 0.15 * sum(losses[:4]), losses[::10]
    print(f"   loss {losses[0]:.2f} -> {sum(losses[-4:]) / 4:.3f}")


def main() -> None:
    torch.set_num_threads(1)
    recipes()[TOY] = toy_recipe()
    t.SAVE_SECONDS, t.LOG_EVERY, t.HELD_OUT_CASES = 10**6, 3, 1
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        t.prepare(TOY, scratch / TOY)
        for check, arguments in (
            (check_tower, ()),
            (check_rows, (scratch,)),
            (check_pointing, (scratch,)),
            (check_real_size, (scratch,)),
            (check_start, (scratch,)),
            (check_fit, ()),
            (check_memory, (scratch,)),
            (check_training, (scratch,)),
        ):
            start = time.monotonic()
            check(*arguments)
            print(f"{check.__name__}: right ({time.monotonic() - start:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
