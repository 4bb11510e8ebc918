"""What mlx_lm.server obeys, and what it gets wrong: lab 06 teaches it, and known-issues.md lists it.

If one of these fails, upstream has changed: change the lab, the references and the list.
"""

from __future__ import annotations

import httpx
import pytest
from openai import OpenAI

from labs_helper.exercises import stored
from labs_helper.serving import load_test, serve

pytestmark = pytest.mark.slow
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
TOOL = {"type": "function", "function": {"name": "calculator", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def server():
    with serve("instruct", tier="tiny", minutes=5) as running:
        yield running


@pytest.fixture(scope="module")
def ask(server):
    with httpx.Client(trust_env=False) as http:
        client = OpenAI(base_url=server.url, api_key="none", max_retries=0, http_client=http)

        def asked(question, **options):
            messages = [{"role": "user", "content": question}]
            return client.chat.completions.create(model="default_model", messages=messages, **options)

        yield asked


def test_the_stored_answers_of_exercise_6_2_are_true(ask):
    warm = {"temperature": 1.0, "max_tokens": 20}
    story = "Tell me a short story about a cat"
    seeded = {ask(story, seed=1, **warm).choices[0].message.content for _turn in range(3)}
    unseeded = {ask(story, **warm).choices[0].message.content for _turn in range(6)}
    measured = {
        "max_tokens": ask("Count from 1 to 15.", max_tokens=3).usage.completion_tokens == 3,
        "seed": len(seeded) == 1 < len(unseeded),
        "n": len(ask("Where is Lima?", n=3).choices) == 3,
        "logprobs": ask("Where is Lima?", logprobs=True).choices[0].logprobs is not None,
        "response_format": ask("Where is Lima?", response_format=FORM).choices[0].message.content.startswith("{"),
        "tools": ask("What is 731 x 46?", tools=[TOOL]).choices[0].message.tool_calls is not None,
    }
    assert measured == stored.case("6.2").right


def test_a_stop_inside_a_word_is_taken_out_and_the_answer_goes_on(ask):
    plain = ask("Count from 15 to 20.", max_tokens=60).choices[0].message.content
    stopped = ask("Count from 15 to 20.", max_tokens=60, stop=["7"]).choices[0].message.content
    assert "7" in plain and "7" not in stopped
    assert len(stopped) > len(plain.split("7")[0])


def test_the_reported_token_is_any_of_the_most_likely_ones(ask):
    reported = []
    for most in (1, 3):
        choice = ask("Where is Lima?", max_tokens=20, logprobs=True, top_logprobs=most).choices[0]
        text = "".join(place.token for place in choice.logprobs.content[:-1]).replace("▁", " ").strip()
        reported.append(text == choice.message.content)
    assert reported == [True, False]


def test_no_key_is_asked_for_and_every_page_may_ask(server):
    answer = httpx.options(f"{server.url}/chat/completions", headers={"Origin": "https://a.example"}, trust_env=False)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert load_test(server, 1, ["Where is Lima?"], each=1, key="wrong").lost == 0
