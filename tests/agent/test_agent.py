"""The agent without a trained model: tools, plans good and bad, and the loop around a model that follows a script."""

from __future__ import annotations

import hashlib
import json
import random
import time
from dataclasses import dataclass
from typing import Literal

import pytest
from marked_language import mark_sentences

from labs_helper import agent
from labs_helper.agent import (
    TOOLS,
    Step,
    plan_schema,
    read_plan,
    run_plan,
    sentences,
    solve,
    system_prompt,
    toolbox,
    write_plan,
)
from labs_helper.agent.language import language_of
from labs_helper.agent.tools import calculator, place, translate, word_count
from labs_helper.errors import BadPlan, BadRequest, CutOff, LabError

TOWER = write_plan(
    ("place", {"name": "the Eiffel Tower", "field": "city"}), ("translate", {"word": "$1", "to": "Korean"})
)


@dataclass
class Said:
    text: str
    finish_reason: str = "stop"


class Scripted:
    """A model that says what its script says, and remembers what it heard."""

    tier = "tiny"

    def __init__(self, *script, seconds=0.0):
        self.script, self.seconds, self.heard = list(script), seconds, []

    def ask(self, messages, *, max_tokens, on_token=None, schema=None):
        self.heard.append((messages, schema))
        time.sleep(self.seconds)
        if on_token is not None:
            on_token(None)
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        return Said(said)


# -- tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("47 + 38", "85"),
        ("2 x 3 - -4", "10"),
        ("7 × 8", "56"),
        ("4821 * 37", "178377"),
        ("(1 + 2) * 3", "9"),
        ("144 / 12", "12"),
        ("1 / 8", "0.125"),
        ("0.1 + 0.2", "0.3"),
        ("9 ÷ 2 − 1", "3.5"),
        (" 1 + 1 ", "2"),
        ("9" * 19 + "*" + "9" * 19, str(9999999999999999999**2)),
    ],
)
def test_the_calculator_calculates(expression, result):
    assert calculator(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "9 ** 9",
        "().__class__",
        "a.b",
        "1 .real",
        "1/0",
        "1/(2-2)",
        "[1][0]",
        "True + 1",
        "1e9",
        "",
        " ",
        "print(1)",
        "(" * 39,
        "9" * 41,
        "f(2)",
        "1 // 2",
        "1 if 1 else 2",
        "7 % 3",
        "1 << 9",
        "0x10",
        "1_000",
        "1,000",
        "007",
        "1\n+1",
        "__import__('os')",
        "lambda: 1",
        "1; 2",
        "x := 1",
        "１ + １",
        "\x00",
        "-" * 40,
        "$1 + 1",
        "1j * 1",
        "...",
    ],
)
def test_the_calculator_refuses_everything_else(expression):
    with pytest.raises(BadPlan, match=r"^(the|nothing) .*\.$"):
        calculator(expression)


def test_no_text_of_the_calculators_alphabet_takes_long_or_breaks_it():
    draw, start = random.Random(1), time.perf_counter()
    worked = 0
    for _ in range(5000):
        try:
            result = calculator("".join(draw.choices("0123456789.+-*/() ", k=draw.randint(1, 40))))
            worked += 1
            assert len(result) < 100
        except BadPlan:
            pass
    assert worked > 50 and time.perf_counter() - start < 10


def test_the_tools_know_the_small_world():
    assert place("kenya", "capital") == "Nairobi" and place("长沙", "country", language="zh") == "中国"
    assert place("Madrid", "country", language="es") == "España" and place("Madrid", "country") == "Spain"
    assert place("the Eiffel Tower", "city") == "Paris" and place("Eiffel Tower", "country") == "France"
    assert translate("cat", "Korean") == "고양이" and word_count("one two three") == "3"
    for wrong in (
        lambda: place("Atlantis", "country"),
        lambda: place("Kenya", "mayor"),
        lambda: place("Kenya", "city"),
        lambda: translate("cat", "Latin"),
        lambda: translate("quaxzor", "Korean"),
    ):
        with pytest.raises(BadPlan):
            wrong()


