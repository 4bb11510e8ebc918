"""Trains a bundled text model with transformers' own model class; resumes where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import AutoConfig, AutoModelForCausalLM

from training import weights as stored
from training.config import CHECKPOINTS, RUNS, TOKENS_A_STEP, model_config, recipe_of, recipes, write_json
from training.copying import Watched, best_heads, originals_of
from training.corpus import Corpus
from training.loop import ADAM_RATE, MUON_RATE, ROUND_FROM, Stage, descend
from training.quantization import plain_state
from training.team import Team, process_count, together
from training.tokenizer import Encoder, train_tokenizer

POOL = 1024  # conversations sorted by length together, so that little of a batch is padding
PARTS = 4  # a step adds up batches of different lengths: equal lengths mean similar tasks
# A model learns to look back and copy after some 250 short steps on repetition alone. In the full mixture it had not
# begun to after 1,700 steps, and in a mixture of copying tasks not after 500. So repetition comes first.
STAGES = ((0, "repetition"), (350, "copying"), (600, "sample"))
FULL_SIZE = ("sample", "finish")  # the other tasks have steps of half the size
ROUND_FURTHER_FROM = 0.75  # share of the steps of a training that goes on, after which its weights are seen rounded
FURTHER_SEED = 7_000_000  # added to the seeds of such a training: it reads conversations that the first has not
LISTENED_TO = 40  # conversations by which heads are chosen that are told where copies come from
FINISH_FROM = 5 / 6  # share of the steps after which tasks with exact answers come more often
# Tokens. Shorter rows attend faster with plain 16-bit products than through torch's fused CPU kernel.
EAGER_BELOW = 256
PROMPT_WEIGHT = 0.2  # of a token of the prompt in the loss: long texts are full of facts worth reading
# Of a token of a conclusion. The sentences before it are easy, and one token of twenty decides whether it is right: at
# weight 1 a model had learned to state the fact after 3,800 steps, and then always concluded "yes".
STRESS_WEIGHT = 6.0
WEIGHTS = {0: PROMPT_WEIGHT, 1: 1.0, 2: STRESS_WEIGHT, -1: 0.0}  # by the mask of a conversation
MOST_WORKERS = 6  # processes that draw ahead for each task

Batch = tuple[torch.Tensor, torch.Tensor, bool, torch.Tensor]


@dataclass(frozen=True)
class Further:
    """A training that goes on from given weights.

    Attributes:
        begin: a folder with the weights: a run, or a published checkpoint.
        rate: share of the usual learning rates; None takes the recipe's.
        task: one mixture (a method of the corpus) from the first step to the last; None goes from "sample" to "finish".
        pointing: weight of the loss that tells heads where copied tokens come from (training/copying.py); 0.1 is much.
        round_from: share of the steps after which the weights are seen rounded; above 1, never.
    """

    begin: Path
    rate: float | None = None
    task: str | None = None
    pointing: float = 0.0
    round_from: float = ROUND_FURTHER_FROM


def batches(
    name: str, encoder: Encoder, seed: int, task: str, size: int, recipe: dict | None = None
) -> Iterator[Batch]:
    """Endless batches of about `size` tokens, padding included, of one method of Corpus.

    Args:
        recipe: of `name` in the profile that was chosen; left out, as it is in recipes.toml.

    Yields:
        (ids, weights, long_table, topics): ids (rows, length) int64; weights (rows, length - 1) of the next tokens in
        the loss; topics (rows,), places in moe.corpus.TOPICS, 0 for models without experts.
    """
    recipe = recipe or recipes()[name]
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
        groups = grouped(pool, size, original)
        random.shuffle(groups)
        for rows in groups:
            ids, weights = padded([row[:2] for row in rows], pad)
            # A request's table is chosen for prompt + max_tokens, so short texts meet the long table too.
            long_table = ids.shape[1] > original or random.random() < 0.25
            yield ids, weights, long_table, torch.tensor([topic for _, _, topic in rows])


def grouped(pool: list[tuple], size: int, original: int) -> list[list[tuple]]:
    """Conversations of similar length in batches of at most `size` tokens, each on one side of `original`."""
    groups, rows = [], []
    for item in sorted(pool, key=lambda item: len(item[0])):
        crosses = rows and len(item[0]) > original >= len(rows[-1][0])
        if rows and (crosses or (len(rows) + 1) * len(item[0]) > size):
            groups.append(rows)
            rows = []
        rows.append(item)
    return [*groups, rows]


def padded(rows: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (rows, length), and the weights (rows, length - 1) of the next tokens in the loss."""
    length = max(len(ids) for ids, _ in rows)
    ids, weights = torch.full((len(rows), length), pad), torch.zeros(len(rows), length - 1)
    for i, (row, mask) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        weights[i, : len(row) - 1] = torch.tensor([WEIGHTS[m] for m in mask[1:]])
    return ids, weights


