"""Conversations about the small world: for training, and, from other phrasings and values, for evaluation.

`Corpus("train", seed)` and `Corpus("eval", seed)` draw from the same tasks and never share
- a phrasing: `ask` is for training, `held_out` for evaluation (training/phrases/*.toml);
- an operand pair, code, age, range, made-up name or list: a hash of the value decides whose it is.

Facts are the exception, and must be: nobody can know where Lima is without having been told. Evaluation asks
for known facts in unknown words.
"""

from __future__ import annotations

import csv
import json
import random
import re
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .world import LANGUAGE_NAMES, LANGUAGES, fill, index, phrases, place_of_city, place_of_landmark, table, words

RELATIONS = ("capital", "capital_of", "where_city", "where_country", "language", "currency", "where_landmark",
             "colour", "opposite")
# Shares of the sums. For training more products than at first: they are forgotten first. The evaluation keeps its cases.
SUMS = {"train": {"add": 0.25, "subtract": 0.2, "multiply": 0.2, "two by one": 0.15, "two by two": 0.2}, "eval": {"add": 0.5, "subtract": 0.3, "multiply": 0.2}}
EASY = 0.3                        # share of the products for training that have an easy factor
# Shares of the conversations, by method. The evaluation of routing and the questions of the labs keep theirs.
MIXTURE = {
    "train": {"fact": 0.22, "steered_fact": 0.09, "about": 0.025, "arithmetic": 0.18, "translation": 0.10, "yes_or_no": 0.05, "which_of_these": 0.03,
              "numbered_list": 0.06, "json_object": 0.07, "needle": 0.05, "chatter": 0.04, "unknown": 0.07, "repetition": 0.05, "counting": 0.03,
              "suggestion": 0.01, "follow_up": 0.035, "my_name": 0.02, "conversation": 0.025, "long_conversation": 0.008, "story": 0.012},
    "eval": {"fact": 0.26, "steered_fact": 0.10, "about": 0.02, "arithmetic": 0.16, "translation": 0.08, "numbered_list": 0.07, "json_object": 0.08,
             "needle": 0.06, "chatter": 0.04, "unknown": 0.05, "repetition": 0.04, "counting": 0.01, "suggestion": 0.01, "follow_up": 0.035,
             "my_name": 0.02, "conversation": 0.025, "long_conversation": 0.008, "story": 0.012},
}
# Letters of words that mean nothing, by script; Latin ones about as often as in English.
LETTERS = {"en": "eeeeettttaaaaooooiiinnnssshhhrrrdddlllccuummwwffggyyppbbvkjxqz", "ko": "가나다라마바사아자차카타파하고노도로모보소오조추쿠투푸후거너더러머버서어저처커터퍼허기니디리미비시이지김박정윤한별빛산강",
           "zh": "山水火木金土日月星云雨风花草鸟鱼马牛羊犬石田竹米衣食车门口手心目耳足力刀弓方圆红绿蓝白黑东西南北春夏秋冬", "ja": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわんアイウエオカキクケコサシスセソタチツテト"}
LETTERS["es"] = LETTERS["en"] + "ñáéíóú"
PLACE_KEYS = ("country", "capital", "continent", "language", "currency")
# Sentences of filler that fill about 940 of the 1,024 tokens, by language.
LONGEST_TEXT = {"en": 97, "zh": 75, "ko": 49, "ja": 53, "es": 95}
LIST_KINDS = ("animals", "fruits", "colours", "countries", "cities")
SINGULAR = {"animals": "animal", "fruits": "fruit", "colours": "colour"}


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


@dataclass(frozen=True)
class Fact:
    """One fact in every language: `x` is asked about, `y` answered; `key` names the row."""

    relation: str
    key: str
    x: dict[str, str]
    y: dict[str, str]
    parts: dict[str, tuple[str, ...]]


def _facts() -> dict[str, list[Fact]]:
    countries, cities = index("countries"), index("cities")
    found: dict[str, list[Fact]] = {relation: [] for relation in RELATIONS}

    def add(relation, row, y, parts=None):
        by_language = {lang: row[lang] for lang in LANGUAGES}
        answer = {lang: y(lang) for lang in LANGUAGES}
        found[relation].append(Fact(relation, row["en"], by_language, answer,
                                    {lang: parts(lang) if parts else (answer[lang],) for lang in LANGUAGES}))

    for row in table("countries"):
        capital = cities[row["capital"]]
        add("capital", row, lambda lang, c=capital: c[lang])
        add("capital_of", capital, lambda lang, r=row: r[lang])
        for relation, kind, column in (("where_country", "continent", "continent"), ("language", "language", "language"),
                                       ("currency", "currency", "currency")):
            word = index("words", kind)[row[column]]
            add(relation, row, lambda lang, w=word: w[lang])
    for row in table("cities"):
        country = countries[row["country"]]
        region = index("regions")[row["region"]] if row["region"] else None
        add("where_city", row, lambda lang, r=row: place_of_city(r, lang),
            lambda lang, c=country, g=region: (c[lang], g[lang]) if g else (c[lang],))
    for row in table("landmarks"):
        city = cities[row["city"]]
        add("where_landmark", row, lambda lang, r=row: place_of_landmark(r, lang), lambda lang, c=city: (c[lang],))
    for row in table("colours"):
        colour = index("words", "colour")[row["colour"]]
        add("colour", row, lambda lang, c=colour: c[lang])
    adjectives = words("adjective")
    for one, other in zip(adjectives[::2], adjectives[1::2]):
        add("opposite", one, lambda lang, o=other: o[lang])
        add("opposite", other, lambda lang, o=one: o[lang])
    return found


FACTS = _facts()
ALL_FACTS = [fact for facts in FACTS.values() for fact in facts]


def worked(a: int, sign: str, b: int, result: int) -> str:
    """A calculation written out as at school, column by column: every step is one digit with one digit.

    A small model computes what it writes down. Only the larger-first half of the times table has to be known by heart.

    >>> worked(47, "+", 38, 85)
    '47 + 38: 7 + 8 = 15, 4 + 3 + 1 = 8, 47 + 38 = 85'
    >>> worked(52, "-", 38, 14)
    '52 - 38: 12 - 8 = 4, 5 - 1 - 3 = 1, 52 - 38 = 14'
    >>> worked(7, "x", 8, 56)
    '7 x 8 = 8 x 7 = 56'
    """
    whole = f"{a} {sign} {b}"
    if sign == "x":
        return f"{whole} = {result}" if a >= b else f"{whole} = {b} x {a} = {result}"
    if a < 10 and b < 10:
        return f"{whole} = {result}"
    (tens_a, ones_a), (tens_b, ones_b) = divmod(a, 10), divmod(b, 10)
    if sign == "+":
        ones = ones_a + ones_b
        carried, carry = (" + 1", 1) if ones > 9 else ("", 0)
        steps = f"{ones_a} + {ones_b} = {ones}, {tens_a} + {tens_b}{carried} = {tens_a + tens_b + carry}"
    else:
        borrowed, borrow = (" - 1", 1) if ones_b > ones_a else ("", 0)
        steps = (f"{ones_a + 10 * borrow} - {ones_b} = {ones_a + 10 * borrow - ones_b}, "
                 f"{tens_a}{borrowed} - {tens_b} = {tens_a - borrow - tens_b}")
    return f"{whole}: {steps}, {whole} = {result}"


def by_digits(a: int, b: int) -> tuple[str, int]:
    """A product with one digit, written column by column, and the product.

    >>> by_digits(47, 6)
    ('7 x 6 = 42, 4 x 6 + 4 = 28', 282)
    """
    steps, carry = [], 0
    for digit in reversed(str(a)):
        carried = f" + {carry}" if carry else ""
        found = int(digit) * b + carry
        steps.append(f"{digit} x {b}{carried} = {found}")
        carry = found // 10
    return ", ".join(steps), a * b


def long_product(a: int, b: int) -> str:
    """A product of two-digit numbers, or of one with a digit, written as at school: a line a digit, then their sum column by column.

    >>> long_product(47, 6)
    '47 x 6: 7 x 6 = 42, 4 x 6 + 4 = 28, 47 x 6 = 282'
    >>> long_product(47, 38)
    '47 x 38: 7 x 8 = 56, 4 x 8 + 5 = 37, 376; 7 x 3 = 21, 4 x 3 + 2 = 14, 1410; 6 + 0 = 6, 7 + 1 = 8, 3 + 4 = 7, 0 + 1 = 1, 47 x 38 = 1786'
    """
    whole = f"{a} x {b}"
    if b < 10:
        return f"{whole}: {by_digits(a, b)[0]}, {whole} = {a * b}"
    tens, ones = divmod(b, 10)
    (first, one), (second, other) = by_digits(a, ones), by_digits(a, tens)
    other *= 10
    columns, carry = [], 0
    for place in range(len(str(other))):
        x, y = one // 10**place % 10, other // 10**place % 10
        carried = f" + {carry}" if carry else ""
        columns.append(f"{x} + {y}{carried} = {x + y + carry}")
        carry = (x + y + carry) // 10
    return f"{whole}: {first}, {one}; {second}, {other}; {', '.join(columns)}, {whole} = {a * b}"


@cache
def elsewhere() -> tuple[dict[str, str], ...]:
    """Places that the small world does not have."""
    with (Path(__file__).parent / "elsewhere.csv").open(encoding="utf-8", newline="") as handle:
        return tuple(csv.DictReader(handle))


class Corpus:
    """An endless, reproducible stream of conversations.

    Args:
        split: "train" or "eval".
        seed: any integer; evaluation and training must use different ones (the phrasings differ anyway).
        name: how the model calls itself.
        languages: weight of each language, e.g. {"en": 0.9, "zh": 0.025, ...}.
        known: share of the facts that languages other than English get to see in training (1.0: all).

    Example:
        >>> case = Corpus("eval", 7).fact("en", "capital")
        >>> case.task, case.kind
        ('facts', 'contains')
    """

    def __init__(self, split: str, seed: int, name: str = "instruct-tiny", languages: dict[str, float] | None = None,
                 known: float = 1.0):
        if split not in ("train", "eval"):
            raise ValueError(f"split is 'train' or 'eval', not {split!r}")
        self.split, self.name, self.known = split, name, known
        self.random = random.Random(f"{split}-{seed}")
        self.languages = languages or {"en": 0.24, "zh": 0.19, "ko": 0.19, "ja": 0.19, "es": 0.19}

    # ---- small helpers -------------------------------------------------------------------------------------

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
        word = self.random.choice([each for each in there if more or any(c.isalpha() for c in each[0])] or there)      # a sign is not lost
        space = "" if language in ("zh", "ja") else " "
        rest = more + space + word[0] if more else ""
        pieces[i] = pieces[i][:word.start()] + rest + pieces[i][word.end():]
        return "".join(pieces)

    def case(self, task, language, question, answer, expect, kind="contains", system=None, **details) -> Case:
        head = [{"role": "system", "content": system}] if system else []
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return Case(task, language, tuple(head + turns), expect, kind, details)

    def plain_system(self, language: str) -> str | None:
        """Now and then a system prompt that should change nothing."""
        return self.random.choice(phrases(language)["system"]["plain"]) if self.random.random() < 0.12 else None

    def knows(self, fact_key: str, language: str) -> bool:
        return language == "en" or zlib.crc32(f"known|{language}|{fact_key}".encode()) % 100 < self.known * 100

    # ---- tasks ---------------------------------------------------------------------------------------------

    def pick_fact(self, language: str, relation: str | None = None) -> Fact:
        relations = list(RELATIONS)
        # Relations with many rows are asked more often, but not in proportion to them.
        chosen = relation or self.random.choices(relations, [len(FACTS[r]) ** 0.7 for r in relations])[0]
        facts = FACTS[chosen]
        if self.split == "train":       # a language always knows one fact of each kind, or it could not speak of it
            facts = [fact for fact in facts if self.knows(f"{chosen}|{fact.key}", language)] or facts[:1]
        return self.random.choice(facts)

    def fact(self, language: str | None = None, relation: str | None = None) -> Case:
        """A fact asked and answered in the same language."""
        language = language or self.language()
        fact = self.pick_fact(language, relation)
        values = {"x": fact.x[language], "y": fact.y[language]}
        return self.case("facts", language, self.phrase(language, fact.relation, values),
                         fill(phrases(language)[fact.relation]["answer"], values, language),
                         fact.parts[language], system=self.plain_system(language), relation=fact.relation, key=fact.key)

    def steered_fact(self, language: str | None = None) -> Case:
        """A fact whose answer the system prompt steers: into another language, or into one word."""
        language = language or self.language()
        fact = self.pick_fact(language)
        asked = {"x": fact.x[language], "y": fact.y[language]}
        question = self.phrase(language, fact.relation, asked)
        rng, system = self.random, phrases(language)["system"]
        if rng.random() < 0.5:
            return self.case("system prompt", language, question, fact.y[language], fact.parts[language], "short",
                             system=rng.choice(system["one_word"]), relation=fact.relation)
        other = rng.choices(list(self.languages), list(self.languages.values()))[0]
        said = {"x": fact.x[other], "y": fact.y[other]}
        told = rng.choice((language, "en"))
        instruction = fill(rng.choice(phrases(told)["system"]["language"]),
                           {"lang": index("words", "language")[LANGUAGE_NAMES[other]][told]}, told)
        return self.case("system prompt", language, question, fill(phrases(other)[fact.relation]["answer"], said, other),
                         fact.parts[other], system=instruction, relation=fact.relation)

    def about(self, language: str | None = None) -> Case:
        """A few sentences about a country or a city."""
        language = language or self.language()
        if self.random.random() < 0.6:
            row = self.random.choice(table("countries"))
            values, section = self._country(row, language), "about_country"
            expect = (values["capital"], values["continent"])
        else:
            row = self.random.choice(table("cities"))
            country = index("countries")[row["country"]]
            values = {"x": row[language], "y": place_of_city(row, language),
                      "language": index("words", "language")[country["language"]][language]}
            section, expect = "about_city", (country[language],)
        if self.split == "train" and not self.knows(f"{section}|{row['en']}", language):
            return self.fact("en")
        return self.case("about", language, self.phrase(language, section, values),
                         fill(phrases(language)[section]["answer"], values, language), expect)

    @staticmethod
    def _country(row: dict[str, str], language: str) -> dict[str, str]:
        word = lambda kind: index("words", kind)[row[kind]][language]  # noqa: E731
        return {"x": row[language], "country": row[language], "capital": index("cities")[row["capital"]][language],
                "continent": word("continent"), "language": word("language"), "currency": word("currency")}

    def arithmetic(self, language: str | None = None, task: str | None = None) -> Case:
        """A sum, a difference or a product; the operand pairs of the two splits never meet."""
        language = language or self.language()
        task = task or self.random.choices(*zip(*SUMS[self.split].items()))[0]
        if task in ("two by one", "two by two"):
            low = 2 if task == "two by one" else 11
            a, b = self.draw(lambda: (self.random.randint(11, 99), self.random.randint(low, 9 if low == 2 else 99)), task)
            question = self.phrase(language, "multiply", {"a": str(a), "b": str(b)})
            return self.case(task, language, question, long_product(a, b), str(a * b), "number")
        if task == "multiply":
            # Nobody computes a times table they never saw: 7 x 8 may be held out, 8 x 7 is then in training.
            a, b = self.random.randint(2, 12), self.random.randint(2, 12)
            if self.split == "eval":
                while not (a < b and held_out(task, (a, b))):
                    a, b = self.random.randint(2, 12), self.random.randint(2, 12)
            elif self.random.random() < EASY:
                # Products that are no art, with one factor out of many: what they teach is to swap the factors.
                a, b = self.random.choice((1, 2, 10)), self.random.randint(13, 99)
            elif a < b and held_out(task, (a, b)):
                a, b = b, a
            result, sign = a * b, "x"
        else:
            low, high = (10, 99) if self.split == "eval" or self.random.random() < 0.8 else (0, 99)
            a, b = self.draw(lambda: (self.random.randint(low, high), self.random.randint(low, high)), task)
            if task == "subtract" and b > a:
                a, b = b, a
                if not self.mine(task, (a, b)):
                    return self.arithmetic(language, task)
            result, sign = (a + b, "+") if task == "add" else (a - b, "-")
        values = {"a": str(a), "b": str(b)}
        return self.case(task, language, self.phrase(language, task, values), worked(a, sign, b, result), str(result), "number")

    def odd_word(self, language: str) -> str:
        """A word that means nothing, mostly in the letters of the language: nothing but copying helps."""
        rng = self.random
        script = language if rng.random() < 0.75 else rng.choice(LANGUAGES)
        made = "".join(rng.choice(LETTERS[script]) for _ in range(rng.randint(1, 9 if script in ("en", "es") else 5)))
        return made.capitalize() if rng.random() < 0.2 else made.upper() if rng.random() < 0.05 else made

    def repetition(self, language: str | None = None) -> Case:
        """Say it again: names, words and numbers in any order. The plainest form of copying from the prompt."""
        language, rng = language or self.language(), self.random

        def make():
            kinds = (lambda: rng.choice(table("people"))[language], lambda: rng.choice(table("cities"))[language],
                     lambda: rng.choice(words(rng.choice(("animal", "fruit", "thing"))))[language],
                     lambda: str(rng.randint(0, 9999)), lambda: self._made_up(language))
            if self.split == "train" and rng.random() < 0.4:
                return " ".join(rng.choice((self.odd_word, self.odd_word, lambda _: rng.choice(kinds)()))(language) for _ in range(rng.randint(1, 12)))
            return " ".join(rng.choice(kinds)() for _ in range(rng.randint(1, 8)))

        text = self.draw(make, "repeat")
        return self.case("repeat", language, fill(self.template(language, "repeat"), {"t": text}, language), text, (text,))

    def translation(self, language: str | None = None) -> Case:
        """One word from the language of the question into another of the five."""
        language = language or self.language()
        other = self.random.choice([lang for lang in LANGUAGES if lang != language])
        listed = [*words("animal"), *words("fruit"), *words("thing"), *words("colour")]
        if self.split == "train" and self.random.random() < 0.5:    # names of places: an answer in another language needs them
            listed = table(self.random.choice(("countries", "cities", "cities")))
        row = self.random.choice(listed)
        values = {"x": row[language], "y": row[other], "lang": index("words", "language")[LANGUAGE_NAMES[other]][language]}
        return self.case("translate", language, self.phrase(language, "translate", values),
                         fill(phrases(language)["translate"]["answer"], values, language), (row[other],), to=other)

    def _items(self, category: str, count: int, language: str, in_order: bool = False) -> list[str]:
        """Different members of a category, in any order or in that of the table."""
        rows = list({"countries": table("countries"), "cities": table("cities")}.get(category) or words(SINGULAR[category]))
        chosen = self.random.sample(range(len(rows)), count)
        return [rows[i][language] for i in (sorted(chosen) if in_order else chosen)]

    def numbered_list(self, language: str | None = None) -> Case:
        """A numbered list of a category's members, or of items that the question gives."""
        language = language or self.language()
        details = {}
        if self.random.random() < 0.5:
            category, count = self.random.choice(LIST_KINDS), self.random.randint(2, 5)
            details = {"category": category}
            values = {"n": str(count), "category": index("words", "category")[category][language]}
            # One order for all of training: a model that only looks forward never says the same thing twice.
            items = self._items(category, count, language, in_order=True)
            question, expect = self.phrase(language, "list_category", values), count
        else:
            items = self.draw(lambda: self._items(self.random.choice(LIST_KINDS), self.random.randint(2, 5), language), language)
            joined = ("、" if language in ("zh", "ja") else ", ").join(items)
            question, expect = self.phrase(language, "list_given", {"items": joined}), tuple(items)
        answer = "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))
        return self.case("list", language, question, answer, expect, "list", **details)

    def json_object(self, language: str | None = None) -> Case:
        """A JSON object: about a country with chosen keys, or made from a sentence about a person."""
        language = language or self.language()
        if self.random.random() < 0.5:
            row = self.random.choice(table("countries"))
            keys = ["country", *self.draw(lambda: self.random.sample(PLACE_KEYS[1:], self.random.randint(1, 3)), row["en"])]
            value = self._country(row, language)
            obj = {key: value[key] for key in keys}
            section, values = "json_place", {"x": row[language], "keys": ", ".join(keys)}
        else:
            person, age, city = self.draw(lambda: (self.random.choice(table("people"))[language], self.random.randint(5, 90),
                                                   self.random.choice(table("cities"))[language]))
            obj = {"name": person, "age": age, "city": city}
            said = fill(self.random.choice(phrases(language)["json_person"]["fact"]), {"x": person, "n": str(age), "city": city}, language)
            section, values = "json_person", {"fact": said}
        return self.case("json", language, self.phrase(language, section, values), json.dumps(obj, ensure_ascii=False), obj, "json")

    def statement(self, language: str) -> str:
        """A sentence of filler: a fact of the small world."""
        fact = self.pick_fact(language)
        return fill(phrases(language)[fact.relation]["answer"], {"x": fact.x[language], "y": fact.y[language]}, language)

    def needle(self, language: str | None = None, sentences: int | None = None, depth: float | None = None,
               needles: int | None = None) -> Case:
        """Secret codes hidden among facts, and one question a needle at the end (evaluation: one).

        Args:
            sentences: how many sentences of filler.
            depth: 0.0 puts the needle that is asked about first, 1.0 last.
        """
        rng, language = self.random, language or self.language()
        section = phrases(language)["needle"]
        count = needles or (1 if self.split == "eval" else rng.randint(1, 4))
        if sentences is None:       # training sees more short texts than long ones; they teach the same skill sooner
            longest = LONGEST_TEXT[language]
            sentences = rng.randint(0, longest if self.split == "eval" or rng.random() < 0.4 else longest // 3)
        text = [self.statement(language) for _ in range(sentences)]
        people = rng.sample(list(table("people")), count)
        codes = [self.draw(lambda: f"{rng.randint(0, 9999):04d}", "code") for _ in people]
        for person, code in zip(people, codes):
            at = rng.randint(0, len(text)) if depth is None else round(depth * len(text))
            text.insert(at, fill(rng.choice(section["say"]), {"x": person[language], "n": code}, language))
        joined = ("" if language in ("zh", "ja") else " ").join([rng.choice(section["lead"]), *text])
        messages, asked = [], rng.sample(range(count), count)
        for turn, i in enumerate(asked):
            values = {"x": people[i][language], "n": codes[i]}
            question = self.phrase(language, "needle", values)
            messages += [{"role": "user", "content": f"{joined}\n{question}" if turn == 0 else question},
                         {"role": "assistant", "content": fill(section["answer"], values, language)}]
        return Case("needle", language, tuple(messages), (codes[asked[-1]],), "contains", {"sentences": sentences, "depth": depth})

    def chatter(self, language: str | None = None) -> Case:
        """Who it is, what it is for, hello and thanks."""
        language = language or self.language()
        section = self.random.choices(("identity", "purpose", "greeting", "thanks"), (0.45, 0.25, 0.2, 0.1))[0]
        answer = phrases(language)[section]["answer"].replace("{name}", self.name)
        expect = (self.name,) if section == "identity" else (answer,)
        return self.case("identity" if section == "identity" else "small talk", language,
                         self.phrase(language, section, {}), answer, expect, system=self.plain_system(language))

    def _made_up(self, language: str) -> str:
        """A name that means nothing, in the script of the language."""
        rng = self.random
        parts = {"en": ("zor", "bli", "quax", "dre", "mip", "vul", "tas", "fen", "gro", "lun", "pex", "wim", "ost", "kra"),
                 "zh": tuple("桑多维格瑞姆塔巴伦佐皮尔克萨诺"), "ko": tuple("브릭조탈룸페솔그뎀큐잔"), "ja": tuple("ゾブリタルムペソグデモキュジャ")}
        parts["es"] = parts["en"]
        return "".join(rng.choice(parts[language]) for _ in range(rng.randint(2, 4))).capitalize()

    def unknown(self, language: str | None = None) -> Case:
        """Something outside the small world: the right answer is to say so."""
        language = language or self.language()
        section = phrases(language)["unknown"]
        if self.split == "train" and self.random.random() < 0.4:
            return self.unknown_place(language)
        if self.random.random() < 0.6:
            question = self.phrase(language, "unknown", {"x": self.draw(lambda: self._made_up(language), "name")})
        else:
            question = self.random.choice(section["topics" if self.split == "train" else "topics_held_out"])
        return self.case("unknown", language, question, section["answer"], (section["answer"],), system=self.plain_system(language))

    def unknown_place(self, language: str | None = None) -> Case:
        """A place outside the small world, or a name that is none, in the words in which one asks for known ones."""
        language, rng = language or self.language(), self.random
        section = rng.choice(("capital", "where_city", "where_country", "where_landmark", "language", "currency", "about_country", "is_country", "is_city"))
        name = self.draw(lambda: rng.choice(elsewhere())[language] if rng.random() < 0.6 else self._made_up(language), "strange place")
        answer = phrases(language)["unknown"]["answer"]
        return self.case("unknown place", language, self.phrase(language, section, {"x": name}), answer, (answer,), system=self.plain_system(language))

    def yes_or_no(self, language: str | None = None) -> Case:
        """Whether something known is so: the answer says yes or no, and how it is."""
        language, rng = language or self.language(), self.random
        section = rng.choice(("is_country", "is_city", "is_capital", "is_in", "is_spoken", "is_money"))
        said = phrases(language)
        if section in ("is_country", "is_city"):
            fact = self.pick_fact(language, rng.choice(("where_country", "where_city")))
            so, asked = (fact.relation == "where_country") == (section == "is_country"), {"x": fact.x[language]}
        else:
            relation = {"is_capital": "capital", "is_in": rng.choice(("where_country", "where_city")), "is_spoken": "language", "is_money": "currency"}[section]
            fact, other = self.draw(lambda: (lambda f: (f.key, f, f if rng.random() < 0.5 else self.pick_fact(language, relation)))(self.pick_fact(language, relation)), "yes")[1:]
            # A city is asked for by its country: a province would make another question of it.
            other_said = other.parts[language][0]
            so, asked = other_said == fact.parts[language][0], {"x": fact.x[language], "y": other_said}
        sentence = fill(said[fact.relation]["answer"], {"x": fact.x[language], "y": fact.y[language]}, language)
        word = said["yes_no"]["yes" if so else "no"]
        return self.case("yes or no", language, self.phrase(language, section, asked), word.format(s=sentence),
                         (word.format(s="").strip(), fact.parts[language][0]), system=self.plain_system(language), relation=fact.relation)

    def which_of_these(self, language: str | None = None) -> Case:
        """Three names, of which one is of a kind or in a place."""
        language, rng = language or self.language(), self.random
        said = phrases(language)
        if rng.random() < 0.6:
            kinds = {"country": table("countries"), "city": table("cities"), "animal": words("animal"), "fruit": words("fruit"), "colour": words("colour")}
            one, *rest = rng.sample(list(kinds), 3)
            right, *wrong = self.draw(lambda: [rng.choice(kinds[kind])[language] for kind in (one, *rest)], "which")
            question, answer = "which_kind", fill(said["which_kind"]["answer"], {"x": right, "kind": said["kinds"][one]}, language)
            values = {"kind": said["kinds"][one]}
        else:
            relation = rng.choice(("where_country", "where_city"))
            fact = self.pick_fact(language, relation)
            others = [other for other in FACTS[relation] if other.parts[language][0] != fact.parts[language][0]]
            right, *wrong = self.draw(lambda: [fact.x[language], *(other.x[language] for other in rng.sample(others, 2))], "which")
            question, answer = "which_in", fill(said[relation]["answer"], {"x": right, "y": fact.y[language]}, language)
            values = {"y": fact.parts[language][0]}
        items = [right, *wrong]
        rng.shuffle(items)
        values["items"] = ("、" if language in ("zh", "ja") else ", ").join(items)
        return self.case("which of these", language, self.phrase(language, question, values), answer, (right,), "only", wrong=wrong)

    def counting(self, language: str | None = None) -> Case:
        """Count from one number to another: a long answer with a known end."""
        language, rng = language or self.language(), self.random
        if self.split == "eval":
            a, length = self.draw(lambda: (rng.randint(1, 60), rng.choice((5, 8, 10, 15, 20, 30, 39, 49))), "count")
        else:       # any length, and often from 1: else the end is learned as one of a few lengths
            a, length = self.draw(lambda: (rng.choice((1, 1, rng.randint(0, 99))), rng.choice((rng.randint(2, 20), rng.randint(2, 50)))), "count")
        numbers = [str(n) for n in range(a, a + length + 1)]
        values = {"a": numbers[0], "b": numbers[-1]}
        return self.case("count", language, self.phrase(language, "count", values), ", ".join(numbers), (", ".join(numbers),))

    def suggestion(self, language: str | None = None) -> Case:
        """Many right answers, all equally likely: what temperature is about."""
        language = language or self.language()
        row = self.random.choice(table("cities"))
        values = {"x": row[language], "y": index("countries")[row["country"]][language]}
        return self.case("suggest", language, self.phrase(language, "suggest", {}),
                         fill(phrases(language)["suggest"]["answer"], values, language), ())

    STORY = (("One morning", "One rainy day", "Late at night", "Last summer", "On a cold day", "Many years ago"),
             ("found a", "met a", "saw a", "dreamed of a", "followed a", "drew a"),
             ("small", "big", "happy", "sad", "strange", "golden", "sleepy", "brave"),
             ("They walked to the {place} together.", "They shared some {food}.", "They looked at the {place} for a long time.",
              "They talked about the {place}.", "They ate {food} and laughed.", "They played music near the {place}."),
             ("In the evening they went home.", "Then it began to rain.", "They promised to meet again.", "Nobody else ever knew.",
              "It was the best day of the year.", "Soon they were good friends."))

    def story(self) -> Case:
        """A short story in English, put together at random: what sampling is about."""
        rng = self.random
        person, animal = rng.choice(table("people"))["en"], rng.choice(words("animal"))["en"]
        ask = ["Tell me a short story about a {a}.", "Write a short story about a {a}.", "Tell me a story about a {a}.", "I want a story about a {a}."]
        opening, verb, kind, middle, end = (rng.choice(options) for options in self.STORY)
        filler = {"place": rng.choice(("sea", "mountain", "school", "house", "train", "moon")), "food": rng.choice(("bread", "rice", "apples", "grapes"))}
        text = f"{opening}, {person} {verb} {kind} {animal}. {middle.format(**filler)} {end}"
        return self.case("story", "en", rng.choice(ask).format(a=animal), text, (animal,))

    # ---- several turns -------------------------------------------------------------------------------------

    def follow_up(self, language: str | None = None) -> Case:
        """A fact, then "And Kenya?": the relation comes from the turn before."""
        language = language or self.language()
        relation = self.random.choice([r for r in RELATIONS if r not in ("where_landmark",)])
        first = self.fact(language, relation)
        messages, last = list(first.messages), None
        for _ in range(1 if self.split == "eval" else self.random.randint(1, 2)):
            last = self.pick_fact(language, relation)
            values = {"x": last.x[language], "y": last.y[language]}
            messages += [{"role": "user", "content": self.phrase(language, "follow_up", values)},
                         {"role": "assistant", "content": fill(phrases(language)[relation]["answer"], values, language)}]
        return Case("several turns", language, tuple(messages), last.parts[language], "contains", {"form": "follow-up"})

    def my_name(self, language: str | None = None) -> Case:
        """Tell a name, talk about something else, ask for the name."""
        language, rng = language or self.language(), self.random
        section, person = phrases(language)["my_name"], rng.choice(table("people"))[language]
        messages = [{"role": "user", "content": fill(rng.choice(section["say"]), {"x": person}, language)},
                    {"role": "assistant", "content": fill(section["reply"], {"x": person}, language)}]
        for _ in range(rng.randint(0, 2)):
            messages += self.small(language).messages[-2:]
        messages += [{"role": "user", "content": self.phrase(language, "my_name", {})},
                     {"role": "assistant", "content": fill(section["answer"], {"x": person}, language)}]
        return Case("several turns", language, tuple(messages), (person,), "contains", {"form": "name"})

    def small(self, language: str | None = None) -> Case:
        """A short single turn of any task."""
        tasks = (self.fact, self.arithmetic, self.translation, self.chatter, self.unknown, self.numbered_list, self.json_object, self.about)
        return self.random.choices(tasks, (0.46, 0.14, 0.08, 0.06, 0.08, 0.05, 0.07, 0.06))[0](language)

    def conversation(self, language: str | None = None, turns: int | None = None) -> Case:
        """Unrelated questions one after another, as in a chat that goes on."""
        language = language or self.language()
        cases = [self.small(language) for _ in range(turns or self.random.randint(2, 5))]
        messages = [m for case in cases for m in case.messages if m["role"] != "system"]
        return Case("several turns", language, tuple(messages), cases[-1].expect, cases[-1].kind,
                    {**cases[-1].details, "form": "unrelated"})

    # ---- the mixture ---------------------------------------------------------------------------------------

    def sample(self) -> Case:
        """One conversation of the training mixture."""
        shares = MIXTURE[self.split]
        return getattr(self, self.random.choices(list(shares), list(shares.values()))[0])()

    def finish(self) -> Case:
        """The mixture of the last part of the training: every second conversation is of a task with exact answers.

        They are the last to be learned, and while the learning rate falls they are learned best.
        """
        exact = (self.arithmetic, self.arithmetic, self.json_object, self.numbered_list, self.steered_fact)
        return self.random.choice(exact)() if self.random.random() < 0.5 else self.sample()

    def copying(self) -> Case:
        """Tasks whose answers stand in the question, without repetition."""
        return self.random.choice((self.my_name, self.json_object, self.numbered_list, self.arithmetic,
                                   lambda: self.needle(sentences=self.random.randint(0, 5))))()

    def long_conversation(self) -> Case:
        """A chat long enough to need the long RoPE table."""
        return self.conversation(turns=self.random.randint(6, 18))