def test_a_function_becomes_a_tool_with_a_schema():
    def repeat(text: str, times: int = 2, how: Literal["plain", "loud"] = "plain") -> str:
        """Say it again."""
        return (text.upper() if how == "loud" else text) * times

    tools = TOOLS | toolbox(repeat)
    assert "\nrepeat(text, times, how)" in system_prompt(tools) and "Say it again." in system_prompt(
        tools, detailed=True
    )
    plan = write_plan(("calculator", {"expression": "1 + 1"}), ("repeat", {"text": "ab", "times": "$1", "how": "loud"}))
    assert run_plan(read_plan(plan, tools), tools) == ["2", "ABAB"]
    assert run_plan([Step("repeat", {"text": "ab"})], tools) == ["abab"]
    for arguments, said in (
        ({"text": "a", "times": "many"}, "times must be a whole number"),
        ({"text": "a", "how": "softly"}, "how must be one of plain, loud"),
        ({"text": "a", "times": 1.5}, "times must be a whole number"),
        ({}, "repeat needs text, times, how"),
    ):
        with pytest.raises(BadPlan, match=f"step 1: {said}"):
            read_plan(write_plan(("repeat", arguments)), tools)
    with pytest.raises(BadPlan, match="step 2: times must be a whole number"):
        run_plan([Step("word_count", {"text": "a"}), Step("repeat", {"text": "x", "times": "a$1"})], tools)


@pytest.mark.parametrize(
    "function", [lambda text: text, lambda *texts: "", 5, print, type("Odd", (), {"__call__": lambda self: ""})()]
)
def test_what_cannot_be_described_is_no_tool(function):
    with pytest.raises(BadRequest):
        toolbox(function)


def test_nested_types_are_no_plain_parameters():
    from pydantic import BaseModel

    class Point(BaseModel):
        x: int

    def move(point: Point) -> str:
        return ""

    move.__annotations__["point"] = Point  # the annotation is local, so it cannot be looked up by its name
    with pytest.raises(BadRequest, match="a type that a tool cannot take"):
        toolbox(move)


# -- plans ------------------------------------------------------------------------------------------------

