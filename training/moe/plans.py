"""Plans with tools: what is asked of a whole agent, what is wrong in a plan, and how it is repaired."""

from __future__ import annotations

import json

from labs_helper.agent.plan import error_turn, system_prompt, write_plan
from labs_helper.errors import BadPlan
from training.cases import Case
from training.moe.offer import NEXT, PUBLISHED, Offer
from training.moe.refusals import Refusals
from training.moe.requests import planned
from training.world import LANGUAGES

# Shares of the plans for training: as before, sums, texts to copy, three steps, refusals, answers in part, all of this
# with a lure.
KINDS = {"usual": 0.38, "sum": 0.1, "text": 0.08, "three": 0.14, "refused": 0.15, "in_part": 0.09, "lured": 0.06}
MISTAKEN = 0.4  # share of the plans of one or two steps for training that begin with a wrong one


class Plans(Refusals):
    """Plans of the agent."""

    @property
    def offer(self) -> Offer:
        """The agent that a plan is for: training prepares the next one, evaluation asks what is published."""
        return NEXT if self.split == "train" else PUBLISHED

    def plan(self, language: str | None = None, steps: int | None = None) -> Case:
        """A request for a plan of one or two steps, the plan, the tools' results, and the answer from them.

        In training some begin with a wrong plan and the error that came back. Evaluation asks for the plan:
        its case ends there, and `details` hold what a whole agent needs.
        """
        language = language or self.language()
        if (
            self.split == "train"
            and steps is None
            and (kind := self.random.choices(list(KINDS), list(KINDS.values()))[0]) != "usual"
        ):
            return self.of_kind(kind, language)
        steps = steps or (1 if self.random.random() < 0.35 else 2)
        if steps == 1:
            question, plan = self.random.choice((self._calculation, self._place, self._translation, self._word_count))(
                language
            )
            plan = [plan]
        else:
            question, plan = self.random.choice((self._two_requests, self._chain, self._chain))(language)
        if self.split == "train":
            if stranger := self.about_a_stranger(language, question, plan):
                return stranger
            question, plan = self.in_lower_case(question, plan)
        text = write_plan(*plan)
        results = self.offer.run(self.offer.read(text), language)
        final, rest = self._reported(language, plan, results)
        tools = list(self.offer.tools)
        if self.split == "train" and self.random.random() < 0.3:  # the prompt decides which tools there are
            unused = [tool for tool in tools if tool not in {tool for tool, _ in plan}]
            tools = [
                tool for tool in tools if tool not in self.random.sample(unused, self.random.randint(0, len(unused)))
            ]
            self.random.shuffle(tools)
        head = [
            {"role": "system", "content": system_prompt({tool: self.offer.tools[tool] for tool in tools})},
            {"role": "user", "content": question},
        ]
        details = {"results": results, "final": final, "steps": steps}
        if self.split == "eval":
            return Case(
                "plan", language, (*head, {"role": "assistant", "content": text}), tuple(results), "plan", details
            )
        if self.random.random() < MISTAKEN:
            head += self._mistake(plan)
        return Case("plan", language, (*head, planned(plan), *rest), tuple(results), "plan", details)

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

    def repair(self, language: str | None = None) -> Case:
        """A wrong plan and its error; the case ends with the corrected plan."""
        case = self.plan(language)
        while not case.expect or case.kind == "agent":  # a stranger's plan has no results, and some end in `none`
            case = self.plan(language)
        plan = [(step["tool"], step["arguments"]) for step in self._steps(case)]
        start = [*case.messages[:2], *self._mistake(plan)]
        return Case(
            "plan",
            case.language,
            (*start, {"role": "assistant", "content": write_plan(*plan)}),
            case.expect,
            "plan",
            case.details,
        )

    @staticmethod
    def _steps(case: Case) -> list[dict]:
        """The steps of the last plan in a case."""
        return [
            json.loads(m["content"])
            for m in case.messages
            if m["role"] == "assistant" and m["content"].startswith('{"steps"')
        ][-1]["steps"]

    def _mistake(self, plan) -> list[dict]:
        """A wrong version of a plan, which is not to be learned, and the error it causes."""
        rng, text = self.random, write_plan(*plan)
        at = rng.randrange(len(plan))
        tool, arguments = plan[at]
        name = rng.choice(tuple(arguments))

        def changed(tool, arguments):
            return write_plan(*plan[:at], (tool, arguments), *plan[at + 1 :])

        def misread() -> str:
            """A value that the form of a plan allows and the tool does not: a lost letter, a choice that is none."""
            value = arguments[name]
            if name == "field":
                value = rng.choice(("mayor", "state", "population", "where", "money", "place"))
            elif name == "to":
                value = rng.choice((*LANGUAGES, "French", "German", "Latin", value.lower()))
            elif name == "expression":
                value = rng.choice((f"{value} =", f"{value}?", value.replace(" ", " plus ", 1), f"({value}"))
            elif len(value) > 1:
                cut = rng.randrange(len(value))
                value = value[:cut] + value[cut + 1 :]
            return changed(tool, {**arguments, name: value})

        wrong = rng.choice(
            (
                misread,
                misread,
                lambda: changed(rng.choice(("math", "search", "map", "dictionary", "count", "python")), arguments),
                lambda: changed(tool, {k: v for k, v in arguments.items() if k != name}),
                lambda: changed(
                    tool,
                    {
                        **{k: v for k, v in arguments.items() if k != name},
                        rng.choice(("input", "value", "query")): arguments[name],
                    },
                ),
                lambda: changed(tool, {**arguments, name: rng.randint(1, 99)}),
                lambda: changed(tool, {**arguments, name: f"${rng.randint(at + 1, 3)}"}),
                lambda: text[: rng.randint(5, len(text) - 2)],
                lambda: json.dumps(json.loads(text)["steps"], ensure_ascii=False),
                lambda: json.dumps({"steps": []}),
            )
        )()
        try:
            self.offer.run(self.offer.read(wrong))
        except BadPlan as error:
            return [
                {"role": "assistant", "content": wrong, "learn": False},
                {"role": "user", "content": error_turn(error)},
            ]
        return self._mistake(plan)  # a text with a letter less can still be counted


def valid_plan(answer: str) -> bool:
    """Whether an answer is a plan that the tools accept, right or not."""
    try:
        PUBLISHED.read(answer.strip())
    except BadPlan:
        return False
    return True


def plan_results(answer: str, language: str) -> list[str] | None:
    """What a plan's steps give, or None if it cannot be run."""
    try:
        return PUBLISHED.run(PUBLISHED.read(answer.strip()), language)
    except BadPlan:
        return None
