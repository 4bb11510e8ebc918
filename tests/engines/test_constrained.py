"""Answers under a schema: valid by construction, whatever the model would rather say."""

from __future__ import annotations

import json
import random
from typing import Literal

import numpy as np
import pytest
from pydantic import BaseModel, Field

from labs_helper.agent import TOOLS, plan_schema, read_plan, solve, system_prompt, toolbox, write_plan
from labs_helper.catalog import course_folder
from labs_helper.engines.constrained import Guide, grammar
from labs_helper.errors import BadPlan, BadRequest, CutOff
from labs_helper.models.load import load
from training.moe.corpus import MoeCorpus

CHECKPOINT = course_folder() / "data" / "checkpoints" / "instruct-tiny"
ASKED = {"system": system_prompt(), "schema": plan_schema(max_steps=2), "max_tokens": 160}


class Colour(BaseModel):
    name: str = Field(max_length=5)


class Fruit(BaseModel):
    name: str = Field(max_length=8)
    sweet: bool
    colours: list[Colour] = Field(max_length=2)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def guide(tokenizer):
    return Guide(tokenizer, {tokenizer.convert_tokens_to_ids("<|end|>")})


@pytest.fixture(scope="module")
def instruct():
    model = load(str(CHECKPOINT))
    yield model
    model.release()


def follow(guide, schema, choose, limit=700):
    """Token ids that somebody chooses among those that the schema leaves, up to the stop token."""
    import mlx.core as mx

    constraint, ids = guide.constraint(grammar(json.dumps(schema), True)), []
    while len(ids) < limit:
        scores = np.array(constraint(mx.array(ids or [1]), mx.zeros((1, 2600))))
        allowed = np.flatnonzero(np.isfinite(scores[0]))
        ids.append(int(choose(allowed, len(ids))))
        if ids[-1] == guide._tokenizer.eos_token:
            return ids[:-1]
    raise AssertionError("no end")


def test_no_way_through_the_schema_leads_to_a_bad_plan(guide, tokenizer):
    """Chance, with a liking for what could go wrong: dollar signs, digits, backslashes, quotes."""
    risky = [token_id for piece, token_id in tokenizer.get_vocab().items() if set(piece) & set('$\\"123')]
    for seed in range(20):
        draw = random.Random(seed)

        def choose(allowed, place, draw=draw):
            liked = np.intersect1d(allowed, risky)
            return draw.choice(liked if len(liked) and draw.random() < 0.5 else allowed)

        text = tokenizer.decode(follow(guide, plan_schema(), choose))
        read_plan(text)
        assert json.loads(text)["steps"]


def test_tools_of_ones_own_are_guided_too(guide, tokenizer):
    def repeat(text: str, times: int = 2, how: Literal["plain", "loud"] = "plain") -> str:
        return text * times

    tools, used = TOOLS | toolbox(repeat), set()
    for seed in range(12):
        draw = random.Random(seed)
        schema = plan_schema({"repeat": tools["repeat"], "place": tools["place"]}, 3, max_written=10)
        text = tokenizer.decode(follow(guide, schema, lambda allowed, place, draw=draw: draw.choice(allowed)))
        used |= {name for step in read_plan(text, tools, 3) for name in step.arguments}
    assert {"text", "times", "how"} <= used


def test_every_plan_of_the_corpus_is_let_through_as_it_is_written(guide, tokenizer):
    import mlx.core as mx

    for split in ("train", "eval"):
        stream = MoeCorpus(split, 3)
        text_grammar = grammar(json.dumps(plan_schema(stream.offer.tools, stream.offer.max_steps)), True)
        for _ in range(25):
            case = stream.plan()
            text = next(m["content"] for m in case.messages if m["role"] == "assistant" and m.get("learn", True))
            ids = tokenizer.encode(text, add_special_tokens=False)
            constraint = guide.constraint(text_grammar)
            for place, token_id in enumerate([*ids, guide._tokenizer.eos_token]):
                scores = constraint(mx.array(ids[:place] or [1]), mx.zeros((1, 2560)))
                assert np.isfinite(scores[0, token_id].item()), (text, place)


@pytest.mark.parametrize(
    "plan",
    [
        write_plan(("word_count", {"text": "$1"})),
        write_plan(("word_count", {"text": "a"}), ("word_count", {"text": "$2"})),
        write_plan(("shell", {"command": "ls"})),
        write_plan(("word_count", {"text": 5})),
        write_plan(("place", {"name": "Kenya", "field": "mayor"})),
        write_plan(*[("word_count", {"text": "a"})] * 4),
        write_plan(),
        write_plan(("word_count", {"text": "a"})) + " And more.",
        "Sure! " + write_plan(("word_count", {"text": "a"})),
    ],
)
def test_a_bad_plan_cannot_be_written(plan, guide, tokenizer):
    import mlx.core as mx

    ids, constraint = (
        tokenizer.encode(plan, add_special_tokens=False),
        guide.constraint(grammar(json.dumps(plan_schema()), True)),
    )
    for place, token_id in enumerate([*ids, guide._tokenizer.eos_token]):
        if not np.isfinite(constraint(mx.array(ids[:place] or [1]), mx.zeros((1, 2560)))[0, token_id].item()):
            return
    raise AssertionError("it was let through")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_knows_no_plans_writes_valid_ones_only_under_the_schema(instruct, temperature):
    draw, valid = random.Random(5), []
    pieces = instruct.tokenize("Where is Lima? Count, add 47 and 3, or translate 猫 for me!").pieces
    for seed in range(4):
        question = "Hi " + "".join(draw.choices(pieces, k=12))
        asked = {"system": system_prompt(), "temperature": temperature, "seed": seed}
        answer = instruct.ask(question, schema=plan_schema(), max_tokens=700, **asked)
        read_plan(answer.text)
        assert answer.finish_reason == "stop"
        try:
            read_plan(instruct.ask(question, max_tokens=60, **asked).text)
            valid.append(question)
        except BadPlan:
            pass
    assert valid == []


