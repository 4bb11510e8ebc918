"""The training of vision-tiny, on miniatures: the model, what it is told, its stages, and the exported checkpoint."""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch

from training import loop
from training.config import CHECKPOINTS, recipes
from training.moe.upcycle import dense_model
from training.team import Team, together
from training.tokenizer import Encoder
from training.vision import train as t
from training.vision.answers import AnswerStage, rows_with_marks
from training.vision.export import LIMIT, expected_shapes, export, quantized
from training.vision.measure import load, measure, stopped
from training.vision.model import (
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
from training.vision.paint import dense
from training.vision.pointing import HERE, LAYERS, NEXT, Looks, Pointing, as_tensors, stem
from training.vision.scene import COLOUR_NAMES, KINDS, Mark, Scene, place
from training.vision.stages import features_of
from training.vision.symbols import Symbols, fit, start_from_text
from training.vision.tasks import MIX, NAME, Album
from training.vision.text import sequence, side_by_side

pytestmark = pytest.mark.training
TOY = "vision-toy"


def toy_recipe() -> dict:
    """vision-tiny's recipe in miniature."""
    recipe = copy.deepcopy(recipes()[NAME])
    del recipe["start"]  # it has other sizes
    recipe["held_out"] = 1
    recipe["tower"] |= {"steps": 12, "pictures": 1}
    recipe["symbols"] |= {"steps": 4, "pictures": 4}
    recipe["decoder"] |= {"steps": 6}
    recipe["joint"] |= {"steps": 2, "pictures": 2}
    recipe["finish"] |= {"steps": 4, "pictures": 2, "conclusions": 0.5}
    recipe["cache"] |= {"pictures": 200, "fitted": 50}
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3}
    recipe["model"] |= small | {"num_attention_heads": 2, "num_key_value_heads": 2}
    sight = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    recipe["model"]["vision_config"] |= sight
    return recipe


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs with the miniature recipe, prepared."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes(), TOY, toy_recipe())
        patch.setattr(loop, "LOG_EVERY", 3)
        t.prepare(TOY, folder / TOY)
        yield folder


@pytest.fixture(scope="module")
def toy(runs):
    """Trains the miniature in a folder of its own, `name`."""

    def train(name: str, *arguments, **options) -> Path:
        folder = runs / name / TOY
        if not folder.exists():
            folder.mkdir(parents=True)
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(runs / TOY / file, folder)
        return t.train(TOY, *arguments, runs=runs / name, **options)

    return train


@pytest.fixture(scope="module")
def finished(toy) -> Path:
    """A whole run, never stopped."""
    return toy("whole", processes=1)


@pytest.fixture(scope="module")
def real_run(runs) -> Path:
    """A run of the real recipe, prepared and not trained."""
    folder = runs / NAME
    folder.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):  # both recipes have one vocabulary
        shutil.copy(runs / TOY / file, folder)
    t.prepare(NAME, folder)
    return folder


@pytest.fixture(scope="module")
def encoder(runs) -> Encoder:
    return Encoder(runs / TOY)


@pytest.fixture
def toy_model(runs) -> Phi3V:
    return t.new_model(recipes()[TOY], runs / TOY)


def same_states(a: Path, b: Path, tolerance: float = 0.0) -> None:
    """Two saved runs hold the same numbers."""
    one, other = (torch.load(file, weights_only=True)["model"] for file in (a, b))
    worst = max((one[k] - other[k]).abs().max().item() for k in one)
    assert worst <= tolerance, f"{a.parent.name} and {b.parent.name} differ by {worst} in {a.name}"


# -- the model --------------------------------------------------------------------------------------------


def test_the_tower_is_transformers_clip_model_at_the_last_state_but_one():
    from transformers import CLIPVisionConfig, CLIPVisionModel

    vision = toy_recipe()["model"]["vision_config"]
    tower = Tower(vision).eval()
    config = CLIPVisionConfig(**{**vision, "model_type": "clip_vision_model"}, hidden_act="quick_gelu")
    reference = CLIPVisionModel(config).eval()
    prefix = "vision_model." if next(iter(reference.state_dict())).startswith("vision_model.") else ""
    reference.load_state_dict({prefix + k: v for k, v in tower.state_dict().items()})
    view = torch.randint(0, 256, (2, 336, 336, 3), dtype=torch.uint8)
    with torch.no_grad():
        wanted = reference(pixel_values=normalised(view), output_hidden_states=True).hidden_states[-2][:, 1:]
        assert (tower(view) - wanted).abs().max() < 1e-4
        size = tower(view).square().mean().sqrt()
        tower.rescale(1 / size)
        assert (tower(view) * size - wanted).abs().max() < 1e-3


