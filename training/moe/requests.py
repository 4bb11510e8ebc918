"""Whole conversations of the agent: the plan, a tool's error and the plan after it, the results, the answer.

They are as labs_helper/agent/loop.py has them. After an error the model says `none` with a reason instead of trying a
second time, and its answer is one of the fixed sentences of requests.toml.
"""

from __future__ import annotations

import re

from labs_helper.agent.plan import Step, error_turn, results_turn, run_step, system_prompt, write_plan
from labs_helper.errors import BadPlan
from training.cases import Case
from training.moe.offer import NEXT, REASONS
from training.moe.texts import Texts
from training.world import LANGUAGE_NAMES, fill, table

NO_TOOL, NOT_KNOWN, NO_SUM, NO_SPACES = REASONS
COPIED = (
    "name",
    "word",
    "text",
)  # arguments of a plan that stand in the question, letter by letter
STRANGERS = 0.4  # share of the plans for training whose places and words are made up


# What decides in a plan: the tool, the field, the reason, the step that is built on. One token of each of them tells
# whether a plan is right, among dozens that are copied.
DECIDING = re.compile(r'"(?:tool|field|reason)": "([^"]*)"|(\$\d)')


def planned(plan) -> dict:
    """The model's turn that holds a plan: what decides in it weighs more in the loss.

    >>> message = planned([("place", {"name": "Lima", "field": "country"})])
    >>> [message["content"][start:end] for start, end in message["stress"]]
    ['place', 'country']
    """
    text = write_plan(*plan)
    return {
        "role": "assistant",
        "content": text,
        "stress": tuple(found.span(found.lastindex) for found in DECIDING.finditer(text)),
    }


