"""Answers that stand in the question in another form: texts to repeat, lists, JSON, codes in long texts, counts."""

from __future__ import annotations

import json
from dataclasses import replace

from training.cases import Case
from training.knowing import Knowing
from training.world import LANGUAGES, fill, index, listed, phrases, space, table, words

# Letters of words that mean nothing, by script; Latin ones about as often as in English.
LETTERS = {
    "en": "eeeeettttaaaaooooiiinnnssshhhrrrdddlllccuummwwffggyyppbbvkjxqz",
    "ko": "가나다라마바사아자차카타파하고노도로모보소오조추쿠투푸후"
    "거너더러머버서어저처커터퍼허기니디리미비시이지김박정윤한별빛산강",
    "zh": "山水火木金土日月星云雨风花草鸟鱼马牛羊犬石田竹米衣食车门口手心目耳足力刀弓方圆红绿蓝白黑东西南北春夏秋冬",
    "ja": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわん"
    "アイウエオカキクケコサシスセソタチツテト",
}
LETTERS["es"] = LETTERS["en"] + "ñáéíóú"
PLACE_KEYS = ("country", "capital", "continent", "language", "currency")
# Sentences of filler that fill about 940 of the 1,024 tokens, by language.
LONGEST_TEXT = {"en": 97, "zh": 75, "ko": 49, "ja": 53, "es": 95}
LIST_KINDS = ("animals", "fruits", "colours", "countries", "cities")
SINGULAR = {"animals": "animal", "fruits": "fruit", "colours": "colour"}


