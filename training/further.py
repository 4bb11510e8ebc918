"""Goes on training a bundled text model from its published 4-bit weights, or from the mean of several.

    python -m training.further moe-tiny --steps 1600 --runs somewhere                # train; starts again where it was stopped
    python -m training.further moe-tiny --steps 0 --runs elsewhere --start somewhere/moe-tiny.state.pt:0.6 data/checkpoints/moe-tiny:0.4
    python -c "from pathlib import Path; from training.export import export; export('moe-tiny', Path('elsewhere'), Path('out'))"

The optimizers begin anew, the rate warms up and falls as in training/train.py, and the last quarter sees the weights rounded to
4 bits. With 0 steps the beginning itself, here a mean, is written as a trained folder, which `export` rounds.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import signal
import sys
from pathlib import Path

import torch
from torch import distributed
from tqdm import tqdm

from .config import CHECKPOINTS, RUNS, model_config, recipes, write_json
from .copying import Watched, best_heads, originals_of
from .muon import add_up
from .quantization import plain_state, start_rounding
from .tokenizer import Encoder
from .train import (
    ADAM_RATE,
    MUON_RATE,
    PARTS,
    TOKENS_A_STEP,
    corpus_of,
    here,
    load_state,
    loss_of,
    new_model,
    optimizers,
    rate,
    save_state,
    save_weights,
    set_rates,
    stream,
    together,
)

ROUND_FROM = 0.75                # share of the steps after which the weights are seen rounded
SAVE_EVERY = 50


def published_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a published folder under the names of mlx-lm, expanded to fp32."""
    import mlx.core as mx
    import numpy as np

    stored, found = mx.load(str(folder / "model.safetensors")), {}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization"]
    for name, value in stored.items():
        base, kind = name.rsplit(".", 1)
        if kind in ("scales", "biases") and f"{base}.scales" in stored:
            continue
        if f"{base}.scales" in stored and kind == "weight":
            how = config.get(base, config)
            value = mx.dequantize(value, stored[f"{base}.scales"], stored[f"{base}.biases"], how["group_size"], how["bits"])
        found[name] = torch.from_numpy(np.array(value.astype(mx.float32)))
    return found


