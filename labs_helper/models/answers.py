"""An `Answer`: the text, and everything that was measured while it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _
from labs_helper.common.units import size
from labs_helper.engines.base import Prompt, Report, Sampling, Token
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    from labs_helper.engines.experts import Routing
    from labs_helper.reference.record import Attention


@dataclass(frozen=True)
class Answer:
    """A finished answer and what is known about it. Times in seconds, memory in bytes.

    Attributes:
        text: the answer; stop tokens are never part of it.
        finish_reason: "stop" (the model ended it), "length" (max_tokens reached), "cancelled", or "failed" for the
            part of an answer that broke off; an endpoint may have others, and "unknown" if it gave none.
        model: the name of the model.
        prompt: the exact prompt.
        tokens: the generated tokens, a stop token included; from an endpoint, the pieces of text as they came.
        prompt_tokens, cached_tokens: tokens of the prompt, and how many of them were still in the prompt cache.
        generated_tokens: tokens of the answer, a stop token included.
        seconds_to_first_token, seconds: from the start of the work; waiting in the queue and loading are not counted.
        tokens_per_second: speed after the first token; None for fewer than two tokens.
        peak_memory: the most memory MLX used during this answer; with llama.cpp, what the whole process held at its
            end; 0 for an endpoint.
        rope_table: LongRoPE's table for this request, "short" or "long"; None for models without LongRoPE.
        sampling: as used, with the seed that was drawn if none was given.
        image_tokens: prompt tokens of each picture, in order.
        recorded: which experts each token went to, as `routing` gives it; None unless the question was asked with
            `record_experts`.
        looked: what each token looked at, as `attention` gives it; None unless the question was asked with
            `record_attention`.
        schema: the schema of the question, as it was written.

    Example:
        answer = load("instruct").ask("What is the capital of France?")
        answer.text, answer.finish_reason
    """

    text: str
    finish_reason: str
    model: str
    prompt: Prompt
    tokens: tuple[Token, ...]
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    seconds_to_first_token: float
    seconds: float
    tokens_per_second: float | None
    peak_memory: int
    rope_table: str | None
    sampling: Sampling
    image_tokens: tuple[int, ...] = ()
    recorded: Routing | None = field(default=None, repr=False, compare=False)
    looked: Attention | None = field(default=None, repr=False, compare=False)
    schema: Any = field(default=None, repr=False, compare=False)

    @property
    def routing(self) -> Routing:
        """Which experts each token went to; `.frame()` gives it as a table.

        Raises:
            BadRequest: the routers were not recorded.

        Example:
            answer = load("moe").ask("What is 47 + 38?", record_experts=True)
            answer.routing.frame().query("layer == 0 and rank == 1")
        """
        if self.recorded is None:
            raise BadRequest(_("The experts of this answer were not recorded."), _("Ask with record_experts=True."))
        return self.recorded

    @property
    def attention(self) -> Attention:
        """What each token looked at; `labs_helper.figures.attention_view` draws it.

        Raises:
            BadRequest: the attention was not recorded.

        Example:
            answer = load("instruct", tier="tiny").ask("Where is Lima?", record_attention=True)
            answer.attention.head(2, 4)[-1]
        """
        if self.looked is None:
            raise BadRequest(_("The attention of this answer was not recorded."), _("Ask with record_attention=True."))
        return self.looked

    @cached_property
    def parsed(self) -> Any:
        """The answer to a question with `schema`: an object of the pydantic class, or what the JSON holds.

        Raises:
            BadRequest: the question had no schema, or the answer breaks a rule of the class that no JSON schema can
                express.

        Example:
            class Place(pydantic.BaseModel):
                city: str
                country: str

            model.ask("Where is Changsha?", schema=Place).parsed.country
        """
        if self.schema is None:
            raise BadRequest(_("This question was asked without a schema."), _("Ask with schema=..."))
        try:
            if hasattr(self.schema, "model_validate_json"):
                return self.schema.model_validate_json(self.text)
            return json.loads(self.text)
        except ValueError as error:
            raise BadRequest(
                _("The answer does not fit the schema ({reason}).").format(reason=_reason(error)),
                _("Look at its text, and ask again."),
            ) from error

    @property
    def prefilled_tokens(self) -> int:
        """Prompt tokens that had to go through the model: those that were not in the prompt cache."""
        return self.prompt_tokens - self.cached_tokens

    def statistics(self) -> dict[str, str | int | float | None]:
        """What was measured, as numbers, under the names of the fields. For tables and charts.

        Example:
            pandas.DataFrame([answer.statistics() for answer in answers])
        """
        return {
            "model": self.model,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.prompt_tokens,
            "image_tokens": sum(self.image_tokens),
            "cached_tokens": self.cached_tokens,
            "generated_tokens": self.generated_tokens,
            "seconds_to_first_token": self.seconds_to_first_token,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "peak_memory": self.peak_memory,
            "rope_table": self.rope_table,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "seed": self.sampling.seed,
        }

    def summary(self) -> dict[str, str]:
        """What was measured, in words and in a good order.

        Example:
            answer.summary()["generated tokens"]
        """
        speed = _("too short to say") if self.tokens_per_second is None else f"{self.tokens_per_second:.1f}"
        rows = [
            (_("model"), self.model),
            (_("finish reason"), self.finish_reason),
            (_("prompt tokens"), f"{self.prompt_tokens:,}"),
            (_("tokens of pictures"), " + ".join(map(str, self.image_tokens))),
            (_("tokens from the cache"), f"{self.cached_tokens:,}"),
            (_("generated tokens"), f"{self.generated_tokens:,}"),
            (_("seconds to the first token"), f"{self.seconds_to_first_token:.3f}"),
            (_("seconds"), f"{self.seconds:.3f}"),
            (_("tokens per second"), speed),
            (_("peak memory"), size(self.peak_memory) if self.peak_memory else ""),
            (_("LongRoPE table"), self.rope_table or ""),
        ]
        if self.sampling.temperature > 0:
            how = _("temperature {temperature:g}, top-p {top_p:g}, seed {seed}")
            rows.append((_("sampling"), how.format(**vars(self.sampling))))
        return {what: value for what, value in rows if value}

    @property
    def statistics_line(self) -> str:
        """The most useful numbers, how the answer ended, and what to know about the prompt (`Prompt.notices`)."""
        first = _("{model}: {prompt} prompt tokens").format(model=self.model, prompt=self.prompt_tokens)
        if self.cached_tokens:
            first += _(" ({cached} from the cache)").format(cached=self.cached_tokens)
        rest = _("{generated} generated, first token after {seconds:.2f} s").format(
            generated=self.generated_tokens, seconds=self.seconds_to_first_token
        )
        if self.tokens_per_second is not None:
            rest += _(", {speed:.1f} tokens/s").format(speed=self.tokens_per_second)
        ends = {"stop": _("ended by itself"), "length": _("cut at max_tokens"), "cancelled": _("stopped by you")}
        line = f"{first}, {rest}, {ends.get(self.finish_reason, self.finish_reason)}"
        return ". ".join((line, *self.prompt.notices))

    def __str__(self) -> str:
        return printable(self.text)

    def __repr__(self) -> str:
        return printable(f"{self.text}\n[{self.statistics_line}]")

    def _repr_html_(self) -> str:
        return (
            f'<div style="white-space:pre-wrap">{escape(self.text)}</div>'
            f"<p><small>{escape(self.statistics_line)}</small></p>"
        )

    def shortened(self, tokens: int) -> Answer:
        """The answer as far as a caller who stopped has seen it; the worker may have been some tokens ahead."""
        kept = self.tokens[:tokens]
        return replace(
            self,
            tokens=kept,
            text=joined(kept),
            generated_tokens=len(kept),
            finish_reason="cancelled",
            recorded=self.recorded and self.recorded.first(self.prompt_tokens + tokens),
            looked=self.looked and self.looked.first(self.prompt_tokens + tokens),
        )


def _reason(error: ValueError) -> str:
    """What a JSON reader or pydantic found wrong, in one line."""
    found = error.errors() if hasattr(error, "errors") else [{"msg": str(error)}]
    return "; ".join(str(problem["msg"]).strip().split("\n")[0] for problem in found)[:200]


def joined(tokens: Sequence[Token]) -> str:
    """The text of tokens."""
    return "".join(token.text for token in tokens)


def answer_of(model: str, tokens: Sequence[Token], report: Report, schema: Any = None) -> Answer:
    """The answer that an engine's tokens and report make."""
    generated = len(tokens) if report.generated_tokens is None else report.generated_tokens
    after = report.seconds - report.seconds_to_first_token
    return Answer(
        text=joined(tokens),
        finish_reason=report.finish_reason,
        model=model,
        prompt=report.prompt,
        tokens=tuple(tokens),
        prompt_tokens=report.prompt_tokens,
        cached_tokens=report.cached_tokens,
        generated_tokens=generated,
        seconds_to_first_token=report.seconds_to_first_token,
        seconds=report.seconds,
        tokens_per_second=(generated - 1) / after if generated > 1 and after > 0 else None,
        peak_memory=report.peak_memory,
        rope_table=report.rope_table,
        sampling=report.sampling,
        image_tokens=report.image_tokens,
        recorded=report.routing,
        schema=schema,
    )