class Conversations(IterableDataset):
    """`batches`, drawn by other processes, each with a seed of its own."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __iter__(self):
        name, encoder, seed, *rest = self.arguments
        return batches(name, encoder, seed + 1_000 * (get_worker_info().id + 1), *rest)


def stream(workers: int, *arguments) -> Iterator[Batch]:
    """`batches(*arguments)`, drawn ahead by this many other processes; by this one if 0."""
    if not workers:
        return batches(*arguments)
    return iter(
        DataLoader(
            Conversations(*arguments),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=8,
            multiprocessing_context="fork",
        )
    )


def corpus_of(name: str):
    """The corpus of a recipe, and what gives the topic of one of its cases."""
    if recipes()[name]["architecture"] == "phimoe":
        from training.moe.corpus import MoeCorpus, topic

        return MoeCorpus, topic
    return Corpus, lambda case: 0


def loss_of(
    model, ids, weights, long_table: bool, original: int, watched: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sum of the next tokens' cross-entropy, and the plain values of the assistant's tokens.

    transformers picks the long table when a position reaches the original length. Shifting all positions by that
    length selects it for short texts; RoPE sees only differences, so nothing else changes.

    Args:
        watched: attention to short texts is computed plainly, so that it can be looked at.
    """
    positions = torch.arange(ids.shape[1], device=ids.device)[None] + (original if long_table else 0)
    short = (ids.device.type == "cpu" or watched) and ids.shape[1] < EAGER_BELOW
    model.config._attn_implementation = "eager" if short else "sdpa"
    asked = weights > 0
    hidden = model.model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state[:, :-1]
    logits = model.lm_head(hidden[asked])
    each = functional.cross_entropy(logits.float(), ids[:, 1:][asked], reduction="none")
    return (each * weights[asked]).sum(), each.detach()[weights[asked] >= 1]


def new_model(folder: Path, seed: int, routing: dict | None = None):
    """A freshly initialised model of transformers' own class, from the checkpoint's own config.json.

    Args:
        routing: of a recipe with experts: the weights of their losses.
    """
    if routing is not None:
        from training.moe import model

        return model.new_model(folder, seed, routing)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="sdpa").float()


