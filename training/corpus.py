"""Conversations about the small world: for training, and, from other phrasings and values, for evaluation.

`Corpus("train", seed)` and `Corpus("eval", seed)` draw from the same tasks and never share
- a phrasing: `ask` is for training, `held_out` for evaluation (training/phrases/*.toml);
- an operand pair, code, age, range, made-up name or list: a hash of the value decides whose it is.

Facts are the exception, and must be: nobody can know where Lima is without having been told. Evaluation asks
for known facts in unknown words.
"""

from __future__ import annotations

from training.cases import Case, held_out
from training.facts import RELATIONS
from training.rewriting import Rewriting
from training.working import long_product, worked
from training.world import fill, phrases, table, words

# Shares of the sums. For training more products than at first, as they are forgotten first. The evaluation keeps its
# cases.
SUMS = {
    "train": {"add": 0.25, "subtract": 0.2, "multiply": 0.2, "two by one": 0.15, "two by two": 0.2},
    "eval": {"add": 0.5, "subtract": 0.3, "multiply": 0.2},
}
EASY = 0.3  # share of the products for training that have an easy factor
# Shares of the conversations, by method. The evaluation of routing and the questions of the labs keep theirs.
MIXTURE = {
    "train": {
        "fact": 0.25,
        "steered_fact": 0.14,
        "about": 0.025,
        "arithmetic": 0.11,
        "translation": 0.08,
        "yes_or_no": 0.10,
        "which_of_these": 0.05,
        "claims": 0.01,
        "membership": 0.01,
        "numbered_list": 0.05,
        "json_object": 0.06,
        "needle": 0.05,
        "chatter": 0.04,
        "unknown": 0.08,
        "repetition": 0.045,
        "counting": 0.03,
        "suggestion": 0.01,
        "follow_up": 0.035,
        "my_name": 0.02,
        "conversation": 0.025,
        "long_conversation": 0.008,
        "story": 0.012,
    },
    "eval": {
        "fact": 0.26,
        "steered_fact": 0.10,
        "about": 0.02,
        "arithmetic": 0.16,
        "translation": 0.08,
        "numbered_list": 0.07,
        "json_object": 0.08,
        "needle": 0.06,
        "chatter": 0.04,
        "unknown": 0.05,
        "repetition": 0.04,
        "counting": 0.01,
        "suggestion": 0.01,
        "follow_up": 0.035,
        "my_name": 0.02,
        "conversation": 0.025,
        "long_conversation": 0.008,
        "story": 0.012,
    },
}


