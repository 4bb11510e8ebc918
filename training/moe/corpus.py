"""What moe-tiny learns beyond instruct-tiny: simple Python, and plans with tools. The splits never meet here either.

Held out for evaluation are phrasings, operands, lists and words (as in training/corpus.py), and in plans one in ten
places: no plan in training ever names them.
"""

from __future__ import annotations

from training.cases import Case
from training.moe.code import Code
from training.moe.plans import Plans
from training.moe.steps import SIGNS
from training.world import LANGUAGES, fill

# What a conversation is about, as far as experts may take sides: its language, or what has a form of its own.
TOPICS = (*LANGUAGES, "numbers", "python", "plan")
NUMBERS = ("add", "subtract", "multiply", "count")
# Shares of the tasks of instruct-tiny, plans, Python and, besides, what is outside the small world. For training other
# ones than at first; the evaluation keeps its cases.
SHARES = {"train": (0.45, 0.42, 0.08, 0.05), "eval": (0.74, 0.14, 0.12, 0)}


def topic(case: Case) -> int:
    """The place of a case's topic in TOPICS."""
    if case.task in ("python", "plan"):
        return TOPICS.index(case.task)
    return TOPICS.index("numbers" if case.task in NUMBERS else case.language)


class MoeCorpus(Plans, Code):
    """The shared tasks, Python, plans, and what is asked of the agent beyond.

    Example:
        >>> case = MoeCorpus("eval", 7).plan("en", steps=2)
        >>> case.messages[0]["content"].splitlines()[0]
        'Plan with tools. Answer in JSON.'
    """

    # Comparing is practised by itself first, and that is no part of these weights' training yet.
    LEFT_OUT = ("yes_or_no", "which_of_these", "claims", "membership")

    def sample(self) -> Case:
        """One conversation of the training mixture: mostly as instruct-tiny's, then plans and Python."""
        return self.random.choices((super().sample, self.plan, self.python, self.unknown), SHARES[self.split])[0]()

    def finish(self) -> Case:
        exact = (
            self.arithmetic,
            self.json_object,
            self.json_object,
            self.numbered_list,
            self.steered_fact,
            self.plan,
            self.plan,
            self.plan,
            self.plan,
            self.python,
        )
        return self.random.choice(exact)() if self.random.random() < 0.5 else self.sample()

    def copying(self) -> Case:
        return self.random.choices((super().copying, self.plan), (0.7, 0.3))[0]()

    def arithmetic(self, language: str | None = None, task: str | None = None) -> Case:
        """Sums that the head holds: for long products there is the calculator."""
        if task is None and self.split == "train":
            task = self.random.choices(tuple(SIGNS), (0.42, 0.28, 0.3))[0]
        return super().arithmetic(language, task)

    def repetition(self, language: str | None = None) -> Case:
        """In training half of what is to be said again is text of any kind, up to 200 characters, as plans need it."""
        language = language or self.language()
        if self.split == "eval" or self.random.random() < 0.5:
            return super().repetition(language)
        text = self.text_to_copy(language)
        return self.case(
            "repeat", language, fill(self.template(language, "repeat"), {"t": text}, language), text, (text,)
        )