COUNT = ("word_count", {"text": "a"})
BAD_PLANS = {
    "not JSON": ("Sure! I will add them.", "the plan is not JSON."),
    "nothing": ("", "the plan is not JSON."),
    "a fence around it": (f"```json\n{TOWER}\n```", "the plan is not JSON."),
    "words after it": (TOWER + " Done.", "the plan is not JSON."),
    "cut off": (TOWER[:-3], "the plan is not JSON."),
    "half a character": (write_plan(("word_count", {"text": "?"})).replace("?", "\\ud800"), "the plan is not JSON."),
    "half a character of Python's": ("\ud800", "the plan is not JSON."),
    "another object": ('{"plan": []}', 'the plan must be an object with "steps".'),
    "a list": ("[]", 'the plan must be an object with "steps".'),
    "a number": ("9" * 900, 'the plan must be an object with "steps".'),
    "no steps": ('{"steps": []}', "the plan must have 1 to 2 steps."),
    "too many": (write_plan(COUNT, COUNT, COUNT), "the plan must have 1 to 2 steps."),
    "steps of text": ('{"steps": ["word_count"]}', 'step 1 must have "tool" and "arguments".'),
    "no arguments": ('{"steps": [{"tool": "word_count"}]}', 'step 1 must have "tool" and "arguments".'),
    "more than that": (
        '{"steps": [{"tool": "word_count", "arguments": {}, "code": "1"}]}',
        'step 1 must have "tool" and "arguments".',
    ),
    "unknown tool": (write_plan(("shell", {"command": "ls"})), 'step 1: there is no tool "shell".'),
    "a hidden attribute": (write_plan(("__class__", {})), 'step 1: there is no tool "__class__".'),
    "a tool that is no text": (
        '{"steps": [{"tool": ["calculator"], "arguments": {}}]}',
        'step 1: there is no tool ["calculator"].',
    ),
    "missing argument": (write_plan(COUNT, ("translate", {"word": "cat"})), "step 2: translate needs word, to."),
    "one more argument": (write_plan(("word_count", {"text": "a", "to": "en"})), "step 1: word_count needs text."),
    "wrong type": (write_plan(("word_count", {"text": 5})), "step 1: text must be a string."),
    "a list as text": (write_plan(("word_count", {"text": ["a"]})), "step 1: text must be a string."),
    "an object as a choice": (write_plan(("place", {"name": "Kenya", "field": {}})), "step 1: field must be a string."),
    "no such choice": (
        write_plan(("translate", {"word": "cat", "to": "Latin"})),
        "step 1: to must be one of English, Chinese, Korean, Japanese, Spanish.",
    ),
    "empty text": (write_plan(("word_count", {"text": ""})), "step 1: the text is empty."),
    "a long name": (write_plan(("place", {"name": "a" * 61, "field": "city"})), "step 1: the name is too long."),
    "its own result": (write_plan(("word_count", {"text": "$1"})), "step 1: $1 is not known yet."),
    "a later result": (
        write_plan(("word_count", {"text": "$2"}), ("word_count", {"text": "$1"})),
        "step 1: $2 is not known yet.",
    ),
    "in a circle": (write_plan(COUNT, ("place", {"name": "x", "field": "$2"})), "step 2: $2 is not known yet."),
    "deep": ("[" * 1900, "the plan is not JSON."),
    "deep arguments": (
        '{"steps": [{"tool": "word_count", "arguments": {"text": ' + "[" * 150 + "]" * 150 + "}}]}",
        "step 1: text must be a string.",
    ),
    "enormous": (write_plan(("word_count", {"text": "a " * 5000})), "the plan is too long."),
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_bad_plan_is_refused_with_a_sentence(name):
    text, sentence = BAD_PLANS[name]
    start = time.perf_counter()
    with pytest.raises(BadPlan) as caught:
        read_plan(text)
    assert caught.value.what == sentence and isinstance(caught.value, LabError)
    assert agent.error_turn(caught.value) == f"Error: {sentence} Send the corrected plan."
    assert time.perf_counter() - start < 1


def test_the_steps_are_checked_before_any_of_them_runs():
    ran = []

    def note(text: str) -> str:
        ran.append(text)
        return text

    tools = toolbox(note)
    trace = solve(Scripted(*[write_plan(("note", {"text": "a"}), ("note", {"text": 5}))] * 2), "Note it.", tools=tools)
    assert trace.error.what == "step 2: text must be a string." and ran == []


def test_results_are_filled_in_once_and_only_as_text():
    def odd(text: str) -> str:
        return "$2 $1"

    tools = TOOLS | toolbox(odd)
    plan = [Step("odd", {"text": "a"}), Step("odd", {"text": "b"}), Step("word_count", {"text": "$1 $2"})]
    assert agent.run_step(plan[2], ["$2 $1", "x"], tools) == ({"text": "$2 $1 x"}, "3")


def test_ten_dollars_are_no_reference():
    plan = [Step("word_count", {"text": "a b"}), Step("word_count", {"text": "it costs $10"})]
    assert run_plan(plan) == ["2", "3"] and agent.run_step(plan[1], ["2"])[0] == {"text": "it costs $10"}


def test_nothing_grows_without_bound():
    def grow(text: str) -> str:
        return text * 1000

    tools = toolbox(grow)
    with pytest.raises(BadPlan, match=r"step 1: the result of grow is too long\."):
        run_plan([Step("grow", {"text": "abc"})], tools)
    with pytest.raises(BadPlan, match=r"step 2: the expression is too long\."):
        run_plan([Step("calculator", {"expression": "9" * 39}), Step("calculator", {"expression": "$1 * $1"})])


def test_a_tool_that_fails_or_hangs_is_an_error_of_its_step():
    def broken(text: str) -> str:
        raise KeyError("secret of the tool")

    def endless(text: str) -> str:
        time.sleep(5)
        return text

    tools = toolbox(broken, endless)
    with pytest.raises(BadPlan, match=r"^step 1: broken failed \(KeyError\)\.$"):
        run_plan([Step("broken", {"text": "a"})], tools)
    start = time.perf_counter()
    with pytest.raises(BadPlan, match="step 1: endless took too long"):
        run_plan([Step("endless", {"text": "a"})], tools, seconds=0.2)
    assert time.perf_counter() - start < 2


# -- the loop ---------------------------------------------------------------------------------------------


def test_plan_tools_answer():
    model, events = Scripted(TOWER, "The answer is 파리."), []
    question = "In which city is the Eiffel Tower? Then translate it into Korean."
    trace = solve(model, question, on_event=events.append)
    assert trace.answer == "The answer is 파리." and trace.results == ["Paris", "파리"] and trace.error is None
    assert not trace.repaired and [event.kind for event in events] == ["question", "plan", "step", "step", "answer"]
    assert events[3].text == '$2 = translate(word="Paris", to="Korean") = 파리'
    (first, schema), (second, no_schema) = model.heard
    assert first[0] == {"role": "system", "content": system_prompt()}
    assert schema == plan_schema(question=question) and no_schema is None
    assert second[-1]["content"] == "Results:\n$1 = Paris\n$2 = 파리" and second[:2] == first


def test_a_bad_plan_is_repaired_once():
    model = Scripted(TOWER[:-3], TOWER, "Done.")
    trace = solve(model, "Where is it?", constrained=False)
    assert trace.repaired and trace.plans == [TOWER[:-3], TOWER] and trace.answer == "Done."
    assert model.heard[1][0][-1]["content"] == "Error: the plan is not JSON. Send the corrected plan."
    assert model.heard[0][1] is None

    trace = solve(Scripted("no", "no", TOWER), "Where is it?")
    assert trace.answer is None and trace.plans == ["no", "no"] and isinstance(trace.error, BadPlan)
    assert "rephrase the question" in trace.error.do and trace.events[-1].kind == "stopped"


def test_what_a_tool_cannot_do_goes_back_to_the_model_too():
    wrong = write_plan(("place", {"name": "Atlantis", "field": "country"}))
    model = Scripted(wrong, TOWER, "Done.")
    assert solve(model, "Where is it?").answer == "Done."
    assert model.heard[1][0][-1]["content"].startswith("Error: step 1: no place is called Atlantis.")


def test_a_plan_that_a_tool_refused_is_not_run_again():
    """What was refused once stays refused: the second time it ends with the tool's own sentence and no answer."""
    ran = []

    def look(name: str) -> str:
        ran.append(name)
        raise BadPlan("nothing is called that.")

    wrong = write_plan(("look", {"name": "Atlantis"}))
    trace = solve(Scripted(wrong, wrong, "It is big."), "Where is it?", tools=toolbox(look))
    assert ran == ["Atlantis"] and trace.answer is None and trace.error.what == "step 1: nothing is called that."
    again = wrong.replace(" ", "  ")  # other spaces make no other plan
    assert (
        len(solve(Scripted(wrong, again), "Where?", tools=toolbox(look), constrained=False).plans) == 2
        and len(ran) == 2
    )


@pytest.mark.parametrize(
    ("question", "language"),
    [("What is the capital of Kenya?", "en"), ("capital de Perú", "es"), ("¿Cuánto es 2 + 2?", "es"),
     ("中国的首都是哪里？", "zh"), ("中国の首都は？", "ja"), ("중국의 수도는?", "ko"),
     ("How do you say '고양이' in English?", "en"), ("“cat”用日语怎么说？", "zh"),
     ("Don't I know what's in Peru?", "en"), ("'the quick brown fox'에 단어가 몇 개예요?", "ko"),
     ("2 + 2", None), ("", None)],
)  # fmt: skip
def test_the_language_of_a_question(question, language):
    assert language_of(question) == language


def test_the_answers_language_is_that_of_the_question():
    """Names that are the same in two languages are looked up in the asker's, also where nobody says which it is."""
    plan = write_plan(("place", {"name": "中国", "field": "continent"}))
    assert solve(Scripted(plan, "。"), "中国はどこにありますか？").results == ["アジア"]
    assert solve(Scripted(plan, "。"), "中国在哪里？").results == ["亚洲"]
    assert solve(Scripted(plan, "。"), "中国はどこにありますか？", language="zh").results == ["亚洲"]


def test_time_and_tokens_are_bounded():
    start = time.perf_counter()
    trace = solve(Scripted(*["no"] * 9, seconds=0.3), "Where is it?", seconds=0.2)
    assert type(trace.error).__name__ == "OutOfTime" and time.perf_counter() - start < 2
    trace = solve(
        Scripted(CutOff("The answer was cut off at max_tokens=5.", "Raise max_tokens.")), "Where?", max_tokens=5
    )
    assert isinstance(trace.error, CutOff) and trace.answer is None
    model = Scripted("no", "no")
    model.ask = lambda messages, **options: Said("{", "length")
    assert "cut off at max_tokens=7: raise it" in solve(model, "Where?", max_tokens=7, constrained=False).error.do


def test_a_plan_that_was_cut_off_goes_back_once():
    """Half of a plan raises CutOff where a schema holds. The model is told, and may write a shorter one."""
    cut = CutOff("The answer was cut off at max_tokens=9.", "Raise max_tokens.")
    model = Scripted(cut, TOWER, "Done.")
    model.last = Said(TOWER[:40], "length")
    trace = solve(model, "Where is it?", max_tokens=9)
    assert trace.answer == "Done." and trace.plans == [TOWER[:40], TOWER]
    assert model.heard[1][0][-1]["content"] == "Error: the plan is too long. Send the corrected plan."

    model = Scripted(cut, cut, TOWER)
    model.last = Said(TOWER[:40], "length")
    trace = solve(model, "Where is it?", max_tokens=9)
    assert trace.answer is None and len(trace.plans) == 2
    assert "cut off at max_tokens=9: raise it" in trace.error.do


def test_a_context_that_the_model_filled_itself_ends_the_run_and_no_more():
    full = BadRequest("The prompt has 648 tokens.", "Shorten the prompt.")
    trace = solve(Scripted("no" * 400, full), "Where is it?", constrained=False)
    assert isinstance(trace.error, CutOff) and trace.answer is None and trace.error.what == full.what
    assert trace.events[-1].kind == "stopped"
    with pytest.raises(BadRequest):  # a question that is too long is the asker's to shorten
        solve(Scripted(full), "Where is it?" * 400)


@pytest.mark.parametrize(
    "options",
    [
        {"question": ""},
        {"question": 5},
        {"max_steps": 0},
        {"max_steps": 10},
        {"max_steps": True},
        {"tools": {}},
        {"tools": {"calculator": calculator}},
        {"seconds": 0},
        {"seconds": "5"},
        {"seconds": float("nan")},
    ],
)
def test_requests_that_make_no_sense(options):
    model = Scripted()
    with pytest.raises(BadRequest):
        solve(model, **{"question": "Where?", **options})
    assert model.heard == []


def test_the_trace_is_text_and_escaped_html():
    evil = '<script>alert("1")</script>\x1b[31m'
    trace = solve(Scripted(evil, evil), evil)
    page, text = trace._repr_html_(), repr(trace)
    assert "<script" not in page and "&lt;script&gt;" in page and "\x1b" not in page + text
    assert page.count("<li>") == len(trace.events) == 5 and "aria-label" in page
    assert text.splitlines()[0].startswith("question  <script>") and "stopped" in text


def test_the_words_that_moe_tiny_was_trained_on_are_as_they_were():
    """A fingerprint. If it differs, undo the change, or train moe-tiny again with the new words."""
    said = [
        system_prompt(),
        agent.results_turn(["85", "파리"]),
        agent.error_turn(BadPlan("the plan is not JSON.")),
        json.dumps(plan_schema()),
        *(value for name, value in sorted(vars(sentences).items()) if name.isupper() and isinstance(value, str)),
        *sentences.TYPES.values(),
    ]
    said = [text for text in said if text not in (sentences.FULL_REQUEST, sentences.FULL_TOOL, sentences.CHOICES)]
    assert hashlib.sha256("\n".join(said).encode()).hexdigest()[:16] == "8c1bddd21c0e3694"


def test_a_trace_is_shown_in_the_learners_language_and_the_model_reads_english(monkeypatch):
    mark_sentences(monkeypatch)
    model = Scripted(TOWER[:-3], TOWER, "Done.")
    trace = solve(model, "Where is it?")
    assert str(trace).startswith("«question»") and "«What the agent did" in trace._repr_html_()
    assert [event.kind for event in trace.events][:3] == ["question", "plan", "error"]
    assert not any("«" in message["content"] for messages, _schema in model.heard for message in messages)
    with pytest.raises(BadRequest) as caught:
        solve(model, "")
    assert (caught.value.what, caught.value.do) == ("«The question is empty.»", "«Write at least one word.»")


def test_models_that_were_not_trained_on_plans_are_told_more():
    model = Scripted(TOWER, "Done.")
    model.tier = "real"
    solve(model, "Where?", max_steps=3)
    prompt = model.heard[0][0][0]["content"]
    assert (
        "1 to 3 steps" in prompt and "field is one of country, city" in prompt and all(tool in prompt for tool in TOOLS)
    )
    example = next(line for line in prompt.splitlines() if "{" in line)
    assert json.loads(example[example.index("{") :])["steps"][0]["tool"] == "calculator"
