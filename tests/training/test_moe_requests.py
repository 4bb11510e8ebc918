"""What the agent is asked beyond looking up and adding: conversations hold together, and the two splits never meet."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from labs_helper.agent import error_turn, results_turn, solve
from labs_helper.agent.language import language_of
from labs_helper.errors import BadPlan
from training.grading import right
from training.moe.corpus import MoeCorpus
from training.moe.offer import NEXT, REASONS
from training.moe.phrasing import own_phrases
from training.moe.plans import KINDS
from training.moe.texts import LONGEST_TEXT
from training.world import LANGUAGES


def drawn(split, kind, language, count, seed=3):
    """So many conversations; those about names that do not exist have invented results and a test of their own."""
    stream, found = MoeCorpus(split, seed), []
    while len(found) < count:
        if (case := stream.of_kind(kind, language)).expect:
            found.append(case)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "usual"])
def test_a_conversation_says_what_the_tools_say_and_no_plan_comes_twice(kind, language):
    for case in drawn("train", kind, language, 60):
        messages = [message["content"] for message in case.messages]
        assert [m["role"] for m in case.messages][:2] == ["system", "user"] and len(messages) in (5, 7)
        plans = [NEXT.read(text) for text in messages if text.startswith('{"steps"')]
        assert len(plans) == (2 if len(messages) == 7 else 1)
        if len(plans) == 2:
            assert plans[0] != plans[1]
            with pytest.raises(BadPlan) as caught:
                NEXT.run(plans[0], language)
            assert messages[3] == error_turn(caught.value)
        results = NEXT.run(plans[-1], language)
        assert messages[-2] == results_turn(results) and case.details["results"] == results
        said_no = [step.arguments["reason"] for step in plans[-1] if step.tool == "none"]
        assert case.details["refused"] == said_no and set(said_no) <= set(REASONS)
        own, answer = own_phrases()[language], messages[-1]
        if not case.details["final"]:
            assert said_no and answer in own["none"]
        else:
            assert all(part in answer for part in case.details["final"])
            assert any(answer.endswith(said.partition("}")[2]) for said in own["rest"]) == bool(said_no)
        offered = messages[0].splitlines()[1:]
        assert all(any(line.startswith(f"{step.tool}(") for line in offered) for plan in plans for step in plan)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_copied_letter_by_letter(language):
    seen = set()
    for case in drawn("train", "text", language, 300):
        question, plan = case.messages[1]["content"], NEXT.read(case.messages[2]["content"])
        assert plan[0].arguments["text"] in question and len(plan[0].arguments["text"]) <= LONGEST_TEXT + 1
        seen.add(plan[0].arguments["text"])
    lengths = sorted(map(len, seen))
    assert len(seen) > 290 and lengths[0] < 12 and lengths[-1] > 150


@pytest.mark.parametrize("language", LANGUAGES)
def test_copied_words_and_texts_of_the_two_splits_never_meet(language):
    train, test = MoeCorpus("train", 3), MoeCorpus("eval", 3)
    own = set(test.vocabulary(language, held_out=True))
    assert len(own) >= 5 and not own & set(train.vocabulary(language))
    for _ in range(100):
        text = test.text_count(language)[1][1]["text"]
        assert 15 <= len(text) <= 121 and {word.strip(",").casefold() for word in text.split()} & {
            word.casefold() for word in own
        }


def test_sums_of_the_two_splits_never_meet_and_all_kinds_come():
    def seen(split):
        stream = MoeCorpus(split, 5)
        return {stream.exact_sum("en")[1][1]["expression"] for _ in range(3000)}

    train, test = seen("train"), seen("eval")
    assert len(test) > 800 and not train & test
    for sign in (" / ", "% * ", " ** ", "(", "."):
        assert any(sign in each for each in test), sign


@pytest.mark.parametrize("language", LANGUAGES)
def test_refusals_are_of_every_reason_and_graded_strictly(language):
    stream, reasons = MoeCorpus("eval", 3), set()
    for _ in range(150):
        from dataclasses import replace

        case = replace(stream.refusal(language), kind="refused")
        reasons |= set(case.details["refused"])
        assert right(case, case.messages[-1]["content"])
        assert not right(case, own_phrases()[language]["answer_one"].format(a="0")) and not right(case, "")
        part = replace(stream.in_part(language), kind="refused")
        if part.details["final"]:
            assert right(part, part.messages[-1]["content"]) and not right(part, own_phrases()[language]["none"][0])
    assert reasons == set(REASONS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_three_steps_are_chains_and_lists_and_the_answer_says_what_is_left(language):
    stream, shapes = MoeCorpus("eval", 4), set()
    for _ in range(120):
        case = stream.asked(stream.three_steps, language)
        plan = json.loads(case.messages[2]["content"])["steps"]
        uses = tuple(
            sorted(
                {value[value.index("$") + 1] for step in plan for value in step["arguments"].values() if "$" in value}
            )
        )
        shapes.add(uses)
        assert len(plan) == 3 and len(case.details["final"]) == 3 - len(uses)
    assert shapes == {(), ("1",), ("2",), ("1", "2")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_agent_hears_the_language_of_nearly_every_question(language):
    """The tools answer in the language of the question without being told; bare sums and names have none."""
    stream = MoeCorpus("eval", 6)
    asked = [stream.plan(language).messages[1]["content"] for _ in range(150)]
    assert sum(language_of(question) == language for question in asked) >= 147


class Reading:
    """A model that reads its answers from a conversation, and keeps what it was told."""

    tier = "tiny"

    def __init__(self, messages):
        self.left, self.heard = [m["content"] for m in messages if m["role"] == "assistant"], []

    def ask(self, messages, **options):
        self.heard = messages
        return SimpleNamespace(text=self.left.pop(0), finish_reason="stop")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "usual"])
def test_the_loop_says_to_the_model_what_the_training_said(kind, language):
    """Turn by turn, with the tools of the conversation: prompt, errors and results are letter by letter the same."""
    for case in drawn("train", kind, language, 25):
        offered = {
            line.partition("(")[0]: NEXT.tools[line.partition("(")[0]]
            for line in case.messages[0]["content"].splitlines()[1:]
        }
        model = Reading(case.messages)
        trace = solve(
            model,
            case.messages[1]["content"],
            tools=offered,
            language=language,
            constrained=False,
            max_steps=NEXT.max_steps,
        )
        assert trace.error is None and trace.answer == case.messages[-1]["content"] and not model.left
        assert model.heard == case.prompt