def test_patches_are_merged_two_by_two_and_windows_come_back_whole():
    cells = merged(torch.arange(576.0).view(1, 576, 1))[0]
    assert cells[0].tolist() == [0, 1, 24, 25] and cells[13].tolist() == [50, 51, 74, 75]
    window = torch.randn(2, 576, 32)
    assert torch.equal(whole(quarters(window, (2, 6), 2), (2, 6)), window)


def test_a_picture_is_a_tile_a_separator_and_the_global_view(toy_model):
    assert [image_rows(*tiles) for tiles in ((1, 1), (2, 2), (4, 1), (1, 4))] == [313, 757, 781, 745]
    rows = toy_model.vision.rows(torch.randn(2, 144, 128))
    assert rows.shape == (2, image_rows(), 64) and torch.equal(rows[:, :VIEW_ROWS], rows[:, VIEW_ROWS + 1 :])
    ends = rows[0, :VIEW_ROWS].view(12, 13, 64)[:, 12]
    assert torch.equal(ends, ends[:1].expand(12, -1)) and not torch.equal(ends[0], rows[0, VIEW_ROWS])


def test_the_real_recipe_has_the_names_and_shapes_of_phi3_v_and_fits_the_limit(real_run):
    config = json.loads((real_run / "config.json").read_text())
    found = {k: tuple(v.shape) for k, v in exported_names(Phi3V(config).state_dict()).items()}
    assert found == expected_shapes(config)
    bits = sum(np.prod(shape) * (4 + 64 / 32 if quantized(name, shape) else 32) for name, shape in found.items())
    assert bits / 8 < LIMIT - 200_000


# -- what it is told --------------------------------------------------------------------------------------


MESSAGES = [{"role": "user", "content": "What is new?"}, {"role": "assistant", "content": "Nothing."}]


def test_ids_of_pictures_stand_where_the_processor_puts_them(encoder):
    ids, positions, mask = sequence(encoder, MESSAGES, 2, image_rows())
    newline = encoder.tokenizer.encode("\n").ids[-1]
    assert ids[:315] == [encoder.id["<|user|>"], *[-1] * 313, newline] and ids[315:629] == [*[-2] * 313, newline]
    assert positions == list(range(len(ids)))
    assert [i for i, m in zip(ids, mask) if m][-1] == encoder.id["<|end|>"]
    text = "<|user|>\n" + "\nWhat is new?<|end|>\n<|assistant|>\n"  # what the processor encodes after the last tag
    after = encoder.tokenizer.encode(text.removeprefix("<|user|>\n"), add_special_tokens=False).ids[1:]
    assert ids[628 : 628 + len(after)] == after


def test_rows_that_are_left_out_leave_their_positions_free(encoder):
    ids, positions, _ = sequence(encoder, MESSAGES, 2, image_rows())
    newline = encoder.tokenizer.encode("\n").ids[-1]
    last_view = [range(image_rows() - VIEW_ROWS, image_rows())] * 2
    short, where, _ = sequence(encoder, MESSAGES, 2, image_rows(), last_view)
    assert len(short) == len(ids) - 2 * (image_rows() - VIEW_ROWS) and where[-1] == positions[-1]
    some, places, _ = sequence(encoder, MESSAGES, 2, image_rows(), [[3, 200], [312]])
    assert some[:6] == [ids[0], -1, -1, newline, -2, newline] and places[:6] == [0, 4, 201, 314, 627, 628]
    assert some[6:] == ids[629:] and places[6:] == positions[629:]


def test_conversations_side_by_side_are_what_each_is_alone(encoder, toy_model):
    rows = toy_model.vision.rows(torch.randn(2, 144, 128))
    other = [{"role": "user", "content": "How many circles are there?"}, {"role": "assistant", "content": "Two."}]
    both = side_by_side(encoder, [MESSAGES, other], 2, image_rows())
    ids, positions, mask, whose = (torch.tensor([values]) for values in both)
    with torch.no_grad():
        hidden = toy_model.hidden(ids, positions, rows, allowed=apart(whose))[mask > 0]
        alone = []
        for each in (MESSAGES, other):
            ids, positions, mask = (torch.tensor([values]) for values in sequence(encoder, each, 2, image_rows()))
            alone.append(toy_model.hidden(ids, positions, rows)[mask > 0])
    assert (hidden - torch.cat(alone)).abs().max() < 1e-4


