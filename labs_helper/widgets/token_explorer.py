"""`tokens`: type a prompt, see every token of the answer with its probability and its rivals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.figures.base import Figure
from labs_helper.figures.tokens import token_view
from labs_helper.widgets.explorer import Explorer, Line
from labs_helper.widgets.jobs import as_model
from labs_helper.widgets.numbers import Sampling

if TYPE_CHECKING:
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options


class TokenExplorer(Explorer):
    """A prompt box over a token view. Made by `tokens`."""

    def __init__(
        self,
        model: Model | str | None = None,
        prompt: str = "",
        *,
        max_tokens: int = 32,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_logprobs: int = 5,
    ) -> None:
        self.top_logprobs = top_logprobs
        self.sampling = Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p)
        self._question = ""
        super().__init__(
            as_model(model),
            label=_("Show tokens"),
            hint=_("Generate an answer and show its tokens (or press Enter)"),
            lines=[Line("prompt", _("Prompt"), prompt)],
            numbers=self.sampling.all,
        )
        if prompt.strip():
            self.show()

    @property
    def answer(self) -> Answer | None:
        """The `Answer` that is shown."""
        return self.answers[-1] if self.answers else None

    def show(self, prompt: str | None = None) -> TokenExplorer:
        """Generate and show. Returns at once; `.wait()` waits. `prompt` replaces what is in the box."""
        if prompt is not None:
            self._type(prompt=prompt)
        if self._take():
            self._question = self.text("prompt")
            options: Options = {**self.sampling.options(), "top_logprobs": self.top_logprobs}
            self._ask(self._question, **options)
        return self

    def _heading(self) -> str:
        return _("Tokens of {model}").format(model=self.model.name)

    def _figure(self) -> Figure:
        return token_view(self.answers[-1], title=self._question)


def tokens(
    model: Model | str | None = None,
    prompt: str = "",
    *,
    max_tokens: int = 32,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_logprobs: int = 5,
) -> TokenExplorer:
    """Explore an answer token by token.

    Without a mouse: `token_view(model.ask("…", top_logprobs=5))`.

    Args:
        model: a `Model`, a role, or None for "instruct".
        prompt: asked at once when given.
        max_tokens: first value of the field.
        temperature: first value of the field.
        top_p: first value of the field.
        top_logprobs: how many of the likeliest tokens to show at each place.

    Returns:
        TokenExplorer: `.show(prompt)`, `.wait()`, `.answer`, `.static()`.

    Raises:
        BadRequest: unknown role.

    Example:
        tokens("instruct", "The capital of Kenya is")
    """
    return TokenExplorer(
        model, prompt, max_tokens=max_tokens, temperature=temperature, top_p=top_p, top_logprobs=top_logprobs
    )
