"""What moe-tiny learns beyond instruct-tiny: simple Python, and plans with tools. The two splits never meet here either.

Held out for evaluation are phrasings, operands, lists and words (as in training/corpus.py), and in plans one in ten
places: no plan in training ever names them.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from functools import cache
from pathlib import Path

from labs_helper.agent.plan import (
    Step,
    error_turn,
    read_plan,
    results_turn,
    run_plan,
    run_step,
    system_prompt,
    write_plan,
)
from labs_helper.agent.tools import TOOLS
from labs_helper.errors import BadPlan
from training.corpus import FACTS, Case, Corpus, worked
from training.world import LANGUAGE_NAMES, LANGUAGES, fill, index, table, words
from training.world import phrases as shared_phrases

from .requests import KINDS, Requests

# What a conversation is about, as far as experts may take sides: its language, or what has a form of its own.
TOPICS = (*LANGUAGES, "numbers", "python", "plan")
NUMBERS = ("add", "subtract", "multiply", "count")
FUNCTIONS = {      # name: (arguments, what it returns); {k} is drawn
    "add": ("n", "n + {k}"), "subtract": ("n", "n - {k}"), "multiply": ("n", "n * {k}"), "double": ("n", "n * 2"),
    "add_two": ("a, b", "a + b"), "larger": ("a, b", "max(a, b)"), "smaller": ("a, b", "min(a, b)"), "first": ("items", "items[0]"),
    "last": ("items", "items[-1]"), "count": ("items", "len(items)"), "total": ("items", "sum(items)"), "reverse": ("items", "items[::-1]"),
}
LOOPS = {"loop_add": "n + {k}", "loop_multiply": "n * {k}", "loop_each": "n"}
WORD_KINDS = ("animal", "fruit", "thing", "colour")
# Which question of the shared phrasings asks for which field of a place.
PLACE_FIELDS = {"capital": "capital", "where_country": "continent", "language": "language", "currency": "currency",
                "where_city": "country", "where_landmark": "city"}
COPIED = ("name", "word", "text")  # arguments of a plan that stand in the question, letter by letter
# Shares of the tasks of instruct-tiny, plans, Python and, besides, what is outside the small world. For training other ones than at
# first; the evaluation keeps its cases.
SHARES = {"train": (0.45, 0.42, 0.08, 0.05), "eval": (0.74, 0.14, 0.12, 0)}
STRANGERS = 0.4                   # share of the plans for training whose places and words are made up
MISTAKEN = 0.4                    # share of the plans of one or two steps for training that begin with a wrong one
TWICE = 0.3                       # share of the texts for training to be counted in which words stand twice
SPLICED = 0.25                    # share of the phrasings for training that end as another one of the same question does
SEVERAL_WORDS = 0.4               # share of the made-up names that have several words, in languages that write spaces
ROUGH = ((0.1, False), (0.35, True), (0.2, True))    # shares of the questions about plans and code that lose a word, and that get one more
LITTER = 0.12                     # share of the other questions for training that get a stray word
CLEAN = ("repeat", "list_given", "json_person", "needle")       # but these: a word too many might belong to what is copied
MIXED = 0.5                       # share of the questions outside the small world that are put together from two
STRAY = ("identity", "purpose", "greeting", "thanks", "unknown", "suggest", "count", "list_category")     # sections whose words they get
SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}


@cache
def own_phrases() -> dict:
    """The phrasings of phrases.toml and requests.toml: a language, then a section."""
    found, more = (tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8")) for name in ("phrases.toml", "requests.toml"))
    return {language: found[language] | more[language] for language in found}


@cache
def stray_words(language: str) -> tuple[str, ...]:
    """Words (characters in Chinese and Japanese) that phrasings for training have where no place or number is asked for."""
    texts = [text for section in STRAY for text in shared_phrases(language)[section]["ask"]]
    return tuple(piece for text in texts for piece in (text.replace(" ", "") if language in ("zh", "ja") else text.split()) if "{" not in piece)


def bare(text: str) -> str:
    """A phrasing without what does not make it another one: spaces, signs, capitals."""
    return re.sub(r"[\W_]+", "", text).casefold()


def topic(case: Case) -> int:
    """The place of a case's topic in TOPICS."""
    if case.task in ("python", "plan"):
        return TOPICS.index(case.task)
    return TOPICS.index("numbers" if case.task in NUMBERS else case.language)