def test_a_gap_in_the_positions_does_not_cut_the_text_in_two(encoder, toy_model):
    rows = toy_model.vision.rows(torch.randn(2, 144, 128), 1)
    last_view = [range(image_rows() - VIEW_ROWS, image_rows())] * 2
    ids, where, _ = sequence(encoder, MESSAGES, 2, image_rows(), last_view)
    with torch.no_grad():
        first, second = (
            toy_model.hidden(torch.tensor([[start, *ids[1:]]]), torch.tensor([where]), rows)[0, -1]
            for start in (ids[0], encoder.id["<|end|>"])
        )
    assert not torch.allclose(first, second)


def test_rows_with_marks_are_those_of_their_cells():
    scene = Scene("page", (255, 255, 255), marks=[Mark(40, 40, "A", "red")])
    assert np.flatnonzero(rows_with_marks([scene])).tolist() == [14]  # second row, second cell; thirteen rows a line


# -- where to look ----------------------------------------------------------------------------------------


def looks_of(encoder, kind: str, count: int):
    """What the tokens of some conversations name, and what their pictures show there."""
    album = Album("train", f"pointing-{kind}")
    for _ in range(count):
        group = album.group(kind)
        case = album.ask(group)
        ids, _, mask, whose = side_by_side(encoder, [case.messages], len(group.scenes), image_rows())
        places = [i for i, each in enumerate(whose) if each]
        tokens = [encoder.tokenizer.id_to_token(ids[i]) for i in places]
        shown = [dense(scene, CELLS) for scene in group.scenes]
        for which, at, cells in Looks(kind, group.scenes).find(tokens, [mask[i] for i in places]):
            word = tokens[at + (which == NEXT)].removeprefix("▁")
            for picture, row, column in cells:
                what, ink = KINDS[shown[picture][0][row, column]], COLOUR_NAMES[shown[picture][1][row, column]]
                yield which, word, what, ink, place(28 * column + 14, 28 * row + 14)


@pytest.mark.parametrize("kind", MIX)
def test_the_cells_that_a_token_is_about_show_what_it_names(encoder, kind):
    seen = Counter()
    for which, word, what, ink, where in looks_of(encoder, kind, 12):
        seen[which] += 1
        if kind != "crowd" or (which == HERE and len(word) > 1):  # the working of a count has numbers for shapes
            assert word == ink or stem(word) == what or word in where, (word, what, ink, where)
    assert seen[HERE] and seen[NEXT]


def test_attention_that_goes_where_it_should_costs_nothing():
    allowed = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    pointing = Pointing(as_tensors([(HERE, 0, 4, [1]), (NEXT, 0, 5, [2, 3])], 1), allowed)
    keys = 9 * torch.eye(6)[None, None].expand(1, 3, 6, 6)
    queries = keys.clone()
    queries[..., 4, :], queries[..., 5, :] = keys[..., 1, :], keys[..., 2, :] + keys[..., 3, :]
    for layer in LAYERS.values():
        pointing(layer, queries, keys, 1.0)
    loss, share = pointing.loss()
    assert loss < 1e-6 and share > 1 - 1e-6
    for layer in LAYERS.values():  # attention to everything alike
        pointing(layer, torch.zeros(1, 3, 6, 6), keys, 1.0)
    assert abs(pointing.loss()[1] - (1 / 5 + 2 / 6) / 2) < 1e-6


# -- how its parts begin ----------------------------------------------------------------------------------


def test_a_decoder_that_begins_as_the_text_model_is_that_model_on_words_both_know(real_run):
    recipe, encoder = recipes()[NAME], Encoder(real_run)
    model, symbols = t.new_model(recipe, real_run), Symbols(recipe["model"]["hidden_size"])
    text, old = dense_model(CHECKPOINTS / recipe["start"]), Encoder(CHECKPOINTS / recipe["start"])
    start_from_text(model, recipe["start"], encoder)
    symbols.start_from_words(model.decoder.model.embed_tokens.weight, encoder)
    known, own = old.tokenizer.get_vocab(), encoder.tokenizer.get_vocab()
    shared = [token for token in own if token in known][:40]
    here, there = torch.tensor([[own[token] for token in shared]]), torch.tensor([[known[token] for token in shared]])
    with torch.no_grad():
        wanted = text.model(there, use_cache=False).last_hidden_state
        found = model.decoder.model(here, use_cache=False).last_hidden_state
    # The scale of the attention is made up for in the weights; positions turn alike as long as the short table holds.
    assert (found - wanted).abs().max() < 1e-3 * wanted.abs().max()
    index = KINDS.index("A")
    assert torch.equal(symbols.kinds.weight[index], model.decoder.model.embed_tokens.weight[own["A"]])


def test_the_projection_is_fitted_exactly_where_that_is_possible_and_a_separator_comes_near_its_row():
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


