"""Takes the most specialised expert of a checkpoint away, or several of one topic, and measures every topic again.

    python -m training.moe.ablation data/checkpoints/moe-tiny --seed 7 --each 60
    python -m training.moe.ablation data/checkpoints/moe-tiny --seed 7 --each 60 --experts 8

With several, those of the same topic follow, by preference: where two experts share a topic, one alone is hardly
missed. They are chosen on other conversations than they are measured on, so that the choice cannot fit the questions.
Two accuracies are measured: of whole answers, and of the single tokens of the reference answers, each predicted from
the right ones before it. A whole answer can survive many a shaken token, so the second shows smaller losses.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from labs_helper.common.information import by_topic
from training.cases import Case
from training.grading import right
from training.moe.corpus import TOPICS, MoeCorpus, topic
from training.moe.routing import cases, counts_of, one_pass, through_mlx
from training.tasks import LONGEST_ANSWER

CHOSEN_ON = 24  # conversations a topic, from which the expert is chosen
# One question a topic that has an answer to check. Languages are asked for facts.
QUESTIONS = {"numbers": lambda c: c.arithmetic(), "python": lambda c: c.python(), "plan": lambda c: c.plan()}


def preferences(conversations, counts: np.ndarray) -> np.ndarray:
    """(layers, experts, topics): an expert's share of a topic's first choices, less its mean share of the others'.

    Args:
        conversations: as `routing.cases` gives them. counts: of `routing.counts_of`.
    """
    topics = np.array([place for place, _ in conversations])
    shares = by_topic(counts[:, :, 0], topics).transpose(1, 2, 0)
    others = (shares.sum(-1, keepdims=True) - shares) / (shares.shape[-1] - 1)
    return shares - others


def most_special(preference: np.ndarray, experts: int = 1) -> tuple[int, list[tuple[int, int]]]:
    """The topic of the most specialised expert, and the (layer, expert) pairs that prefer this topic most.

    Args:
        preference: of `preferences`. experts: how many pairs.
    """
    place = int(np.unravel_index(preference.argmax(), preference.shape)[2])
    liked = preference[..., place]
    best = liked.argsort(axis=None)[::-1][:experts]
    return place, [(int(layer), int(expert)) for layer, expert in zip(*np.unravel_index(best, liked.shape))]


def questions(seed: int, each: int) -> list[tuple[str, Case]]:
    """Held-out questions, `each` of every topic."""
    found = []
    for name in TOPICS:
        corpus = MoeCorpus("eval", f"ablation-{seed}-{name}")
        while len([1 for place, _ in found if place == name]) < each:
            case = QUESTIONS.get(name, lambda c, language=name: c.fact(language))(corpus)
            if topic(case) == TOPICS.index(name):
                found.append((name, case))
    return found


def rights(model, asked: list[tuple[str, Case]], without=()) -> dict[str, list[bool]]:
    """Whether each answer is right, by topic.

    Args:
        model: of `load`. asked: of `questions`. without: (layer, expert) pairs that are taken away.
    """
    found: dict[str, list[bool]] = {}
    for name, case in tqdm(asked, desc=f"without {list(without)}" if without else "all experts", mininterval=5):
        answer = model.ask(case.prompt, max_tokens=LONGEST_ANSWER.get(case.task, 112), without_experts=without)
        found.setdefault(name, []).append(right(case, answer.text))
    return found


def accuracy(model, asked: list[tuple[str, Case]], without=()) -> dict[str, float]:
    """Share of right answers by topic."""
    found = rights(model, asked, without)
    return {name: round(sum(answers) / len(answers), 4) for name, answers in found.items()}


def token_accuracy(run, encoder, asked: list[tuple[str, Case]], without=()) -> dict[str, float]:
    """Share of the tokens of the reference answers that are the model's first choice, by topic.

    Args:
        run: of `routing.one_pass`. encoder: of the same checkpoint.
    """
    good: dict[str, list[np.ndarray]] = {}
    for name, case in tqdm(asked, desc=f"tokens without {list(without)}" if without else "tokens", mininterval=5):
        ids, mask = encoder.conversation(case.messages)
        scores, _ = run(ids, without)
        good.setdefault(name, []).append((scores.argmax(-1)[:-1] == ids[1:])[np.array(mask[1:]) > 0])
    return {name: round(float(np.concatenate(found).mean()), 4) for name, found in good.items()}


def options_of(program: str, description: str | None, each: int) -> argparse.ArgumentParser:
    """The arguments that the measurements of experts share.

    Args:
        program: the module's name. description: its docstring. each: questions a topic, if nothing else is said.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m training.moe.{program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7, help="decides what is asked and taken away (default 7)")
    parser.add_argument("--each", type=int, default=each, help=f"questions a topic (default {each})")
    return parser


def main() -> None:
    parser = options_of("ablation", __doc__, each=60)
    parser.add_argument("--experts", type=int, default=1, help="how many to take away together (default 1)")
    options = parser.parse_args()
    from labs_helper import load
    from training.tokenizer import Encoder

    conversations, encoder = cases(options.seed, CHOSEN_ON), Encoder(options.folder)
    preference = preferences(conversations, counts_of(conversations, encoder, through_mlx(options.folder)))
    place, gone = most_special(preference, options.experts)
    model, asked = load(str(options.folder)), questions(options.seed, options.each)
    own, report = TOPICS[place], {}
    for what, measure in (
        ("answers", partial(accuracy, model, asked)),
        ("tokens", partial(token_accuracy, one_pass(options.folder), encoder, asked)),
    ):
        whole, less = measure(), measure(gone)
        lost = {name: round(whole[name] - less[name], 4) for name in whole}
        report[what] = {
            "all experts": whole,
            "without it": less,
            "lost": lost,
            "its own topic loses most": lost[own] > max(v for k, v in lost.items() if k != own),
        }
    print(
        json.dumps(
            {"gone (layer, expert)": gone, "topic": own, "preference": round(float(preference.max()), 3), **report},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
