"""The agent that the training prepares: its tools, and that the course's own stays as its weights know it."""

from __future__ import annotations

import contextlib
import random
import time
from types import SimpleNamespace

import pytest

from labs_helper.agent import TOOLS, solve, write_plan
from labs_helper.errors import BadPlan
from training.moe.corpus import MoeCorpus
from training.moe.offer import NEXT, PUBLISHED, REASONS, calculator, word_count


@pytest.mark.parametrize(
    ("expression", "result"),
    [("47 + 38", "85"), ("2 x 3 - -4", "10"), ("(1 + 2) * 3", "9"), ("1 / 8", "0.125"), ("9 ÷ 2 − 1", "3.5"),
     ("12% * 250", "30"), ("250 * 12%", "30"), ("50%", "0.5"), ("2 ** 10", "1024"), ("2^10", "1024"),
     ("2 ** -3", "0.125"), ("((2 + 3) * 4) ** 2", "400"), ("2 ** 99", str(2**99)), ("0.5 ** 3", "0.125")],
)  # fmt: skip
def test_the_next_calculator_knows_percent_and_powers(expression, result):
    assert calculator(expression) == result


@pytest.mark.parametrize(
    "expression",
    ["9**9**9", "9**9**9**9", "10 ** 31", "2 ** 0.5", "0 ** -1", "12% of 250", "7%3", "7 % 3", "().__class__", "1/0",
     "", " ", "print(1)", "9" * 41, "1 // 2", "0x10", "1_000", "007", "lambda: 1", "$1 + 1", "%", "^", "-" * 40],
)  # fmt: skip
def test_it_refuses_everything_else_in_a_sentence_and_at_once(expression):
    begun = time.perf_counter()
    with pytest.raises(BadPlan, match=r"^(the|that|nothing) .*\.$"):
        calculator(expression)
    assert time.perf_counter() - begun < 1


def test_no_text_of_its_alphabet_takes_long_or_breaks_it():
    draw, begun, worked = random.Random(5), time.perf_counter(), 0
    for _ in range(5000):
        with contextlib.suppress(BadPlan):
            worked += len(calculator("".join(draw.choices("0123456789.+-*/()%^ ", k=draw.randint(1, 40))))) < 100
    assert worked > 100 and time.perf_counter() - begun < 20


def test_words_without_spaces_are_not_counted():
    assert word_count("나는 간다") == "2" and word_count("猫 狗") == "2" and word_count("cat") == "1"
    for text in ("我喜欢猫", "私は猫が好きです", " 苹果 "):
        with pytest.raises(BadPlan, match="between spaces"):
            word_count(text)


class Scripted:
    """A model that says what it is told to."""

    tier = "tiny"

    def __init__(self, *texts):
        self.texts = list(texts)

    def ask(self, messages, **options):
        return SimpleNamespace(text=self.texts.pop(0), finish_reason="stop")


@pytest.mark.parametrize("reason", REASONS)
def test_none_is_a_step_with_a_reason(reason):
    wrong = write_plan(("place", {"name": "Atlantis", "field": "country"}))
    model = Scripted(wrong, write_plan(("none", {"reason": reason})), "I cannot.")
    trace = solve(model, "Where is Atlantis?", tools=NEXT.tools, max_steps=NEXT.max_steps)
    assert trace.results == [reason] and trace.answer == "I cannot." and trace.repaired
    with pytest.raises(BadPlan, match="reason must be one of no tool fits, not known"):
        NEXT.read(write_plan(("none", {"reason": "I do not want to"})))


def test_the_evaluation_asks_what_is_published_and_the_training_prepares_the_next():
    asked = {MoeCorpus("eval", 4).plan("en").prompt[0]["content"]}
    assert asked == {PUBLISHED.prompt()} and PUBLISHED.tools is TOOLS
    stream = MoeCorpus("train", 4)
    trained = {stream.plan("en").prompt[0]["content"] for _ in range(30)}
    assert NEXT.prompt() in trained and all("none(reason)" in prompt for prompt in trained if prompt == NEXT.prompt())
