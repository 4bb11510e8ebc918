"""What the experts of a checkpoint do on held-out conversations: load, and mutual information with the topic.

    python -m training.moe.routing data/checkpoints/moe-tiny --seed 7
    python -m training.moe.routing training/runs/moe-tiny --torch

The first asks labs_helper's engine (mlx). The second asks torch, also while the run trains.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from labs_helper.common.information import by_topic, information_and_chance
from training.moe.corpus import TOPICS, MoeCorpus, topic

ENOUGH, SIDES = 0.01, 0.30  # least share of tokens of an expert; mutual information of the best layer


def cases(seed: int, each: int, longest: int = 1000) -> list[tuple[int, list[dict[str, str]]]]:
    """(topic, messages) of held-out conversations, so many of each topic."""
    corpus, found = MoeCorpus("eval", f"routing-{seed}"), [[] for _ in TOPICS]
    while min(map(len, found)) < each:
        case = corpus.sample()
        place = topic(case)
        if len(found[place]) < each and sum(len(m["content"]) for m in case.messages) < longest:
            found[place].append((place, list(case.messages)))
    return [case for group in found for case in group]


def counts_of(conversations, encoder, choices: Callable[[list[int]], list[np.ndarray]]) -> np.ndarray:
    """How often each expert is chosen in each conversation: (conversations, layers, 2 choices, experts).

    Args:
        choices: gives for token ids each layer's experts, (tokens, 2), best first.
    """
    found = []
    for _, messages in tqdm(conversations, desc="routing", mininterval=5):
        ids, _ = encoder.conversation(messages)
        found.append([[np.bincount(chosen[:, choice], minlength=16) for choice in (0, 1)] for chosen in choices(ids)])
    return np.array(found)


def report(conversations, counts: np.ndarray, shuffles: int = 20) -> dict:
    """Shares, mutual information and each expert's favourite topic, from `counts_of`. Every topic counts the same.

    `chance` is the mutual information when the conversations' topics are dealt out at random: what so small a sample
    shows where there is nothing.
    """
    topics = np.array([place for place, _ in conversations])
    first, both = (by_topic(of, topics).swapaxes(0, 1) for of in (counts[:, :, 0], counts.sum(2)))
    information, dealt = information_and_chance(counts[:, :, 0], topics, shuffles)
    layers = []
    for i, (one, two) in enumerate(zip(first, both)):
        layers.append(
            {
                "information": round(float(information[i]), 4),
                "chance": round(float(dealt[:, i].mean()), 4),
                "least first": round(float(one.mean(0).min()), 4),
                "least of both": round(float(two.mean(0).min()), 4),
                "most first": round(float(one.mean(0).max()), 4),
                "favourite": [TOPICS[i] for i in one.argmax(0)],
                "share of favourite": [round(float(x), 3) for x in one.max(0) / one.sum(0).clip(1e-9)],
            }
        )
    best = max(layer["information"] for layer in layers)
    least = min(layer["least of both"] for layer in layers)
    return {
        "topics": list(TOPICS),
        "layers": layers,
        "best information": best,
        "least share": least,
        "bars met": bool(best >= SIDES and least >= ENOUGH),
    }


def through_torch(
    folder: Path, state: Path | None = None, untrained: bool = False
) -> Callable[[list[int]], list[np.ndarray]]:
    """The routers of a torch run: finished, `NAME.state.pt` of an unfinished one, or freshly initialised."""
    import torch

    from training.moe.model import new_model

    torch.set_num_threads(1)
    model = new_model(folder, 1, {}).eval()
    if untrained:
        for router in model.routers:
            router.train()  # weights of zero: all experts score alike, and SparseMixer draws among them
    else:
        if state is None:
            state = folder.parent / f"{folder.name}.state.pt"
        model.load_state_dict(torch.load(state, weights_only=True)["model"])
    original = model.config.original_max_position_embeddings

    @torch.no_grad()
    def choices(ids: list[int]) -> list[np.ndarray]:
        shift = original if len(ids) > original else 0
        model.model(input_ids=torch.tensor([ids]), position_ids=torch.arange(len(ids))[None] + shift, use_cache=False)
        return [router.chosen.numpy() for router in model.routers]

    return choices


def one_pass(folder: Path) -> Callable:
    """A checkpoint as the course runs it.

    Returns:
        A function of token ids and of (layer, expert) pairs to leave out. It gives the scores (tokens, vocabulary) and
        what the routers did.
    """
    from labs_helper.engines.experts import Watch
    from labs_helper.engines.mlx_text import MLXText
    from labs_helper.engines.worker import WORKER

    engine = MLXText(folder)

    def run(ids: list[int], without=()):
        def work():
            engine.load(len(ids))
            with Watch(engine.config, without) as watch:
                scores = engine.logits(ids)
            return scores, watch.routing()

        return WORKER.call(work)

    return run


def through_mlx(folder: Path) -> Callable[[list[int]], list[np.ndarray]]:
    """The routers of a checkpoint as the course runs it."""
    run = one_pass(folder)
    return lambda ids: list(run(ids)[1].experts.swapaxes(0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.moe.routing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a checkpoint folder, or with --torch a run")
    parser.add_argument("--seed", type=int, default=7, help="decides the conversations (default 7)")
    parser.add_argument("--each", type=int, default=40, help="conversations a topic (default 40)")
    parser.add_argument("--torch", action="store_true", help="measure a run of the training, finished or not")
    parser.add_argument("--untrained", action="store_true", help="with --torch: fresh weights, for comparison")
    options = parser.parse_args()
    from training.tokenizer import Encoder

    choices = (
        through_torch(options.folder, untrained=options.untrained) if options.torch else through_mlx(options.folder)
    )
    conversations = cases(options.seed, options.each)
    print(
        json.dumps(
            report(conversations, counts_of(conversations, Encoder(options.folder), choices)),
            indent=1,
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