class MoeCorpus(Requests, Corpus):
    """The shared tasks, Python, plans, and what is asked of the agent beyond (requests.py).

    Example:
        >>> case = MoeCorpus("eval", 7).plan("en", steps=2)
        >>> case.messages[0]["content"].splitlines()[0]
        'Plan with tools. Answer in JSON.'
    """

    def ask(self, language: str, section: str, values: dict[str, str]) -> str:
        """A question in a phrasing of this split, kept as it is: code and quoted words must survive."""
        text = self.ask_plainly(language, section, values)
        if self.split == "train" and self.random.random() < 0.1:
            text = self.random.choice(shared_phrases(language)["before"]) + text
        return text

    def template(self, language: str, section: str) -> str:
        """A phrasing of this split. In training its end is now and then another's, or a stray word is in it: there are few whole ones."""
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
        """The beginning of one phrasing and, from a placeholder on, the end of another with the same placeholders in the same order.

        Where that leaves hardly a word beside the placeholders, nothing says what is asked: then the first as it is.
        """
        first, second = (re.split(r"(\{[^}]*\})", text) for text in (one, other))
        names = [[re.match(r"\{(\w+)", piece)[1] for piece in pieces[1::2]] for pieces in (first, second)]
        if not names[0] or names[0] != names[1]:
            return one
        cut = self.random.randrange(1, len(first), 2)
        made = first[:cut] + second[cut:]       # the placeholder as in the second: a Korean particle belongs to what follows
        length = [sum(len(piece) for piece in pieces[::2]) for pieces in (made, first, second)]
        return "".join(made) if length[0] >= min(length[1:]) else one

    def unknown(self, language: str | None = None) -> Case:
        """Something outside the small world. In training there is more of it, also the beginning of one question with the end of
        another: there is no end of what the model does not know, and what is like nothing it knows is not to be guessed."""
        language = language or self.language()
        if self.split == "eval" or self.random.random() < 0.4:
            return super().unknown(language)
        answer = shared_phrases(language)["unknown"]["answer"]
        return self.case("unknown", language, self.unknown_topic(language), answer, (answer,), system=self.plain_system(language))

    def unknown_topic(self, language: str) -> str:
        """What no part of the small world is about; in training half of the time put together from two."""
        known, space = shared_phrases(language)["unknown"], "" if language in ("zh", "ja") else " "
        if self.split == "eval":
            return self.random.choice(known["topics_held_out"])
        topics = self.random.sample([*known["topics"], *own_phrases()[language]["topics"]], 2)
        if self.random.random() >= MIXED:
            return topics[0]
        first, second = (text.split(" ") if space else list(text) for text in topics)
        return space.join(first[: self.random.randint(1, len(first))] + second[self.random.randrange(len(second)):])

    @staticmethod
    def own(language: str) -> dict:
        """The phrasings of a language that only this corpus has."""
        return own_phrases()[language]

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
        rows = [*(row for kind in kinds for row in words(kind)), *(row for kind in ("countries", "cities", "landmarks") for row in table(kind))]
        return frozenset(row[language] for row in rows for language in LANGUAGES)

    # ---- Python --------------------------------------------------------------------------------------------

    def python(self, language: str | None = None) -> Case:
        """Write a function or a loop, or say what a few lines print."""
        language = language or self.language()
        return self.random.choices((self.function, self.loop, self.output), (0.35, 0.2, 0.45))[0](language)

    def function(self, language: str) -> Case:
        name = self.random.choice((*FUNCTIONS, "add", "subtract", "multiply", "multiply"))
        arguments, result = FUNCTIONS[name]
        values = {"k": self.draw(lambda: str(self.random.randint(3, 99)), "python", name)} if "{k}" in result else {}
        what = fill(self.random.choice(own_phrases()[language][f"code_{name}"]), values, language)
        code = f"def {name}({arguments}):\n    return {result.format(**values)}"
        return self.case("python", language, self.ask(language, "function", {"what": what}), code, code, "code", code=code)

    def loop(self, language: str) -> Case:
        rng = self.random
        if rng.random() < 0.4:
            a, b = self.draw(lambda: (lambda a: (a, a + rng.randint(2, 20)))(rng.randint(0, 40)), "python", "range")
            what = fill(rng.choice(own_phrases()[language]["loop_range"]), {"a": str(a), "b": str(b)}, language)
            code = f"for n in range({a}, {b + 1}):\n    print(n)"
        else:
            name = rng.choice(tuple(LOOPS))
            items, k = self.draw(lambda: ([rng.randint(1, 40) for _ in range(rng.randint(2, 5))], rng.randint(2, 20)), "python", "loop")
            what = fill(rng.choice(own_phrases()[language][name]), {"items": str(items), "k": str(k)}, language)
            code = f"for n in {items}:\n    print({LOOPS[name].format(k=k)})"
        return self.case("python", language, self.ask(language, "loop", {"what": what}), code, code, "code", code=code)

    def output(self, language: str) -> Case:
        """What does this print? The output stands there as it would on a screen; larger sums are worked out first."""
        rng, kind = self.random, "exact"
        form = rng.choice(("sum", "repeat", "join", "index", "larger", "sorted", "lists", "loop", "variable", "length"))

        def word():
            return rng.choice(words(rng.choice(("animal", "fruit"))))["en"].split()[-1]

        def numbers(low, high):
            return [rng.randint(1, 20) for _ in range(rng.randint(low, high))]

        make = {"sum": lambda: (rng.choice("+-"), rng.randint(10, 99), rng.randint(10, 99)), "repeat": lambda: (word(), rng.randint(2, 4)),
                "join": lambda: (word(), word()), "index": lambda: ((items := numbers(3, 5)), rng.choice((*range(len(items)), -1))),
                "larger": lambda: (rng.choice(("max", "min")), rng.randint(1, 99), rng.randint(1, 99)), "sorted": lambda: rng.sample(range(1, 10), rng.randint(3, 4)),
                "lists": lambda: (numbers(1, 3), numbers(1, 2)), "loop": lambda: (numbers(2, 4), rng.choice("+*"), rng.randint(2, 3)),
                "variable": lambda: (rng.randint(2, 20), rng.choice("+*"), rng.randint(2, 5)), "length": lambda: numbers(2, 6)}[form]
        drawn = self.draw(make, "python", form)
        match form:
            case "sum":
                sign, a, b = drawn
                a, b = (max(a, b), min(a, b)) if sign == "-" else (a, b)
                total = a + b if sign == "+" else a - b
                if not self.mine("subtract" if sign == "-" else "add", (a, b)):     # the sums of the arithmetic task stay apart too
                    return self.output(language)
                code, answer, expect, kind = f"print({a} {sign} {b})", worked(a, sign, b, total), str(total), "number"
            case "repeat":
                code, answer = f'print("{drawn[0]}" * {drawn[1]})', drawn[0] * drawn[1]
            case "join":
                code, answer = f'print("{drawn[0]}" + "{drawn[1]}")', drawn[0] + drawn[1]
            case "index":
                code, answer = f"print({drawn[0]}[{drawn[1]}])", str(drawn[0][drawn[1]])
            case "larger":
                code, answer = f"print({drawn[0]}({drawn[1]}, {drawn[2]}))", str({"max": max, "min": min}[drawn[0]](drawn[1:]))
            case "sorted":
                code, answer = f"print(sorted({drawn}))", str(sorted(drawn))
            case "lists":
                code, answer = f"print({drawn[0]} + {drawn[1]})", str(drawn[0] + drawn[1])
            case "loop":
                items, sign, k = drawn
                code = f"for n in {items}:\n    print(n {sign} {k})"
                answer = "\n".join(str(n + k if sign == "+" else n * k) for n in items)
            case "variable":
                n, sign, k = drawn
                code, answer = f"n = {n}\nn = n {sign} {k}\nprint(n)", str(n + k if sign == "+" else n * k)
            case "length":
                code, answer = f"print(len({drawn}))", str(len(drawn))
        return self.case("python", language, self.ask(language, "output", {"code": code}), answer, answer if kind == "exact" else expect, kind, code=code)

    # ---- plans ---------------------------------------------------------------------------------------------

    def plan(self, language: str | None = None, steps: int | None = None) -> Case:
        """A request for a plan of one or two steps, the plan, the tools' results, and the answer from them.

        In training some begin with a wrong plan and the error that came back. Evaluation asks for the plan:
        its case ends there, and `details` hold what a whole agent needs.
        """
        language = language or self.language()
        if self.split == "train" and steps is None and (kind := self.random.choices(list(KINDS), list(KINDS.values()))[0]) != "usual":
            return self.of_kind(kind, language)
        steps = steps or (1 if self.random.random() < 0.35 else 2)
        if steps == 1:
            question, plan = self.random.choice((self._calculation, self._place, self._translation, self._word_count))(language)
            plan = [plan]
        else:
            question, plan = self.random.choice((self._two_requests, self._chain, self._chain))(language)
        if self.split == "train":
            if stranger := self.about_a_stranger(language, question, plan):
                return stranger
            question, plan = self.in_lower_case(question, plan)
        text = write_plan(*plan)
        results = run_plan(read_plan(text), language=language)
        final, rest = self._reported(language, plan, results)
        tools = list(TOOLS)
        if self.split == "train" and self.random.random() < 0.3:        # the prompt decides which tools there are
            unused = [tool for tool in tools if tool not in {tool for tool, _ in plan}]
            tools = [tool for tool in tools if tool not in self.random.sample(unused, self.random.randint(0, len(unused)))]
            self.random.shuffle(tools)
        head = [{"role": "system", "content": system_prompt({tool: TOOLS[tool] for tool in tools})}, {"role": "user", "content": question}]
        details = {"results": results, "final": final, "steps": steps}
        if self.split == "eval":
            return Case("plan", language, (*head, {"role": "assistant", "content": text}), tuple(results), "plan", details)
        if self.random.random() < MISTAKEN:
            head += self._mistake(plan)
        return Case("plan", language, (*head, {"role": "assistant", "content": text}, *rest), tuple(results), "plan", details)

    def of_kind(self, kind: str, language: str) -> Case:
        """A conversation of the agent of one of the kinds in requests.py."""
        match kind:
            case "sum":
                return self.asked(self.exact_sum, language)
            case "text":
                return self.asked(self.text_count, language)
            case "three":
                return self.asked(self.three_steps, language)
            case "refused":
                return self.refusal(language) if self.random.random() < 0.92 else self.by_country(language)
            case "in_part":
                return self.in_part(language)
        return self.lured(language)

    def _reported(self, language: str, plan, results: list[str]) -> tuple[list[str], list[dict]]:
        """The results that answer a question, and the two turns after its plan: all results, and the answer from them."""
        final, answer = self.told(language, plan, results)
        return final, [{"role": "user", "content": results_turn(results)}, {"role": "assistant", "content": answer}]

    def about_a_stranger(self, language: str, question: str, plan) -> Case | None:
        """For a share of the plans: the same question about names that do not exist."""
        names = [arguments[key] for _, arguments in plan for key in COPIED if "$" not in arguments.get(key, "$")]
        if names and self.random.random() < STRANGERS and all(name in question for name in names):       # "del" hides an "el"
            try:
                return self._plan_for_a_stranger(language, question, plan, names)
            except BadPlan:     # a sum from an invented result, or a text that has become too long
                pass
        return None

    def _plan_for_a_stranger(self, language: str, question: str, plan, names: list[str]) -> Case:
        """A plan whose places and words are replaced by names that do not exist, and so are their results: what is asked about and
        what comes back must be copied, known or not. Words that are counted are replaced as well, and some of them stand twice."""
        made_up = {name: self._chimera(language) for name in names}
        for text in (arguments["text"] for tool, arguments in plan if tool == "word_count"):
            some = [self._chimera(language).split()[-1].lower() for _ in range(self.random.randint(1, 4))]
            made_up[text] = " ".join(self.random.choices(some, k=len(text.split())))
        # All in one go, long ones first: a made-up name may hold a real one.
        question = re.sub("|".join(map(re.escape, sorted(made_up, key=len, reverse=True))), lambda found: made_up[found[0]], question)
        steps, results = [], []
        for tool, arguments in plan:
            arguments = arguments | {key: made_up[arguments[key]] for key in COPIED if arguments.get(key) in made_up}
            spoken = {name: code for code, name in LANGUAGE_NAMES.items()}.get(arguments.get("to"), language)
            results.append(self._chimera(spoken) if tool in ("place", "translate") else run_step(Step(tool, arguments), results)[1])
            steps.append((tool, arguments))
        head = [{"role": "system", "content": system_prompt(TOOLS)}, {"role": "user", "content": question}]
        _, rest = self._reported(language, steps, results)
        return Case("plan", language, (*head, {"role": "assistant", "content": write_plan(*steps)}, *rest), (), "plan", {"steps": len(steps)})

    def _chimera(self, language: str) -> str:
        """A name that is no place's: the beginning of one and the end of another, or, where names have several words, one of them changed."""
        names = [row[language] for kind in ("countries", "cities", "landmarks", "people") for row in table(kind)]
        long = [name for name in names if " " in name]
        while True:
            if long and self.random.random() < SEVERAL_WORDS:
                pieces = self.random.choice(long).split()
                pieces[self.random.randrange(len(pieces))] = self.random.choice(self.random.choice(names).split())
                name = " ".join(pieces)
            else:
                head, tail = self.random.sample(names, 2)
                name = (head[: self.random.randint(1, len(head))] + tail[self.random.randint(0, len(tail) - 1):].lower()).strip()
            if len(name) > 1 and name not in names:
                return name

    def repair(self, language: str | None = None) -> Case:
        """A wrong plan and its error; the case ends with the corrected plan."""
        case = self.plan(language)
        while not case.expect or case.kind == "agent":      # a stranger's plan has no results, and some end in `none`
            case = self.plan(language)
        plan = [(step["tool"], step["arguments"]) for step in self._steps(case)]
        start = [*case.messages[:2], *self._mistake(plan)]
        return Case("plan", case.language, (*start, {"role": "assistant", "content": write_plan(*plan)}), case.expect, "plan", case.details)

    @staticmethod
    def _steps(case: Case) -> list[dict]:
        """The steps of the last plan in a case."""
        return [json.loads(m["content"]) for m in case.messages if m["role"] == "assistant" and m["content"].startswith('{"steps"')][-1]["steps"]

    def _mistake(self, plan) -> list[dict]:
        """A wrong version of a plan, which is not to be learned, and the error it causes."""
        rng, text = self.random, write_plan(*plan)
        at = rng.randrange(len(plan))
        tool, arguments = plan[at]
        name = rng.choice(tuple(arguments))

        def changed(tool, arguments):
            return write_plan(*plan[:at], (tool, arguments), *plan[at + 1:])

        def misread() -> str:
            """A value that the form of a plan allows and the tool does not: a lost letter, a choice that there is not."""
            value = arguments[name]
            if name == "field":
                value = rng.choice(("mayor", "state", "population", "where", "money", "place"))
            elif name == "to":
                value = rng.choice((*LANGUAGES, "French", "German", "Latin", value.lower()))
            elif name == "expression":
                value = rng.choice((f"{value} =", f"{value}?", value.replace(" ", " plus ", 1), f"({value}"))
            elif len(value) > 1:
                cut = rng.randrange(len(value))
                value = value[:cut] + value[cut + 1:]
            return changed(tool, {**arguments, name: value})

        wrong = rng.choice((
            misread, misread,
            lambda: changed(rng.choice(("math", "search", "map", "dictionary", "count", "python")), arguments),
            lambda: changed(tool, {k: v for k, v in arguments.items() if k != name}),
            lambda: changed(tool, {**{k: v for k, v in arguments.items() if k != name}, rng.choice(("input", "value", "query")): arguments[name]}),
            lambda: changed(tool, {**arguments, name: rng.randint(1, 99)}),
            lambda: changed(tool, {**arguments, name: f"${rng.randint(at + 1, 3)}"}),
            lambda: text[: rng.randint(5, len(text) - 2)],
            lambda: json.dumps(json.loads(text)["steps"], ensure_ascii=False),
            lambda: json.dumps({"steps": []}),
        ))()
        try:
            run_plan(read_plan(wrong))
        except BadPlan as error:
            return [{"role": "assistant", "content": wrong, "learn": False}, {"role": "user", "content": error_turn(error)}]
        return self._mistake(plan)      # a text with a letter less can still be counted

    # Each of the following gives a question and a step (or steps): (tool, arguments).

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
        return self.ask(language, task, {"a": str(a), "b": str(b)}), ("calculator", {"expression": f"{a} {SIGNS[task]} {b}"})

    def _place(self, language: str, relation: str | None = None):
        relation = relation or self.random.choice(tuple(PLACE_FIELDS))
        fact = self.random.choice([fact for fact in FACTS[relation] if self.mine("plan", fact.key)])
        return self.ask(language, relation, {"x": fact.x[language]}), ("place", {"name": fact.x[language], "field": PLACE_FIELDS[relation]})

    def _other(self, language: str) -> tuple[str, str]:
        """Another language: its code, and its name in the language of the question."""
        other = self.random.choice([code for code in LANGUAGES if code != language])
        return other, index("words", "language")[LANGUAGE_NAMES[other]][language]

    def _translation(self, language: str):
        other, lang = self._other(language)
        rows = [row for kind in WORD_KINDS for row in words(kind)] if self.random.random() < 0.7 else [*table("countries"), *table("cities")]
        row = self.draw(lambda: self.random.choice(rows)["en"], "plan")
        word = next(r for r in rows if r["en"] == row)[language]
        return self.ask(language, "translate", {"x": word, "lang": lang}), ("translate", {"word": word, "to": LANGUAGE_NAMES[other]})

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
            k = rng.randint(2, 9) if task == "multiply" else rng.randint(2, 30)     # the first step's operands are held out
            sign = SIGNS[task]
            if self.split == "train" and rng.random() < 0.2:
                task, sign = "divide", "/"
            section, values, second = f"then_{task}", {"k": str(k)}, ("calculator", {"expression": f"$1 {sign} {k}"})
        elif kind == "translate":
            question, first = self._place(language, rng.choice(("capital", "where_city", "where_landmark")))
            other, lang = self._other(language)
            section, values, second = "then_translate", {"lang": lang}, ("translate", {"word": "$1", "to": LANGUAGE_NAMES[other]})
        else:
            question, first = self._place(language, "where_city")
            field = rng.choice(("capital", "currency", "language"))
            section, values, second = f"then_{field}", {}, ("place", {"name": "$1", "field": field})
        space = "" if language in ("zh", "ja") else " "
        return question + space + self.ask_plainly(language, section, values), [first, second]

    def ask_plainly(self, language: str, section: str, values: dict[str, str]) -> str:
        """`ask` without a greeting."""
        phrasings = own_phrases()[language].get(section) or shared_phrases(language)[section]
        return fill(self._rough(self._phrasing(phrasings), language), values, language)

    def _rough(self, template: str, language: str) -> str:
        """In training, phrasings now and then lose a word or get others: what a plan takes from a question must be found in unknown
        phrasings too, and there are few known ones."""
        if self.split == "train":
            for share, more in ROUGH:
                if self.random.random() < share:
                    template = self._change_a_word(template, language, self.random.choice(stray_words(language)) if more else "")
        return template

    # ---- the mixture ---------------------------------------------------------------------------------------

    def sample(self) -> Case:
        """One conversation of the training mixture: mostly as instruct-tiny's, then plans and Python."""
        return self.random.choices((super().sample, self.plan, self.python, self.unknown), SHARES[self.split])[0]()

    def finish(self) -> Case:
        exact = (self.arithmetic, self.json_object, self.json_object, self.numbered_list, self.steered_fact, self.plan, self.plan, self.plan, self.plan, self.python)
        return self.random.choice(exact)() if self.random.random() < 0.5 else self.sample()

    def copying(self) -> Case:
        return self.random.choices((super().copying, self.plan), (0.7, 0.3))[0]()

    def arithmetic(self, language: str | None = None, task: str | None = None) -> Case:
        """Sums that the head holds: for long products there is the calculator."""
        if task is None and self.split == "train":
            task = self.random.choices(tuple(SIGNS), (0.42, 0.28, 0.3))[0]
        return super().arithmetic(language, task)

    def repetition(self, language: str | None = None) -> Case:
        """In training half of what is to be said again is text of any kind, up to 200 characters: the plainest form of what plans need."""
        language = language or self.language()
        if self.split == "eval" or self.random.random() < 0.5:
            return super().repetition(language)
        text = self.text_to_copy(language)
        return self.case("repeat", language, fill(self.template(language, "repeat"), {"t": text}, language), text, (text,))


def same_code(answer: str, reference: str) -> bool:
    """Whether two pieces of code are the same but for layout and names that they choose themselves. Parsed, never run.

    >>> same_code("def twice(x): return x*2", "def double(n):\\n    return n * 2")
    True
    """
    def shape(text: str) -> str:
        tree, names = ast.parse(text), {}
        bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)} | \
                {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.name = "function"
            elif isinstance(node, ast.arg):
                node.arg = names.setdefault(node.arg, f"v{len(names)}")
            elif isinstance(node, ast.Name) and node.id in bound:
                node.id = names.setdefault(node.id, f"v{len(names)}")
        return ast.dump(tree)

    try:
        return shape(answer.strip()) == shape(reference)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def valid_plan(answer: str) -> bool:
    """Whether an answer is a plan that the tools accept, right or not."""
    try:
        read_plan(answer.strip())
    except BadPlan:
        return False
    return True


def plan_results(answer: str, language: str) -> list[str] | None:
    """What a plan's steps give, or None if it cannot be run."""
    try:
        return run_plan(read_plan(answer.strip()), language=language)
    except BadPlan:
        return None
