"""Trains a bundled checkpoint with transformers' own model class; resumes where it was stopped."""

from __future__ import annotations

import json
import math
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import distributed
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForCausalLM

from .config import CHECKPOINTS, RUNS, model_config, recipes, write_json
from .corpus import Corpus
from .muon import Muon, add_up, fast_16_bits
from .quantization import plain_state, start_rounding
from .tokenizer import Encoder, train_tokenizer

TOKENS_A_STEP = 4096             # over all processes
GPU_TOKENS = 4                   # times as many where there is a GPU, which is no slower for it
POOL = 1024                      # conversations sorted by length together, so that little of a batch is padding
PARTS = 4                        # a step adds up batches of different lengths: equal lengths mean like tasks
# A model learns to look back and copy after some 250 short steps on repetition alone. In the full mixture it had not
# begun to after 1,700 steps, and in a mixture of copying tasks not after 500. So repetition comes first.
STAGES = ((0, "repetition"), (350, "copying"), (600, "sample"))
SHORT_STEPS = 600                # steps of half the size
WARM_UP, DECAY_FROM, ROUND_FROM = 100, 0.55, 0.8
FINISH_FROM = 5 / 6              # share of the steps after which tasks with exact answers come more often
MUON_RATE, ADAM_RATE = 5e-3, 4e-3
EAGER_BELOW = 256                # tokens: shorter rows attend faster with plain 16-bit products than through torch's fused CPU kernel
PROMPT_WEIGHT = 0.2              # of a token of the prompt in the loss: long texts are full of facts worth reading
SAVE_EVERY = 250


def batches(name: str, encoder: Encoder, seed: int, task: str, size: int):
    """Endless batches of about `size` tokens, padding included, of one method of Corpus.

    Yields (ids, weights, long_table, topics): ids (rows, length) int64; weights (rows, length - 1) of the next tokens in
    the loss; topics (rows,), places in moe.corpus.TOPICS, 0 for models without experts.
    """
    recipe = here(recipes()[name])
    limit, original = recipe["model"]["max_position_embeddings"], recipe["model"]["original_max_position_embeddings"]
    kind, topic = corpus_of(name)
    corpus = kind("train", seed, name, recipe["languages"], recipe["known"])
    random, draw = corpus.random, getattr(corpus, task)
    pad = encoder.id["<|endoftext|>"]
    while True:
        pool = []
        while len(pool) < recipe.get("pool", POOL):
            case = draw()
            ids, mask = encoder.conversation(case.messages)
            if len(ids) <= limit:
                pool.append((ids, mask, topic(case)))
        pool.sort(key=lambda item: len(item[0]))
        groups, rows = [], []
        for item in pool:
            crosses = rows and len(item[0]) > original >= len(rows[-1][0])   # a batch keeps to one side of the switch
            if rows and (crosses or (len(rows) + 1) * len(item[0]) > size):
                groups.append(rows)
                rows = []
            rows.append(item)
        groups.append(rows)
        random.shuffle(groups)
        for rows in groups:
            length = max(len(ids) for ids, _, _ in rows)
            ids = torch.full((len(rows), length), pad)
            weights = torch.zeros(len(rows), length - 1)
            for i, (row, mask, _) in enumerate(rows):
                ids[i, : len(row)] = torch.tensor(row)
                weights[i, : len(row) - 1] = torch.tensor([(PROMPT_WEIGHT, 1.0, 0.0)[m] for m in mask[1:]])
            # A request's table is chosen for prompt + max_tokens, so short texts meet the long table too.
            yield ids, weights, length > original or random.random() < 0.25, torch.tensor([t for _, _, t in rows])


class Conversations(IterableDataset):
    """`batches`, drawn by other processes, each with a seed of its own."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __iter__(self):
        name, encoder, seed, task, size = self.arguments
        return batches(name, encoder, seed + 1_000 * (get_worker_info().id + 1), task, size)


def stream(workers: int, *arguments):
    """`batches(*arguments)`, drawn ahead by so many other processes; by this one if 0."""
    if not workers:
        return batches(*arguments)
    return iter(DataLoader(Conversations(*arguments), batch_size=None, num_workers=workers, prefetch_factor=8, multiprocessing_context="fork"))


def here(recipe: dict) -> dict:
    """A recipe, its parts too, with what it says otherwise of a GPU, where there is one."""
    if not torch.cuda.is_available():
        return recipe
    return {key: here(value) if isinstance(value, dict) else value for key, value in recipe.items()} | recipe.get("gpu", {})


def workers_for_gpu() -> int:
    """Processes that make batches for a GPU, which would wait for this one's; 0 without a GPU."""
    return max(1, (os.cpu_count() or 1) - 2) if torch.cuda.is_available() else 0