def test_the_evaluation_measures_plans_with_and_without_the_schema(instruct, monkeypatch):
    from training import evaluate

    monkeypatch.setattr(evaluate, "known_tasks", lambda checkpoint: evaluate.MOE_TASKS)
    tasks = ["plan valid", "plan valid (constrained)", "agent"]
    found = evaluate.evaluate(str(CHECKPOINT), 7, 3, tasks, ["en"], progress=False)["tasks"]
    # instruct-tiny has never seen a plan.
    assert {task: found[task]["all"]["accuracy"] for task in tasks} == {tasks[0]: 0.0, tasks[1]: 1.0, tasks[2]: 0.0}


def test_the_end_of_the_json_is_the_end_of_the_answer(instruct):
    whole = instruct.ask("What is 47 + 38?", **ASKED)
    assert whole.finish_reason == "stop" and whole.tokens[-1].text == "" and whole.text.endswith("}]}")
    assert json.dumps(json.loads(whole.text), ensure_ascii=False) == whole.text
    exact = instruct.ask("What is 47 + 38?", **{**ASKED, "max_tokens": len(whole.tokens) - 1})
    assert exact.text == whole.text and exact.finish_reason == "stop"
    with pytest.raises(CutOff, match=r"max_tokens=20.*Raise max_tokens"):
        instruct.ask("What is 47 + 38?", **{**ASKED, "max_tokens": 20})
    assert instruct.last.finish_reason == "length" and whole.text.startswith(instruct.last.text) and instruct.last.text


def test_stop_still_stops(instruct):
    seen = []

    def on_token(token):
        seen.append(token)
        if len(seen) == 5:
            job.stop()

    job = instruct.submit("What is 47 + 38?", on_token=on_token, **ASKED)
    answer = job.wait(timeout=60)
    assert answer.finish_reason == "cancelled" and 5 <= len(answer.tokens) <= 7
    tokens = instruct.stream("What is 47 + 38?", **ASKED)
    for _ in range(4):
        next(tokens)
    tokens.close()
    assert instruct.last.finish_reason == "cancelled" and len(instruct.last.tokens) == 4


def test_an_agent_without_time_stops_its_model(instruct):
    trace = solve(instruct, "What is 47 + 38?", seconds=0.05)
    assert type(trace.error).__name__ == "OutOfTime" and trace.answer is None
    assert instruct.ask("What is the capital of Kenya?").finish_reason == "stop"


def test_answers_without_a_schema_stay_as_they_were(instruct):
    before = instruct.ask("What is the capital of Kenya?")
    instruct.ask("What is the capital of Kenya?", **ASKED)
    after = instruct.ask("What is the capital of Kenya?")
    assert before.text == after.text and "Nairobi" in after.text


def test_probabilities_are_those_among_the_tokens_that_are_left(instruct):
    answer = instruct.ask("What is 47 + 38?", top_logprobs=5, **ASKED)
    for token in answer.tokens:
        assert np.isfinite(token.logprob) and token.top_logprobs[0].id == token.id
        assert all(np.isfinite(other.logprob) for other in token.top_logprobs)
        assert sum(np.exp(other.logprob) for other in token.top_logprobs) < 1.0001
    assert answer.tokens[1].logprob == pytest.approx(0, abs=1e-5)  # after the first brace only "steps" can follow


def test_a_random_model_with_another_tokenizer_fits_a_pydantic_class(model):
    for seed in range(5):
        answer = model.ask("x", schema=Fruit, temperature=1.0, seed=seed, max_tokens=150)
        assert Fruit.model_validate_json(answer.text).model_dump() == json.loads(answer.text)
        assert answer.finish_reason == "stop"


@pytest.mark.parametrize(
    "schema",
    [
        5,
        "text",
        [],
        {"type": "fruit"},
        {"not": {}},
        {"type": "string", "pattern": "(?=a)"},
        {"type": object},
        int,
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
    ],
)
def test_what_cannot_guide_is_refused_before_anything_is_loaded(tiny_checkpoint, schema):
    fresh = load(str(tiny_checkpoint))
    fresh.release()
    with pytest.raises(BadRequest, match="schema"):
        fresh.ask("x", schema=schema)
    assert not fresh.loaded