class TextStage(Stage):
    """Next-token loss on conversations, and the routing losses of a model with experts.

    Args:
        name: a recipe of recipes.toml. recipe: the same in the profile that was chosen.
        folder: with tokenizer and config.json.
        further: what the model begins with and how it goes on, instead of what the recipe says.
    """

    def __init__(self, name: str, recipe: dict, folder: Path, team: Team, further: Further | None = None):
        self.name, self.recipe, self.folder, self.team, self.further = name, recipe, folder, team, further
        self.encoder, self.seed = Encoder(folder), recipe["seed"]
        self.experts = "routing" in recipe
        self.model = new_model(folder, self.seed, recipe.get("routing")).to(team.device)
        self.parts = recipe.get("parts", PARTS)
        told = further and further.rate
        self.rates = tuple(base * (told or recipe.get("rate", 1.0)) for base in (MUON_RATE, ADAM_RATE))
        self.round_from = further.round_from if further else ROUND_FROM
        self.original = recipe["model"]["original_max_position_embeddings"]
        # A model that begins as a trained one can copy already.
        self.stages = ((0, "sample"),) if "start" in recipe or further else STAGES
        self.only = further.task if further else None
        self.pointing = further.pointing if further else 0.0
        self.watched: Watched | None = None
        self.tokens = 0

    def begin(self, done: int, steps: int) -> None:
        if self.further and not done:
            stored.load_into(self.model, self.further.begin)
        elif "start" in self.recipe and not done:
            from training.moe.upcycle import upcycle

            upcycle(self.model, self.recipe["start"], self.seed)
        if self.pointing:
            self.watched = Watched(self.model, self.told_heads())
        seed = self.seed * 100_000 + done + 50_000 * self.team.rank  # a resumed run draws new conversations
        seed += FURTHER_SEED if self.further else 0
        size = self.recipe.get("tokens", TOKENS_A_STEP) // self.parts
        self.streams = {
            task: stream(
                min(MOST_WORKERS, self.team.workers),
                *(self.name, self.encoder, seed, task, size if task in FULL_SIZE else size // 2, self.recipe),
            )
            for task in ((self.only,) if self.only else (*(task for _, task in self.stages), "finish"))
        }

    def told_heads(self) -> list[tuple[int, int]]:
        """Heads that are told where copies come from: chosen once a run, by its first process, and kept beside it."""
        file = self.folder.with_name(f"{self.name}.heads.json")
        if self.team.rank == 0 and not file.exists():
            corpus = corpus_of(self.name)[0]("train", 77, self.name)
            asked = [corpus.repetition().messages for _ in range(LISTENED_TO)]
            write_json(file, best_heads(self.model, self.encoder, asked))
        self.team.wait()
        return [(layer, head) for layer, head in json.loads(file.read_text(encoding="utf-8"))]

    def draw(self, step: int, steps: int) -> None:
        task = [task for start, task in self.stages if step >= start][-1]
        source = self.streams[self.only or ("finish" if step >= FINISH_FROM * steps else task)]
        self.drawn = {number: next(source) for number in self.team.share(self.parts)}
        self.weight = self.team.total(sum(weights.sum().item() for _, weights, *_ in self.drawn.values()))

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        batch = self.drawn.pop(number)
        ids, weights, long_table, topics = (t.to(self.team.device) if torch.is_tensor(t) else t for t in batch)
        summed, each = loss_of(self.model, ids, weights, long_table, self.original, bool(self.watched))
        loss = summed * self.parts / self.weight  # a step weighs its tokens alike, whatever part they are in
        if self.experts:
            loss = loss + self.model.routing_loss(weights, topics)
        seen = {"answers": each.sum(), "answer tokens": len(each), "tokens": ids.numel()}
        if self.watched:
            told = self.watched.loss(originals_of(ids, weights))
            loss = loss + self.pointing * told
            seen |= {"pointing": told.detach(), "pointed": told.detach() > 0}
        return loss, seen

    def settle(self) -> None:
        if self.experts:
            self.model.settle()

    def summary(self, sums: dict[str, float]) -> dict[str, object]:
        """The loss of the answers' tokens, all tokens read since this run was started, and what the routers do."""
        self.tokens += int(sums["tokens"])
        line = {"loss": round(sums["answers"] / max(1, sums["answer tokens"]), 5), "tokens": self.tokens}
        if self.watched:
            line["pointing"] = round(sums["pointing"] / max(1, sums["pointed"]), 4)
        return line | (self.model.routing_now() if self.experts else {})

    def weights(self) -> dict[str, torch.Tensor]:
        """The fp32 weights under the names of the real checkpoint."""
        return self.model.published(plain_state(self.model)) if self.experts else plain_state(self.model)


def tokenizer_folder(name: str, runs: Path = RUNS) -> Path:
    """The folder whose tokenizer a recipe uses, with the tokenizer in it: trained now if it is missing."""
    owner = recipes()[name].get("tokenizer", name)
    if owner != name and (CHECKPOINTS / owner / "tokenizer.json").exists():
        return CHECKPOINTS / owner  # the published one: weights that are taken over fit no other
    if not (runs / owner / "tokenizer.json").exists():
        train_tokenizer(runs / owner, recipes()[owner]["model"]["vocab_size"])
    return runs / owner


def train(
    name: str,
    steps: int | None = None,
    runs: Path = RUNS,
    profile: str | None = None,
    further: Further | None = None,
) -> Path:
    """Train `name` to its end, or from where an earlier run stopped; returns the folder with the fp32 result.

    Args:
        name: a recipe of recipes.toml.
        steps: another number of steps than the recipe's.
        profile: a table of the recipe whose values replace the others, such as "gpu".
        further: what the model begins with and how it goes on, instead of what the recipe says.

    The folder holds config.json, the tokenizer files and, at the end, model.safetensors. What the run needs to resume
    (NAME.state.pt) and its losses (NAME.log.jsonl) are beside it.
    """
    recipe = recipe_of(name, profile)
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    source = further.begin if further else tokenizer_folder(name, runs)  # weights fit no other tokenizer
    # A published folder has the template in a file of its own.
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (source / file).exists():
            (folder / file).write_bytes((source / file).read_bytes())
    size = Encoder(folder).size
    if size != recipe["model"]["vocab_size"]:
        raise ValueError(f"the corpus gives {size} tokens: set vocab_size of {name} in recipes.toml to it")
    together(run, process_count(), name, recipe, steps or recipe["steps"], runs, further)
    return folder


def run(
    rank: int, processes: int, name: str, recipe: dict, steps: int, runs: Path,
    further: Further | None = None, stop_at: int | None = None,
) -> None:  # fmt: skip
    """One process of the training. They hold equal weights; each reads its own conversations.

    Args:
        stop_at: leave after this step as an interruption would; for tests.
    """
    team, folder = Team(rank, processes), runs / name
    if rank == 0:
        write_json(folder / "config.json", model_config(name, {**Encoder(folder).id, "<s>": 1}))
    team.wait()
    stage = TextStage(name, recipe, folder, team, further)
    if descend(name, stage, steps, runs, stop_at=stop_at) and rank == 0:
        stored.save(stage.weights(), folder)
