"""A conversation without a widget: it remembers, it can be edited, and a failure leaves no trace."""

from __future__ import annotations

import pytest

from labs_helper.errors import BadRequest
from labs_helper.models.load import load


@pytest.fixture(scope="module")
def instruct():
    return load("instruct", "tiny")


def test_it_asks_with_all_that_was_said_before(instruct):
    talk = instruct.conversation(system="Be short.")
    first = talk.ask("Where is Changsha?", max_tokens=40)
    second = talk.ask("What is 47 + 38?", max_tokens=40)
    assert [message["role"] for message in talk.messages] == ["user", "assistant"] * 2
    assert talk.last == second.text and len(talk) == 4
    for part in ("Be short.", "Where is Changsha?", first.text, "What is 47 + 38?"):
        assert part in second.prompt.text
    assert second.cached_tokens > 0, "what both prompts share is not read twice"


def test_its_history_is_a_plain_list_that_can_be_edited(instruct):
    talk = instruct.conversation()
    talk.ask("Where is Paris?", max_tokens=20)
    talk.messages[-1]["content"] = "In a drawer."
    assert "In a drawer." in talk.ask("Are you sure?", max_tokens=2).prompt.text
    del talk.messages[:2]
    assert "drawer" not in talk.ask("And now?", max_tokens=2).prompt.text
    talk.clear()
    assert talk.messages == [] and talk.last == ""


def test_a_question_that_fails_leaves_no_trace(instruct):
    talk = instruct.conversation()
    talk.ask("Where is Paris?", max_tokens=10)
    before = list(talk.messages)
    for wrong in ({"max_tokens": 0}, {"system": "Another one."}, {"images": "missing.png"}, {"no_such_option": 1}):
        with pytest.raises(BadRequest):
            talk.ask("And Rome?", **wrong)
        assert talk.messages == before


def test_streaming_keeps_what_was_said_also_when_the_loop_is_left(instruct):
    talk = instruct.conversation()
    whole = "".join(token.text for token in talk.stream("Where is Changsha?", max_tokens=40))
    assert talk.last == whole
    for number, _token in enumerate(talk.stream("Count from 1 to 40.", max_tokens=60)):
        if number == 5:
            break
    assert talk.last and instruct.last.finish_reason == "cancelled" and talk.last == instruct.last.text
    assert len(talk) == 4


def test_a_stream_that_is_never_begun_leaves_no_trace(instruct):
    instruct.ask("Hello", max_tokens=3)
    talk = instruct.conversation()
    talk.stream("Where is Paris?").close()
    assert talk.messages == []


def test_submit_adds_the_turn_before_it_tells(instruct):
    talk, seen = instruct.conversation(), []
    talk.submit("Where is Paris?", max_tokens=10, on_done=lambda answer: seen.append(len(talk))).wait(timeout=60)
    assert seen == [2]


def test_pictures_stay_in_the_history():
    from labs_helper.pictures.gallery import picture

    talk = load("vision", "tiny").conversation()
    first = talk.ask("What does it say?", images=picture("sign.png"), max_tokens=20)
    second = talk.ask("Which colours are there?", max_tokens=4)
    assert first.image_tokens == second.image_tokens != ()
    assert talk.messages[0]["images"]


def test_it_can_be_read(instruct):
    talk = instruct.conversation(system="Be <short>.")
    talk.ask("Where is Paris?", max_tokens=10)
    assert str(talk).splitlines()[:2] == ["System prompt: Be <short>.", "You: Where is Paris?"]
    assert "Be &lt;short&gt;." in talk._repr_html_()  # the hook that Jupyter calls
