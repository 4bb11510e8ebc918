"""What the agent does not answer, or answers in part: it says so, and why."""

from __future__ import annotations

from labs_helper.agent.tools import MAX_EXPRESSION
from training.cases import Case
from training.facts import elsewhere
from training.moe.offer import NEXT
from training.moe.requests import NO_TOOL, Requests
from training.world import space, table, words


class Refusals(Requests):
    """Questions outside what the tools can do. The two splits never share a phrasing, an unknown place, or a sum."""

    def outside_question(self, language: str) -> str:
        """What no tool answers, often about places that the tools know."""
        rng, own = self.random, self.own(language)
        kind = rng.random()
        if kind < 0.12:
            return self._phrasing(own["attack"])
        if kind < 0.32:
            return self.unknown_topic(language)
        country, country2 = (row[language] for row in rng.sample(list(table("countries")), 2))
        city, city2 = (row[language] for row in rng.sample(list(table("cities")), 2))
        values = {
            "country": country,
            "country2": country2,
            "city": city,
            "city2": city2,
            "landmark": rng.choice(table("landmarks"))[language],
            "animal": rng.choice(words("animal"))[language],
            "person": rng.choice(table("people"))[language],
            "n": str(rng.randint(2, 500)),
            "year": str(rng.randint(1900, 2030)),
        }
        return self.casual(self.phrased(language, "outside", values)[0])

    def no_such_place(self, language: str):
        """A question about a place, or for a word, that the tools do not know, and its step."""
        rng = self.random
        if rng.random() < 0.25:
            word = self.draw(
                lambda: rng.choice(
                    (lambda: rng.choice(self.own(language)["words"].split()), lambda: self._made_up(language))
                )(),
                "strange word",
            )
            if word not in self.in_dictionary() and len(word) > 1:
                other, lang = self._other(language)
                return self.ask(language, "translate", {"x": word, "lang": lang}), (
                    "translate",
                    {"word": word, "to": self.spoken(other)},
                )
        relation = rng.choice(("capital", "where_country", "language", "currency", "where_city"))
        name = self.draw(
            lambda: (
                rng.choice(elsewhere())[language]
                if rng.random() < 0.6
                else self._made_up(language)
                if rng.random() < 0.5
                else self._chimera(language)
            ),
            "strange place",
        )
        return self.ask(language, relation, {"x": name}), ("place", {"name": name, "field": self.field_of(relation)})

    def refused_sum(self, language: str):
        """A sum that the calculator refuses: a power too large, a division by zero, or no sum at all."""
        rng = self.random
        kind = rng.choice(("power", "power", "zero", "brackets", "signs"))
        if kind == "power":

            def make():
                if rng.random() < 0.5:
                    return rng.randint(7, 999), rng.randint(40, 999)
                return tuple(rng.choice((9, 99, rng.randint(5, 99))) for _ in range(rng.randint(3, 4)))

            numbers = self.draw(make, "huge")
            sign = rng.choice(("**", "^", " ** ", " ^ "))
            if len(numbers) == 2 and rng.random() < 0.6:
                return self.phrased(language, "power", {"a": str(numbers[0]), "b": str(numbers[1])})[0], (
                    "calculator",
                    {"expression": f"{numbers[0]} ** {numbers[1]}"},
                )
            return self.phrased(language, "calculate", {"e": sign.join(map(str, numbers))})[0], (
                "calculator",
                {"expression": " ** ".join(map(str, numbers))},
            )
        if kind == "zero":
            a = self.draw(lambda: rng.randint(1, 999), "by zero")
            return self.phrased(language, "divide", {"a": str(a), "b": "0"})[0], (
                "calculator",
                {"expression": f"{a} / 0"},
            )
        a, b = self.draw(lambda: (rng.randint(2, 99), rng.randint(2, 99)), "no sum")
        said = (
            rng.choice((f"sqrt({a})", f"sin({a})", f"{a}!", f"log({a})", f"{a} mod {b}", f"x + {a}", f"{a}x = {b}"))
            if kind == "signs"
            else rng.choice((f"({a} + {b}", f"{a} + * {b}", f"{a} + {b})"))
        )
        return self.phrased(language, "calculate", {"e": said})[0], ("calculator", {"expression": said})

    def refusal(self, language: str | None = None, kind: str | None = None) -> Case:
        """A question that ends in "I cannot", and why: at once where no tool fits, after the tool's error otherwise."""
        language, rng = language or self.language(), self.random
        kind = (
            kind
            or rng.choices(
                ("outside", "place", "sum", "spaces", "tools"),
                (0.5, 0.25, 0.13, 0.06, 0.06 if self.split == "train" else 0),
            )[0]
        )
        tools = NEXT.tools
        if kind == "tools":  # the prompt decides which tools there are
            question, step = rng.choice((self._calculation, self._place, self._translation, self._word_count))(language)
            left = [name for name in NEXT.tools if name not in (step[0], "none")]
            left = [*rng.sample(left, rng.randint(0, len(left))), "none"]
            tools, plan = {name: NEXT.tools[name] for name in left}, [("none", {"reason": NO_TOOL})]
        elif kind == "outside":
            question, plan = self.outside_question(language), [("none", {"reason": NO_TOOL})]
        else:
            question, step = {"place": self.no_such_place, "sum": self.refused_sum, "spaces": self.unspaced}[kind](
                language
            )
            plan = [step]
            if kind == "place" and step[0] == "place" and rng.random() < 0.2:
                other, lang = self._other(language)
                question, plan = (
                    self._then(language, question, "then_translate", {"lang": lang}),
                    [step, ("translate", {"word": "$1", "to": self.spoken(other)})],
                )
        if any(len(arguments.get("expression", "")) > MAX_EXPRESSION for _, arguments in plan):
            return self.refusal(language, kind)
        return self.answered(language, question, plan, tools, why=kind)

    def in_part(self, language: str | None = None) -> Case:
        """Two requests, of which the tools answer one."""
        language, rng = language or self.language(), self.random
        known = rng.choice((self._place, self._place, self._calculation, self._translation, self._word_count))(language)
        kind = rng.choice(("tail", "outside", "place", "sum"))
        if kind in ("tail", "outside"):
            other = self._phrasing(self.own(language)["tail"]) if kind == "tail" else self.outside_question(language)
            step = ("none", {"reason": NO_TOOL})
        else:
            other, step = (self.no_such_place if kind == "place" else self.refused_sum)(language)
        pair = [(known[0], known[1]), (other, step)]
        if kind == "tail" and rng.random() < 0.6:
            asked = known[0].rstrip("?？。.") if language == "en" and rng.random() < 0.5 else known[0]
            question = asked + space(language) + other
        else:
            if kind != "tail" and rng.random() < 0.4:
                pair.reverse()
            question = self.ask(language, "both", {"one": pair[0][0], "two": pair[1][0]})
        return self.answered(language, question, [step for _, step in pair], why=kind)