class Requests(Texts):
    """Requests as conversations, and those of three steps."""

    def answered(self, language: str, question: str, plan, tools=NEXT.tools, task: str = "plan", **details) -> Case:
        """The conversation about a question whose first plan is `plan`.

        Where the plan makes a tool refuse, the error and the plan after it are in the conversation.
        """
        head = [{"role": "system", "content": system_prompt(tools)}, {"role": "user", "content": question}]
        turns = []
        try:
            results = NEXT.run(NEXT.read(write_plan(*plan)), language)
        except BadPlan as error:
            turns = [planned(plan), {"role": "user", "content": error_turn(error)}]
            plan = self._instead(plan, error, language)
            results = NEXT.run(NEXT.read(write_plan(*plan)), language)
        final, answer = self.told(language, plan, results)
        turns += [
            planned(plan),
            {"role": "user", "content": results_turn(results)},
            {"role": "assistant", "content": answer},
        ]
        refused = [arguments["reason"] for tool, arguments in plan if tool == "none"]
        details = {"results": results, "final": final, "refused": refused, "steps": len(plan), **details}
        return Case(task, language, (*head, *turns), tuple(results), "agent", details)

    def told(self, language: str, plan, results) -> tuple[list[str], str]:
        """The results that answer a question, which no later step has used, and the sentence with them, or why not."""
        own = self.own(language)
        used = {
            int(value[i + 1]) - 1
            for _, arguments in plan
            for value in arguments.values()
            for i, mark in enumerate(value)
            if mark == "$" and value[i + 1 : i + 2].isdigit()
        }
        refused = [REASONS.index(arguments["reason"]) for tool, arguments in plan if tool == "none"]
        final = [result for i, (result, (tool, _)) in enumerate(zip(results, plan)) if tool != "none" and i not in used]
        if not final:
            return final, own["none"][refused[0]]
        if refused:
            return final, fill(own["rest"][refused[0]], {"a": final[0]}, language)
        return final, fill(
            own[("answer_one", "answer_two", "answer_three")[len(final) - 1]], dict(zip("abc", final)), language
        )

    def _reported(self, language: str, plan, results: list[str]) -> tuple[list[str], list[dict]]:
        """The results that answer a question, and the two turns after its plan: all results, then the answer."""
        final, answer = self.told(language, plan, results)
        return final, [{"role": "user", "content": results_turn(results)}, {"role": "assistant", "content": answer}]

    def _instead(self, plan, error: BadPlan, language: str):
        """The plan after a tool refused.

        A city's currency is looked up for its country. For anything else `none` takes the place of the step.
        """
        at = int(error.what[5]) - 1
        tool, arguments = plan[at]
        if tool == "place" and " has no " in error.what and arguments["field"] in ("capital", "currency", "language"):
            return [
                *plan[:at],
                ("place", {"name": arguments["name"], "field": "country"}),
                ("place", {"name": "$1", "field": arguments["field"]}),
            ]
        reason = NO_SUM if tool == "calculator" else NO_SPACES if tool == "word_count" else NOT_KNOWN
        # What builds on the refused step goes as well.
        return [
            *plan[:at],
            ("none", {"reason": reason}),
            *(step for step in plan[at + 1 :] if not any("$" in value for value in step[1].values())),
        ]

    def asked(self, make, language: str | None = None, **details) -> Case:
        """A conversation about what `make(language)` gives: a question and its step or steps."""
        language = language or self.language()
        question, plan = make(language)
        plan = plan if isinstance(plan, list) else [plan]
        if self.split == "train":
            if any(tool in ("place", "translate") for tool, _ in plan) and (
                stranger := self.about_a_stranger(language, question, plan)
            ):
                return stranger
            question, plan = self.in_lower_case(question, plan)
        return self.answered(language, question, plan, **details)

    def about_a_stranger(self, language: str, question: str, plan) -> Case | None:
        """For a share of the plans: the same question about names that do not exist."""
        names = [arguments[key] for _, arguments in plan for key in COPIED if "$" not in arguments.get(key, "$")]
        # Not every name is in the question as it stands in the plan: "del" hides an "el".
        if names and self.random.random() < STRANGERS and all(name in question for name in names):
            try:
                return self._plan_for_a_stranger(language, question, plan, names)
            except BadPlan:  # a sum from an invented result, or a text that has become too long
                pass
        return None

    def _plan_for_a_stranger(self, language: str, question: str, plan, names: list[str]) -> Case:
        """A plan whose places and words are replaced by names that do not exist, and so are their results.

        What is asked about and what comes back must be copied, known or not. Words that are counted are replaced as
        well, and some of them stand twice.
        """
        made_up = {name: self._chimera(language) for name in names}
        for text in (arguments["text"] for tool, arguments in plan if tool == "word_count"):
            some = [self._chimera(language).split()[-1].lower() for _ in range(self.random.randint(1, 4))]
            made_up[text] = " ".join(self.random.choices(some, k=len(text.split())))
        # All in one go, long ones first: a made-up name may hold a real one.
        question = re.sub(
            "|".join(map(re.escape, sorted(made_up, key=len, reverse=True))), lambda found: made_up[found[0]], question
        )
        steps, results = [], []
        for tool, arguments in plan:
            arguments = arguments | {key: made_up[arguments[key]] for key in COPIED if arguments.get(key) in made_up}
            spoken = {name: code for code, name in LANGUAGE_NAMES.items()}.get(arguments.get("to"), language)
            results.append(
                self._chimera(spoken)
                if tool in ("place", "translate")
                else run_step(Step(tool, arguments), results, NEXT.tools)[1]
            )
            steps.append((tool, arguments))
        head = [{"role": "system", "content": system_prompt(NEXT.tools)}, {"role": "user", "content": question}]
        _, rest = self._reported(language, steps, results)
        return Case(
            "plan",
            language,
            (*head, planned(steps), *rest),
            (),
            "plan",
            {"steps": len(steps)},
        )

    def in_lower_case(self, question: str, plan):
        """One question in ten as people type it, and the plan that copies from it."""
        if self.random.random() >= 0.1:
            return question, plan
        small = [
            (
                tool,
                {key: value.lower() if key in ("name", "word", "text") else value for key, value in arguments.items()},
            )
            for tool, arguments in plan
        ]
        return self.casual(question.lower()), small

    def three_steps(self, language: str):
        """A question and three steps: one after another, or several requests in one."""
        while True:
            question, plan = self.random.choice(
                (self._long_sum, self._round_trip, self._three_requests, self._chain_and_one)
            )(language)
            try:
                NEXT.run(NEXT.read(write_plan(*plan)), language)
                return question, plan
            except BadPlan:
                pass  # a currency that has no translation, a sum that divides by zero

    def _more_sum(self, language: str, question: str, reference: str):
        task, k = self.random.choice(("add", "subtract", "multiply", "divide")), self.random.randint(2, 30)
        sign = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}[task]
        return self._then(language, question, f"then_{task}", {"k": str(k)}), (
            "calculator",
            {"expression": f"{reference} {sign} {k}"},
        )

    def _long_sum(self, language: str):
        question, first = self.random.choice((self._calculation, self._calculation, self._word_count, self.exact_sum))(
            language
        )
        question, second = self._more_sum(language, question, "$1")
        question, third = self._more_sum(language, question, "$2")
        return question, [first, second, third]

    def _round_trip(self, language: str):
        question, first = self._place(language, "where_city")
        field = self.random.choice(("capital", "currency", "language"))
        question = self._then(language, question, f"then_{field}", {})
        other, lang = self._other(language)
        question = self._then(language, question, "then_translate", {"lang": lang})
        return question, [
            first,
            ("place", {"name": "$1", "field": field}),
            ("translate", {"word": "$2", "to": self.spoken(other)}),
        ]

    def _three_requests(self, language: str):
        makers = self.random.sample(
            (self._calculation, self._place, self._translation, self._word_count, self.exact_sum, self._place), 3
        )
        asked = [make(language) for make in makers]
        values = dict(zip(("one", "two", "three"), (question for question, _ in asked)))
        return self.phrased(language, "frames3", values)[0], [step for _, step in asked]

    def _chain_and_one(self, language: str):
        (chain, steps), (other, step) = (
            self._chain(language),
            self.random.choice((self._calculation, self._place, self._translation))(language),
        )
        if self.random.random() < 0.5:
            return self.ask(language, "both", {"one": chain, "two": other}), [*steps, step]
        moved = [
            (tool, {key: value.replace("$1", "$2") for key, value in arguments.items()}) for tool, arguments in steps
        ]
        return self.ask(language, "both", {"one": other, "two": chain}), [step, *moved]

    def by_country(self, language: str | None = None) -> Case:
        """A fact about a country, asked of a city in it: the tool refuses, and the next plan goes by the country."""
        language, rng = language or self.language(), self.random
        relation = rng.choice(("currency", "language"))
        rows = [row for row in table("cities") if self.mine("plan", row["en"])]
        name = rng.choice(rows)[language]
        return self.answered(
            language,
            self.ask(language, relation, {"x": name}),
            [("place", {"name": name, "field": self.field_of(relation)})],
            why="country",
        )

    def lured(self, language: str | None = None) -> Case:
        """A plain question with words around it that want another answer, or another tool."""
        language = language or self.language()
        question, step = self.random.choice((self._calculation, self._place, self._translation, self.exact_sum))(
            language
        )
        return self.answered(language, self.phrased(language, "lure", {"q": question})[0], [step], why="lure")
