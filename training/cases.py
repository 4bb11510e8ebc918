"""Cases, and what every task needs to draw them: the two splits, phrasings, a language."""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass, field

from training.facts import FACTS, RELATIONS, Fact
from training.world import fill, phrases, space, told


@dataclass(frozen=True)
class Case:
    """One conversation: `messages` end with the assistant's turn; `expect` is what a right last answer holds.

    `expect` is a tuple of strings that must all be in the answer, or, for `kind` "json" and "list", the object
    or the items themselves. An assistant's turn with `"learn": False` is one that training must not imitate.
    """

    task: str
    language: str
    messages: tuple[dict[str, str], ...]
    expect: object
    kind: str = "contains"
    details: dict = field(default_factory=dict)

    @property
    def prompt(self) -> list[dict[str, str]]:
        """The messages up to the question, as a model sees them."""
        return [{"role": m["role"], "content": m["content"]} for m in self.messages[:-1]]


def held_out(*values: object) -> bool:
    """Whether this combination of values belongs to the evaluation: one in ten, by a stable hash."""
    return zlib.crc32("|".join(map(str, values)).encode()) % 10 == 0


class Cases:
    """Draws at random, each value from one split alone; the base of everything that makes cases.

    Args:
        split: "train" or "eval".
        seed: any integer; evaluation and training must use different ones (the phrasings differ anyway).
        name: how the model calls itself.
        languages: weight of each language, e.g. {"en": 0.9, "zh": 0.025, ...}.
        known: share of the facts that languages other than English get to see in training (1.0: all).
    """

    def __init__(
        self,
        split: str,
        seed: int,
        name: str = "instruct-tiny",
        languages: dict[str, float] | None = None,
        known: float = 1.0,
    ):
        if split not in ("train", "eval"):
            raise ValueError(f"split is 'train' or 'eval', not {split!r}")
        self.split, self.name, self.known = split, name, known
        self.random = random.Random(f"{split}-{seed}")
        self.languages = languages or {"en": 0.24, "zh": 0.19, "ko": 0.19, "ja": 0.19, "es": 0.19}

    def language(self) -> str:
        return self.random.choices(list(self.languages), list(self.languages.values()))[0]

    def mine(self, *values: object) -> bool:
        """Whether values drawn at random belong to this split."""
        return held_out(*values) == (self.split == "eval")

    def draw(self, make, *key):
        """Draw until the value is this split's."""
        while True:
            value = make()
            if self.mine(*key, value):
                return value

    def template(self, language: str, section: str) -> str:
        """A phrasing of this split."""
        return self.random.choice(phrases(language)[section]["ask" if self.split == "train" else "held_out"])

    def phrase(self, language: str, section: str, values: dict[str, str]) -> str:
        """A question, in training sometimes with a greeting, without punctuation, in lower case or with a word lost."""
        rng, template = self.random, self.template(language, section)
        if self.split == "eval":
            return fill(template, values, language)
        if rng.random() < 0.08:
            template = self._change_a_word(template, language)
        text = fill(template, values, language)
        if rng.random() < 0.12:
            text = rng.choice(phrases(language)["before"]) + text
        if rng.random() < 0.08:
            text = text + rng.choice(phrases(language)["after"])
        if rng.random() < 0.12:
            text = text.rstrip("?？.。!")
        elif rng.random() < 0.15:
            text = text.replace("?", "？") if "?" in text and language in ("zh", "ja") else text.replace("？", "?")
        if rng.random() < 0.10:
            text = text.lower()
        return text.strip()

    def _change_a_word(self, template: str, language: str, more: str = "") -> str:
        """Drop one word (one character in Chinese and Japanese) outside the placeholders, or put another before it."""
        pieces = re.split(r"(\{[^}]*\}\S*)", template)
        spots = [i for i, piece in enumerate(pieces) if piece.strip() and not piece.startswith("{")]
        if not spots:
            return template
        i = self.random.choice(spots)
        there = list(re.finditer(r"." if language in ("zh", "ja") else r"\S+ ?", pieces[i]))
        word = self.random.choice(
            [each for each in there if more or any(c.isalpha() for c in each[0])] or there
        )  # a sign is not lost
        rest = more + space(language) + word[0] if more else ""
        pieces[i] = pieces[i][: word.start()] + rest + pieces[i][word.end() :]
        return "".join(pieces)

    def case(self, task, language, question, answer, expect, kind="contains", system=None, **details) -> Case:
        head = [{"role": "system", "content": system}] if system else []
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return Case(task, language, tuple(head + turns), expect, kind, details)

    def plain_system(self, language: str) -> str | None:
        """Now and then a system prompt that should change nothing."""
        return self.random.choice(phrases(language)["system"]["plain"]) if self.random.random() < 0.12 else None

    def knows(self, fact_key: str, language: str) -> bool:
        return told(language, fact_key, self.known)

    def pick_fact(self, language: str, relation: str | None = None) -> Fact:
        relations = list(RELATIONS)
        # Relations with many rows are asked more often, but not in proportion to them.
        chosen = relation or self.random.choices(relations, [len(FACTS[r]) ** 0.7 for r in relations])[0]
        facts = FACTS[chosen]
        if self.split == "train":  # a language always knows one fact of each kind, or it could not speak of it
            facts = [fact for fact in facts if self.knows(f"{chosen}|{fact.key}", language)] or facts[:1]
        return self.random.choice(facts)

    def _made_up(self, language: str) -> str:
        """A name that means nothing, in the script of the language."""
        rng = self.random
        parts = {
            "en": ("zor", "bli", "quax", "dre", "mip", "vul", "tas", "fen", "gro", "lun", "pex", "wim", "ost", "kra"),
            "zh": tuple("桑多维格瑞姆塔巴伦佐皮尔克萨诺"),
            "ko": tuple("브릭조탈룸페솔그뎀큐잔"),
            "ja": tuple("ゾブリタルムペソグデモキュジャ"),
        }
        parts["es"] = parts["en"]
        return "".join(rng.choice(parts[language]) for _ in range(rng.randint(2, 4))).capitalize()
