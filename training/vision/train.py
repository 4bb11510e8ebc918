"""Trains vision-tiny in stages: the tower on dense targets and the decoder on symbols, side by side; then projection
and decoder on the tower's features; then, where the recipe says so, all together; last what pairs and clips get wrong.

Each stage saves its state, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from training import weights as stored
from training.config import RUNS, model_config, recipe_of, recipes, write_json
from training.loop import descend
from training.quantization import plain_state
from training.team import Team, process_count, together
from training.tokenizer import STOP_TOKENS, Encoder
from training.vision.cache import Cache
from training.vision.heldout import progress
from training.vision.model import CELLS, Phi3V, exported_names
from training.vision.paint import dense
from training.vision.parts import seeded
from training.vision.settings import FIT
from training.vision.stages import DecoderStage, FinishStage, JointStage, SymbolStage, features_of
from training.vision.symbols import Symbols, fit
from training.vision.tasks import Album
from training.vision.text import own_tokenizer
from training.vision.tower import DenseTower, TowerStage

STAGES = ("tower", "symbols", "decoder", "joint", "finish")
SMALLEST_CACHE = 200  # pictures


def prepare(name: str, folder: Path) -> None:
    """Write the run's tokenizer and config.json."""
    recipe = recipes()[name]
    own_tokenizer(folder, recipe["model"]["vocab_size"])
    encoder = Encoder(folder)
    if encoder.size != recipe["model"]["vocab_size"]:
        raise ValueError(f"the tokenizer has {encoder.size} tokens: set vocab_size of {name} in recipes.toml to it")
    config = model_config(name, {**encoder.id, "<s>": 1})
    config |= {
        "eos_token_id": [encoder.id[t] for t in STOP_TOKENS],
        "text_config": {"max_position_embeddings": config["max_position_embeddings"]},
        # Written for the sake of the format; runtimes read vision_config.
        "img_processor": {
            "image_dim_out": recipe["model"]["vision_config"]["hidden_size"],
            "model_name": "none",
            "name": "clip_vision_model",
            "num_img_tokens": CELLS**2,
        },
        "embd_layer": {
            "embedding_cls": "image",
            "hd_transform_order": "sub_glb",
            "projection_cls": "mlp",
            "use_hd_transform": True,
            "with_learnable_separator": True,
        },
    }
    write_json(folder / "config.json", config)