def corpus_of(name: str):
    """The corpus of a recipe, and what gives the topic of one of its cases."""
    if recipes()[name]["architecture"] == "phimoe":
        from .moe.corpus import MoeCorpus, topic

        return MoeCorpus, topic
    return Corpus, lambda case: 0


def loss_of(model, ids, weights, long_table: bool, original: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sum of the next tokens' cross-entropy, and the plain values of the assistant's tokens.

    transformers picks the long table when a position reaches the original length. Shifting all positions by that
    length selects it for short texts; RoPE sees only differences, so nothing else changes.
    """
    positions = torch.arange(ids.shape[1], device=ids.device)[None] + (original if long_table else 0)
    model.config._attn_implementation = "eager" if ids.device.type == "cpu" and ids.shape[1] < EAGER_BELOW else "sdpa"
    asked = weights > 0
    with precision(ids.device.type):
        hidden = model.model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[asked])
    each = functional.cross_entropy(logits.float(), ids[:, 1:][asked], reduction="none")
    return (each * weights[asked]).sum(), each.detach()[weights[asked] == 1]


def precision(device: str):
    """16-bit matrix products where the hardware has them."""
    return torch.autocast(device, torch.bfloat16) if fast_16_bits(device) else nullcontext()


def rate(step: int, steps: int) -> float:
    """Warm up, stay, then fall to zero in a straight line (WSD)."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return min(1.0, (steps - step) / (steps * (1 - DECAY_FROM)))


def set_rates(both, bases: tuple[float, float], share: float) -> None:
    """Learning rates of Muon and AdamW for the next step."""
    for optimizer, base in zip(both, bases):
        for group in optimizer.param_groups:
            group["lr"] = base * share * group.get("scale", 1.0)


def new_model(folder: Path, seed: int, routing: dict | None = None):
    """A freshly initialised model of transformers' own class, from the checkpoint's own config.json.

    Args:
        routing: of a recipe with experts: the weights of their losses.
    """
    if routing is not None:
        from .moe import model

        return model.new_model(folder, seed, routing)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="sdpa").float()