def as_trained(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under mlx-lm's names as the model that is trained names them: the stacks of experts differ, and the router."""
    made = {}
    for name, value in weights.items():
        name = name.replace(".block_sparse_moe.gate.", ".mlp.router.").replace(".block_sparse_moe.", ".mlp.")
        if ".switch_mlp.down_proj." in name:
            made[name.replace(".switch_mlp.down_proj.weight", ".experts.down_proj")] = value
        elif ".switch_mlp.gate_proj." in name:
            above = weights[name.replace(".mlp.", ".block_sparse_moe.").replace("gate_proj", "up_proj")]
            made[name.replace(".switch_mlp.gate_proj.weight", ".experts.gate_up_proj")] = torch.cat([value, above], 1)
        elif ".switch_mlp." not in name:
            made[name] = value
    return made


def beginning(parts: list[str]) -> dict[str, torch.Tensor]:
    """The weighted mean of sets of weights: "PATH:SHARE", each a run's state or a published folder."""
    total: dict[str, torch.Tensor] = {}
    for part in parts:
        path, _, share = part.rpartition(":")
        state = torch.load(path, map_location="cpu", weights_only=True)["model"] if path.endswith(".pt") else as_trained(published_weights(Path(path)))
        for name, value in state.items():
            if not name.endswith("router.load"):        # running counts, which begin anew
                total[name] = total.get(name, 0) + float(share) * value
    return total


def told_heads(file: Path, model, encoder: Encoder, name: str, first: bool) -> list[tuple[int, int]]:
    """Heads that are told where copies come from (training/copying.py): chosen once a run, by its first process."""
    if first and not file.exists():
        corpus = corpus_of(name)[0]("train", 77, name)
        write_json(file, best_heads(model, encoder, [corpus.repetition().messages for _ in range(40)]))
    distributed.barrier()
    return [tuple(pair) for pair in json.loads(file.read_text(encoding="utf-8"))]


def end_with_parent() -> None:
    """On Linux, end this process when the one that started it ends: a training that was stopped must not go on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)      # PR_SET_PDEATHSIG, linux/prctl.h


def _work(rank: int, processes: int, name: str, steps: int, share: float, task: str, runs: Path, start: list[str], pointing: float) -> None:
    """One process of the training; as `train._work`, from published weights and with one mixture."""
    end_with_parent()
    recipe, folder, first = here(recipes()[name]), runs / name, rank == 0
    folder.mkdir(parents=True, exist_ok=True)
    if first:
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (folder / file).write_bytes((CHECKPOINTS / name / file).read_bytes())
        write_json(folder / "config.json", model_config(name, {**Encoder(folder).id, "<s>": 1}))
    distributed.barrier()
    encoder, experts = Encoder(folder), "routing" in recipe
    model = new_model(folder, recipe["seed"], recipe.get("routing"))
    both, state_file = optimizers(model), runs / f"{name}.state.pt"
    done = load_state(state_file, model, both, "cpu")
    if not done:
        missing, unknown = model.load_state_dict(beginning(start or [f"{CHECKPOINTS / name}:1"]), strict=False)
        if unknown or any(not key.endswith("router.load") for key in missing):
            raise ValueError(f"these weights do not fit: {missing}, {unknown}")
    watched = Watched(model, told_heads(runs / f"{name}.heads.json", model, encoder, name, first)) if pointing else None
    original = recipe["model"]["original_max_position_embeddings"]
    parts_here = max(1, PARTS // processes)
    source = stream(0, name, encoder, 7_000_000 + recipe["seed"] * 100_000 + done + 50_000 * rank, task, TOKENS_A_STEP // PARTS)
    log = (runs / f"{name}.log.jsonl").open("a", encoding="utf-8") if first else None
    average, tokens = None, 0
    for step in tqdm(range(done, steps), initial=done, total=steps, desc=name, mininterval=30, disable=not first):
        if step >= ROUND_FROM * steps:
            start_rounding(model)
            if experts:
                model.settle()
        set_rates(both, (MUON_RATE, ADAM_RATE), share * rate(step, steps))
        parts = [next(source) for _ in range(parts_here)]
        total = torch.stack([weights.sum() for _, weights, *_ in parts]).sum()
        distributed.all_reduce(total)
        seen, pointed = torch.zeros(3), []
        for ids, weights, long_table, topics in parts:
            loss, each = loss_of(model, ids, weights, long_table, original)
            loss = loss / total.item()
            if experts:
                loss = loss + model.routing_loss(weights, topics) / (parts_here * processes)
            if watched:
                told = watched.loss(originals_of(ids, weights))
                loss, pointed = loss + pointing * told / (parts_here * processes), pointed + [told.item()] * bool(told)
            loss.backward()
            seen += torch.tensor([each.sum().item(), len(each), ids.numel()])
        if processes > 1:
            add_up([p.grad for p in model.parameters()])
        distributed.all_reduce(seen)
        value, tokens = (seen[0] / seen[1]).item(), tokens + int(seen[2])
        if not math.isfinite(value):
            raise FloatingPointError(f"loss became {value} at step {step}")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        average = value if average is None else 0.98 * average + 0.02 * value
        if first and step % 20 == 0:
            line = {"step": step, "loss": round(average, 5), "tokens": tokens} | ({"pointing": round(sum(pointed) / len(pointed), 4)} if pointed else {})
            log.write(json.dumps(line | (model.routing_now() if experts else {})) + "\n")
            log.flush()
        if first and ((step + 1) % SAVE_EVERY == 0 or step + 1 == steps):
            save_state(state_file, step + 1, model, both)
    if first:
        log.close()
        save_weights(model.published(plain_state(model)) if experts else plain_state(model), folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.further", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a bundled text model")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.5, help="share of the usual rates; default 0.5")
    parser.add_argument("--task", default="sample", help="the mixture: a method of the corpus; default sample")
    parser.add_argument("--runs", type=Path, default=RUNS / "further", help="where the run is kept")
    parser.add_argument("--start", nargs="*", metavar="PATH:SHARE", help="other weights to begin with, or their mean: states of runs, folders with 4-bit weights")
    parser.add_argument("--pointing", type=float, default=0.0, help="weight of the loss that tells heads where copied tokens come from (training/copying.py); 0.1 is much")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    together(_work, options.processes, options.name, options.steps, options.rate, options.task, options.runs, options.start, options.pointing)


if __name__ == "__main__":
    main()
