"""Python, plans and tools of moe-tiny: the splits never meet, reference answers are right, wrong ones are not."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from labs_helper.agent import TOOLS, error_turn, results_turn, system_prompt, write_plan
from labs_helper.errors import BadPlan
from training.config import CHECKPOINTS
from training.corpus import Corpus
from training.grading import right
from training.moe.ablation import most_special, preferences, questions, token_accuracy
from training.moe.code import same_code
from training.moe.corpus import TOPICS, MoeCorpus, topic
from training.moe.offer import NEXT
from training.moe.phrasing import bare, own_phrases
from training.moe.routing import cases, counts_of, one_pass, through_mlx
from training.tasks import MOE_TASKS, MORE_TASKS, NEXT_TASKS, TASKS, known_tasks, tasks_of
from training.tokenizer import Encoder
from training.world import LANGUAGES, phrases, table


def plan_texts(case):
    return [m["content"] for m in case.messages if m["role"] == "assistant" and m.get("learn", True)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_phrasings_are_never_training_phrasings(language):
    for name, section in own_phrases()[language].items():
        if isinstance(section, dict):
            assert not {bare(p) for p in section["ask"]} & {bare(p) for p in section["held_out"]}, name
            assert len(section["ask"]) > len(section["held_out"]) >= 1, name
    assert set(own_phrases()[language]) == set(own_phrases()["en"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_spliced_phrasings_are_new_and_never_held_out_ones(language):
    stream, made, whole = MoeCorpus("train", 3), 0, 0
    for name in ("capital", "where_city", "translate", "add", "json_place"):
        section = phrases(language)[name]
        drawn = {stream.template(language, name) for _ in range(2000)}
        assert set(section["ask"]) <= drawn, name
        made, whole = made + len(drawn - {*section["ask"]}), whole + len(section["ask"])
        assert not {bare(p) for p in drawn} & {bare(p) for p in section["held_out"]}, name
        slots = {tuple(sorted(re.findall(r"{(\w+)", p))) for p in section["ask"]}
        assert all(tuple(sorted(re.findall(r"{(\w+)", p))) in slots for p in drawn), name
    # Where the place comes first, nothing stands before it that another end could follow.
    assert made > (0.2 if language in ("ko", "ja") else 1) * whole
    held_out = MoeCorpus("eval", 3)
    assert all(held_out.template(language, "capital") in phrases(language)["capital"]["held_out"] for _ in range(50))


def test_places_and_operands_of_plans_never_meet():
    def seen(split):
        stream, places, sums = MoeCorpus(split, 5), set(), set()
        for _ in range(1500):
            for text in plan_texts(stream.plan("en")):
                if text.startswith("{"):
                    steps = NEXT.read(text)
                    places |= {a["name"] for tool, a in steps if tool == "place" and not a["name"].startswith("$")}
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
    assert all(set(message) <= {"role", "content", "stress", "learn"} for message in stream.sample().messages)


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


def plans_with_results(stream, language, count):
    """Training cases that go on to an answer: not those about names that do not exist."""
    found = []
    while len(found) < count:
        if (case := stream.plan(language)).expect and case.kind == "plan":
            found.append(case)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_training_roughens_phrasings_and_what_is_asked_about_survives(language):
    sections = [each for each in own_phrases()[language].values() if isinstance(each, dict)]
    templates = [template for section in sections for template in section.get("ask", ())]
    train, evaluation = MoeCorpus("train", 3), MoeCorpus("eval", 3)
    rough = [(t, train._rough(t, language)) for t in templates for _ in range(20)]
    assert all(re.findall(r"{.*?}", made) == re.findall(r"{.*?}", t) for t, made in rough)
    assert 0.3 < sum(made != t for t, made in rough) / len(rough) < 0.8
    assert all(evaluation._rough(t, language) == t for t in templates)


@pytest.mark.parametrize("language", LANGUAGES)
def test_plans_about_strangers_copy_names_that_no_place_has(language):
    """The names are in the question, and what the tools say about them is in the answer."""
    stream, names, texts = MoeCorpus("train", 4), set(), set()
    known = {row[language] for kind in ("countries", "cities", "landmarks", "people") for row in table(kind)}
    for case in (stream.plan(language) for _ in range(1300)):
        if not case.expect:
            _, question, plan, results, answer = (message["content"] for message in case.messages)
            plan = NEXT.read(plan)
            made = {a[key] for _, a in plan for key in ("name", "word") if not a.get(key, "$").startswith("$")}
            texts |= (counted := {a["text"] for _, a in plan if "text" in a})
            assert made | counted and all(name in question for name in made | counted)
            said = [line.partition(" = ")[2] for line in results.splitlines()[1:]]
            used = {
                int(number) for _, arguments in plan for number in re.findall(r"\$(\d)", " ".join(arguments.values()))
            }
            assert len(said) == len(plan) <= 3
            assert all(result in answer for i, result in enumerate(said, 1) if i not in used)
            names |= made
    assert len(names) > 40 and not names & known
    assert any(" " in name for name in names) or language in ("zh", "ja")
    assert any(len(set(text.split())) < len(text.split()) for text in texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_whole_agent_conversation_holds_together(language):
    """Plan, results and answer of a training case agree, and a wrong plan in it is answered with its own error."""
    stream, mistakes = MoeCorpus("train", 3), 0
    for case in plans_with_results(stream, language, 150):
        messages = list(case.messages)
        for before, message, after in zip(messages, messages[1:], messages[2:]):
            if not message.get("learn", True):
                mistakes += 1
                with pytest.raises(BadPlan) as caught:
                    NEXT.run(NEXT.read(message["content"]))
                assert after["content"] == error_turn(caught.value) and before["role"] == "user"
        *_, plan, results, answer = messages
        assert NEXT.run(NEXT.read(plan["content"]), language) == case.details["results"]
        assert results["content"] == results_turn(case.details["results"])
        assert right(replace(case, kind="agent"), answer["content"])
        offered = messages[0]["content"]
        assert all(f"\n{tool}(" in offered for tool, _ in NEXT.read(plan["content"]))
    assert mistakes > 10


def test_mistakes_are_of_every_kind_that_a_plan_can_have_and_sums_larger_than_the_head_holds():
    """What the tools themselves refuse comes back to the model too, so it must have seen that."""
    stream, said, sums = MoeCorpus("train", 8), set(), []
    for _ in range(4000):
        case = stream.plan("en")
        said |= {m["content"] for m in case.messages if m["role"] == "user" and m["content"].startswith("Error: ")}
        sums += [int(n) for text in plan_texts(case) for n in re.findall(r'"(\d+) [-+*] \d+"', text)]
    for words in (
        "not JSON",
        'with "steps"',
        "1 to 3 steps",
        "there is no tool",
        " needs ",
        "must be a string",
        "not known yet",
        "field must be one of country",
        "to must be one of English",
        "no place is called",
        "dictionary has no",
        "the calculator knows",
    ):
        assert any(words in each for each in said), words
    assert 0.2 < sum(n > 99 for n in sums) / len(sums) < 0.5


def test_every_topic_comes_up_and_the_prompt_names_every_tool():
    stream = MoeCorpus("train", 4)
    found = [topic(stream.sample()) for _ in range(1500)]
    assert set(found) == set(range(len(TOPICS)))
    assert all(tool in system_prompt() for tool in TOOLS)
    # What the evaluation asks is what the agent asks.
    assert all(
        case.prompt[0]["content"] == system_prompt() and len(case.prompt) == 2
        for case in (MoeCorpus("eval", 4).plan() for _ in range(50))
    )


def test_only_a_phimoe_is_measured_on_plans(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phi3"}))
    assert tasks_of(str(tmp_path)) == {**TASKS, **MORE_TASKS}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phimoe"}))
    more = {task for task in MORE_TASKS if " by " not in task}
    assert len(more) == 3 and set(tasks_of(str(tmp_path))) == {*TASKS, *more, *MOE_TASKS}
    assert set(known_tasks(str(tmp_path))) - set(tasks_of(str(tmp_path))) == set(NEXT_TASKS)
    assert tasks_of(str(CHECKPOINTS / "instruct-previous-tiny")) == TASKS
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


def test_the_most_specialised_expert_is_the_one_that_a_topic_has_to_itself():
    counts = np.ones((len(TOPICS), 2, 2, 16))
    counts[3, 1, 0] = 0
    counts[3, 1, 0, 5] = 9  # topic 3 goes to expert 5 of layer 1 alone
    preference = preferences([(place, []) for place in range(len(TOPICS))], counts)
    assert preference.shape == (2, 16, len(TOPICS))
    assert most_special(preference) == (3, [(1, 5)])
    assert preference.max() == pytest.approx(1 - 1 / 16)


def test_questions_of_the_ablation_are_held_out_and_equal_in_number():
    asked = questions(3, 2)
    assert [name for name, _ in asked] == [name for name in TOPICS for _ in range(2)]
    assert all(topic(case) == TOPICS.index(name) for name, case in asked)
    assert [case.messages for _, case in asked] == [case.messages for _, case in questions(3, 2)]
    assert [case.messages for _, case in asked] != [case.messages for _, case in questions(4, 2)]


def test_the_tokens_of_reference_answers_show_what_an_ablation_costs():
    asked = [(name, case) for name, case in questions(3, 2) if name in ("numbers", "plan")]
    folder = CHECKPOINTS / "moe-tiny"
    run, encoder = one_pass(folder), Encoder(folder)
    whole = token_accuracy(run, encoder, asked)
    # The training deals the experts out in the order of the topics, two a topic: plans come last.
    less = token_accuracy(run, encoder, asked, [(layer, expert) for layer in range(4) for expert in (14, 15)])
    assert set(whole) == {"numbers", "plan"} and min(whole.values()) > 0.9
    assert less["numbers"] > 0.9 and less["plan"] < whole["plan"] - 0.1


def test_without_its_most_specialised_expert_the_model_loses_that_topic_and_no_other():
    folder = CHECKPOINTS / "moe-tiny"
    run, encoder = one_pass(folder), Encoder(folder)
    conversations, asked = cases(3, 4), questions(3, 3)
    place, gone = most_special(preferences(conversations, counts_of(conversations, encoder, through_mlx(folder))))
    whole, less = token_accuracy(run, encoder, asked), token_accuracy(run, encoder, asked, gone)
    lost = {name: whole[name] - less[name] for name in whole}
    own = lost.pop(TOPICS[place])
    assert own > 0.004 and own > 3 * max(lost.values())  # about one token of each plan, and most plans are wrong then