def optimizers(model, inside=("layers.",)):
    """Muon (Jordan et al. 2024) for the matrices inside the layers, AdamW for embeddings, head and norms.

    Args:
        inside: a matrix whose name holds one of these gets Muon. A model that keeps its experts as stacks of matrices
            names them itself, and leaves the routers to AdamW.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    shapes, inside = ((2, 3), model.inside) if hasattr(model, "inside") else ((2,), inside)
    inner = [p for n, p in named if p.ndim in shapes and any(part in n for part in inside)]
    outer = [p for n, p in named if not (p.ndim in shapes and any(part in n for part in inside))]
    if hasattr(model, "inside"):
        slow = {id(router.weight) for router in model.routers}
        outer = [{"params": [p for p in outer if id(p) not in slow]}, {"params": [p for p in outer if id(p) in slow], "scale": model.ROUTER_RATE}]
    return (Muon(inner, lr=MUON_RATE, weight_decay=0.05),
            torch.optim.AdamW(outer, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0))


def tokenizer_folder(name: str, runs: Path = RUNS) -> Path:
    """The folder whose tokenizer a recipe uses, with the tokenizer in it: trained now if it is missing."""
    owner = recipes()[name].get("tokenizer", name)
    if owner != name and (CHECKPOINTS / owner / "tokenizer.json").exists():
        return CHECKPOINTS / owner                 # the published one: weights that are taken over fit no other
    if not (runs / owner / "tokenizer.json").exists():
        train_tokenizer(runs / owner, recipes()[owner]["model"]["vocab_size"])
    return runs / owner


def train(name: str, steps: int | None = None, runs: Path = RUNS) -> Path:
    """Train `name` to its end, or from where an earlier run stopped; returns the folder with the fp32 result.

    Args:
        name: a recipe of recipes.toml.
        steps: another number of steps than the recipe's.

    Without a GPU it runs as two processes of one thread each, which add up their gradients: two threads of one process wait
    for each other at every small operation, and stall when anything else runs. The folder holds config.json, the tokenizer files and, at the end,
    model.safetensors. What the run needs to resume (NAME.state.pt) and its losses (NAME.log.jsonl) lie beside it.
    """
    recipe = here(recipes()[name])
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    source = tokenizer_folder(name, runs)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):       # a published folder has the template in a file of its own
        if (source / file).exists():
            (folder / file).write_bytes((source / file).read_bytes())
    size = Encoder(folder).size
    if size != recipe["model"]["vocab_size"]:
        raise ValueError(f"the corpus gives {size} tokens: set vocab_size of {name} in recipes.toml to it")
    together(_work, process_count(), name, steps or recipe["steps"], runs)
    return folder


def process_count() -> int:
    """One process with a GPU, else two where there are two cores."""
    return 1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1)


def together(work, processes: int, *arguments, group: bool = True) -> None:
    """Run work(rank, processes, *arguments) in so many new processes.

    Args:
        group: they train one model; otherwise each has a work of its own, and optimizers share nothing.
    """
    # glibc gives large blocks back to the system at once and asks for them again: on some machines most of the time goes there.
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "268435456"}
    with tempfile.TemporaryDirectory() as meeting:
        torch.multiprocessing.spawn(_member, (work, processes, f"file://{meeting}/meeting" if group else None, arguments), nprocs=processes)


def _member(rank: int, work, processes: int, meeting: str | None, arguments: tuple) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes) if torch.cuda.is_available() else 1)
    if meeting:
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    work(rank, processes, *arguments)
    if meeting:
        distributed.destroy_process_group()


def _work(rank: int, processes: int, name: str, steps: int, runs: Path) -> None:
    """One process of the training. They hold equal weights; each reads its own conversations."""
    recipe, folder, first = here(recipes()[name]), runs / name, rank == 0
    encoder = Encoder(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if first:
        write_json(folder / "config.json", model_config(name, {**encoder.id, "<s>": 1}))
    distributed.barrier()
    model = new_model(folder, recipe["seed"], recipe.get("routing")).to(device)
    both = optimizers(model)
    state_file = runs / f"{name}.state.pt"
    done = load_state(state_file, model, both, device)
    if "start" in recipe and not done:
        from .moe.upcycle import upcycle

        upcycle(model, recipe["start"], recipe["seed"])
    original, experts = recipe["model"]["original_max_position_embeddings"], "routing" in recipe
    seed = recipe["seed"] * 100_000 + done + 50_000 * rank            # a resumed run draws new conversations
    a_step = recipe.get("parts", PARTS)
    parts_here = max(1, a_step // processes)
    stages = ((0, "sample"),) if "start" in recipe else STAGES         # who begins as a trained model can copy already
    size = recipe.get("tokens", TOKENS_A_STEP * (GPU_TOKENS if device == "cuda" else 1)) // a_step
    streams = {task: stream(min(6, workers_for_gpu()), name, encoder, seed, task, size // (1 if task in ("sample", "finish") else 2))
               for _, task in (*stages, (SHORT_STEPS, "finish"))}
    log = (runs / f"{name}.log.jsonl").open("a", encoding="utf-8") if first else None
    average, tokens = None, 0
    bar = tqdm(range(done, steps), initial=done, total=steps, desc=name, mininterval=5, disable=not first)
    for step in bar:
        if step >= ROUND_FROM * steps:
            start_rounding(model)
            if experts:
                model.settle()
        set_rates(both, (MUON_RATE, ADAM_RATE), recipe.get("rate", 1.0) * rate(step, steps))
        source = streams["finish" if step >= FINISH_FROM * steps else [task for start, task in stages if step >= start][-1]]
        drawn = [next(source) for _ in range(parts_here)]
        # Weight of the whole step, then gradients, then (sum, count, tokens) of the answers' losses: summed over processes.
        total = torch.stack([weights.sum() for _, weights, *_ in drawn]).sum()
        parts = [tuple(t.to(device) if isinstance(t, torch.Tensor) else t for t in part) for part in drawn]
        distributed.all_reduce(total)
        seen = torch.zeros(3)
        for ids, weights, long_table, topics in parts:
            loss, each = loss_of(model, ids, weights, long_table, original)
            loss = loss / total.item()
            if experts:
                loss = loss + model.routing_loss(weights, topics) / (parts_here * processes)
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
        if first and step % 50 == 0:
            bar.set_postfix(loss=f"{average:.4f}")
            line = {"step": step, "loss": round(average, 5), "tokens": tokens}
            log.write(json.dumps(line | (model.routing_now() if experts else {})) + "\n")
            log.flush()
        if first and ((step + 1) % SAVE_EVERY == 0 or step + 1 == steps):
            save_state(state_file, step + 1, model, both)
    if first:
        log.close()
        save_weights(model.published(plain_state(model)) if experts else plain_state(model), folder)


def save_state(path: Path, step: int, model, both) -> None:
    """Write all that a run needs to go on."""
    unfinished = path.with_suffix(".partial")
    torch.save({"step": step, "model": plain_state(model), "optimizers": [o.state_dict() for o in both]}, unfinished)
    os.replace(unfinished, path)


def load_state(path: Path, model, both, device: str) -> int:
    """Go on from `save_state`; returns the steps done, 0 where there is no such file."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(both, state["optimizers"]):
        optimizer.load_state_dict(saved)
    return state["step"]


def save_weights(state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write model.safetensors with plain fp32 weights."""
    from safetensors.torch import save_file

    unfinished = folder / "model.partial"
    save_file({k: v.contiguous().cpu() for k, v in state.items()}, unfinished, metadata={"format": "pt"})
    os.replace(unfinished, folder / "model.safetensors")
