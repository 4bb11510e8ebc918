"""The options of a question: defined once, shown where people look, refused in words."""

from __future__ import annotations

import inspect

import pydantic
import pytest

from labs_helper.errors import BadRequest
from labs_helper.models.conversation import Conversation
from labs_helper.models.load import load
from labs_helper.models.model import Model
from labs_helper.models.requests import DEFAULTS, Options


def test_every_option_has_a_default_and_a_description():
    assert set(DEFAULTS) == set(Options.__annotations__)
    assert all(name in Options.__doc__ for name in DEFAULTS)


@pytest.mark.parametrize(
    "function", [Model.ask, Model.stream, Model.submit, Model.prompt, Conversation.ask, Conversation.stream]
)
def test_shift_tab_shows_the_options(function):
    """IPython shows and completes from the signature."""
    shown = inspect.signature(function).parameters
    assert set(DEFAULTS) <= set(shown) and shown["max_tokens"].default == 128
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in shown.values())


def test_an_unknown_option_is_named_with_those_there_are():
    with pytest.raises(BadRequest, match=r"no option 'temprature'.*temperature"):
        load("instruct", "tiny").ask("Hello", temprature=0.5)


class Sum(pydantic.BaseModel):
    """The answer to a sum, which has a rule that no JSON schema knows."""

    result: int

    @pydantic.field_validator("result")
    @classmethod
    def small(cls, value: int) -> int:
        if value > 10_000:
            raise ValueError("more than 10,000")
        return value


def test_parsed_is_an_object_of_the_class_or_what_the_json_holds():
    model = load("instruct", "tiny")
    asked = {"max_tokens": 40}
    answer = model.ask("What is 47 + 38?", schema=Sum, **asked)
    assert isinstance(answer.parsed, Sum) and answer.parsed is answer.parsed
    plain = model.ask("What is 47 + 38?", schema={"type": "integer"}, **asked)
    assert isinstance(plain.parsed, int) and str(plain.parsed) == plain.text.strip()
    with pytest.raises(BadRequest, match="without a schema"):
        _ = model.ask("Hello", max_tokens=2).parsed


def test_a_rule_beyond_the_schema_is_told():
    from dataclasses import replace

    answer = replace(
        load("instruct", "tiny").ask("What is 1 + 1?", schema=Sum, max_tokens=40), text='{"result": 10001}'
    )
    with pytest.raises(BadRequest, match=r"does not fit the schema .*more than 10,000"):
        _ = answer.parsed