def test_a_small_decoder_learns_a_handful_of_pictures_by_heart(encoder, toy_model):
    """Features reach the answers."""
    torch.manual_seed(0)
    model, items, album = toy_model, [], Album("train", 3)
    while len(items) < 8:
        if case := album.ask(group := album.group("shapes"), "single"):
            messages = [{"role": "user", "content": "What is this?"}, case.messages[1]]
            items.append((*sequence(encoder, messages, 1, VIEW_ROWS), features_of(model, group.scenes, Team())))
    model.vision.img_processor.requires_grad_(False)  # features are made once
    both, losses = loop.optimizers(model, AnswerStage.inside), []
    loop.set_rates(both, (5e-3, 4e-3), 1.0)
    for step in range(70):
        total = 0.0
        for *lists, cells in (items[(4 * step + i) % 8] for i in range(4)):
            ids, positions, mask = (torch.tensor([values]) for values in lists)
            hidden = model.hidden(ids, positions, model.vision.rows(cells, 1))[:, :-1]
            asked = mask[:, 1:] > 0
            logits = model.decoder.lm_head(hidden[asked])
            total = total + torch.nn.functional.cross_entropy(logits, ids[:, 1:][asked]) / 4
        total.backward()
        loop.update(both, list(model.parameters()), Team())
        losses.append(total.item())
    assert sum(losses[-4:]) < 0.15 * sum(losses[:4])


# -- the stages -------------------------------------------------------------------------------------------


def stop(monkeypatch, **at: int) -> None:
    """From now on the stages named here are left at a step, as an interruption would, and the run ends there."""

    def stopping(name, *arguments, **options):
        if not descend(name, *arguments, stop_at=at.get(name), **options):
            raise KeyboardInterrupt

    descend = loop.descend
    monkeypatch.setattr(t, "descend", stopping)


def test_a_run_that_is_stopped_anywhere_ends_as_one_that_was_not(runs, toy, finished, monkeypatch):
    for at in ({"tower": 5}, {"tower": 9}, {"symbols": 1}, {"decoder": 3}, {"finish": 2}):
        stop(monkeypatch, **at)
        with pytest.raises(KeyboardInterrupt):
            toy("pieces", processes=1)
    monkeypatch.undo()
    toy("pieces", processes=1)
    for stage in t.STAGES:
        same_states(finished / f"{stage}.state.pt", runs / "pieces" / TOY / f"{stage}.state.pt")


def test_two_processes_end_as_one(runs, finished):
    folder = runs / "two" / TOY
    folder.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "config.json", "tower.state.pt", "symbols.state.pt"):
        shutil.copy(finished / file, folder)
    together(t.last_stages, 2, recipes()[TOY], 1.0, folder)
    for stage in ("decoder", "joint", "finish"):
        same_states(finished / f"{stage}.state.pt", folder / f"{stage}.state.pt", 1e-4)


def test_each_stage_logs_its_loss_and_what_it_gets_right(finished):
    for stage, shares in {"tower": {"glyphs", "empty", "places"}, "finish": {"tokens", "looks", "held out"}}.items():
        lines = [json.loads(line) for line in (finished / f"{stage}.log.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == recipes()[TOY][stage]["steps"] and lines[-1]["loss"] > 0
        assert shares <= set(lines[-1])


def test_the_exported_checkpoint_holds_the_weights_of_the_run(runs, finished, tmp_path):
    made = export(TOY, finished.parent, tmp_path)
    weights, config = mx.load(str(made / "model.safetensors")), json.loads((made / "config.json").read_text())
    plain = mx.load(str(finished / "model.safetensors"))
    for name, shape in expected_shapes(config).items():
        if quantized(name, shape):
            scales, biases = (weights[name.removesuffix("weight") + part] for part in ("scales", "biases"))
            back = mx.dequantize(weights[name], scales, biases, 32, 4)
            assert back.shape == shape and float(mx.abs(back - plain[name]).max()) < 0.2
            assert scales.dtype == mx.float32
        else:
            assert weights[name].shape == shape and mx.array_equal(weights[name], plain[name])


def test_a_finished_run_and_its_last_state_are_the_same_model(finished):
    model = load(finished)
    unfinished = stopped(TOY, finished.parent).state_dict()
    assert all(torch.equal(value, unfinished[key]) for key, value in model.state_dict().items())
    found = measure(model, Encoder(finished), 1, 1, ("clip", "ocr"))
    assert set(found) == {"clip", "ocr"} and all(0 <= share <= 1 for share in found.values())


def test_the_last_stage_goes_once_more_from_given_weights(runs, toy, finished):
    again = toy("again", 2, processes=1, begin_with=finished)
    assert not (again / "tower.state.pt").exists()
    before, after = load(finished).state_dict(), load(again).state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert any("lm_head" in key for key in changed) and not any("img_processor" in key for key in changed)
