"""Answers that fit a JSON schema by construction: before each token, those that would break it are ruled out.

llguidance keeps track of where in the schema the text is and says which tokens may follow. mlx-lm lets a function
change the scores before a token is picked; ours sets the others to minus infinity. llguidance's own function for MLX is
a Metal kernel and needs a GPU, so the mask is unpacked with NumPy, which is quick enough for 32,064 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    import mlx.core as mx
    import numpy as np
    from pydantic import BaseModel

# The spelling of json.dumps, which the bundled models were trained on: no other white space.
SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def schema_text(schema: Any) -> str | None:
    """A JSON schema as JSON text, from a dict or a pydantic class; None stays None.

    A pydantic class is taken to have no other fields than its own, or a model could go on inventing some.
    Raises BadRequest for anything else.

    Example:
        schema_text({"type": "integer"})
    """
    if schema is None:
        return None
    advice = _('Give a pydantic class, or a dict such as {"type": "object", "properties": {...}}.')
    try:
        described = _closed(schema) if hasattr(schema, "model_json_schema") else schema
        if not isinstance(described, dict):
            raise BadRequest(_("This is not a schema: {schema}.").format(schema=str(schema)[:80]), advice)
        return json.dumps(described)
    except (TypeError, ValueError, RecursionError) as error:
        what = _("This schema cannot be written as JSON ({kind}).").format(kind=type(error).__name__)
        raise BadRequest(what, advice) from error


def _closed(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a pydantic class, whose objects have no other properties."""
    from pydantic.json_schema import GenerateJsonSchema

    class Closed(GenerateJsonSchema):
        def model_schema(self, schema: Any) -> dict[str, Any]:
            return {"additionalProperties": False, **super().model_schema(schema)}

    return model.model_json_schema(schema_generator=Closed)


@lru_cache(maxsize=32)
def grammar(schema: str, leading_space: bool = False) -> str:
    """llguidance's grammar for the texts that fit a schema.

    schema: a JSON schema as JSON text.
    leading_space: whether the tokenizer drops a space at the start of an answer, as SentencePiece does. Models that
        were trained with it begin every answer with one.
    Raises BadRequest for what is no schema, or one that asks for something that cannot be guided.

    Example:
        grammar('{"type": "integer"}')
    """
    from llguidance import LLMatcher

    described = json.dumps({**json.loads(schema), "x-guidance": SPELLING})
    start = 'start: SPACE? answer\nSPACE: " "' if leading_space else "start: answer"
    text = LLMatcher.grammar_from_lark(f"{start}\nanswer: %json {described}")
    wrong, said = LLMatcher.validate_grammar_with_warnings(text)
    if wrong:
        raise BadRequest(
            _("This schema cannot guide an answer ({reason}).").format(reason=_first_line(said[0])),
            _("Use a plainer JSON schema or pydantic class."),
        )
    return cast(str, text)


class Guide:
    """What llguidance needs to know about a tokenizer; made once for each.

    tokenizer: a fast Hugging Face tokenizer. stop_ids: the tokens that may end an answer.

    Example:
        Guide(tokenizer, {32007}).constraint(grammar('{"type": "integer"}'))
    """

    def __init__(self, tokenizer: Any, stop_ids: Collection[int]) -> None:
        from llguidance import LLTokenizer

        self._tokenizer = LLTokenizer(tokenizer.backend_tokenizer.to_str(), eos_token=sorted(stop_ids))

    def constraint(self, grammar: str) -> Constraint:
        """A new constraint, for one answer."""
        return Constraint(self._tokenizer, grammar)


class Constraint:
    """A function for mlx-lm's logits_processors that leaves only the tokens that may come next.

    mlx-lm works one token ahead, so when a token comes out of the generator it has been taken in here.
    """

    def __init__(self, tokenizer: Any, grammar: str) -> None:
        from llguidance import LLMatcher
        from llguidance.numpy import allocate_token_bitmask

        self._matcher = LLMatcher(tokenizer, grammar)
        self._bits = allocate_token_bitmask(1, tokenizer.vocab_size)
        self._size = tokenizer.vocab_size
        self._begun = False
        self._check()

    @property
    def complete(self) -> bool:
        """Whether the text so far fits the schema as it stands."""
        return not self._matcher.is_error() and self._matcher.is_accepting()

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        """Scores (1, vocabulary) with minus infinity for every token that may not follow. `tokens`: all so far."""
        import mlx.core as mx

        allowed = self.allowed(lambda: cast(int, tokens[-1].item()), logits.shape[-1])
        return logits if allowed is None else mx.where(mx.array(allowed), logits, -float("inf"))

    def allowed(self, newest: Callable[[], int], size: int) -> np.ndarray | None:
        """Which tokens may come next.

        Args:
            newest: the token that was picked after the last call; not asked at the first.
            size: how many scores there are.

        Returns:
            (size,) truth values; None after the stop token, where nobody looks at the result.
        """
        import numpy as np
        from llguidance.numpy import fill_next_token_bitmask

        if self._begun:
            if self._matcher.is_stopped():
                return None
            self._matcher.consume_token(newest())
            self._check()
        self._begun = True
        fill_next_token_bitmask(self._matcher, self._bits)
        self._check()
        allowed = np.zeros(size, dtype=bool)  # a model may have more rows than its tokenizer has tokens
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._size]
        allowed[: len(bits)] = bits[: len(allowed)]
        return allowed

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = _first_line(self._matcher.get_error())
            raise BadRequest(
                _("This schema cannot guide an answer ({reason}).").format(reason=reason),
                _("Use a plainer JSON schema or pydantic class."),
            )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:200]