class Rewriting(Knowing):
    """What is copied from a question, as it is or in another form."""

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
            kinds = (
                lambda: rng.choice(table("people"))[language],
                lambda: rng.choice(table("cities"))[language],
                lambda: rng.choice(words(rng.choice(("animal", "fruit", "thing"))))[language],
                lambda: str(rng.randint(0, 9999)),
                lambda: self._made_up(language),
            )
            if self.split == "train" and rng.random() < 0.4:
                return " ".join(
                    rng.choice((self.odd_word, self.odd_word, lambda _: rng.choice(kinds)()))(language)
                    for _ in range(rng.randint(1, 12))
                )
            return " ".join(rng.choice(kinds)() for _ in range(rng.randint(1, 8)))

        text = self.draw(make, "repeat")
        return self.case(
            "repeat", language, fill(self.template(language, "repeat"), {"t": text}, language), text, (text,)
        )

    def membership(self, language: str | None = None) -> Case:
        """Practice alone: words, and of each a yes or no, whether it is one of those in the question.

        Only the verdicts are learned: nothing else in the answer can be foretold.
        """
        language, rng = language or self.language(), self.random

        def word() -> str:
            kinds = (
                lambda: rng.choice(table("cities"))[language],
                lambda: rng.choice(table("countries"))[language],
                lambda: rng.choice(words(rng.choice(("animal", "fruit", "thing", "language", "currency"))))[language],
                lambda: self.odd_word(language),
            )
            return rng.choice(kinds)()

        given = [word() for _ in range(rng.choice((1, 1, 2, 3)))]
        asked = [rng.choice(given) if rng.random() < 0.45 else word() for _ in range(rng.randint(3, 14))]
        said = phrases(language)["yes_no"]
        answer = space(language).join(said["one"].format(y=w, v=said["yes" if w in given else "no"]) for w in asked)
        case = self.stressed(self.case("membership", language, " ".join(given), answer, ()), self.verdicts(language))
        *before, last = case.messages
        return replace(case, messages=(*before, {**last, "learn": False}))

    def _items(self, category: str, count: int, language: str, in_order: bool = False) -> list[str]:
        """Different members of a category: any, or in the table's order; for training then the first ones of it."""
        rows = list(
            {"countries": table("countries"), "cities": table("cities")}.get(category) or words(SINGULAR[category])
        )
        if in_order and self.split == "train":
            return [row[language] for row in rows[:count]]
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
            # The first of the table, in its order. Where any could follow, as it was once, no item is likely, and the
            # most likely one was often the last again.
            items = self._items(category, count, language, in_order=True)
            question, expect = self.phrase(language, "list_category", values), count
        else:
            items = self.draw(
                lambda: self._items(self.random.choice(LIST_KINDS), self.random.randint(2, 5), language), language
            )
            joined = listed(items, language)
            question, expect = self.phrase(language, "list_given", {"items": joined}), tuple(items)
        answer = "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))
        return self.case("list", language, question, answer, expect, "list", **details)

    def json_object(self, language: str | None = None) -> Case:
        """A JSON object: about a country with chosen keys, or made from a sentence about a person."""
        language = language or self.language()
        if self.random.random() < 0.5:
            row = self.random.choice(table("countries"))
            keys = [
                "country",
                *self.draw(lambda: self.random.sample(PLACE_KEYS[1:], self.random.randint(1, 3)), row["en"]),
            ]
            value = self._country(row, language)
            obj = {key: value[key] for key in keys}
            section, values = "json_place", {"x": row[language], "keys": ", ".join(keys)}
        else:
            person, age, city = self.draw(
                lambda: (
                    self.random.choice(table("people"))[language],
                    self.random.randint(5, 90),
                    self.random.choice(table("cities"))[language],
                )
            )
            obj = {"name": person, "age": age, "city": city}
            said = fill(
                self.random.choice(phrases(language)["json_person"]["fact"]),
                {"x": person, "n": str(age), "city": city},
                language,
            )
            section, values = "json_person", {"fact": said}
        return self.case(
            "json", language, self.phrase(language, section, values), json.dumps(obj, ensure_ascii=False), obj, "json"
        )

    def statement(self, language: str) -> str:
        """A sentence of filler: a fact of the small world."""
        fact = self.pick_fact(language)
        return fill(
            phrases(language)[fact.relation]["answer"], {"x": fact.x[language], "y": fact.y[language]}, language
        )

    def needle(
        self,
        language: str | None = None,
        sentences: int | None = None,
        depth: float | None = None,
        needles: int | None = None,
    ) -> Case:
        """Secret codes hidden among facts, and one question a needle at the end (evaluation: one).

        Args:
            sentences: how many sentences of filler.
            depth: 0.0 puts the needle that is asked about first, 1.0 last.
        """
        rng, language = self.random, language or self.language()
        section = phrases(language)["needle"]
        count = needles or (1 if self.split == "eval" else rng.randint(1, 4))
        if sentences is None:  # training sees more short texts than long ones; they teach the same skill sooner
            longest = LONGEST_TEXT[language]
            sentences = rng.randint(0, longest if self.split == "eval" or rng.random() < 0.4 else longest // 3)
        text = [self.statement(language) for _ in range(sentences)]
        people = rng.sample(list(table("people")), count)
        codes = [self.draw(lambda: f"{rng.randint(0, 9999):04d}", "code") for _ in people]
        for person, code in zip(people, codes):
            at = rng.randint(0, len(text)) if depth is None else round(depth * len(text))
            text.insert(at, fill(rng.choice(section["say"]), {"x": person[language], "n": code}, language))
        joined = space(language).join([rng.choice(section["lead"]), *text])
        messages, asked = [], rng.sample(range(count), count)
        for turn, i in enumerate(asked):
            values = {"x": people[i][language], "n": codes[i]}
            question = self.phrase(language, "needle", values)
            messages += [
                {"role": "user", "content": f"{joined}\n{question}" if turn == 0 else question},
                {"role": "assistant", "content": fill(section["answer"], values, language)},
            ]
        return Case(
            "needle",
            language,
            tuple(messages),
            (codes[asked[-1]],),
            "contains",
            {"sentences": sentences, "depth": depth},
        )

    def counting(self, language: str | None = None) -> Case:
        """Count from one number to another: a long answer with a known end."""
        language, rng = language or self.language(), self.random
        if self.split == "eval":
            a, length = self.draw(lambda: (rng.randint(1, 60), rng.choice((5, 8, 10, 15, 20, 30, 39, 49))), "count")
        else:  # any length, and often from 1: else the end is learned as one of a few lengths
            a, length = self.draw(
                lambda: (rng.choice((1, 1, rng.randint(0, 99))), rng.choice((rng.randint(2, 20), rng.randint(2, 50)))),
                "count",
            )
        numbers = [str(n) for n in range(a, a + length + 1)]
        values = {"a": numbers[0], "b": numbers[-1]}
        counted = ", ".join(numbers)
        return self.case("count", language, self.phrase(language, "count", values), counted, counted, "exact")
