"""Single requests to the agent's tools, and their chains: each a question and the steps that answer it."""

from __future__ import annotations

from functools import cache

from training.facts import FACTS
from training.moe.phrasing import Phrasing
from training.world import LANGUAGE_NAMES, LANGUAGES, index, space, table, words

WORD_KINDS = ("animal", "fruit", "thing", "colour")
# Which question of the shared phrasings asks for which field of a place.
PLACE_FIELDS = {
    "capital": "capital",
    "where_country": "continent",
    "language": "language",
    "currency": "currency",
    "where_city": "country",
    "where_landmark": "city",
}
TWICE = 0.3  # share of the texts for training to be counted in which words stand twice
SEVERAL_WORDS = 0.4  # share of the made-up names that have several words, in languages that write spaces
SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}


class Steps(Phrasing):
    """Requests that the tools answer, as (question, step) or (question, [step, ...]); a step is (tool, arguments)."""

    def _operands(self, task: str) -> tuple[int, int]:
        """Often larger numbers than the model can work out itself: those are what a calculator is for."""
        first, second = (12, 12) if task == "multiply" else (99, 99)
        if self.random.random() < 0.4:
            first, second = (999, 99) if task == "multiply" else (9999, 9999)
        while True:
            a, b = self.draw(lambda: (self.random.randint(2, first), self.random.randint(2, second)), task)
            if task == "subtract" and b > a:
                a, b = b, a
            if self.mine(task, (a, b)):
                return a, b

    def _calculation(self, language: str):
        task = self.random.choice(tuple(SIGNS))
        a, b = self._operands(task)
        return self.ask(language, task, {"a": str(a), "b": str(b)}), (
            "calculator",
            {"expression": f"{a} {SIGNS[task]} {b}"},
        )

    def _place(self, language: str, relation: str | None = None):
        relation = relation or self.random.choice(tuple(PLACE_FIELDS))
        fact = self.random.choice([fact for fact in FACTS[relation] if self.mine("plan", fact.key)])
        return self.ask(language, relation, {"x": fact.x[language]}), (
            "place",
            {"name": fact.x[language], "field": PLACE_FIELDS[relation]},
        )

    def _other(self, language: str) -> tuple[str, str]:
        """Another language: its code, and its name in the language of the question."""
        other = self.random.choice([code for code in LANGUAGES if code != language])
        return other, index("words", "language")[LANGUAGE_NAMES[other]][language]

    def _translation(self, language: str):
        other, lang = self._other(language)
        rows = (
            [row for kind in WORD_KINDS for row in words(kind)]
            if self.random.random() < 0.7
            else [*table("countries"), *table("cities")]
        )
        row = self.draw(lambda: self.random.choice(rows)["en"], "plan")
        word = next(r for r in rows if r["en"] == row)[language]
        return self.ask(language, "translate", {"x": word, "lang": lang}), (
            "translate",
            {"word": word, "to": LANGUAGE_NAMES[other]},
        )

    def _word_count(self, language: str):
        rng = self.random

        def make():
            drawn = [rng.choice(words(rng.choice(WORD_KINDS)))[language] for _ in range(rng.randint(2, 6))]
            if self.split == "train" and rng.random() < TWICE:
                drawn = rng.choices(drawn[:3], k=len(drawn))
            return " ".join(drawn)

        text = self.draw(make, "plan", "count")
        return self.ask(language, "word_count", {"t": text}), ("word_count", {"text": text})

    def _two_requests(self, language: str):
        """Two requests that have nothing to do with each other."""
        makers = self.random.sample((self._calculation, self._place, self._translation, self._word_count), 2)
        (one, first), (two, second) = makers[0](language), makers[1](language)
        return self.ask(language, "both", {"one": one, "two": two}), [first, second]

    def _chain(self, language: str):
        """A second step on the first one's result."""
        rng = self.random
        kind = rng.choice(("numbers", "translate", "place"))
        if kind == "numbers":
            question, first = self._word_count(language) if rng.random() < 0.3 else self._calculation(language)
            task = rng.choice(tuple(SIGNS))
            k = (
                rng.randint(2, 9) if task == "multiply" else rng.randint(2, 30)
            )  # the first step's operands are held out
            sign = SIGNS[task]
            if self.split == "train" and rng.random() < 0.2:
                task, sign = "divide", "/"
            section, values, second = f"then_{task}", {"k": str(k)}, ("calculator", {"expression": f"$1 {sign} {k}"})
        elif kind == "translate":
            question, first = self._place(language, rng.choice(("capital", "where_city", "where_landmark")))
            other, lang = self._other(language)
            section, values, second = (
                "then_translate",
                {"lang": lang},
                ("translate", {"word": "$1", "to": LANGUAGE_NAMES[other]}),
            )
        else:
            question, first = self._place(language, "where_city")
            field = rng.choice(("capital", "currency", "language"))
            section, values, second = f"then_{field}", {}, ("place", {"name": "$1", "field": field})
        return question + space(language) + self.ask_plainly(language, section, values), [first, second]

    def _then(self, language: str, question: str, section: str, values: dict[str, str]) -> str:
        return question + space(language) + self.ask_plainly(language, section, values)

    @staticmethod
    def spoken(language: str) -> str:
        """A language's name, as the dictionary wants it."""
        return LANGUAGE_NAMES[language]

    @staticmethod
    def field_of(relation: str) -> str:
        """The field of a place that a relation of the shared phrasings asks for."""
        return PLACE_FIELDS[relation]

    @staticmethod
    @cache
    def in_dictionary() -> frozenset[str]:
        """Every word and name that the tools can translate."""
        kinds = ("animal", "fruit", "thing", "colour", "language", "currency", "continent")
        rows = [
            *(row for kind in kinds for row in words(kind)),
            *(row for kind in ("countries", "cities", "landmarks") for row in table(kind)),
        ]
        return frozenset(row[language] for row in rows for language in LANGUAGES)

    def _chimera(self, language: str) -> str:
        """A name that no place has.

        It has the beginning of one and the end of another, or, of several words, one changed.
        """
        names = [row[language] for kind in ("countries", "cities", "landmarks", "people") for row in table(kind)]
        long = [name for name in names if " " in name]
        while True:
            if long and self.random.random() < SEVERAL_WORDS:
                pieces = self.random.choice(long).split()
                pieces[self.random.randrange(len(pieces))] = self.random.choice(self.random.choice(names).split())
                name = " ".join(pieces)
            else:
                head, tail = self.random.sample(names, 2)
                name = (
                    head[: self.random.randint(1, len(head))] + tail[self.random.randint(0, len(tail) - 1) :].lower()
                ).strip()
            if len(name) > 1 and name not in names:
                return name
