"""What moe-tiny's agent must do beyond looking up and adding: harder sums, exact copies, three steps, and saying no.

A case is a whole conversation of the agent, as labs_helper/agent/loop.py has it: also the error of a tool, after which the
model says `none` with a reason instead of a second try. Its answer is then one of the fixed sentences of requests.toml.
The two splits never share a phrasing, a word that is copied, a place that is not known, or a sum.
"""

from __future__ import annotations

import random

from labs_helper.agent.plan import error_turn, read_plan, results_turn, run_plan, system_prompt, write_plan
from labs_helper.agent.tools import MAX_EXPRESSION, REASONS, TOOLS
from labs_helper.errors import BadPlan
from training.corpus import Case, elsewhere
from training.world import LANGUAGES, fill, table, words

NO_TOOL, NOT_KNOWN, NO_SUM, NO_SPACES = REASONS
# Shares of the plans for training: as before, sums, texts to copy, three steps, refusals, answers in part, all of this with a lure.
KINDS = {"usual": 0.32, "sum": 0.13, "text": 0.16, "three": 0.13, "refused": 0.13, "in_part": 0.07, "lured": 0.06}
LONGEST_TEXT = 200                # characters of a text to copy


class Requests:
    """The part of MoeCorpus that this file is about: `random`, `ask`, `draw`, `mine` and the plain steps are MoeCorpus's."""

    random: random.Random
    split: str

    # ---- conversations ---------------------------------------------------------------------------------------

    def answered(self, language: str, question: str, plan, tools=TOOLS, task: str = "plan", **details) -> Case:
        """The conversation about a question whose first plan is `plan`: with the error of a tool, where it makes one, and the plan after it."""
        head = [{"role": "system", "content": system_prompt(tools)}, {"role": "user", "content": question}]
        text, turns = write_plan(*plan), []
        try:
            results = run_plan(read_plan(text), language=language)
        except BadPlan as error:
            turns = [{"role": "assistant", "content": text}, {"role": "user", "content": error_turn(error)}]
            plan = self._instead(plan, error, language)
            text = write_plan(*plan)
            results = run_plan(read_plan(text), language=language)
        final, answer = self.told(language, plan, results)
        turns += [{"role": "assistant", "content": text}, {"role": "user", "content": results_turn(results)}, {"role": "assistant", "content": answer}]
        refused = [arguments["reason"] for tool, arguments in plan if tool == "none"]
        details = {"results": results, "final": final, "refused": refused, "steps": len(plan), **details}
        return Case(task, language, (*head, *turns), tuple(results), "agent", details)

    def told(self, language: str, plan, results) -> tuple[list[str], str]:
        """The results that answer a question (those that no later step has used), and the answer that says them or why not."""
        own = self.own(language)
        used = {int(value[i + 1]) - 1 for _, arguments in plan for value in arguments.values() for i, mark in enumerate(value) if mark == "$" and value[i + 1 : i + 2].isdigit()}
        refused = [REASONS.index(arguments["reason"]) for tool, arguments in plan if tool == "none"]
        final = [result for i, (result, (tool, _)) in enumerate(zip(results, plan)) if tool != "none" and i not in used]
        if not final:
            return final, own["none"][refused[0]]
        if refused:
            return final, fill(own["rest"][refused[0]], {"a": final[0]}, language)
        return final, fill(own[("answer_one", "answer_two", "answer_three")[len(final) - 1]], dict(zip("abc", final)), language)

    def _instead(self, plan, error: BadPlan, language: str):
        """The plan after a tool refused: a city's currency is that of its country; for anything else `none` takes the step's place."""
        at = int(error.what[5]) - 1
        tool, arguments = plan[at]
        if tool == "place" and " has no " in error.what and arguments["field"] in ("capital", "currency", "language"):
            return [*plan[:at], ("place", {"name": arguments["name"], "field": "country"}), ("place", {"name": "$1", "field": arguments["field"]})]
        reason = NO_SUM if tool == "calculator" else NO_SPACES if tool == "word_count" else NOT_KNOWN
        # What builds on the refused step goes as well.
        return [*plan[:at], ("none", {"reason": reason}), *(step for step in plan[at + 1 :] if not any("$" in value for value in step[1].values()))]

    # ---- sums --------------------------------------------------------------------------------------------------

    def phrased(self, language: str, section: str, values: dict[str, str]) -> tuple[str, str]:
        """A question of a section of requests.toml, and its phrasing."""
        template = self._rough(self._phrasing(self.own(language)[section]), language)
        return fill(template, values, language), template

    def exact_sum(self, language: str):
        """A question and its step: a division, a share, a power, or three numbers."""
        rng = self.random
        kind = rng.choices(("divide", "percent", "power", "calculate"), (0.25, 0.25, 0.15, 0.35))[0]
        if kind == "divide":
            def make():
                b = rng.randint(2, 40)
                return (b * rng.randint(2, 60) if rng.random() < 0.6 else rng.randint(3, 999)), b

            a, b = self.draw(make, "divide")
            return self.phrased(language, kind, {"a": str(a), "b": str(b)})[0], ("calculator", {"expression": f"{a} / {b}"})
        if kind == "percent":
            p, n = self.draw(lambda: (rng.choice((rng.randint(1, 99), rng.randint(1, 20) * 5)), rng.choice((rng.randint(10, 2000), rng.randint(1, 90) * 10))), "percent")
            question, template = self.phrased(language, kind, {"p": str(p), "n": str(n)})
            first = template.index("{p") < template.index("{n")
            return question, ("calculator", {"expression": f"{p}% * {n}" if first else f"{n} * {p}%"})
        if kind == "power":
            a, b = self.draw(lambda: rng.choice(((2, rng.randint(2, 24)), (10, rng.randint(2, 12)), (rng.randint(2, 30), rng.randint(2, 6)))), "power")
            return self.phrased(language, kind, {"a": str(a), "b": str(b)})[0], ("calculator", {"expression": f"{a} ** {b}"})
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
        pieces = [left if brackets == 1 else "", a, one, left if brackets == 2 else "", b, right if brackets == 1 else "", two, c, right if brackets == 2 else ""]
        expression = f"{pieces[0]}{a} {one} {pieces[3]}{b}{pieces[5]} {two} {c}{pieces[8]}"
        how = rng.random()
        if how < 0.4:
            spoken = [rng.choice(self.own(language)["signs"]["+-*/".index(sign)]) for sign in (one, two)]
            space = "" if language in ("zh", "ja") and rng.random() < 0.7 else " "
            said = f"{pieces[0]}{a}{space}{spoken[0]}{space}{pieces[3]}{b}{pieces[5]}{space}{spoken[1]}{space}{c}{pieces[8]}"
        else:
            said = expression.replace("*", rng.choice("x×*")).replace("/", rng.choice("/÷"))
            said = said.replace(" ", "") if how > 0.8 and "x" not in said else said
        return said, expression

    # ---- texts to copy ---------------------------------------------------------------------------------------------

    def vocabulary(self, language: str, held_out: bool | None = None) -> list[str]:
        """Ordinary words: those of this split, or, for the evaluation, all of them or its own."""
        every = self.own(language)["words"].split()
        if self.split == "eval" and held_out is None:
            return every
        return [word for word in every if self.mine("word", language, word)]

    def ordinary_text(self, language: str, longest: int = LONGEST_TEXT) -> str:
        """A few ordinary words in any order, written as in the language. In evaluation at least one of them is never seen in training."""
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

        kinds = (word, word, word, lambda: str(rng.randint(0, 99999)), lambda: self._chimera(language), lambda: rng.choice(self.vocabulary(language)),
                 lambda: rng.choice(table("people"))[language], lambda: f"{word()}-{word()}", lambda: f"{word()}.{word()}")
        text = " ".join(rng.choice(kinds)() for _ in range(rng.randint(1, 14)))
        return text[:LONGEST_TEXT].strip()

    def text_to_copy(self, language: str) -> str:
        rng = self.random
        if self.split == "eval":
            return self.draw(lambda: self.ordinary_text(language, 120), "copied")
        own = language if rng.random() < 0.8 else rng.choice(LANGUAGES)
        return self.draw(lambda: self.ordinary_text(own) if rng.random() < 0.5 else self.odd_text(own), "copied")

    def text_count(self, language: str):
        """How many words a text has that stands in the question."""
        text = self.text_to_copy(language)
        while " " not in text:
            text = self.text_to_copy(language)
        quoted = self.random.random() < 0.35
        if not quoted:
            question, template = self.phrased(language, "copy_count", {"t": text})
            quoted = any(mark in template for mark in "\"“「《『")
        else:
            question = self.ask(language, "word_count", {"t": text})
        if quoted and self.split == "train" and self.random.random() < 0.15:
            longer = text + self.random.choice(".!?。")
            question, text = question.replace(text, longer), longer
        return question, ("word_count", {"text": text})

    # ---- three steps -----------------------------------------------------------------------------------------------

    def three_steps(self, language: str):
        """A question and three steps: one after another, or several requests in one."""
        while True:
            question, plan = self.random.choice((self._long_sum, self._round_trip, self._three_requests, self._chain_and_one))(language)
            try:
                run_plan(read_plan(write_plan(*plan)), language=language)
                return question, plan
            except BadPlan:
                pass    # a currency that has no translation, a sum that divides by zero

    def _then(self, language: str, question: str, section: str, values: dict[str, str]) -> str:
        return question + ("" if language in ("zh", "ja") else " ") + self.ask_plainly(language, section, values)

    def _more_sum(self, language: str, question: str, reference: str):
        task, k = self.random.choice(("add", "subtract", "multiply", "divide")), self.random.randint(2, 30)
        sign = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}[task]
        return self._then(language, question, f"then_{task}", {"k": str(k)}), ("calculator", {"expression": f"{reference} {sign} {k}"})

    def _long_sum(self, language: str):
        question, first = self.random.choice((self._calculation, self._calculation, self._word_count, self.exact_sum))(language)
        question, second = self._more_sum(language, question, "$1")
        question, third = self._more_sum(language, question, "$2")
        return question, [first, second, third]

    def _round_trip(self, language: str):
        question, first = self._place(language, "where_city")
        field = self.random.choice(("capital", "currency", "language"))
        question = self._then(language, question, f"then_{field}", {})
        other, lang = self._other(language)
        question = self._then(language, question, "then_translate", {"lang": lang})
        return question, [first, ("place", {"name": "$1", "field": field}), ("translate", {"word": "$2", "to": self.spoken(other)})]

    def _three_requests(self, language: str):
        makers = self.random.sample((self._calculation, self._place, self._translation, self._word_count, self.exact_sum, self._place), 3)
        asked = [make(language) for make in makers]
        values = dict(zip(("one", "two", "three"), (question for question, _ in asked)))
        return self.phrased(language, "frames3", values)[0], [step for _, step in asked]

    def _chain_and_one(self, language: str):
        (chain, steps), (other, step) = self._chain(language), self.random.choice((self._calculation, self._place, self._translation))(language)
        if self.random.random() < 0.5:
            return self.ask(language, "both", {"one": chain, "two": other}), [*steps, step]
        moved = [(tool, {key: value.replace("$1", "$2") for key, value in arguments.items()}) for tool, arguments in steps]
        return self.ask(language, "both", {"one": other, "two": chain}), [step, *moved]

    # ---- what is not answered --------------------------------------------------------------------------------------

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
        values = {"country": country, "country2": country2, "city": city, "city2": city2, "landmark": rng.choice(table("landmarks"))[language],
                  "animal": rng.choice(words("animal"))[language], "person": rng.choice(table("people"))[language],
                  "n": str(rng.randint(2, 500)), "year": str(rng.randint(1900, 2030))}
        return self.casual(self.phrased(language, "outside", values)[0])

    def casual(self, text: str) -> str:
        """In training, now and then as people type: in lower case, without the sign at the end."""
        if self.split == "train":
            if self.random.random() < 0.15:
                text = text.lower()
            if self.random.random() < 0.2:
                text = text.rstrip("?？.。!¿")
        return text

    def no_such_place(self, language: str):
        """A question about a place, or for a word, that the tools do not know, and its step."""
        rng = self.random
        if rng.random() < 0.25:
            word = self.draw(lambda: rng.choice((lambda: rng.choice(self.own(language)["words"].split()), lambda: self._made_up(language)))(), "strange word")
            if word not in self.in_dictionary() and len(word) > 1:
                other, lang = self._other(language)
                return self.ask(language, "translate", {"x": word, "lang": lang}), ("translate", {"word": word, "to": self.spoken(other)})
        relation = rng.choice(("capital", "where_country", "language", "currency", "where_city"))
        name = self.draw(lambda: rng.choice(elsewhere())[language] if rng.random() < 0.6 else self._made_up(language) if rng.random() < 0.5 else self._chimera(language), "strange place")
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
                return self.phrased(language, "power", {"a": str(numbers[0]), "b": str(numbers[1])})[0], ("calculator", {"expression": f"{numbers[0]} ** {numbers[1]}"})
            return self.phrased(language, "calculate", {"e": sign.join(map(str, numbers))})[0], ("calculator", {"expression": " ** ".join(map(str, numbers))})
        if kind == "zero":
            a = self.draw(lambda: rng.randint(1, 999), "by zero")
            return self.phrased(language, "divide", {"a": str(a), "b": "0"})[0], ("calculator", {"expression": f"{a} / 0"})
        a, b = self.draw(lambda: (rng.randint(2, 99), rng.randint(2, 99)), "no sum")
        said = rng.choice((f"sqrt({a})", f"sin({a})", f"{a}!", f"log({a})", f"{a} mod {b}", f"x + {a}", f"{a}x = {b}")) if kind == "signs" else rng.choice((f"({a} + {b}", f"{a} + * {b}", f"{a} + {b})"))
        return self.phrased(language, "calculate", {"e": said})[0], ("calculator", {"expression": said})

    def unspaced(self, language: str):
        """The words of a Chinese or Japanese text without spaces."""
        script = language if language in ("zh", "ja") else self.random.choice(("zh", "ja"))
        text = self.draw(lambda: "".join(self.random.choice(self.vocabulary(script)) for _ in range(self.random.randint(2, 9))), "unspaced")
        return self.ask(language, "word_count", {"t": text}), ("word_count", {"text": text})

    def refusal(self, language: str | None = None, kind: str | None = None) -> Case:
        """A question that ends in "I cannot", and why: at once where no tool fits, after the tool's error otherwise."""
        language, rng = language or self.language(), self.random
        kind = kind or rng.choices(("outside", "place", "sum", "spaces", "tools"), (0.5, 0.25, 0.13, 0.06, 0.06 if self.split == "train" else 0))[0]
        tools = TOOLS
        if kind == "tools":         # the prompt decides which tools there are
            question, step = rng.choice((self._calculation, self._place, self._translation, self._word_count))(language)
            left = [name for name in TOOLS if name not in (step[0], "none")]
            left = [*rng.sample(left, rng.randint(0, len(left))), "none"]
            tools, plan = {name: TOOLS[name] for name in left}, [("none", {"reason": NO_TOOL})]
        elif kind == "outside":
            question, plan = self.outside_question(language), [("none", {"reason": NO_TOOL})]
        else:
            question, step = {"place": self.no_such_place, "sum": self.refused_sum, "spaces": self.unspaced}[kind](language)
            plan = [step]
            if kind == "place" and step[0] == "place" and rng.random() < 0.2:
                other, lang = self._other(language)
                question, plan = self._then(language, question, "then_translate", {"lang": lang}), [step, ("translate", {"word": "$1", "to": self.spoken(other)})]
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
            space = "" if language in ("zh", "ja") else " "
            question = (known[0].rstrip("?？。.") if language == "en" and rng.random() < 0.5 else known[0]) + space + other
        else:
            if kind != "tail" and rng.random() < 0.4:
                pair.reverse()
            question = self.ask(language, "both", {"one": pair[0][0], "two": pair[1][0]})
        return self.answered(language, question, [step for _, step in pair], why=kind)

    def by_country(self, language: str | None = None) -> Case:
        """A fact about a country, asked of a city in it: the tool has no such fact, and the next plan goes by the country."""
        language, rng = language or self.language(), self.random
        relation = rng.choice(("currency", "language"))
        rows = [row for row in table("cities") if self.mine("plan", row["en"])]
        name = rng.choice(rows)[language]
        return self.answered(language, self.ask(language, relation, {"x": name}), [("place", {"name": name, "field": self.field_of(relation)})], why="country")

    def lured(self, language: str | None = None) -> Case:
        """A plain question with words around it that want another answer, or another tool."""
        language = language or self.language()
        question, step = self.random.choice((self._calculation, self._place, self._translation, self.exact_sum))(language)
        return self.answered(language, self.phrased(language, "lure", {"q": question})[0], [step], why="lure")

    def in_lower_case(self, question: str, plan):
        """One question in ten as people type it, and the plan that copies from it."""
        if self.random.random() >= 0.1:
            return question, plan
        small = [(tool, {key: value.lower() if key in ("name", "word", "text") else value for key, value in arguments.items()}) for tool, arguments in plan]
        return self.casual(question.lower()), small

    # ---- one request as a whole conversation -----------------------------------------------------------------------

    def asked(self, make, language: str | None = None, **details) -> Case:
        """A conversation about what `make(language)` gives: a question and its step or steps."""
        language = language or self.language()
        question, plan = make(language)
        plan = plan if isinstance(plan, list) else [plan]
        if self.split == "train":
            if any(tool in ("place", "translate") for tool, _ in plan) and (stranger := self.about_a_stranger(language, question, plan)):
                return stranger
            question, plan = self.in_lower_case(question, plan)
        return self.answered(language, question, plan, **details)