def new_model(recipe: dict, folder: Path) -> Phi3V:
    """A fresh model from the run's config.json."""
    torch.manual_seed(recipe["seed"])
    return Phi3V(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def train(
    name: str,
    steps: int | None = None,
    runs: Path = RUNS,
    processes: int | None = None,
    profile: str | None = None,
    begin_with: Path | None = None,
) -> Path:
    """Train `name` to its end, or from where an earlier run stopped; returns the folder with the fp32 result.

    Args:
        name: a recipe of recipes.toml.
        steps: another number of steps than the recipe's, all stages together; each keeps its share.
        processes: how many train together; left out, two of one thread each, or one with a GPU.
        profile: tables of the recipe whose values replace the others, such as "gpu".
        begin_with: a finished run whose weights go through the last stage once more; there are no other stages then.
    """
    recipe, folder = recipe_of(name, profile), runs / name
    processes = processes or process_count()
    prepare(name, folder)
    if begin_with:
        arguments = (recipe, steps or recipe["finish"]["steps"], folder, begin_with)
        if processes == 1:
            last_stage_again(0, 1, *arguments)
        else:
            together(last_stage_again, processes, *arguments)
        return folder
    share = steps / sum(recipe[stage]["steps"] for stage in STAGES) if steps else 1.0
    if processes == 1:
        first_stages(0, 1, recipe, share, folder)
        last_stages(0, 1, recipe, share, folder)
    else:
        together(first_stages, 2, recipe, share, folder, group=False)
        together(last_stages, processes, recipe, share, folder)
    return folder


def first_stages(rank: int, processes: int, recipe: dict, share: float, folder: Path) -> None:
    """Tower and symbols, which need nothing of each other: with two processes, each trains one of them."""
    for name in ("tower", "symbols")[rank::processes]:
        model, team = new_model(recipe, folder), Team()
        steps = math.ceil(recipe[name]["steps"] * share)
        if name == "tower":
            descend(name, TowerStage(model, recipe, team), steps, folder)
        else:
            stage = SymbolStage(model, recipe, team, Encoder(folder))
            descend(name, stage, steps, folder, show=progress(stage))


def last_stages(rank: int, processes: int, recipe: dict, share: float, folder: Path) -> None:
    """The stages after the first two, in order, in one of the processes that train together.

    What is finished is only loaded.
    """
    team, encoder = Team(rank, processes), Encoder(folder)
    model = new_model(recipe, folder).to(team.device)
    symbols, heads = join(model, recipe, folder, team)
    tower = model.vision.img_processor.vision_model
    pictures = max(SMALLEST_CACHE, round(recipe["cache"]["pictures"] * min(1, share)))
    cache = Cache(folder, recipe["seed"], pictures, 4 * tower.width)
    cache.make(tower, team)
    left = fit_to_symbols(model, symbols, cache, recipe["cache"]["fitted"])
    if team.rank == 0:
        print(f"projection: {left:.1%} of the symbols' variance is left over", flush=True)
    for kind, *more in ((DecoderStage, cache), (JointStage, heads), (FinishStage,)):
        steps = math.ceil(recipe[kind.name]["steps"] * share)
        if steps:
            stage = kind(model, recipe, team, encoder, *more)
            descend(kind.name, stage, steps, folder, show=progress(stage) if team.rank == 0 else None)
    if team.rank == 0:
        stored.save(exported_names(plain_state(model)), folder)


def last_stage_again(rank: int, processes: int, recipe: dict, steps: int, folder: Path, begin_with: Path) -> None:
    """The last stage alone, from the weights of a finished run, in one of the processes that train together."""
    team = Team(rank, processes)
    model = new_model(recipe, folder)
    load_weights(model, begin_with)
    stage = FinishStage(model.to(team.device), recipe, team, Encoder(folder))
    descend(stage.name, stage, steps, folder, show=progress(stage) if team.rank == 0 else None)
    if team.rank == 0:
        stored.save(exported_names(plain_state(model)), folder)


def load_weights(model: Phi3V, folder: Path) -> None:
    """Give a model the weights of a finished run."""
    saved = load_file(folder / "model.safetensors")
    names = exported_names({key: key for key in model.state_dict()})
    model.load_state_dict({own: saved[name] for name, own in names.items()})


def join(model: Phi3V, recipe: dict, folder: Path, team: Team) -> tuple[Symbols, nn.ModuleDict]:
    """Load what both first stages learned, and make the tower's features of unit size.

    Returns:
        The symbols, and the tower's heads with their projection.
    """
    hidden = recipe["model"]["hidden_size"]
    dense_tower, symbols = DenseTower(model.vision, hidden), Symbols(hidden)
    parts = {"tower": dense_tower, "symbols": nn.ModuleDict({"decoder": model.decoder, "symbols": symbols})}
    for name, part in parts.items():
        part.load_state_dict(torch.load(folder / f"{name}.state.pt", map_location="cpu", weights_only=True)["model"])
    factor = 1 / size_of_features(model, recipe["seed"], team)
    model.vision.img_processor.vision_model.rescale(factor)
    with torch.no_grad():
        model.vision.img_projection[0].weight /= factor
    heads = {name: getattr(dense_tower, name) for name in ("kinds", "colours", "place")}
    return symbols, nn.ModuleDict({"img_projection": copy.deepcopy(model.vision.img_projection), **heads})


def size_of_features(model: Phi3V, seed: int, team: Team, groups: int = 16) -> float:
    """Root mean square of what the tower gives for some pictures."""
    scenes = [scene for i in range(groups) for scene in Album("train", seeded("size", seed, i)).group().scenes]
    return features_of(model, scenes, team).square().mean().sqrt().item()


def fit_to_symbols(model: Phi3V, symbols: Symbols, cache: Cache, groups: int) -> float:
    """Bring the projection to say what the symbols say, on the first groups of the cache.

    Returns:
        The share of the symbols' variance that is left over.
    """
    features, wanted, weights = [], [], []
    for at in range(min(groups, len(cache.starts) - 1)):
        for scene, cells in zip(cache.group(at)[1].scenes, cache.cells(at)):
            kinds, colours = (torch.from_numpy(part).flatten()[None] for part in dense(scene, CELLS))
            drawn = torch.rand(CELLS**2, generator=torch.Generator().manual_seed(at))
            chosen = (kinds[0] > 0) | (drawn < FIT.empty_share)
            features.append(torch.from_numpy(cells).float()[chosen])
            wanted.append(symbols.cells(kinds, colours)[0, chosen].detach())
            weights.append(torch.where(kinds[0, chosen] > 0, 1.0, FIT.empty_weight))
    project, device = model.vision.img_projection, model.vision.glb_GN.device
    left = fit(project, *(torch.cat(parts).to(device) for parts in (features, wanted, weights)))
    for separator, row in ((model.vision.sub_GN, symbols.end), (model.vision.glb_GN, symbols.between)):
        aim(project, separator, row.detach().to(device))
    return left


def aim(project: nn.Module, separator: nn.Parameter, row: torch.Tensor) -> None:
    """Move a separator until its projection is near a row."""
    optimizer = torch.optim.Adam([separator], 0.02)
    for _ in range(FIT.aim_steps):
        optimizer.zero_grad()
        (project(separator.flatten()) - row).square().mean().backward()
        optimizer.step()
    project.zero_grad(set_to_none=True)
    separator.grad = None