class Corpus(Rewriting):
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

    def arithmetic(self, language: str | None = None, task: str | None = None) -> Case:
        """A sum, a difference or a product; the operand pairs of the two splits never meet."""
        language = language or self.language()
        task = task or self.random.choices(*zip(*SUMS[self.split].items()))[0]
        if task in ("two by one", "two by two"):
            low = 2 if task == "two by one" else 11
            a, b = self.draw(
                lambda: (self.random.randint(11, 99), self.random.randint(low, 9 if low == 2 else 99)), task
            )
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
        return self.case(
            task, language, self.phrase(language, task, values), worked(a, sign, b, result), str(result), "number"
        )

    LEFT_OUT: tuple[str, ...] = ()  # of the mixture

    STORY = (
        ("One morning", "One rainy day", "Late at night", "Last summer", "On a cold day", "Many years ago"),
        ("found a", "met a", "saw a", "dreamed of a", "followed a", "drew a"),
        ("small", "big", "happy", "sad", "strange", "golden", "sleepy", "brave"),
        (
            "They walked to the {place} together.",
            "They shared some {food}.",
            "They looked at the {place} for a long time.",
            "They talked about the {place}.",
            "They ate {food} and laughed.",
            "They played music near the {place}.",
        ),
        (
            "In the evening they went home.",
            "Then it began to rain.",
            "They promised to meet again.",
            "Nobody else ever knew.",
            "It was the best day of the year.",
            "Soon they were good friends.",
        ),
    )

    def story(self) -> Case:
        """A short story in English, put together at random: what sampling is about."""
        rng = self.random
        person, animal = rng.choice(table("people"))["en"], rng.choice(words("animal"))["en"]
        ask = [
            "Tell me a short story about a {a}.",
            "Write a short story about a {a}.",
            "Tell me a story about a {a}.",
            "I want a story about a {a}.",
        ]
        opening, verb, kind, middle, end = (rng.choice(options) for options in self.STORY)
        filler = {
            "place": rng.choice(("sea", "mountain", "school", "house", "train", "moon")),
            "food": rng.choice(("bread", "rice", "apples", "grapes")),
        }
        text = f"{opening}, {person} {verb} {kind} {animal}. {middle.format(**filler)} {end}"
        return self.case("story", "en", rng.choice(ask).format(a=animal), text, (animal,))

    def follow_up(self, language: str | None = None) -> Case:
        """A fact, then "And Kenya?": the relation comes from the turn before."""
        language = language or self.language()
        relation = self.random.choice([r for r in RELATIONS if r not in ("where_landmark",)])
        first = self.fact(language, relation)
        messages, last = list(first.messages), None
        for _ in range(1 if self.split == "eval" else self.random.randint(1, 2)):
            last = self.pick_fact(language, relation)
            values = {"x": last.x[language], "y": last.y[language]}
            messages += [
                {"role": "user", "content": self.phrase(language, "follow_up", values)},
                {"role": "assistant", "content": fill(phrases(language)[relation]["answer"], values, language)},
            ]
        return Case("several turns", language, tuple(messages), last.parts[language], "contains", {"form": "follow-up"})

    def my_name(self, language: str | None = None) -> Case:
        """Tell a name, talk about something else, ask for the name."""
        language, rng = language or self.language(), self.random
        section, person = phrases(language)["my_name"], rng.choice(table("people"))[language]
        messages = [
            {"role": "user", "content": fill(rng.choice(section["say"]), {"x": person}, language)},
            {"role": "assistant", "content": fill(section["reply"], {"x": person}, language)},
        ]
        for _ in range(rng.randint(0, 2)):
            messages += self.small(language).messages[-2:]
        messages += [
            {"role": "user", "content": self.phrase(language, "my_name", {})},
            {"role": "assistant", "content": fill(section["answer"], {"x": person}, language)},
        ]
        return Case("several turns", language, tuple(messages), (person,), "contains", {"form": "name"})

    def small(self, language: str | None = None) -> Case:
        """A short single turn of any task."""
        tasks = (
            self.fact,
            self.arithmetic,
            self.translation,
            self.chatter,
            self.unknown,
            self.numbered_list,
            self.json_object,
            self.about,
        )
        return self.random.choices(tasks, (0.46, 0.14, 0.08, 0.06, 0.08, 0.05, 0.07, 0.06))[0](language)

    def conversation(self, language: str | None = None, turns: int | None = None) -> Case:
        """Unrelated questions one after another, as in a chat that goes on."""
        language = language or self.language()
        cases = [self.small(language) for _ in range(turns or self.random.randint(2, 5))]
        messages = [m for case in cases for m in case.messages if m["role"] != "system"]
        return Case(
            "several turns",
            language,
            tuple(messages),
            cases[-1].expect,
            cases[-1].kind,
            {**cases[-1].details, "form": "unrelated"},
        )

    def sample(self) -> Case:
        """One conversation of the training mixture."""
        shares = {task: share for task, share in MIXTURE[self.split].items() if task not in self.LEFT_OUT}
        return getattr(self, self.random.choices(list(shares), list(shares.values()))[0])()

    def finish(self) -> Case:
        """The mixture of the last part of the training: every second conversation is of a task with exact answers.

        They are the last to be learned, and while the learning rate falls they are learned best.
        """
        exact = (
            self.arithmetic,
            self.arithmetic,
            self.json_object,
            self.numbered_list,
            self.numbered_list,
            self.steered_fact,
            self.yes_or_no,
            self.which_of_these,
            self.counting,
        )
        return self.random.choice(exact)() if self.random.random() < 0.4 else self.sample()

    def comparing(self) -> Case:
        """Comparing alone, as repetition comes first."""
        return self.membership() if self.random.random() < 0.8 else self.sample()

    def judging(self) -> Case:
        """Questions that end in a conclusion, practised by themselves as repetition is, among all others."""
        tasks = (self.membership, self.claims, self.yes_or_no, self.which_of_these, self.sample)
        return self.random.choices(tasks, (0.15, 0.3, 0.2, 0.15, 0.2))[0]()

    def copying(self) -> Case:
        """Tasks whose answers stand in the question, without repetition."""
        return self.random.choice(
            (
                self.my_name,
                self.json_object,
                self.numbered_list,
                self.arithmetic,
                lambda: self.needle(sentences=self.random.randint(0, 5)),
            )
        )()

    def long_conversation(self) -> Case:
        """A chat long enough to need the long RoPE table."""
        return self.conversation(turns=self.random.randint(6, 18))
