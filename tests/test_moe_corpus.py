"""Python, plans and tools of moe-tiny: the splits never meet, reference answers are right, wrong ones are not."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from training.corpus import Corpus
from training.evaluate import MOE_TASKS, TASKS, right, tasks_of
from training.moe import tools
from training.moe.corpus import TOPICS, MoeCorpus, own_phrases, same_code, topic
from training.moe.tools import PlanError, read_plan, run_plan, system_prompt, write_plan
from training.world import LANGUAGES


def plan_texts(case):
    return [m["content"] for m in case.messages if m["role"] == "assistant" and m.get("learn", True)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_phrasings_are_never_training_phrasings(language):
    for name, section in own_phrases()[language].items():
        if isinstance(section, dict):
            plain = {re.sub(r"[\W_]+", "", p).casefold() for p in section["ask"]}
            assert not plain & {re.sub(r"[\W_]+", "", p).casefold() for p in section["held_out"]}, name
            assert len(section["ask"]) > len(section["held_out"]) >= 1, name
    assert set(own_phrases()[language]) == set(own_phrases()["en"])


def test_places_and_operands_of_plans_never_meet():
    def seen(split):
        stream, places, sums = MoeCorpus(split, 5), set(), set()
        for _ in range(1500):
            for text in plan_texts(stream.plan("en")):
                if text.startswith("{"):
                    steps = read_plan(text)
                    places |= {a["name"] for tool, a in steps if tool == "place" and a["name"] != "$1"}
                    sums |= {
                        a["expression"] for tool, a in steps if tool == "calculator" and "$1" not in a["expression"]
                    }
        return places, sums

    (train_places, train_sums), (eval_places, eval_sums) = seen("train"), seen("eval")
    assert len(eval_places) > 10 and len(eval_sums) > 50
    assert not train_places & eval_places and not train_sums & eval_sums
    # The plans' operands are also those of the plain arithmetic task.
    stream = Corpus("train", 5)
    plain = {
        re.match(r"(\d+ [-+] \d+)", stream.arithmetic("en", task).messages[-1]["content"])[1]
        for task in ("add", "subtract")
        for _ in range(800)
    }
    assert plain and not plain & eval_sums


def test_code_of_the_two_splits_never_meets():
    def seen(split):
        stream = MoeCorpus(split, 6)
        cases = [stream.python("en") for _ in range(1500)]
        # Functions without a number of their own are the same for everyone: only how they are asked for differs.
        drawn = [
            case
            for case in cases
            if not case.details["code"].startswith("def") or re.search(r"[-+*] \d\d", case.details["code"])
        ]
        return {(case.kind, case.details["code"]) for case in drawn}

    train, held_out = seen("train"), seen("eval")
    assert len(held_out) > 200 and not train & held_out


def test_the_mixture_of_the_other_models_is_untouched():
    """Conversations of instruct-tiny as they were before moe-tiny came: the same seed, the same text."""
    stream = Corpus("train", 1)
    assert {case.task for case in (stream.sample() for _ in range(400))} & {"python", "plan"} == set()
    assert all(set(message) == {"role", "content"} for message in stream.sample().messages)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("task", MOE_TASKS)
def test_the_reference_is_right_and_another_answer_is_wrong(task, language):
    stream = MoeCorpus("eval", 11)
    for _ in range(25):
        case = MOE_TASKS[task](stream, language)
        reference = " ".join(case.details["final"]) if task == "agent" else case.messages[-1]["content"]
        assert right(case, reference), (case.prompt[-1], reference)
        assert not right(case, "") and not right(case, "I do not know.") and not right(case, '{"steps": []}')


def test_graders_are_strict():
    case = MoeCorpus("eval", 1).plan("en")
    plan = replace(case, expect=("85", "고양이"))
    good = write_plan(("calculator", {"expression": "47 + 38"}), ("translate", {"word": "cat", "to": "Korean"}))
    assert right(plan, good) and not right(plan, good.replace("38", "39")) and not right(plan, good + " Done.")
    agent = replace(case, kind="agent", details={"final": ["85"]})
    assert right(agent, "The answer is 85.") and not right(agent, "The answer is 185.") and not right(agent, "-85")
    assert same_code("def twice(x):\n  return x*2", "def double(n):\n    return n * 2")
    assert not same_code("def double(n):\n    return n * 3", "def double(n):\n    return n * 2")
    assert not same_code("def smaller(a, b):\n    return min(b, c)", "def smaller(a, b):\n    return min(a, b)")
    assert not same_code("for n in range(1, 6):\n    print(m)", "for n in range(1, 6):\n    print(n)")
    assert not same_code("(" * 500, "n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_whole_agent_conversation_holds_together(language):
    """Plan, results and answer of a training case agree, and a wrong plan in it is answered with its own error."""
    stream, mistakes = MoeCorpus("train", 3), 0
    for _ in range(150):
        case = stream.plan(language)
        messages = list(case.messages)
        for before, message, after in zip(messages, messages[1:], messages[2:]):
            if not message.get("learn", True):
                mistakes += 1
                with pytest.raises(PlanError) as caught:
                    run_plan(read_plan(message["content"]))
                assert after["content"] == tools.error_turn(caught.value) and before["role"] == "user"
        *_, plan, results, answer = messages
        assert run_plan(read_plan(plan["content"]), language) == case.details["results"]
        assert results["content"] == tools.results_turn(case.details["results"])
        assert right(replace(case, kind="agent"), answer["content"])
        offered = messages[0]["content"]
        assert all(f"\n{tool}(" in offered for tool, _ in read_plan(plan["content"]))
    assert mistakes > 10


def test_the_loop_repairs_once_and_answers_from_the_results():
    case = MoeCorpus("eval", 2).plan("en", steps=2)
    good = case.messages[-1]["content"]
    heard = []

    def model(replies):
        def ask(messages):
            heard.append(messages[-1]["content"])
            return replies.pop(0)

        return ask

    plans, answer = tools.work(model([good[:-3], good, "Done."]), case.prompt, "en")
    assert plans == [good[:-3], good] and answer == "Done."
    assert heard[1] == "Error: the plan is not JSON. Send the corrected plan." and heard[2].startswith(
        "Results:\n$1 = "
    )
    assert tools.work(model(["no", "no"]), case.prompt, "en") == (["no", "no"], None)


BAD_PLANS = {
    "not JSON": "Sure! I will add them.",
    "another object": '{"plan": []}',
    "no steps": '{"steps": []}',
    "too many": write_plan(*[("word_count", {"text": "a"})] * 3),
    "unknown tool": write_plan(("shell", {"command": "ls"})),
    "a tool that is no text": '{"steps": [{"tool": ["calculator"], "arguments": {}}]}',
    "missing argument": write_plan(("translate", {"word": "cat"})),
    "one argument more": write_plan(("word_count", {"text": "a", "language": "en"})),
    "wrong type": '{"steps": [{"tool": "word_count", "arguments": {"text": 5}}]}',
    "its own result": write_plan(("word_count", {"text": "$1"})),
    "deep": "[" * 900,
    "enormous": write_plan(("word_count", {"text": "a " * 5000})),
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_bad_plan_is_refused_with_a_sentence(name):
    with pytest.raises(PlanError, match=r"^[a-z].*\.$"):
        read_plan(BAD_PLANS[name])


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "().__class__",
        "a.b",
        "1/0",
        "[1][0]",
        "True + 1",
        "1.5 + 1",
        "",
        "print(1)",
        "(" * 39,
        "9" * 41,
        "f(2)",
    ],
)
def test_the_calculator_computes_sums_and_nothing_else(expression):
    with pytest.raises(PlanError):
        tools.calculator(expression)


def test_the_tools_know_the_small_world():
    assert (
        tools.calculator("47 + 38") == "85"
        and tools.calculator("2 x 3 - -4") == "10"
        and tools.calculator("7 × 8") == "56"
    )
    assert tools.place("kenya", "capital") == "Nairobi" and tools.place("长沙", "country", "zh") == "中国"
    assert tools.place("Madrid", "country", "es") == "España" and tools.place("Madrid", "country", "en") == "Spain"
    assert tools.place("the Eiffel Tower", "city") == "Paris" and tools.place("Eiffel Tower", "country") == "France"
    assert tools.translate("cat", "Korean") == "고양이" and tools.word_count("one two three") == "3"
    for wrong in (
        lambda: tools.place("Atlantis", "country"),
        lambda: tools.place("Kenya", "mayor"),
        lambda: tools.place("Kenya", "city"),
        lambda: tools.translate("cat", "Latin"),
        lambda: tools.translate("quaxzor", "Korean"),
    ):
        with pytest.raises(PlanError):
            wrong()


def test_every_topic_comes_up_and_the_prompt_names_every_tool():
    stream = MoeCorpus("train", 4)
    found = [topic(stream.sample()) for _ in range(1500)]
    assert set(found) == set(range(len(TOPICS)))
    assert all(tool in system_prompt() for tool in tools.TOOLS) and set(tools.TOOLS) == set(tools.ARGUMENTS)


def test_only_a_phimoe_is_measured_on_plans(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phi3"}))
    assert tasks_of(str(tmp_path)) == TASKS
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phimoe"}))
    assert set(tasks_of(str(tmp_path))) == {*TASKS, *MOE_TASKS}
    assert tasks_of(str(tmp_path / "nowhere")) == TASKS


def test_the_questions_of_the_notebook_are_held_out_cases_and_in_sync():
    """If this fails after a change of the corpus: python -m training.moe.questions."""
    import csv

    from training.moe import questions

    with questions.FILE.open(newline="", encoding="utf-8") as handle:
        stored = list(csv.DictReader(handle))
    assert stored == questions.rows()
    assert [row["topic"] for row in stored] == [name for name in TOPICS for _ in range(questions.EACH)]
    assert all(row["question"].strip() and row["expect"].strip() for row in stored)
