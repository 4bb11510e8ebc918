"""How moe-tiny is asked: in phrasings of its own, which the training makes rougher, so that any words will do."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from training.cases import Case
from training.corpus import Corpus
from training.world import fill, space
from training.world import phrases as shared_phrases

SPLICED = 0.25  # share of the phrasings for training that end as another one of the same question does
# Shares of the questions about plans and code that lose a word (False), and that get one more (True).
ROUGH = ((0.1, False), (0.35, True), (0.2, True))
LITTER = 0.12  # share of the other questions for training that get a stray word
CLEAN = (
    "repeat",
    "list_given",
    "json_person",
    "needle",
)  # but these: a word too many might belong to what is copied
MIXED = 0.5  # share of the questions outside the small world that are put together from two
# Sections whose words stray into others.
STRAY = (
    "identity",
    "purpose",
    "greeting",
    "thanks",
    "unknown",
    "suggest",
    "count",
    "list_category",
)  # sections whose words they get


@cache
def own_phrases() -> dict:
    """The phrasings of phrases.toml and requests.toml: a language, then a section."""
    found, more = (
        tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
        for name in ("phrases.toml", "requests.toml")
    )
    return {language: found[language] | more[language] for language in found}


@cache
def stray_words(language: str) -> tuple[str, ...]:
    """Words (characters in Chinese and Japanese) of phrasings for training that ask for no place and no number."""
    texts = [text for section in STRAY for text in shared_phrases(language)[section]["ask"]]
    return tuple(
        piece
        for text in texts
        for piece in (text.replace(" ", "") if language in ("zh", "ja") else text.split())
        if "{" not in piece
    )


def bare(text: str) -> str:
    """A phrasing without what does not make it another one: spaces, signs, capitals."""
    return re.sub(r"[\W_]+", "", text).casefold()


class Phrasing(Corpus):
    """The shared tasks in more and rougher phrasings."""

    def ask(self, language: str, section: str, values: dict[str, str]) -> str:
        """A question in a phrasing of this split, kept as it is: code and quoted words must survive."""
        text = self.ask_plainly(language, section, values)
        if self.split == "train" and self.random.random() < 0.1:
            text = self.random.choice(shared_phrases(language)["before"]) + text
        return text

    def template(self, language: str, section: str) -> str:
        """A phrasing of this split. In training its end is now and then another's, or it gets a stray word."""
        template = self._phrasing(shared_phrases(language)[section])
        if self.split == "train" and section not in CLEAN and self.random.random() < LITTER:
            template = self._change_a_word(template, language, self.random.choice(stray_words(language)))
        return template

    def _phrasing(self, phrasings: dict) -> str:
        """`template` of one section of either file."""
        chosen = self.random.choice(phrasings["ask" if self.split == "train" else "held_out"])
        if self.split == "train" and self.random.random() < SPLICED:
            made = self._spliced(chosen, self.random.choice(phrasings["ask"]))
            return chosen if bare(made) in map(bare, phrasings["held_out"]) else made
        return chosen

    def _spliced(self, one: str, other: str) -> str:
        """The beginning of one phrasing and the end of another, which has the same placeholders in the same order.

        Where that leaves hardly a word beside the placeholders, nothing says what is asked: then the first as it is.
        """
        first, second = (re.split(r"(\{[^}]*\})", text) for text in (one, other))
        names = [[re.match(r"\{(\w+)", piece)[1] for piece in pieces[1::2]] for pieces in (first, second)]
        if not names[0] or names[0] != names[1]:
            return one
        cut = self.random.randrange(1, len(first), 2)
        made = first[:cut] + second[cut:]  # the placeholder as in the second: a Korean particle belongs to what follows
        length = [sum(len(piece) for piece in pieces[::2]) for pieces in (made, first, second)]
        return "".join(made) if length[0] >= min(length[1:]) else one

    def ask_plainly(self, language: str, section: str, values: dict[str, str]) -> str:
        """`ask` without a greeting."""
        phrasings = own_phrases()[language].get(section) or shared_phrases(language)[section]
        return fill(self._rough(self._phrasing(phrasings), language), values, language)

    def _rough(self, template: str, language: str) -> str:
        """In training, a phrasing that now and then loses a word or gets others.

        What a plan takes from a question must be found in unknown phrasings too, and there are few known ones.
        """
        if self.split == "train":
            for share, more in ROUGH:
                if self.random.random() < share:
                    template = self._change_a_word(
                        template, language, self.random.choice(stray_words(language)) if more else ""
                    )
        return template

    def phrased(self, language: str, section: str, values: dict[str, str]) -> tuple[str, str]:
        """A question of a section of requests.toml, and its phrasing."""
        template = self._rough(self._phrasing(self.own(language)[section]), language)
        return fill(template, values, language), template

    def casual(self, text: str) -> str:
        """In training, now and then as people type: in lower case, without the sign at the end."""
        if self.split == "train":
            if self.random.random() < 0.15:
                text = text.lower()
            if self.random.random() < 0.2:
                text = text.rstrip("?？.。!¿")
        return text

    def unknown(self, language: str | None = None) -> Case:
        """Something outside the small world.

        In training there is more of it, also the beginning of one question with the end of another: the model must not
        guess at what is like nothing that it knows.
        """
        language = language or self.language()
        if self.split == "eval" or self.random.random() < 0.4:
            return super().unknown(language)
        answer = shared_phrases(language)["unknown"]["answer"]
        return self.case(
            "unknown", language, self.unknown_topic(language), answer, (answer,), system=self.plain_system(language)
        )

    def unknown_topic(self, language: str) -> str:
        """What no part of the small world is about; in training half of the time put together from two."""
        known, between = shared_phrases(language)["unknown"], space(language)
        if self.split == "eval":
            return self.random.choice(known["topics_held_out"])
        topics = self.random.sample([*known["topics"], *own_phrases()[language]["topics"]], 2)
        if self.random.random() >= MIXED:
            return topics[0]
        first, second = (text.split(" ") if between else list(text) for text in topics)
        return between.join(first[: self.random.randint(1, len(first))] + second[self.random.randrange(len(second)) :])

    @staticmethod
    def own(language: str) -> dict:
        """The phrasings of a language that only this corpus has."""
        return own_phrases()[language]
