"""Sums as people write them and texts of any kind: what the agent must copy from a question, letter by letter."""

from __future__ import annotations

from training.moe.steps import Steps
from training.world import LANGUAGES, table

LONGEST_TEXT = 200  # characters of a text to copy


class Texts(Steps):
    """Requests whose arguments are copied: sums with any sign, and texts whose words are counted."""

    def exact_sum(self, language: str):
        """A question and its step: a division, a share, a power, or three numbers."""
        rng = self.random
        kind = rng.choices(("divide", "percent", "power", "calculate"), (0.25, 0.25, 0.15, 0.35))[0]
        if kind == "divide":

            def make():
                b = rng.randint(2, 40)
                return (b * rng.randint(2, 60) if rng.random() < 0.6 else rng.randint(3, 999)), b

            a, b = self.draw(make, "divide")
            return self.phrased(language, kind, {"a": str(a), "b": str(b)})[0], (
                "calculator",
                {"expression": f"{a} / {b}"},
            )
        if kind == "percent":
            p, n = self.draw(
                lambda: (
                    rng.choice((rng.randint(1, 99), rng.randint(1, 20) * 5)),
                    rng.choice((rng.randint(10, 2000), rng.randint(1, 90) * 10)),
                ),
                "percent",
            )
            question, template = self.phrased(language, kind, {"p": str(p), "n": str(n)})
            first = template.index("{p") < template.index("{n")
            return question, ("calculator", {"expression": f"{p}% * {n}" if first else f"{n} * {p}%"})
        if kind == "power":
            a, b = self.draw(
                lambda: rng.choice(
                    ((2, rng.randint(2, 24)), (10, rng.randint(2, 12)), (rng.randint(2, 30), rng.randint(2, 6)))
                ),
                "power",
            )
            return self.phrased(language, kind, {"a": str(a), "b": str(b)})[0], (
                "calculator",
                {"expression": f"{a} ** {b}"},
            )
        said, expression = self._three_numbers(language)
        return self.phrased(language, kind, {"e": said})[0], ("calculator", {"expression": expression})

    def _three_numbers(self, language: str) -> tuple[str, str]:
        """Three numbers with two signs and perhaps brackets: as it is asked, and as the calculator gets it."""
        rng = self.random

        def make():
            numbers = [str(rng.randint(2, rng.choice((12, 99, 99, 999)))) for _ in range(3)]
            if rng.random() < 0.1:
                numbers[rng.randrange(3)] = f"{rng.randint(0, 20)}.{rng.randint(1, 9)}"
            signs = rng.choices("+-*/", (4, 3, 4, 1), k=2)
            brackets = rng.choice((0, 0, 1, 2)) if len({*signs} & {*"*/"}) else 0
            return (*numbers, *signs, brackets)

        a, b, c, one, two, brackets = self.draw(make, "calculate")
        left, right = ("(", ")") if brackets else ("", "")
        pieces = [
            left if brackets == 1 else "",
            a,
            one,
            left if brackets == 2 else "",
            b,
            right if brackets == 1 else "",
            two,
            c,
            right if brackets == 2 else "",
        ]
        expression = f"{pieces[0]}{a} {one} {pieces[3]}{b}{pieces[5]} {two} {c}{pieces[8]}"
        how = rng.random()
        if how < 0.4:
            spoken = [rng.choice(self.own(language)["signs"]["+-*/".index(sign)]) for sign in (one, two)]
            space = "" if language in ("zh", "ja") and rng.random() < 0.7 else " "
            first, second, third = f"{pieces[0]}{a}", f"{pieces[3]}{b}{pieces[5]}", f"{c}{pieces[8]}"
            said = space.join((first, spoken[0], second, spoken[1], third))
        else:
            said = expression.replace("*", rng.choice("x×*")).replace("/", rng.choice("/÷"))
            said = said.replace(" ", "") if how > 0.8 and "x" not in said else said
        return said, expression

    def vocabulary(self, language: str, held_out: bool | None = None) -> list[str]:
        """Ordinary words: those of this split, or, for the evaluation, all of them or its own."""
        every = self.own(language)["words"].split()
        if self.split == "eval" and held_out is None:
            return every
        return [word for word in every if self.mine("word", language, word)]

    def ordinary_text(self, language: str, longest: int = LONGEST_TEXT) -> str:
        """A few ordinary words in any order, written as in the language.

        In evaluation at least one of them is never seen in training.
        """
        rng, every = self.random, self.vocabulary(language)
        goal = rng.randint(20, longest)
        chosen = []
        while len(" ".join(chosen)) < goal:
            chosen.append(rng.choice(every))
        while len(" ".join(chosen)) > longest:
            chosen.pop()
        if self.split == "eval":
            chosen[rng.randrange(len(chosen))] = rng.choice(self.vocabulary(language, held_out=True))
        text = " ".join(chosen)[:longest].strip()
        if rng.random() < 0.3 and len(chosen) > 3:
            at = rng.randrange(1, len(chosen) - 1)
            text = " ".join(word + "," if i == at else word for i, word in enumerate(chosen))
        if rng.random() < 0.3:
            text = text[:1].upper() + text[1:]
        return text

    def odd_text(self, language: str) -> str:
        """Words that mean nothing, numbers, names and scripts beside each other: nothing but copying helps."""
        rng = self.random

        def word() -> str:
            return self.odd_word(language)

        kinds = (
            word,
            word,
            word,
            lambda: str(rng.randint(0, 99999)),
            lambda: self._chimera(language),
            lambda: rng.choice(self.vocabulary(language)),
            lambda: rng.choice(table("people"))[language],
            lambda: f"{word()}-{word()}",
            lambda: f"{word()}.{word()}",
        )
        text = " ".join(rng.choice(kinds)() for _ in range(rng.randint(1, 14)))
        return text[:LONGEST_TEXT].strip()

    def text_to_copy(self, language: str) -> str:
        rng = self.random
        if self.split == "eval":
            return self.draw(lambda: self.ordinary_text(language, 120), "copied")
        own = language if rng.random() < 0.8 else rng.choice(LANGUAGES)
        return self.draw(lambda: self.ordinary_text(own) if rng.random() < 0.5 else self.odd_text(own), "copied")

    def text_count(self, language: str):
        """How many words a text in the question has."""
        text = self.text_to_copy(language)
        while " " not in text:
            text = self.text_to_copy(language)
        quoted = self.random.random() < 0.35
        if not quoted:
            question, template = self.phrased(language, "copy_count", {"t": text})
            quoted = any(mark in template for mark in '"“「《『')
        else:
            question = self.ask(language, "word_count", {"t": text})
        if quoted and self.split == "train" and self.random.random() < 0.15:
            longer = text + self.random.choice(".!?。")
            question, text = question.replace(text, longer), longer
        return question, ("word_count", {"text": text})

    def unspaced(self, language: str):
        """The words of a Chinese or Japanese text without spaces."""
        script = language if language in ("zh", "ja") else self.random.choice(("zh", "ja"))
        text = self.draw(
            lambda: "".join(self.random.choice(self.vocabulary(script)) for _ in range(self.random.randint(2, 9))),
            "unspaced",
        )
        return self.ask(language, "word_count", {"t": text}), ("word_count", {"text": text})
